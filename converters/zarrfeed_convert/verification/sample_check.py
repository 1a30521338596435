"""Is a sample in the store the one that was packed?

Pure functions of decoded pixels and of what is recorded about them. They return findings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from zarrfeed.store.schema import CHANNEL_SUMS, CLASS_PIXELS, DHASH, DIGEST, IMAGE, MASK
from zarrfeed_convert.class_counts import class_counts
from zarrfeed_convert.shards.difference_hash import difference_hash
from zarrfeed_convert.shards.samples import has_class_axis, sample_digest
from zarrfeed_convert.shards.statistics import channel_sums
from zarrfeed_convert.source import whole_window

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    from zarrfeed_convert.source import Sample

# The last digits of a sum of floats, and of the squares of 32-bit integers, depend on the order in
# which a machine adds.
_PRECISION = 1e-9


@dataclass(frozen=True, slots=True)
class Expected:
    """What is recorded about n samples; None for what is not recorded.

    Attributes
    ----------
    digest
        (n,) uint64.
    class_pixels
        (n, K) pixels of each class.
    channel_sums
        (n, C, 2 or 3) float64: of the channels of all images.
    dhash
        (n,) uint64, difference hashes of the image.
    images
        The fields that are images.
    own_size
        (n, 2 or 3) int64, sizes of the parts of tiles of cases that are not padded: statistics are
        of these. None for other samples.
    """

    digest: NDArray[np.uint64] | None
    class_pixels: NDArray[np.integer[Any]] | None
    channel_sums: NDArray[np.float64] | None
    dhash: NDArray[np.uint64] | None
    images: tuple[str, ...]
    own_size: NDArray[np.int64] | None = None

    def part(self, which: slice) -> Expected:
        """Return the part for some of the samples."""
        return Expected(
            None if self.digest is None else self.digest[which],
            None if self.class_pixels is None else self.class_pixels[which],
            None if self.channel_sums is None else self.channel_sums[which],
            None if self.dhash is None else self.dhash[which],
            self.images,
            None if self.own_size is None else self.own_size[which],
        )

    def own(self, sample: Sample) -> Sample:
        """Return a sample (n = 1) without the padding of tiles of cases."""
        if self.own_size is None:
            return sample
        part = whole_window(self.own_size[0].tolist())
        return {name: values[part] for name, values in sample.items()}


@dataclass(frozen=True, slots=True)
class SampleFinding:
    """A sample that differs from what is recorded about it.

    Attributes
    ----------
    row
        Index of the sample in the split.
    kind
        As in :class:`~zarrfeed_convert.verification.findings.Problem`.
    what
        The message, without the name of the sample.
    blamed
        Names of the arrays that are damaged, or of all candidates.
    """

    row: int
    kind: Literal["sample-damaged", "sample-changed", "array", "statistics"]
    what: str
    blamed: tuple[str, ...]


def check_sample(
    row: int,
    sample: Sample,
    expected: Expected,
    states: Mapping[str, str],
) -> list[SampleFinding]:
    """Compare a sample with what is recorded about it.

    Parameters
    ----------
    row
        Index of the sample in the split.
    sample
        The sample as stored.
    expected
        What is recorded about this sample alone (n = 1).
    states
        Field → state of the file that holds the sample; see
        :class:`~zarrfeed_convert.verification.file_check.FileFinding`.
    """
    own = expected.own(sample)
    statistics = _check_sums(own, expected) + _check_hash(own, expected)
    if MASK in sample:
        multi_hot = has_class_axis(sample)
        statistics += _check_counts(own[MASK], expected, multi_hot=multi_hot)
    if expected.digest is not None:
        needed, found = int(expected.digest[0]), sample_digest(sample)
        if needed != found:
            what = f"needed pixels of digest {needed:016x}, found {found:016x}"
            return [_changed(row, what, [name for name, *_ in statistics], states)]
    return [SampleFinding(row, "statistics", what, (array,)) for _, array, what in statistics]


def _changed(
    row: int, what: str, differing: Collection[str], states: Mapping[str, str]
) -> SampleFinding:
    """Return the finding on a changed sample: the file with other pixels, or a wrong digest."""
    if set(states.values()) == {"good"}:
        why = "but its shard files are unchanged: the recorded digest is damaged"
        return SampleFinding(row, "array", f"{what}, {why}", (DIGEST,))
    damaged = [field for field, state in states.items() if state == "damaged"]
    # If both files are damaged, the damage of one may concern other samples.
    blamed = [field for field in damaged if field in differing] or damaged or [*differing]
    todo = "restore the file, or convert again"
    return SampleFinding(row, "sample-changed", f"{what}; {todo}", tuple(blamed) or tuple(states))


# A field with wrong statistics, the array that records them, and the message.
_Wrong: TypeAlias = tuple[str, str, str]


def _check_sums(sample: Sample, expected: Expected) -> list[_Wrong]:
    """Compare the sums of the channels of each image."""
    if expected.channel_sums is None:
        return []
    wrong, at, recorded = [], 0, expected.channel_sums[0]
    for name in expected.images:
        image = sample[name]
        found = recorded[at : at + image.shape[-1]]
        at += image.shape[-1]
        what = _other_sums(image, found)
        if what:
            wrong.append((name, CHANNEL_SUMS, what))
    return wrong


def _other_sums(image: NDArray[Any], found: NDArray[np.float64]) -> str:
    """Return the message if the channel sums of an image are not the recorded ones; else empty."""
    needed = channel_sums(image)[:, : found.shape[-1]]
    if np.array_equal(needed, found):
        return ""
    exact = image.dtype.kind in "ui" and image.dtype.itemsize <= 2
    if not exact and needed.shape == found.shape:
        with np.errstate(over="ignore", invalid="ignore"):  # damaged arrays may have any values
            # The error of a sum of n numbers is relative to that of their magnitudes, ≤ √(n·Σx²).
            margin = _PRECISION * np.sqrt(image[..., 0].size * needed[:, 1:])
            if np.isclose(found, needed, rtol=_PRECISION, atol=margin, equal_nan=True).all():
                return ""
    return f"needed the channel sums {needed.tolist()}, found {found.tolist()}"


def _check_hash(sample: Sample, expected: Expected) -> list[_Wrong]:
    """Compare the difference hash of the image."""
    if expected.dhash is None:
        return []
    needed, found = difference_hash(sample[IMAGE]), int(expected.dhash[0])
    if needed == found:
        return []
    return [(IMAGE, DHASH, f"needed the dhash {needed:016x}, found {found:016x}")]


def _check_counts(mask: NDArray[Any], expected: Expected, *, multi_hot: bool) -> list[_Wrong]:
    """Compare the pixels of each class."""
    if expected.class_pixels is None:
        return []
    if mask.dtype.itemsize > 2:  # damaged metadata; counting such values could exhaust memory
        raise ValueError(f"needed a mask of uint8 or uint16, found {mask.dtype}")
    found = expected.class_pixels[0].astype(np.int64)
    needed = class_counts(mask, found.size, multi_hot=multi_hot)
    if np.array_equal(needed, found):
        return []
    first = int(np.argmax(needed != found))
    what = f"needed {needed[first]} pixels of class {first}, found {found[first]}"
    return [(MASK, CLASS_PIXELS, what)]
