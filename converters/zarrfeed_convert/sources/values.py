"""Which numbers of an array can be packed, as pixels or as class ids?

Pure: arrays in, arrays out. Values are never clipped, wrapped or rounded silently, except that
float64 is rounded to float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EXACT = 2**24  # float32 holds every integer up to here


def packed_dtype(dtype: np.dtype[Any], name: str) -> str:
    """Return the dtype in which an image is packed.

    Returns
    -------
    str
        uint8 and uint16 stay; booleans become uint8, all other numbers float32.

    Raises
    ------
    SourceError
        The dtype is complex, or not numeric.

    Examples
    --------
    >>> packed_dtype(np.dtype("int16"), "a.npy")
    'float32'
    """
    if dtype.kind not in "buif":
        what = "Python objects, which are never unpickled" if dtype.kind == "O" else str(dtype)
        raise SourceError(f"{name}: needed an array of numbers, found {what}; convert it first")
    if dtype.kind == "b":
        return "uint8"
    return f"uint{8 * dtype.itemsize}" if dtype.kind == "u" and dtype.itemsize <= 2 else "float32"


def packable(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Convert an image to the dtype of :func:`packed_dtype`, in native byte order.

    Raises
    ------
    SourceError
        float32 cannot hold an integer exactly, or a float at all.
    """
    dtype = packed_dtype(values.dtype, name)
    if dtype != "float32":
        return values.astype(dtype, copy=False)
    if values.dtype.kind in "ui" and values.dtype.itemsize > 2 and values.size:
        low, high = int(values.min()), int(values.max())
        if low < -_EXACT or high > _EXACT:
            raise SourceError(
                f"{name}: needed integers that float32 holds exactly, within ±{_EXACT}, "
                f"found {low} … {high}; scale them first"
            )
    with np.errstate(over="ignore"):
        floats = values.astype(np.float32, copy=False)
    if values.dtype.kind == "f" and values.dtype.itemsize > 4:
        beyond = np.isinf(floats) & np.isfinite(values)
        if beyond.any():
            raise SourceError(
                f"{name}: needed values that float32 holds, found {values[beyond][0]}; "
                "scale them first"
            )
    return floats


def packable_target(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Give a target's values as they are packed: integers of up to 32 bits, or floats.

    Raises
    ------
    SourceError
        They are no numbers, or integers that 32 bits do not hold.
    """
    kind, itemsize = values.dtype.kind, values.dtype.itemsize
    if kind == "b":
        return np.ascontiguousarray(values, np.uint8)
    if kind not in "iuf" or itemsize > 8:
        raise SourceError(f"{name}: needed integers or floats, found {values.dtype}")
    if kind == "f" or itemsize <= 4:
        return np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    narrow = np.dtype(f"{kind}4")
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    if low < np.iinfo(narrow).min or high > np.iinfo(narrow).max:
        raise SourceError(
            f"{name}: needed integers that {narrow} holds, found {low} … {high}; scale them first"
        )
    return np.ascontiguousarray(values, narrow)


def ids_of_one_hot(
    values: NDArray[Any], name: str, *, first: int = 0, none: int | None = None
) -> NDArray[Any]:
    """Turn a mask with a channel for each class into class ids.

    Parameters
    ----------
    values
        (H, W, K): in every pixel one channel is 1 (or another number, the same everywhere, such
        as 255) and the others are 0.
    first
        The id of the first channel.
    none
        The id of pixels that are 0 in every channel; None refuses them.

    Returns
    -------
    (H, W) uint8 or uint16
        The channel of the 1, counted from `first`.

    Raises
    ------
    SourceError
        A pixel has no class or several, or a value is neither 0 nor the maximum.
    """
    packed_dtype(values.dtype, name)
    hot = values != 0
    top = values.max(initial=0)
    if np.isnan(top) or not np.array_equal(values, hot * top):
        between = next(value for value in np.unique(values).tolist() if value not in (0, top))
        raise SourceError(
            f"{name}: needed a one-hot mask, found values like {between} besides 0 and {top}; "
            "take the largest one's place first"
        )
    classes = hot.sum(axis=-1)
    missing, several = int((classes == 0).sum()), int((classes > 1).sum())
    if several or (missing and none is None):
        advice = "a pixel has one class: store class ids instead"
        if not several:
            advice = "if these are background, which has no channel, use --mask-map 'one-hot=1,*=0'"
        raise SourceError(
            f"{name}: needed a one-hot mask, one class in every pixel, found {missing} pixels of "
            f"no class and {several} of several; {advice}"
        )
    ids: NDArray[Any] = hot.argmax(axis=-1) + first
    if none is not None:
        ids[classes == 0] = none
    return ids.astype(np.uint8 if ids.max(initial=0) <= 255 else np.uint16)


def in_rows(values: NDArray[Any], axes: int) -> NDArray[Any]:
    """View the planes of a volume as one image, for what is done to every pixel by itself.

    Parameters
    ----------
    values
        (H, W, …), or (D, H, W, …).
    axes
        The number of its spatial axes.

    Examples
    --------
    >>> in_rows(np.zeros((2, 3, 4, 5)), 3).shape, in_rows(np.zeros((3, 4, 5)), 2).shape
    ((6, 4, 5), (3, 4, 5))
    """
    return values.reshape(-1, *values.shape[axes - 1 :])
