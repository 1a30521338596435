"""Which tile size suits the cases of a split, and how much does one pad?

Pure: from the sizes of the cases alone, so that the same cases get the same tiles everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed.spelling import share_text
from zarrfeed.store.tile_arrays import USUAL_EXTENT
from zarrfeed_convert.geometry import size_text

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from zarrfeed_convert.geometry import Size

_MOST = max(USUAL_EXTENT.values())  # also where other axes are thin
_STEP = 8
_HALVED = 16  # U-Nets halve sizes four times or more
# A read of a tile costs a call and an entry of the index, beside its pixels: as much as this share
# of the largest tile. Without it, the smallest tiles were the best, since they pad least.
_OVERHEAD = 1 / 32
# A tile that costs so little more than another is as good: its other merits count.
_TIED = 1.02


_LARGEST = 1 << 62  # a claim, of which there are too many tiles anyway


def auto_tile(sizes: Collection[Size]) -> Size:
    """Choose the tile size of a split of cases, so that little is padded.

    Tiles have at most 256×256 pixels, in volumes 64×64×64 voxels; their extents are multiples of 8.
    Of these, the tile is chosen with which all cases together have the fewest stored pixels, where
    every tile counts as if it had some more, so that tiles are not needlessly small. Of tiles that
    differ by less than 2 %, those of multiples of 16 are preferred, then larger ones. An axis
    within the target that all cases have in common is not divided. In volumes, tiles are longer
    than 64 where other axes are shorter, up to 256. No extent is below half of the target, or of
    the median extent of the cases.

    Parameters
    ----------
    sizes
        (H, W) or (D, H, W) of each case, in pixels.

    Returns
    -------
    tuple
        Tile size with as many axes as the cases, in pixels.

    Raises
    ------
    SourceError
        There is no case, or images are beside volumes.

    Examples
    --------
    >>> auto_tile([(1080, 1920)] * 3)
    (216, 240)
    >>> auto_tile([(100, 512, 512), (130, 512, 512), (97, 512, 512)])
    (56, 64, 64)
    >>> auto_tile([(20, 320, 320)] * 3)
    (20, 80, 80)
    """
    axes = {len(size) for size in sizes}
    if len(axes) != 1 or not axes <= USUAL_EXTENT.keys():
        found = " beside ".join(f"cases of {count} axes" for count in sorted(axes)) or "none"
        raise SourceError(
            f"tile auto: needed images (H, W) or volumes (D, H, W), found {found}; pack each kind "
            "into a dataset of its own"
        )
    unique, counts = _unique(sizes)
    candidates = _candidates(unique, counts)
    stored = _stored(unique, counts, candidates)
    usual = [np.array([USUAL_EXTENT[unique.shape[1]]])] * unique.shape[1]
    stored[stored > _stored(unique, counts, usual).item()] = np.inf  # plain tiles would do better
    largest = USUAL_EXTENT[unique.shape[1]] ** unique.shape[1]
    tile_pixels = _products(candidates)
    cost = stored * (1 + _OVERHEAD * largest / tile_pixels)
    tied = np.argwhere(cost <= cost.min() * _TIED)
    tiles = [
        tuple(int(steps[at]) for steps, at in zip(candidates, place, strict=True))
        for place in tied.tolist()
    ]
    return max(tiles, key=_merit)


def padded_share(sizes: Collection[Size], tile: Size) -> float:
    """Return the share of the stored pixels of all cases that are padding, 0 … 1.

    Parameters
    ----------
    sizes
        (H, W) or (D, H, W) of each case, in pixels.
    tile
        Tile size, with as many axes.

    Examples
    --------
    >>> padded_share([(4, 6), (8, 2)], (4, 4))
    0.375
    """
    unique, counts = _unique(sizes)
    stored = _stored(unique, counts, [np.array([step]) for step in tile]).item()
    own = float(counts @ unique.astype(np.float64).prod(axis=1))
    return 1 - own / stored if stored else 0.0


def _unique(sizes: Collection[Size]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the different sizes, (n, axes), and how many cases have each."""
    known = [[min(extent, _LARGEST) for extent in size] for size in sizes]
    unique, counts = np.unique(np.array(known, np.int64), axis=0, return_counts=True)
    return unique, counts.astype(np.int64)


def _candidates(sizes: NDArray[np.int64], counts: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the extents that tiles may have along each axis.

    An axis that is not divided leaves its part of the voxels to the other axes.
    """
    axes = sizes.shape[1]
    least, most = (np.maximum(end(axis=0), 1).tolist() for end in (sizes.min, sizes.max))
    found: dict[int, NDArray[np.int64]] = {}
    budget = USUAL_EXTENT[axes] ** axes
    # From the shortest axis, because each that is not divided makes the others' target larger.
    for axis in sorted(range(axes), key=most.__getitem__):
        target = min(_root(budget, axes - len(found)) // _STEP * _STEP, _MOST)
        if least[axis] == most[axis] <= target:
            found[axis] = np.array([most[axis]])
        else:
            longest = min(target, _up(most[axis]))
            half = min(longest, _median(sizes[:, axis], counts)) // 2
            found[axis] = np.arange(_up(max(1, half)), longest + 1, _STEP)
        budget //= int(found[axis][-1])
    return [found[axis] for axis in range(axes)]


def _median(extents: NDArray[np.int64], counts: NDArray[np.int64]) -> int:
    return int(np.sort(np.repeat(extents, counts))[counts.sum() // 2])


def _stored(
    sizes: NDArray[np.int64], counts: NDArray[np.int64], candidates: list[NDArray[np.int64]]
) -> NDArray[np.float64]:
    """Return the stored pixels of all cases, with one axis for the candidates of each.

    Sums of float64 are exact up to 2**53 pixels.
    """
    along = [
        (-(-sizes[:, axis] // steps[:, None]) * steps[:, None]).astype(np.float64)
        for axis, steps in enumerate(candidates)
    ]
    stored = counts.astype(np.float64)
    for one in along[:-1]:
        stored = stored[..., None, :] * one
    return np.asarray(stored @ along[-1].T)


def _products(candidates: list[NDArray[np.int64]]) -> NDArray[np.float64]:
    """Return the pixels of every tile, with one axis for the candidates of each."""
    return _stored(np.ones((1, len(candidates)), np.int64), np.ones(1, np.int64), candidates)


def _merit(tile: Size) -> tuple[int, int, int, Size]:
    """Return what orders tiles that store about as few pixels."""
    halved = sum(step % _HALVED == 0 for step in tile)
    return halved, int(np.prod(tile)), min(tile), tile


def about_padded(sizes: Collection[Size], tile: Size) -> str:
    """Say how much of what is stored is padding.

    Examples
    --------
    >>> about_padded([(4, 6), (8, 2)], (4, 4))
    '38% of the stored pixels are padding'
    >>> about_padded([(30, 40)], (64, 64))
    '71% of the stored pixels are padding; the tile is larger than every case (at most 30x40)'
    """
    share = padded_share(sizes, tile)
    said = f"{share_text(share)} of the stored {unit_of(tile)} are padding"
    largest = tuple(map(max, zip(*sizes, strict=True)))
    # Rounded up to 8, a tile that was chosen may be, too.
    if all(step >= extent + _STEP for step, extent in zip(tile, largest, strict=True)):
        said += f"; the tile is larger than every case (at most {size_text(largest)})"
    return said


def unit_of(tile: Size) -> str:
    """Return the name of the elements of a tile: pixels, or voxels of volumes."""
    return "voxels" if len(tile) == 3 else "pixels"


def _up(extent: int) -> int:
    return -(-extent // _STEP) * _STEP


def _root(number: int, degree: int) -> int:
    """Return the largest integer whose power is at most a number."""
    root = int(number ** (1 / degree) + 0.5)
    return root - int(root**degree > number)
