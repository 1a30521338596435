"""Check that a loader delivers every sample once, and every image with its own mask.

The number of a sample is in the first pixels of its image and of its mask. The formats must
therefore be lossless.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

_NBYTES = 4  # little-endian in uint8 pixels; in float32, one pixel has the value (exact to 2^24)


class WrongSamplesError(Exception):
    """A loader delivered wrong samples."""


def stamp(array: np.ndarray, sample: int) -> None:
    """Write a sample's number into its first pixels, in place."""
    pixels = array.reshape(-1)
    if array.dtype == np.uint8:
        pixels[:_NBYTES] = np.frombuffer(sample.to_bytes(_NBYTES, "little"), np.uint8)
    else:
        pixels[0] = sample


def numbers_of(batch: np.ndarray) -> np.ndarray:
    """Read the sample numbers of a batch.

    Parameters
    ----------
    batch
        (b, ...) uint8 or float32 array.

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
class SampleCounts:
    """Counts the samples of one epoch.

    Attributes
    ----------
    samples
        Number of samples in the workload.
    """

    samples: int
    _came: list[np.ndarray] = field(default_factory=list)

    def note(self, batch: tuple[Any, ...]) -> None:
        """Count a batch.

        Raises
        ------
        WrongSamplesError
            The images and masks of the batch belong to different samples.
        """
        image, mask = (numbers_of(array) for array in batch)
        if not np.array_equal(image, mask):
            raise WrongSamplesError(
                f"needed images and masks of the same samples, found images of {image[:8]}… and "
                f"masks of {mask[:8]}…"
            )
        self._came.append(image)

    def verdict(self, *, whole: bool) -> str:
        """Describe what is wrong with the epoch.

        Parameters
        ----------
        whole
            Whether the epoch was read to its end. Then only the samples of a partial last batch may
            be missing.

        Returns
        -------
        str
            Empty if every sample came once.
        """
        came = np.concatenate(self._came) if self._came else np.empty(0, np.int64)
        if came.size and not 0 <= came.min() <= came.max() < self.samples:
            return f"samples from {came.min()} to {came.max()}, but there are {self.samples}"
        counts = np.bincount(came, minlength=self.samples)
        wrong = []
        if repeated := int((counts > 1).sum()):
            wrong.append(f"{repeated} samples repeated")
        missing = int((counts == 0).sum())
        if whole and missing > (self.samples % len(self._came[0]) if self._came else 0):
            wrong.append(f"{missing} samples missing")
        return ", ".join(wrong)
