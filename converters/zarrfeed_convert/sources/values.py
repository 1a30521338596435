"""Which values of an array can be packed, as pixels, as class ids or as a target?

Pure functions of arrays. Values are never clipped or wrapped. Only floats are rounded: to float32
if a file scales its values, and to float64 if they are wider.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


def packed_dtype(dtype: np.dtype[Any], name: str) -> str:
    """Return the dtype in which an image or a target is packed.

    Returns
    -------
    str
        Integers of up to 32 bits and floats of up to 64 keep their dtype. Wider integers become 32
        bits, wider floats 64 bits, and booleans uint8.

    Raises
    ------
    SourceError
        The dtype is complex or not numeric.

    Examples
    --------
    >>> [packed_dtype(np.dtype(dtype), "a.npy") for dtype in (">i2", "int64", "bool", "float16")]
    ['int16', 'int32', 'uint8', 'float16']
    """
    if dtype.kind not in "buif":
        what = "Python objects, which are never unpickled" if dtype.kind == "O" else str(dtype)
        raise SourceError(f"{name}: needed an array of numbers, found {what}; convert it first")
    if dtype.kind == "b":
        return "uint8"
    widest = 8 if dtype.kind == "f" else 4
    return np.dtype(f"{dtype.kind}{min(dtype.itemsize, widest)}").name


def packable(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Convert an array to the dtype of :func:`packed_dtype`, in native byte order.

    Raises
    ------
    SourceError
        Values are not numbers, integers that do not fit into 32 bits, or finite floats that do
        not fit into 64.
    """
    return fitted(values, packed_dtype(values.dtype, name), name)


def fitted(values: NDArray[Any], dtype: DTypeLike, name: str) -> NDArray[Any]:
    """Convert integers to a dtype of integers, or floats to one of floats, that may be smaller.

    Raises
    ------
    SourceError
        It does not hold the integers, or a finite float is beyond its limits.
    """
    if values.dtype.itemsize <= np.dtype(dtype).itemsize:
        return values.astype(dtype, copy=False)
    if values.dtype.kind != "f":
        low, high, limits = int(values.min(initial=0)), int(values.max(initial=0)), np.iinfo(dtype)
        if low < limits.min or high > limits.max:
            raise SourceError(
                f"{name}: needed integers that {limits.dtype} holds, found {low} … {high}; "
                "scale them first"
            )
        return values.astype(dtype)
    with np.errstate(over="ignore"):
        floats = values.astype(dtype)
    beyond = np.isinf(floats) & np.isfinite(values)
    if beyond.any():
        raise SourceError(
            f"{name}: needed values that {floats.dtype} holds, found {values[beyond][0]}; "
            "scale them first"
        )
    return floats


def ones_of_multi_hot(values: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Convert a mask with one channel per class, of which a pixel may have several, to 0 and 1.

    Parameters
    ----------
    values
        (H, W, K). Channels hold 0, and 1, 255 or 65535, the same number everywhere.
    name
        Name of the mask, for errors.

    Returns
    -------
    ndarray
        (H, W, K) uint8, 0 and 1.

    Raises
    ------
    SourceError
        There are other values.
    """
    packed_dtype(values.dtype, name)
    ones = values != 0
    top = values.max(initial=0)
    if top not in (0, 1, 255, 65535) or not np.array_equal(values, ones * top):
        others = [value for value in np.unique(values).tolist() if value not in (0, 1, 255, 65535)]
        found = f"values like {others[0]}" if others else f"besides 0 both 1 and {top}"
        raise SourceError(
            f"{name}: needed a multi-hot mask, in each channel 0 and 1 (or 255), found {found}; "
            "make all of a class 1; masks of ids need no --mask-map multi-hot"
        )
    return np.asarray(ones, np.uint8)


def ids_of_one_hot(
    values: NDArray[Any], name: str, *, first: int = 0, none: int | None = None
) -> NDArray[Any]:
    """Convert a mask with one channel per class to class ids.

    Parameters
    ----------
    values
        (H, W, K). In every pixel, one channel is 1, or another number that is the same everywhere,
        such as 255; the others are 0.
    name
        Name of the mask, for errors.
    first
        Id of the first channel.
    none
        Id of pixels that are 0 in every channel; None if there must be no such pixels.

    Returns
    -------
    ndarray
        (H, W) uint8 or uint16: index of the channel that is not 0, plus `first`.

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
            "store the index of the largest channel (argmax) instead"
        )
    classes = hot.sum(axis=-1)
    missing, several = int((classes == 0).sum()), int((classes > 1).sum())
    if several or (missing and none is None):
        advice = "use --mask-map multi-hot if a pixel may have several classes, or none"
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
    """Return a view of a volume's planes as one image, for operations on single pixels.

    Parameters
    ----------
    values
        (H, W, …) or (D, H, W, …).
    axes
        Number of spatial axes.

    Examples
    --------
    >>> in_rows(np.zeros((2, 3, 4, 5)), 3).shape, in_rows(np.zeros((3, 4, 5)), 2).shape
    ((6, 4, 5), (3, 4, 5))
    """
    return values.reshape(-1, *values.shape[axes - 1 :])
