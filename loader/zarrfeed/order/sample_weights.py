"""How often is each sample drawn, given the classes that it contains?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.order.pattern_shares import pattern_shares
from zarrfeed.order.sampling import MOST_CLASSES, Balanced, RepeatFactor, Shares, Weights

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class SampleWeights:
    """What :class:`zarrfeed.order.repeated_samples.RepeatedSamples` draws by.

    Attributes
    ----------
    weights
        (N,) float64, in proportion to which samples are drawn.
    length
        Number of draws per epoch.
    groups
        (N,) uint16: samples of a group contain the same ones of some classes. None for one group.
    """

    weights: NDArray[np.float64]
    length: int
    groups: NDArray[np.uint16] | None = None


def given_weights(sampling: Weights, samples: int) -> SampleWeights:
    """Return the weights that the user gave for each of some samples.

    Raises
    ------
    ValueError
        Their number is another one.
    """
    weights = np.asarray(sampling.weights, np.float64)
    if weights.size != samples:
        raise ValueError(
            f"sampling=Weights(…) needs one weight for each of the {samples} samples of the "
            f"subset, not {weights.size}"
        )
    return SampleWeights(weights, sampling.per_epoch or samples)


def frequency_weights(
    sampling: Balanced | RepeatFactor, presence: NDArray[np.bool_]
) -> SampleWeights:
    """Derive weights from how many samples contain each class.

    Parameters
    ----------
    sampling
        The definition of the weights.
    presence
        (N, K) bool: whether a sample contains a class. Classes that no sample contains count as
        none.

    Raises
    ------
    ValueError
        No sample contains any class, so that :class:`Balanced` draws none.
    """
    samples = len(presence)
    containing = np.count_nonzero(presence, axis=0)
    rarest_first = [c for c in np.argsort(containing, kind="stable").tolist() if containing[c]]
    if isinstance(sampling, RepeatFactor):
        weights = np.ones(samples)
        for label in rarest_first:
            factor = math.sqrt(sampling.threshold * samples / containing[label])
            np.maximum(weights, factor, out=weights, where=presence[:, label])
        length = math.ceil(math.fsum(weights.data))
    else:
        if not rarest_first:
            raise ValueError("sampling=Balanced() needs samples that contain a class, found none")
        weights = np.zeros(samples)
        for label in rarest_first:
            weights[presence[:, label]] += 1 / containing[label]
        length = samples
    groups, _ = grouped(presence, rarest_first[:MOST_CLASSES])
    return SampleWeights(weights, sampling.per_epoch or length, groups)


def share_weights(
    sampling: Shares,
    targets: Mapping[int, float],
    presence: NDArray[np.bool_],
    names: Sequence[str | int],
) -> SampleWeights:
    """Find weights by which given shares of the draws contain given classes.

    Parameters
    ----------
    sampling
        For the number of draws.
    targets
        ``{class id: share}``.
    presence
        (N, K) bool: whether a sample contains a class.
    names
        Name of each class for messages.

    Raises
    ------
    ValueError
        A share cannot be reached: no sample contains the class, every sample does, or samples that
        contain the classes together do not allow all shares.
    """
    samples = len(presence)
    groups, patterns = grouped(presence, targets)
    sizes = np.bincount(groups, minlength=len(patterns))
    shares = pattern_shares(
        sizes, patterns, list(targets.values()), [names[label] for label in targets]
    )
    return SampleWeights((shares / sizes)[groups], sampling.per_epoch or samples, groups)


def grouped(
    presence: NDArray[np.bool_], labels: Iterable[int]
) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """Group samples by which of some classes they contain.

    Groups come in the order of a Gray code, in which neighbours differ little: the groups that
    contain the first class lie together, and so do those that contain the second one.

    Parameters
    ----------
    presence
        (N, K) bool: whether a sample contains a class.
    labels
        Ids of c classes, at most 16.

    Returns
    -------
    groups
        (N,) uint16 group of each sample.
    patterns
        (G, c) bool: which of the classes the samples of each group contain.

    Examples
    --------
    >>> presence = np.array([[1, 0], [0, 0], [1, 1], [0, 1]], bool)
    >>> groups, patterns = grouped(presence, [0, 1])
    >>> groups.tolist(), patterns.astype(int).tolist()
    ([3, 0, 2, 1], [[0, 0], [0, 1], [1, 1], [1, 0]])
    """
    codes = np.zeros(len(presence), np.uint16)
    bit = np.zeros(len(presence), np.bool_)
    labels = list(labels)
    for label in labels:  # a Gray code's rank: each bit is the parity of the digits so far
        bit ^= presence[:, label]
        codes <<= np.uint16(1)
        codes |= bit
    present = np.flatnonzero(np.bincount(codes))
    groups = np.zeros(int(present[-1]) + 1 if present.size else 0, np.uint16)
    groups[present] = np.arange(present.size)
    digits = (present ^ (present >> 1))[:, None] >> np.arange(len(labels))[::-1]
    return groups[codes], (digits & 1).astype(np.bool_)
