"""How are the intensities of each split distributed, and do splits differ?

Pure. Every sample counts the same, whatever its size.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

PERCENTILES = (0.5, 50.0, 99.5)
_BINS = 64  # at most
MOST_CHANNELS = 8  # that are described: more would be a page of their own
_MOST_COMPARED = 6  # splits, each with each
_FEWEST = 4  # samples of a split that is compared
# Two distributions whose distance is less hardly differ for a network. That of small splits is
# often larger by chance alone, which shuffling tells: a distance that none of so many shuffles
# reaches has p < 0.005.
_LEAST_DISTANCE = 0.05
_SHUFFLES = 199
_LARGEST = 1e300  # differences of float64 below it are finite


@dataclass(frozen=True, slots=True, eq=False)
class Distribution:
    """The intensities of one channel in one split.

    Attributes
    ----------
    split
        Name of the split.
    channel
        Number of the channel.
    samples
        Number of samples that gave pixels.
    percentiles
        The percentiles :data:`PERCENTILES` of their finite pixels.
    shares
        (bins,) float64: share of the pixels in each bin. All splits have the same bins.
    """

    split: str
    channel: int
    samples: int
    percentiles: tuple[float, ...]
    shares: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Difference:
    """Two splits whose intensities differ by more than chance explains.

    Attributes
    ----------
    channel
        Number of the channel.
    splits
        Names of the two.
    distance
        The largest distance of the cumulated distributions, 0 … 1 (Kolmogorov and Smirnov).
    medians
        The median of each.
    """

    channel: int
    splits: tuple[str, str]
    distance: float
    medians: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Intensities:
    """The distributions of all channels and splits.

    Attributes
    ----------
    channels
        Number of channels that are described.
    left_out
        Number of channels beyond those.
    ranges
        The lower edge of the first bin and the upper edge of the last, by channel. Pixels beyond
        count in the outer bins.
    distributions
        One for each channel and split, channel by channel.
    differences
        The splits that differ.
    compared
        Names of the splits that were compared, each with each.
    """

    channels: int
    left_out: int
    ranges: dict[int, tuple[float, float]]
    distributions: tuple[Distribution, ...]
    differences: tuple[Difference, ...]
    compared: tuple[str, ...]


def describe_intensities(
    by_split: Mapping[str, Sequence[NDArray[Any]]], *, channels: int | None = None
) -> Intensities:
    """Describe the intensities of the splits of a dataset.

    Parameters
    ----------
    by_split
        Some pixels of some samples of each split, (m, C) each. NaN and infinite values are left
        out. Only the channels that all samples have are described, and of these the first eight.
    channels
        Number of channels of the images, if these are not all.

    Examples
    --------
    >>> dark = [np.arange(100).reshape(-1, 1) + n for n in range(8)]
    >>> bright = [pixels + 100 for pixels in dark]
    >>> found = describe_intensities({"train": dark, "val": bright})
    >>> [each.percentiles[1] for each in found.distributions]
    [53.0, 153.0]
    >>> found.differences[0].splits, round(found.differences[0].distance, 2)
    (('train', 'val'), 0.98)
    """
    every = [pixels for each in by_split.values() for pixels in each]
    found = min((pixels.shape[1] for pixels in every), default=0)
    total, described = max(found, channels or 0), min(found, MOST_CHANNELS)
    counted = (split for split, each in by_split.items() if len(each) >= _FEWEST)
    compared = tuple(itertools.islice(counted, _MOST_COMPARED))
    ranges: dict[int, tuple[float, float]] = {}
    distributions: list[Distribution] = []
    differences: list[Difference] = []
    for channel in range(described):
        finite = {
            split: [values for pixels in each if (values := _finite(pixels[:, channel])).size]
            for split, each in by_split.items()
        }
        finite = {split: each for split, each in finite.items() if each}
        if not finite:
            continue
        edges = _edges(list(finite.values()), whole=all(each.dtype.kind in "iub" for each in every))
        ranges[channel] = float(edges[0]), float(edges[-1])
        shares = {
            split: np.array([_shares(values, edges) for values in each])
            for split, each in finite.items()
        }
        here = {
            split: Distribution(
                split,
                channel,
                len(each),
                tuple(np.percentile(np.concatenate(each), PERCENTILES).tolist()),
                shares[split].mean(axis=0),
            )
            for split, each in finite.items()
        }
        distributions += here.values()
        for one, other in itertools.combinations([s for s in compared if s in here], 2):
            distance = _distance(shares[one], shares[other])
            if distance >= _LEAST_DISTANCE and not _by_chance(shares[one], shares[other], distance):
                medians = here[one].percentiles[1], here[other].percentiles[1]
                differences.append(Difference(channel, (one, other), distance, medians))
    return Intensities(
        described, total - described, ranges,
        tuple(distributions), tuple(differences), compared if len(compared) > 1 else (),
    )  # fmt: skip


def _finite(values: NDArray[Any]) -> NDArray[np.float64]:
    wide = (np.abs(values) if values.dtype.kind == "c" else values).astype(np.float64)
    return np.clip(wide[np.isfinite(wide)], -_LARGEST, _LARGEST)


def _edges(
    by_split: Sequence[Sequence[NDArray[np.float64]]], *, whole: bool
) -> NDArray[np.float64]:
    """Return the edges of bins that hold nearly all values of all splits."""
    ends = [
        np.percentile(np.concatenate(each), (PERCENTILES[0], PERCENTILES[-1])) for each in by_split
    ]
    low, high = (float(end) for end in (min(e[0] for e in ends), max(e[1] for e in ends)))
    if whole:  # the same number of values in each bin, or the picture would be a comb
        low, high = math.floor(low), math.ceil(high) + 1
        width = max(1, math.ceil((high - low) / _BINS))
        return low - 0.5 + np.arange(math.ceil((high - low) / width) + 1.0) * width
    if not high > low:
        margin = max(0.5, abs(low) * 1e-6)
        low, high = low - margin, high + margin
    return np.linspace(low, high, _BINS + 1)


def _shares(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of the values in each bin; those beyond are in the outer ones."""
    bins = len(edges) - 1
    places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, bins - 1)
    return np.bincount(places, minlength=bins) / values.size


def _distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the largest distance of the cumulated mean distributions."""
    return float(np.abs(np.cumsum(one.mean(axis=0) - other.mean(axis=0))).max())


def _by_chance(one: NDArray[np.float64], other: NDArray[np.float64], distance: float) -> bool:
    """Whether shuffling samples between two splits ever makes their distance as large."""
    both, rng = np.concatenate([one, other]), np.random.default_rng(0)
    for _ in range(_SHUFFLES):
        order = rng.permutation(len(both))
        if _distance(both[order[: len(one)]], both[order[len(one) :]]) >= distance:
            return True
    return False
