"""Which samples of which store are drawn, if several are mixed?

Draw J of a run is the n-th draw of some store (:mod:`zarrfeed.order.weight_history`). Each store is
gone through in its own passes: its n-th draw is place ``n % length`` of pass ``n // length``.
"""

from __future__ import annotations

import operator
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import look_up
from zarrfeed.order.draws import SAMPLE_DRAW
from zarrfeed.order.random_draws import RandomDraws
from zarrfeed.order.random_words import Purpose
from zarrfeed.order.resume_state import differences
from zarrfeed.order.weight_history import WeightHistory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from zarrfeed.order.draws import Draws, ResumableSampler
    from zarrfeed.order.store_draws import StoreDraws

_COUNTED = 1 << 16  # draws whose samples are counted at a time


class MixedDraws:
    """The draws of several stores: a `Sampler` that can be resumed with other weights.

    Parameters
    ----------
    stores
        The draws of each.
    history
        Their shares.
    length
        Number of draws per epoch.
    classes
        The common classes of the masks in JSON, by which states are compared; empty if none are
        read.
    """

    shuffled = True

    def __init__(
        self,
        stores: Sequence[StoreDraws],
        history: WeightHistory,
        *,
        length: int,
        classes: Mapping[str, Any] | None = None,
    ) -> None:
        self.stores = stores
        self._classes = {} if classes is None else dict(classes)
        self.length = length
        self.dtype = stores[0].dtype
        self.history = history
        # Two epochs, because reading of the next one begins before this one ends.
        self._before = lru_cache(maxsize=2)(lambda epoch: history.counts(epoch * length))
        self._seeds = lru_cache(maxsize=1)(partial(_store_seeds, len(stores)))

    @property
    def shares(self) -> dict[str | int, float]:
        """``{class: share}`` of the patches that must contain a class, in stores that have it."""
        found: dict[str | int, float] = {}
        for store in self.stores:
            if isinstance(store.sampler, RandomDraws):
                found |= store.sampler.shares
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return self._like, (self.stores, self.history)

    @property
    def _like(self) -> Callable[[Sequence[StoreDraws], WeightHistory], MixedDraws]:
        return partial(MixedDraws, length=self.length, classes=self._classes)

    def draws(self, places: NDArray[np.int64], *, seed: int, epoch: int) -> Draws:
        """Return the draws at some places of an epoch; see `Sampler`."""
        store, number = self.history.of(places + epoch * self.length)
        seeds, before = self._seeds(seed), self._before(epoch)
        draws = np.zeros(places.size, self.dtype)
        for at in np.flatnonzero(np.bincount(store)).tolist():
            here, drawn = store == at, self.stores[at]
            since = before[at] // drawn.length
            draws[here] = drawn.draws(number[here], seed=seeds[at], since=since)
        if self.dtype != SAMPLE_DRAW:
            draws["id"] = places
        return draws

    @property
    def expected(self) -> NDArray[np.float64]:
        """(rows of all stores,) float64: how often an epoch draws each row, on average."""
        per_epoch = [float(share * self.length) for share in self.history.shares]
        return np.concatenate(
            [
                store.expected * (each / store.length)
                for store, each in zip(self.stores, per_epoch, strict=True)
            ]
        )

    def counts(self, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """Return how often an epoch draws each row of all stores, (rows,) int64."""
        rows = np.concatenate([np.asarray(store.rows, np.int64) for store in self.stores])
        order = np.argsort(rows, kind="stable")
        counts = np.zeros(rows.size, np.int64)
        for start in range(0, self.length, _COUNTED):
            places = np.arange(start, min(start + _COUNTED, self.length))
            ids = self.draws(places, seed=seed, epoch=epoch)["id"]
            found = order[np.searchsorted(rows, ids, sorter=order)]
            counts += np.bincount(found, minlength=rows.size)
        return counts

    def forced_counts(self, epoch: int) -> dict[str | int, int]:
        """Return how many draws of an epoch must contain each class of `shares`."""
        found = dict.fromkeys(self.shares, 0)
        start, stop = self._before(epoch), self.history.counts((epoch + 1) * self.length)
        for store, first, last in zip(self.stores, start, stop, strict=True):
            if isinstance(store.sampler, RandomDraws):
                for name, count in store.sampler.forced_among(last - first, after=first).items():
                    found[name] += count
        return found

    def described(self) -> dict[str, Any]:
        """Return what the draws depend on that :meth:`before` does not compare."""
        return {"kind": "Mix", **self._classes}

    def saved(self) -> dict[str, Any]:
        """Return what a state has of the draws in JSON: what tells the stores, and the weights."""
        return {
            "stores": [store.described() for store in self.stores],
            "weights": self.history.saved(),
        }

    def before(self, saved: Any) -> MixedDraws:
        """Return the draws of the run that has saved this, with its weights and blocks.

        Parameters
        ----------
        saved
            What :meth:`saved` returned then; untrusted.

        Raises
        ------
        ValueError
            The stores are others, or `saved` is something else.
        """
        try:
            found = [dict(each) for each in saved["stores"]]
            blocks = [operator.index(each.get("block", 1)) for each in found]
            if min(blocks, default=1) < 1:
                raise ValueError("needed blocks of at least 1")
            weights = saved["weights"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"needed the stores of a Mix from ZarrSequence.state_dict(), found {saved!r:.300}"
            ) from error
        if len(found) != len(self.stores):
            raise ValueError(
                f"the state was saved by a Mix of {len(found)} stores, and this one has "
                f"{len(self.stores)}: weights may change, stores may not{look_up('resume')}"
            )
        # A pass may be under way, and is so at the next resume as well.
        stores = [store.in_blocks(block) for store, block in zip(self.stores, blocks, strict=True)]
        for number, (store, former) in enumerate(zip(stores, found, strict=True), start=1):
            other = list(differences(former, store.described()))
            if other and not list(differences(former, store.identity)):
                raise ValueError(
                    f"the state was saved by a Mix that draws otherwise from {store.name} (number "
                    f"{number} of it): {'; '.join(other)}. Use the same arguments: only weights "
                    f"may change{look_up('resume')}"
                )
            if other:
                raise ValueError(
                    f"the state was saved with another store in place of {store.name} (number "
                    f"{number} of the Mix): {'; '.join(other)}. Give the same stores in the same "
                    f"order; they may have moved, and weights may change{look_up('resume')}"
                )
        history = WeightHistory.restored(weights, len(self.stores))
        return self._like(stores, history)

    def changes(self, before: ResumableSampler) -> list[str]:
        """Say which weights have changed; see `ResumableSampler`."""
        assert isinstance(before, MixedDraws)
        shares = zip(self.stores, before.history.shares, self.history.shares, strict=True)
        return [
            f"share of {store.name} from {then} to {now}"
            for store, then, now in shares
            if then != now
        ]

    def after(self, before: ResumableSampler, draw: int) -> MixedDraws:
        """Return the draws of `before` up to a draw, and from there on those of these weights."""
        assert isinstance(before, MixedDraws)
        history = before.history.changed(draw, self.history.shares)
        return self._like(before.stores, history)


def _store_seeds(stores: int, seed: int) -> list[int]:
    """Return a seed for each store, so that two of equal length do not share an order."""
    return [
        int(np.random.SeedSequence((seed, number, Purpose.STORE)).generate_state(1, np.uint64)[0])
        for number in range(stores)
    ]
