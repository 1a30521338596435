"""Open one store, and determine what is drawn from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed.feed.opened_draws import OpenedDraws
from zarrfeed.feed.patch_opening import open_patches
from zarrfeed.feed.sample_opening import open_samples
from zarrfeed.feed.subset_ids import chosen_ids
from zarrfeed.store.in_place.opening import open_in_place, refuse_image
from zarrfeed.store.located import locate
from zarrfeed.store.split_opening import open_located

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from zarrfeed.feed.request import Request
    from zarrfeed.feed.subset_ids import Subset
    from zarrfeed.order.patches import Patches
    from zarrfeed.order.sampling import Sampling
    from zarrfeed.store.schema import ArrayLayout
    from zarrfeed.store.split import Split


def open_path(request: Request, path: str | os.PathLike[str]) -> Split:
    """Open what is packed; for patches, also images that are read where they are.

    Without patches, the arrays of an OME-Zarr image are samples for those alone who name them.

    Parameters
    ----------
    request
        The request.
    path
        Path of a store, which need not be the only one of the request.

    Raises
    ------
    StoreError
        There is no such split, or it is damaged.
    """
    located, split = locate(path, request.remote), None
    if request.patches is None:
        if request.structure is None:
            refuse_image(located)
    else:
        fields = request.fields
        if fields is None and request.structure and not request.transforms:
            fields = request.structure.names  # transforms may make some of these
        split = open_in_place(located, request.patches.axes, fields)
    return open_located(located) if split is None else split


def open_draws(
    patches: Patches | None,
    sampling: Sampling | None,
    split: Split,
    layouts: Mapping[str, ArrayLayout],
    subset: Subset,
) -> OpenedDraws:
    """Determine what an epoch of one split consists of.

    Parameters
    ----------
    patches, sampling
        What the user asked for; one of them is None.
    split
        An opened split.
    layouts
        The fields to read, by name.
    subset
        The samples or cases to draw from.

    Raises
    ------
    StoreError, ValueError
        As :func:`zarrfeed.feed.patch_opening.open_patches` and
        :func:`zarrfeed.feed.sample_opening.open_samples`; or the subset does not fit the split.
    """
    if patches is not None:
        return open_patches(patches, split, layouts, subset)
    ids = chosen_ids(subset, split, next(iter(layouts.values())).shape[0], cases=False)
    return OpenedDraws(ids, open_samples(sampling, split, ids), None)


def block_rows(batch_size: int, layout: ArrayLayout) -> int:
    """Return how many rows a block of a "block" shuffle has.

    They are whole chunks, and at least a batch, because smaller blocks would save no reads.
    """
    return -(-batch_size // layout.chunk_rows) * layout.chunk_rows
