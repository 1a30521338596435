"""Which values of an array can be packed, as pixels, as class ids or as a target?

Pure functions of arrays. Values are never clipped or wrapped. Only floats are rounded: to float32
if a file scales its values, and to float64 if they are wider.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable

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


def stacked(parts: Iterable[NDArray[Any]], count: int) -> NDArray[Any]:
    """Stack arrays of one shape one by one, so that no two of them need to exist at once.

    Parameters
    ----------
    parts
        The arrays, at least one. Their dtypes may differ.
    count
        How many they are.

    Examples
    --------
    >>> stacked((np.full(2, value, dtype) for value, dtype in ((1, "uint8"), (500, "uint16"))), 2)
    array([[  1,   1],
           [500, 500]], dtype=uint16)
    """
    found: NDArray[Any] | None = None
    for number, part in enumerate(parts):
        if found is None:
            found = np.empty((count, *part.shape), part.dtype)
        if part.dtype != found.dtype:
            found = found.astype(np.promote_types(found.dtype, part.dtype))
        found[number] = part
    assert found is not None
    return found


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
