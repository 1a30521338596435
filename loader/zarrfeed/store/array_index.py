"""Which box does an index ask for, and what becomes of the box afterwards?

Pure. Covers what NumPy calls basic indexing: integers, slices, ``...`` and ``None``.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from zarrfeed.store.tile_grid import Box

_WHOLE, _REVERSED = slice(None), slice(None, None, -1)


class BoxIndex(NamedTuple):
    """A box, and the index of it that gives what was asked for.

    Attributes
    ----------
    box
        A slice per axis, inside the array, with a positive step.
    shape
        Shape of the box.
    then
        The index to apply to the box: it drops, reverses and adds axes.
    """

    box: Box
    shape: tuple[int, ...]
    then: tuple[int | slice | None, ...]


def box_index(index: Any, shape: tuple[int, ...]) -> BoxIndex:
    """Turn an index into a box of positive steps.

    Parameters
    ----------
    index
        As in ``array[index]``.
    shape
        Shape of the array.

    Raises
    ------
    IndexError
        The index has too many axes, is out of range, or is not basic.

    Examples
    --------
    >>> box_index((-1, ..., slice(None, None, -2)), (4, 5, 6))
    BoxIndex(box=(slice(3, 4, 1), slice(0, 5, 1), slice(1, 6, 2)), shape=(1, 5, 3), then=(0, \
slice(None, None, None), slice(None, None, -1)))
    """
    box: list[slice] = []
    extents: list[int] = []
    then: list[int | slice | None] = []
    for each in _completed(index if isinstance(index, tuple) else (index,), shape):
        if each is None:
            then.append(None)
            continue
        axis = len(box)
        part, extent, after = _along(each, shape[axis], axis)
        box.append(part)
        extents.append(extent)
        then.append(after)
    return BoxIndex(tuple(box), tuple(extents), tuple(then))


def _completed(index: tuple[Any, ...], shape: tuple[int, ...]) -> list[Any]:
    """Replace ``...``, or the end that is left out, by whole axes."""
    used = sum(each is not None and each is not Ellipsis for each in index)
    dots = [number for number, each in enumerate(index) if each is Ellipsis]
    if used > len(shape) or len(dots) > 1:
        raise IndexError(
            f"needed an index of at most {len(shape)} axes with one '...', found {index!r:.200}"
        )
    whole = [slice(None)] * (len(shape) - used)
    at = dots[0] if dots else len(index)
    return [*index[:at], *whole, *index[at + 1 :]]


def _along(index: Any, extent: int, axis: int) -> tuple[slice, int, int | slice]:
    if isinstance(index, slice):
        start, stop, step = index.indices(extent)
        count = len(range(start, stop, step))
        if not count:
            return slice(0, 0, 1), 0, _WHOLE
        if step > 0:
            return slice(start, stop, step), count, _WHOLE
        return slice(start + (count - 1) * step, start + 1, -step), count, _REVERSED
    try:
        if isinstance(index, bool | np.bool_ | np.ndarray):
            raise TypeError
        number = operator.index(index)
    except TypeError:
        raise IndexError(
            f"needed integers, slices, '...' and None, found {index!r:.200}: read a box, and index "
            "the array that it gives"
        ) from None
    if not -extent <= number < extent:
        raise IndexError(f"index {number} is out of range for axis {axis} of extent {extent}")
    number %= extent
    return slice(number, number + 1, 1), 1, 0
