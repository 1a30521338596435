"""Which pixels does COCO's run-length code cover?

Pure. pycocotools decodes it, too, but does not notice where a code ends early, and then gives
whatever its memory held before; here, a code fits its image or is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_MOST_DIGITS = 12  # 5 bits each: enough for any run that an int64 counts


def runs_of(counts: str | bytes | Sequence[int], pixels: int) -> NDArray[np.int64]:
    """Read a run-length code.

    Parameters
    ----------
    counts
        The lengths of runs outside and inside by turns, outside first, along columns; or these
        compressed, as ``pycocotools.mask.encode`` writes them.
    pixels
        Of the image; so many the runs must cover.

    Returns
    -------
    (n,) int64
        The lengths.

    Raises
    ------
    ValueError
        They do not cover the image exactly, or are no run-length code.

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


def area_of(runs: NDArray[np.int64]) -> int:
    """Count the pixels inside.

    Examples
    --------
    >>> area_of(np.array([1, 3, 2, 4]))
    7
    """
    return int(runs[1::2].sum())


def paint(
    flat: NDArray[np.integer], runs: NDArray[np.int64], number: int, clash: int | None
) -> None:
    """Give the pixels inside a number.

    Parameters
    ----------
    flat
        The image's numbers along its columns; changed in place.
    runs
        What is inside.
    number
        What pixels become.
    clash
        What pixels become that have another number already, other than 0; None for `number`.

    Examples
    --------
    >>> flat = np.array([0, 5, 0, 0])
    >>> paint(flat, np.array([1, 2, 1]), 7, 255)
    >>> flat.tolist()
    [0, 255, 7, 0]
    """
    if runs.size < 2:
        return
    # From the first run inside to the last: a small shape in a large image costs little.
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
    """Undo ``rleToString``: 5 bits a character, low ones first; bit 5 says that more follow.

    From the fourth on, numbers are differences to the last but one.
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
