"""How are run-length codes decoded and drawn?

Pure functions. Codes are decoded here, since pycocotools returns uninitialised memory for truncated
ones. A code must cover its image exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_MOST_DIGITS = 12  # 5 bits each: enough for any run that an int64 counts


def runs_of(counts: str | bytes | Sequence[int], pixels: int) -> NDArray[np.int64]:
    """Decode a run-length code.

    Parameters
    ----------
    counts
        Lengths of runs along columns, alternately outside and inside the shape, outside first; or
        these lengths compressed, as ``pycocotools.mask.encode`` writes them.
    pixels
        Number of pixels of the image.

    Returns
    -------
    ndarray
        (n,) int64 lengths.

    Raises
    ------
    ValueError
        The runs do not cover the image exactly, or `counts` is not a run-length code.

    Examples
    --------
    >>> runs_of("13", 4).tolist()
    [1, 3]
    """
    if isinstance(counts, str):
        counts = counts.encode("ascii")
    runs = _decompressed(counts) if isinstance(counts, bytes) else _listed(counts)
    if runs.size and int(runs.min()) < 0:
        raise ValueError(f"a run of {runs.min()} pixels")
    covered = sum(runs.tolist())
    if covered != pixels:
        raise ValueError(f"runs of {covered} pixels in all for an image of {pixels}")
    return runs


def runs_of_pixels(inside: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Encode the pixels of a shape, (H, W) bool, along columns.

    Examples
    --------
    >>> runs_of_pixels(np.array([[False, True], [True, True]])).tolist()
    [1, 3]
    """
    flat = inside.ravel("F")
    ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = [0] if flat.size and flat[0] else []
    return np.diff(np.concatenate([[0], starts, ends, [flat.size]])).astype(np.int64)


def pixels_of_runs(runs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Decode runs, alternately outside and inside, outside first, to one value per pixel.

    Examples
    --------
    >>> pixels_of_runs(np.array([1, 3])).tolist()
    [False, True, True, True]
    """
    return np.repeat(np.arange(runs.size) % 2 == 1, runs)


def area_of(runs: NDArray[np.int64]) -> int:
    """Return the number of pixels inside the shape.

    Examples
    --------
    >>> area_of(np.array([1, 3, 2, 4]))
    7
    """
    return int(runs[1::2].sum())


def paint(
    flat: NDArray[np.integer], runs: NDArray[np.int64], number: int, clash: int | None
) -> None:
    """Set the pixels inside a shape to a number.

    Parameters
    ----------
    flat
        (H·W,) numbers of the image's pixels along columns; changed in place.
    runs
        Run-length code of the shape; see :func:`runs_of`.
    number
        New number of the pixels.
    clash
        New number of pixels that have another number than 0 and `number`; None for `number`.

    Examples
    --------
    >>> flat = np.array([0, 5, 0, 0])
    >>> paint(flat, np.array([1, 2, 1]), 7, 255)
    >>> flat.tolist()
    [0, 255, 7, 0]
    """
    if runs.size < 2:
        return
    # Only the part from the first run inside to the last is processed: small shapes are fast.
    inner = runs[1 : runs.size - runs.size % 2]
    begin = int(runs[0])
    window = flat[begin : begin + int(inner.sum())]
    inside = np.repeat(np.arange(inner.size) % 2 == 0, inner)
    if clash is None:
        window[inside] = number
        return
    taken = inside & (window != 0) & (window != number)
    window[inside] = number
    window[taken] = clash


def _listed(counts: Sequence[int]) -> NDArray[np.int64]:
    runs = np.array(counts)
    if runs.ndim != 1 or (runs.size and runs.dtype.kind not in "iu"):
        raise ValueError("lengths that are no integers")
    return runs.astype(np.int64)


def _decompressed(code: bytes) -> NDArray[np.int64]:
    """Undo ``rleToString``: 5 bits per character, low ones first; bit 5 says that more follow.

    From the fourth number on, each is stored as the difference from the last but one.
    """
    digits = np.frombuffer(code, np.uint8).astype(np.int64) - 48
    if not digits.size:
        return digits
    if digits.min() < 0 or digits.max() > 63 or digits[-1] & 32:
        raise ValueError("text that is no compressed run-length code, or ends early")
    last = np.flatnonzero(digits & 32 == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    if int((last - first).max()) >= _MOST_DIGITS:
        raise ValueError("text that is no compressed run-length code")
    place = np.arange(digits.size) - np.repeat(first, last - first + 1)
    numbers: NDArray[np.int64] = np.add.reduceat((digits & 31) << (5 * place), first)
    negative = digits[last] & 16 != 0
    numbers[negative] -= np.int64(1) << (5 * (last - first + 1)[negative])
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
