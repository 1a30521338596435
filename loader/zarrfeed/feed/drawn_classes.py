"""Which classes do the draws of an epoch contain, and how many pixels of each?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.feed.class_ids import class_names
from zarrfeed.feed.share_opening import share_targets
from zarrfeed.order.class_shares import ClassShare, ClassShares, ForcedShares
from zarrfeed.order.mixed_draws import MixedDraws
from zarrfeed.order.random_draws import RandomDraws
from zarrfeed.order.repeated_samples import RepeatedSamples
from zarrfeed.order.sampling import Shares
from zarrfeed.store.class_counts import drawn_class_pixels, drawn_with_class
from zarrfeed.store.descriptive_arrays import class_pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed.feed.request import Request
    from zarrfeed.order.schedule import Schedule
    from zarrfeed.store.split import Split


def drawn_pixels(split: Split, schedule: Schedule) -> NDArray[np.float64] | None:
    """Sum the pixels of each class over an epoch, on average over all epochs.

    Returns
    -------
    (classes,) float64 or None
        None if the split does not count them. Of patches, the pixels of all tiles.
    """
    pixels, sampler = class_pixels(split, schedule.ids), schedule.sampler
    if pixels is not None and isinstance(sampler, RepeatedSamples | MixedDraws):
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
    if isinstance(schedule.sampler, RepeatedSamples | MixedDraws):
        counts = schedule.sampler.counts(seed=schedule.seed, epoch=epoch)
    sampling = request.sampling
    targets = share_targets(sampling.shares, split) if isinstance(sampling, Shares) else {}
    shares = drawn_with_class(split, schedule.ids, counts) / counts.sum()
    return ClassShares(
        {
            name: ClassShare(targets.get(label), share)
            for label, (name, share) in enumerate(
                zip(class_names(split), shares.tolist(), strict=True)
            )
            if label != split.ignore
        }
    )


def _patch_shares(schedule: Schedule, epoch: int) -> ClassShares:
    sampler = schedule.sampler
    if not isinstance(sampler, RandomDraws | MixedDraws) or not sampler.shares:
        raise ValueError(
            "shares() tells how many patches had to contain a class: give RandomPatches(…, "
            "shares={class: share}); what other patches contain is not known before they are read"
        )
    counts = sampler.forced_counts(epoch)
    return ForcedShares(
        {
            name: ClassShare(share, counts[name] / sampler.length)
            for name, share in sampler.shares.items()
        }
    )
