"""Which tile size suits the cases of a split?

Pure: from the sizes of the cases alone, so that the same cases get the same tiles everywhere.
"""

from __future__ import annotations

from statistics import median_high
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed_convert.geometry import size_text
from zarrfeed_convert.planning.layout import Decision

if TYPE_CHECKING:
    from collections.abc import Collection

    from zarrfeed_convert.geometry import Size

# About half of the patches that networks are trained with: in smaller tiles, a patch touches many;
# of larger ones, it reads much that it does not need.
_TARGETS = {2: 256, 3: 64}
_MOST = max(_TARGETS.values())  # also where other axes are thin
_STEP = 8


def auto_tile(sizes: Collection[Size]) -> tuple[Size, Decision]:
    """Choose the tile size of a split of cases, so that little is padded.

    Tiles of images have about 256×256 pixels, of volumes 64×64×64 voxels. Along each axis, the
    median extent is divided into equal tiles of at most this target. Where extents differ, tiles
    are a multiple of 8. An axis within the target is not divided; in volumes, tiles are then longer
    along the other axes, up to 256.

    Parameters
    ----------
    sizes
        (H, W) or (D, H, W) of each case, in pixels.

    Returns
    -------
    tile, decision
        Tile size with as many axes as the cases, in pixels, and the reason.

    Raises
    ------
    SourceError
        There is no case, or images are beside volumes.

    Examples
    --------
    >>> auto_tile([(1080, 1920)] * 3)[0]
    (216, 240)
    >>> auto_tile([(100, 512, 512), (130, 512, 512), (97, 512, 512)])[0]
    (56, 64, 64)
    >>> auto_tile([(20, 320, 320)] * 3)[0]
    (20, 107, 107)
    """
    axes = {len(size) for size in sizes}
    if len(axes) != 1 or not axes <= _TARGETS.keys():
        found = " beside ".join(f"cases of {count} axes" for count in sorted(axes)) or "none"
        raise SourceError(
            f"tile auto: needed images (H, W) or volumes (D, H, W), found {found}; pack each kind "
            "into a dataset of its own"
        )
    columns = [*zip(*sizes, strict=True)]
    middles = [max(1, median_high(column)) for column in columns]  # 0 is refused elsewhere
    targets = _targets(middles, [len(set(column)) > 1 for column in columns])
    tile = tuple(
        _divided(middle, target, column)
        for middle, target, column in zip(middles, targets, columns, strict=True)
    )
    usual = size_text((_TARGETS[len(tile)],) * len(tile))
    reason = (
        f"at most as many pixels as {usual}; a case of the median size, "
        f"{size_text(tuple(middles))}, is divided with {_padding(middles, tile):.0%} padding"
    )
    return tile, Decision("tile", size_text(tile), reason)


def _targets(middles: list[int], differ: list[bool]) -> list[int]:
    """Return the most that a tile has along each axis.

    An axis that is not divided leaves its part of the voxels to the other axes.
    """
    usual = _TARGETS[len(middles)]
    targets: dict[int, int] = {}
    # From the shortest axis, because each that is not divided makes the others' target larger.
    for axis in sorted(range(len(middles)), key=lambda axis: middles[axis]):
        left = usual ** len(middles)
        for other in targets.values():
            left //= other
        target = min(_root(left, len(middles) - len(targets)) // _STEP * _STEP, _MOST)
        whole = _up(middles[axis]) if differ[axis] else middles[axis]
        targets[axis] = min(target, whole)
    return [targets[axis] for axis in range(len(middles))]


def _divided(middle: int, target: int, extents: tuple[int, ...]) -> int:
    """Return the extent of tiles that divide the median extent evenly."""
    tile = -(-middle // -(-middle // target))
    longest = max(extents)
    return tile if min(extents) == longest else min(_up(tile), longest)


def _padding(size: list[int], tile: Size) -> float:
    """Return the share of stored pixels that are padding in a case of a size."""
    filled = 1.0
    for extent, step in zip(size, tile, strict=True):
        filled *= extent / (-(-extent // step) * step)
    return 1 - filled


def _up(extent: int) -> int:
    return -(-extent // _STEP) * _STEP


def _root(number: int, degree: int) -> int:
    """Return the largest integer whose power is at most a number."""
    root = int(number ** (1 / degree) + 0.5)
    return root - int(root**degree > number)
