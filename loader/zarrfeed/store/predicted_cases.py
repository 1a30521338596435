"""Which split is predicted, and which cases and tiles does it have?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import StoreError, look_up
from zarrfeed.machine_memory import require_memory
from zarrfeed.store.case_reading import read_case_table
from zarrfeed.store.case_table import CaseTable
from zarrfeed.store.split_opening import join_path, open_split_at
from zarrfeed.store.stores_at import open_or_list
from zarrfeed.store.tile_arrays import USUAL_EXTENT

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from zarrfeed.store.mirror.origin import Remote
    from zarrfeed.store.split import Split


def open_predicted(
    path: str | os.PathLike[str], axes: int, fields: Sequence[str] | None, remote: Remote
) -> Split:
    """Open the split that is to be predicted.

    Parameters
    ----------
    path
        A split, a dataset with only one, or images that are read where they are.
    axes
        Number of spatial axes of the patches.
    fields
        Fields of images that are read where they are; None for all.
    remote
        How an address is read.

    Raises
    ------
    StoreError
        There is no such split, or there are several.
    """
    found = open_or_list(path, axes, fields, remote)
    if not isinstance(found, list):
        return found
    if len(found) > 1:
        raise StoreError(
            f"{path}: needed one split, found {', '.join(found)}: name one, such as "
            f"{join_path(path, found[-1])}"
            f"{look_up('no-split')}"
        )
    return open_split_at(join_path(path, found[0]), remote)


def cases_of(split: Split, field: str, axes: int) -> CaseTable:
    """Return the cases of a split; those of a split of samples have one tile each.

    The tiles are those of the split, except of images that are read where they are.

    Parameters
    ----------
    split
        An opened split.
    field
        A field that is predicted from.
    axes
        Number of spatial axes of the patches.

    Raises
    ------
    StoreError
        The split has no such field, or another number of axes, or its samples are too many.
    """
    layout = split.select([field])[field]
    shape = layout.sample_shape
    table = None if split.tile_size is None else read_case_table(split)
    found = (len(shape), len(shape) - 1) if table is None else (len(table.tile),)
    if axes not in found:
        raise StoreError(
            f"{split.address}: patches with {axes} axes need samples or cases with {axes} spatial "
            f"axes, found {shape} per row of {field!r}: give the patches as many axes"
            f"{look_up('patch-axes')}"
        )
    if table is not None and split.sources:  # chunks of others may be as large as a case
        most = table.sizes.max(axis=0).tolist()
        tile = tuple(min(USUAL_EXTENT[axes], extent) for extent in most)
        return CaseTable.of_sizes(table.sizes, tile)
    if table is not None:
        return table
    rows = layout.shape[0]
    # The first tiles, and the grids of patches that are made of the sizes.
    require_memory(split.path, rows * 8 * (4 * axes + 2), f"the sizes of {rows:,} samples")
    sizes = np.broadcast_to(np.array(shape[:axes], np.int64), (rows, axes))
    return CaseTable(shape[:axes], sizes, np.arange(rows))
