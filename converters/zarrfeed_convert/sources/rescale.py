"""What do stored numbers become by a slope and an intercept, as NIfTI and DICOM have them?

Pure: arrays in, arrays out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed_convert.sources.values import packed_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AS_STORED = (1, 0)


def rescaled_dtype(
    stored: np.dtype[Any], slope: float, intercept: float, name: str, *, bits: int = 64
) -> str:
    """Return the dtype of ``stored * slope + intercept``, by what a header says.

    Parameters
    ----------
    stored
        The dtype of stored values.
    slope, intercept
        What they are multiplied by; what is added then.
    name
        For errors.
    bits
        How many bits of stored integers are used, if not all.

    Returns
    -------
    str
        Of integers, if slope and intercept are whole numbers: the smallest signed dtype that holds
        whatever the bits may mean, if 32 bits do. Else float32. Where nothing is scaled, the dtype
        in which stored values are packed.

    Raises
    ------
    SourceError
        Stored values are no numbers.

    Examples
    --------
    >>> rescaled_dtype(np.dtype("uint16"), 1, -1024, "ct.dcm", bits=12)
    'int16'
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
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if stored.kind == "i" else (0, 2**bits - 1)
    ends = [int(slope) * end + int(intercept) for end in (low, high)]
    for dtype in ("int8", "int16", "int32"):
        limits = np.iinfo(dtype)
        if limits.min <= min(ends) and max(ends) <= limits.max:
            return dtype
    return "float32"


def rescaled(values: NDArray[Any], slope: float, intercept: float, dtype: str) -> NDArray[Any]:
    """Return ``values * slope + intercept``: in 64 bits, unless nothing is scaled.

    Parameters
    ----------
    values
        As they are stored.
    slope, intercept
        As in :func:`rescaled_dtype`.
    dtype
        What that has returned. Values that it does not hold are none that the header promised: see
        :func:`zarrfeed_convert.sources.values.fitted`.
    """
    if (slope, intercept) == _AS_STORED:
        return values
    if dtype == "float32":
        return values.astype(np.float64) * slope + intercept
    return values.astype(np.int64) * int(slope) + int(intercept)
