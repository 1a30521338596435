"""How do a slope and an intercept, as NIfTI and DICOM have them, change stored values?

Pure functions of arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed_convert.sources.values import packed_dtype

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_AS_STORED = (1, 0)


def rescaled_dtype(
    stored: np.dtype[Any], slope: float, intercept: float, name: str, *, bits: int = 64
) -> str:
    """Return the dtype of ``stored * slope + intercept``, from a header alone.

    Parameters
    ----------
    stored
        Dtype of the stored values.
    slope, intercept
        Factor, and number to add afterwards.
    name
        Name of the file, for errors.
    bits
        Number of bits of stored integers that are used, if not all.

    Returns
    -------
    str
        For stored integers with whole slope and intercept: the smallest signed dtype of up to 32
        bits for all possible values, or float32 if there is none. For other values float32. If
        nothing is scaled, the dtype in which stored values are packed. Integers of 16 bits that
        are only shifted down, by up to 32768, become int16: CT scanners declare 16 bits and use 12
        or 13.

    Raises
    ------
    SourceError
        Stored values are not numbers.

    Examples
    --------
    >>> rescaled_dtype(np.dtype("uint16"), 1, -1024, "ct.dcm", bits=12)
    'int16'
    >>> rescaled_dtype(np.dtype("uint16"), 1, -1024, "ct.nii")
    'int16'
    >>> rescaled_dtype(np.dtype("int16"), 1, 32768, "uint16-by-nibabel.nii")
    'int32'
    >>> rescaled_dtype(np.dtype("int16"), 0.5, 0, "pet.nii")
    'float32'
    """
    packed = packed_dtype(stored, name)
    if (slope, intercept) == _AS_STORED:
        return packed
    whole = float(slope).is_integer() and float(intercept).is_integer()
    if stored.kind == "f" or not whole:
        return "float32"
    bits = min(bits, 8 * stored.itemsize)
    if bits == 16 and slope == 1 and -(2**15) <= intercept <= 0:
        return "int16"  # a value beyond it is an error that names the file
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if stored.kind == "i" else (0, 2**bits - 1)
    ends = [int(slope) * end + int(intercept) for end in (low, high)]
    for dtype in ("int8", "int16", "int32"):
        limits = np.iinfo(dtype)
        if limits.min <= min(ends) and max(ends) <= limits.max:
            return dtype
    return "float32"


def common_dtype(found: Iterable[tuple[str, str]]) -> np.dtype[Any]:
    """Return the dtype for values of several dtypes, from (stored, rescaled) of each.

    Returns
    -------
    np.dtype
        The smallest that holds all of them; but float32 rather than float64 if 32 bits are nowhere
        stored but as float32. Integers of 32 bits are rescaled ones then, and are rounded as others
        that become float32.

    Examples
    --------
    >>> common_dtype([("int16", "int32"), ("int16", "float32")])
    dtype('float32')
    >>> common_dtype([("int32", "int32"), ("float32", "float32")])
    dtype('float64')
    """
    stored, packed = (set(dtypes) for dtypes in zip(*set(found), strict=True))
    common = np.result_type(*packed)
    wide = any(np.dtype(dtype).itemsize >= 4 for dtype in stored - {"float32"})
    return np.dtype(np.float32) if common == np.float64 and not wide else common


def rescaled(values: NDArray[Any], slope: float, intercept: float, dtype: str) -> NDArray[Any]:
    """Return ``values * slope + intercept``, exact or with 64 bits; `values` if nothing is scaled.

    Parameters
    ----------
    values
        Stored values.
    slope, intercept
        As in :func:`rescaled_dtype`.
    dtype
        Result of :func:`rescaled_dtype`, to which
        :func:`zarrfeed_convert.sources.values.fitted` converts and checks the values afterwards.
    """
    if (slope, intercept) == _AS_STORED:
        return values
    if dtype == "float32":
        return values.astype(np.float64) * slope + intercept
    factor, offset = int(slope), int(intercept)
    highest = abs(factor) * 2 ** (8 * values.itemsize) + abs(offset)
    wide = np.int32 if highest < 2**31 else np.int64  # half the memory and time
    return values.astype(wide) * factor + offset
