"""How often are the samples of a split drawn, and which share of the draws contains each class?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.feed.share_opening import share_targets
from zarrfeed.order.class_shares import ClassShare, ClassShares
from zarrfeed.order.random_draws import RandomDraws
from zarrfeed.order.repeated_samples import RepeatedSamples
from zarrfeed.order.sample_weights import class_weights, given_weights, share_weights
from zarrfeed.order.sampling import Shares, Weights, described
from zarrfeed.store.class_counts import (
    class_presence,
    counted_classes,
    drawn_class_pixels,
    drawn_with_class,
)
from zarrfeed.store.descriptive_arrays import class_pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed.arrays import Ids
    from zarrfeed.feed.request import Request
    from zarrfeed.order.sample_weights import SampleWeights
    from zarrfeed.order.sampling import Sampling
    from zarrfeed.order.schedule import Schedule
    from zarrfeed.store.split import Split


def open_samples(sampling: Sampling | None, split: Split, ids: Ids) -> RepeatedSamples | None:
    """Determine how often each sample is drawn.

    Parameters
    ----------
    sampling
        What the user asked for.
    split
        An opened split.
    ids
        The samples to draw from.

    Returns
    -------
    RepeatedSamples or None
        None for every sample once.

    Raises
    ------
    StoreError
        The split does not count the pixels of its classes, which all but ``Weights`` need.
    ValueError
        There are no samples, their number is not that of the weights, a class is unknown, or shares
        cannot be reached.
    """
    if sampling is None:
        return None
    if not len(ids):
        raise ValueError("an epoch has no batch: choose samples by subset")
    found = _weights(sampling, split, ids)
    return RepeatedSamples(
        ids,
        found.weights,
        length=found.length,
        groups=found.groups,
        description=described(sampling),
    )


def _weights(sampling: Sampling, split: Split, ids: Ids) -> SampleWeights:
    if isinstance(sampling, Weights):
        return given_weights(sampling, len(ids))
    if isinstance(sampling, Shares):
        targets = share_targets(sampling.shares, split)
        return share_weights(sampling, targets, class_presence(split, ids), _names(split))
    return class_weights(sampling, class_presence(split, ids))


def _names(split: Split) -> list[str | int]:
    return list(split.classes or range(counted_classes(split)))


def drawn_pixels(split: Split, schedule: Schedule) -> NDArray[np.float64] | None:
    """Sum the pixels of each class over an epoch, on average over all epochs.

    Returns
    -------
    (classes,) float64 or None
        None if the split does not count them. Of patches, the pixels of all tiles.
    """
    pixels, sampler = class_pixels(split, schedule.ids), schedule.sampler
    if pixels is not None and isinstance(sampler, RepeatedSamples):
        return drawn_class_pixels(split, schedule.ids, sampler.expected)
    return None if pixels is None else pixels.astype(np.float64)


def draw_shares(request: Request, split: Split, schedule: Schedule, epoch: int) -> ClassShares:
    """Return which share of an epoch's draws contains each class.

    Parameters
    ----------
    request, split, schedule
        The user's request, and what it opened.
    epoch
        Number of the epoch.

    Raises
    ------
    StoreError
        The split does not count the pixels of its classes.
    ValueError
        There are patches without shares.
    """
    if request.patches is not None:
        return _patch_shares(schedule, epoch)
    counts = np.ones(len(schedule.ids), np.int64)
    if isinstance(schedule.sampler, RepeatedSamples):
        counts = schedule.sampler.counts(seed=schedule.seed, epoch=epoch)
    sampling = request.sampling
    targets = share_targets(sampling.shares, split) if isinstance(sampling, Shares) else {}
    shares = drawn_with_class(split, schedule.ids, counts) / counts.sum()
    return ClassShares(
        {
            name: ClassShare(targets.get(label), share)
            for label, (name, share) in enumerate(zip(_names(split), shares.tolist(), strict=True))
            if label != split.ignore
        }
    )


def _patch_shares(schedule: Schedule, epoch: int) -> ClassShares:
    sampler = schedule.sampler
    if not isinstance(sampler, RandomDraws) or not sampler.shares:
        raise ValueError(
            "shares() tells how many patches had to contain a class: give RandomPatches(…, "
            "shares={class: share}); what other patches contain is not known before they are read"
        )
    counts = zip(sampler.shares.items(), sampler.forced_counts(epoch), strict=True)
    return ClassShares(
        {name: ClassShare(share, count / sampler.length) for (name, share), count in counts}
    )
