"""How often is each sample of a split drawn, by the `sampling` that the user asked for?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed.feed.class_ids import class_names
from zarrfeed.feed.share_opening import share_targets
from zarrfeed.order.repeated_samples import RepeatedSamples
from zarrfeed.order.sample_weights import frequency_weights, given_weights, share_weights
from zarrfeed.order.sampling import Shares, Weights
from zarrfeed.order.user_values import described
from zarrfeed.store.class_counts import class_presence

if TYPE_CHECKING:
    from zarrfeed.arrays import Ids
    from zarrfeed.order.sample_weights import SampleWeights
    from zarrfeed.order.sampling import Sampling
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
        The samples to draw from, at least one.

    Returns
    -------
    RepeatedSamples or None
        None for every sample once.

    Raises
    ------
    StoreError
        The split does not count the pixels of its classes, which all but ``Weights`` need.
    ValueError
        The number of weights is not that of the samples, a class is unknown, or shares cannot be
        reached.
    """
    if sampling is None:
        return None
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
        return share_weights(sampling, targets, class_presence(split, ids), class_names(split))
    return frequency_weights(sampling, class_presence(split, ids))
