"""Which sample is it? Its number stands in its first pixels, of the image and of the mask.

So every batch of every loader can be checked: that each sample came once, and that images and
masks have stayed together. Formats are lossless, or they would not pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

_NBYTES = 4  # of a number, little-endian; a float32 pixel holds it as a value (exact to 2^24)


class WrongSamplesError(Exception):
    """A loader did not hand out what it should have."""


def stamp(array: np.ndarray, sample: int) -> None:
    """Write a sample's number into its first pixels, in place."""
    pixels = array.reshape(-1)
    if array.dtype == np.uint8:
        pixels[:_NBYTES] = np.frombuffer(sample.to_bytes(_NBYTES, "little"), np.uint8)
    else:
        pixels[0] = sample


def numbers_of(batch: np.ndarray) -> np.ndarray:
    """Read the numbers of a batch.

    Parameters
    ----------
    batch
        (b, ...) uint8 or float32.

    Returns
    -------
    (b,) int64
    """
    rows = batch.reshape(len(batch), -1)
    if batch.dtype == np.uint8:
        found = np.ascontiguousarray(rows[:, :_NBYTES]).view("<u4").reshape(-1)
        return found.astype(np.int64)
    return rows[:, 0].astype(np.int64)


@dataclass(slots=True)
class Attendance:
    """Who came, in one epoch.

    Attributes
    ----------
    samples
        How many there are.
    """

    samples: int
    _came: list[np.ndarray] = field(default_factory=list)

    def note(self, batch: tuple[Any, ...]) -> None:
        """Note a batch.

        Raises
        ------
        WrongSamplesError
            Its images are not of the same samples as its masks.
        """
        image, mask = (numbers_of(array) for array in batch)
        if not np.array_equal(image, mask):
            raise WrongSamplesError(f"images of the samples {image[:8]}…, masks of {mask[:8]}…")
        self._came.append(image)

    def verdict(self, *, whole: bool) -> str:
        """Say what is wrong with the epoch, or nothing.

        Parameters
        ----------
        whole
            Whether the epoch was gone through to its end: then no more samples may be missing than
            a partial last batch would hold.

        Returns
        -------
        str
            Empty if every sample came once.
        """
        came = np.concatenate(self._came) if self._came else np.empty(0, np.int64)
        if came.size and not 0 <= came.min() <= came.max() < self.samples:
            return f"samples from {came.min()} to {came.max()}, there are {self.samples}"
        counts = np.bincount(came, minlength=self.samples)
        wrong = []
        if repeated := int((counts > 1).sum()):
            wrong.append(f"{repeated} samples repeated")
        missing = int((counts == 0).sum())
        if whole and missing > (self.samples % len(self._came[0]) if self._came else 0):
            wrong.append(f"{missing} samples missing")
        return ", ".join(wrong)
