"""What are patches of a split cut from, and what is beyond its borders?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import StoreError, look_up
from zarrfeed.feed.fill_values import fill_values
from zarrfeed.feed.opened_draws import OpenedDraws
from zarrfeed.feed.share_opening import forced_draws
from zarrfeed.feed.subset_ids import chosen_ids
from zarrfeed.feed.workers.batch_spec import PatchSpec
from zarrfeed.machine_memory import require_memory
from zarrfeed.order.grid_draws import CoverDraws, GridDraws
from zarrfeed.order.patch_cases import PatchCases
from zarrfeed.order.patches import CoverPatches, GridPatches, RandomPatches
from zarrfeed.order.random_draws import RandomDraws
from zarrfeed.store.case_reading import read_case_table
from zarrfeed.store.descriptive_arrays import image_fields
from zarrfeed.store.schema import MASK
from zarrfeed.store.tile_arrays import count_tiles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from zarrfeed.arrays import Ids
    from zarrfeed.feed.slot import Spec
    from zarrfeed.feed.subset_ids import Subset
    from zarrfeed.order.draws import Sampler
    from zarrfeed.order.patches import Patches
    from zarrfeed.store.schema import ArrayLayout
    from zarrfeed.store.split import Split

_NUMBERS = 6  # of each case, besides its size along each axis
_MOST_PIXELS = 1 << 62  # of all cases together, so that numbers of pixels fit int64


def open_patches(
    patches: Patches, split: Split, layouts: Mapping[str, ArrayLayout], subset: Subset
) -> OpenedDraws:
    """Open the cases of a split to cut patches from them.

    Parameters
    ----------
    patches
        The requested patches.
    split
        A split of cases or of samples.
    layouts
        The fields to read, by name.
    subset
        The cases, or the samples, to cut from.

    Raises
    ------
    StoreError
        The fields do not have the axes of the patches, or `class_pixels` is missing or damaged.
    ValueError
        The subset is empty or does not fit the split, or a class in `shares` or a
        field in `fill` is unknown, or no case has the class.
    """
    tile = _tile(split, layouts, patches.axes)
    cases = _cases(split, tile, next(iter(layouts.values())).shape[0], subset)
    spec = PatchSpec(
        size=patches.size,
        tile=tile,
        shift=isinstance(patches, RandomPatches) and patches.border == "shift",
        fill=fill_values(patches.fill, split, layouts),
        finds_classes=isinstance(patches, RandomPatches) and patches.shares is not None,
    )
    return OpenedDraws(_rows(cases), _sampler(patches, cases, split, tile), spec)


def patch_spec(spec: Spec, size: tuple[int, ...]) -> Spec:
    """Return the spec of a field's patches: that of its tiles, but of another size."""
    return replace(spec, shape=(*size, *spec.shape[len(size) :]))


def _tile(split: Split, layouts: Mapping[str, ArrayLayout], axes: int) -> tuple[int, ...]:
    """Return the size of a tile, or of a sample, after a check that all fields have it."""
    of_cases = split.tile_size
    tile = next(iter(layouts.values())).sample_shape[:axes] if of_cases is None else of_cases
    shapes = {name: layout.sample_shape for name, layout in layouts.items()}
    known = _axes(split)
    if (
        len(tile) != axes
        or known not in (None, axes)
        or any(f[:axes] != tile or len(f) - axes not in (0, 1) for f in shapes.values())
    ):
        what = "samples" if of_cases is None else "tiles"
        raise StoreError(
            f"{split.address}: patches with {axes} axes need {what} with {axes} spatial axes, the "
            f"same for every field, found {', '.join(f'{n} {f}' for n, f in shapes.items())}"
            + (f", which have {known}" if known not in (None, axes) else "")
            + ": give the patches as many axes, or choose other fields"
            + look_up("patch-axes")
        )
    return tile


def _axes(split: Split) -> int | None:
    """Return the number of spatial axes of a split; None if only its user knows."""
    if split.tile_size is not None:
        return len(split.tile_size)
    if not split.packed:
        return None
    if mask := split.layouts.get(MASK):
        return len(mask.sample_shape) - split.multi_hot
    images = image_fields(split)
    return len(split.layouts[images[0]].sample_shape) - 1 if images else None


def _cases(split: Split, tile: tuple[int, ...], samples: int, subset: Subset) -> PatchCases:
    table = None if split.tile_size is None else read_case_table(split)
    what, count = ("samples", samples) if table is None else ("cases", len(table))
    ids = chosen_ids(subset, split, count, cases=table is not None)
    nbytes = len(ids) * 8 * (_NUMBERS + len(tile))
    require_memory(split.path, nbytes, f"the numbers of {len(ids):,} {what}")
    numbers = np.asarray(ids, np.int64)
    if table is None:
        sizes = np.broadcast_to(np.array(tile, np.int64), (numbers.size, len(tile)))
        first, tiles = numbers, np.broadcast_to(np.int64(1), numbers.shape)
    else:
        sizes, first = table.sizes[numbers], table.first_tile[numbers]
        tiles = count_tiles(sizes, tile)
    if sizes.astype(np.float64).prod(axis=1).sum() > _MOST_PIXELS:
        raise StoreError(
            f"{split.address}: needed cases of at most {_MOST_PIXELS:,} pixels together"
        )
    if (first[1:] != (first + tiles)[:-1]).any():
        total = int(tiles.sum())
        require_memory(split.path, total * 8 * 3, f"the rows of {total:,} tiles")
    return PatchCases(numbers, sizes, first, tiles)


def _rows(cases: PatchCases) -> Ids:
    """Return the rows of the tiles of all cases."""
    first, total = int(cases.first_tile[0]), int(cases.tiles.sum())
    ends = cases.first_tile + cases.tiles
    if (cases.first_tile[1:] == ends[:-1]).all():
        return range(first, first + total)
    starts = np.cumsum(cases.tiles) - cases.tiles
    rows: NDArray[np.int64] = np.arange(total) + np.repeat(cases.first_tile - starts, cases.tiles)
    return rows


def _sampler(patches: Patches, cases: PatchCases, split: Split, tile: tuple[int, ...]) -> Sampler:
    if isinstance(patches, CoverPatches):
        return CoverDraws(patches, cases)
    if isinstance(patches, GridPatches):
        return GridDraws(patches, cases)
    if patches.shares is None:
        return RandomDraws(patches, cases)
    return forced_draws(patches, cases, _rows(cases), split, tile)
