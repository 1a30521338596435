"""Which samples of which store are drawn, if several are mixed?

Draw J of a run is the n-th draw of some store (:mod:`zarrfeed.order.weight_history`). Each store is
gone through in its own passes: its n-th draw is place ``n % length`` of pass ``n // length``.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import look_up
from zarrfeed.order.draws import FREE, SAMPLE_DRAW, ids_at, sample_draws
from zarrfeed.order.random_draws import RandomDraws
from zarrfeed.order.random_words import Purpose
from zarrfeed.order.repeated_samples import RepeatedSamples
from zarrfeed.order.resume_state import differences
from zarrfeed.order.shuffle import IN_MEMORY, Shuffle, epoch_order, order_version
from zarrfeed.order.weight_history import WeightHistory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from zarrfeed.arrays import Ids
    from zarrfeed.order.draws import Draws, ResumableSampler, Sampler

_COUNTED = 1 << 16  # draws whose samples are counted at a time


class StoreDraws:
    """The draws of one store, pass after pass.

    Parameters
    ----------
    name
        What the store is called in messages.
    ids
        The rows to draw from, numbered within the store.
    sampler
        What a pass consists of; None for every row once.
    shuffle, block
        Order of a pass, as of an epoch; see :class:`zarrfeed.order.schedule.Schedule`.
    first_row, first_case
        What is added to numbers of rows and cases.
    identity
        What tells the store from others, in JSON.
    """

    def __init__(
        self,
        name: str,
        ids: Ids,
        sampler: Sampler | None,
        *,
        shuffle: Shuffle,
        block: int,
        first_row: int,
        first_case: int,
        identity: Mapping[str, Any] | Callable[[], Mapping[str, Any]],
    ) -> None:
        self.name = name
        self.ids = ids
        self.sampler = sampler
        self.length = len(ids) if sampler is None else sampler.length
        self.dtype = SAMPLE_DRAW if sampler is None else sampler.dtype
        self.first_row = first_row
        self._first_case = first_case
        self._identity = identity
        self._shuffle: Shuffle = False if sampler is not None and sampler.shuffled else shuffle
        self._block = block
        order = partial(epoch_order, self.length, shuffle=self._shuffle, block=block)
        # Two passes, because reading ahead begins the next one before this one ends.
        self._order = lru_cache(maxsize=2)(lambda seed, epoch: order(seed=seed, epoch=epoch))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments, for the process that fetches; orders follow from them."""
        make = partial(
            StoreDraws,
            shuffle=self._shuffle,
            block=self._block,
            first_row=self.first_row,
            first_case=self._first_case,
            identity={},
        )
        return make, (self.name, self.ids, self.sampler)

    @property
    def rows(self) -> Ids:
        """The rows to draw from, numbered over all stores."""
        if isinstance(self.ids, range):
            first = self.first_row
            return range(self.ids.start + first, self.ids.stop + first, self.ids.step)
        return self.ids + self.first_row

    @property
    def expected(self) -> NDArray[np.float64]:
        """(rows,) float64: how often a pass draws each row, on average. Of patches, all alike."""
        if isinstance(self.sampler, RepeatedSamples):
            return self.sampler.expected
        return np.full(len(self.ids), self.length / len(self.ids))

    def draws(self, numbers: NDArray[np.int64], *, seed: int, since: int) -> Draws:
        """Return some draws of the store.

        Parameters
        ----------
        numbers
            (n,) int64: numbers of draws of this store, over all passes.
        seed
            Seed of the store.
        since
            Pass from which on repeats are counted.

        Returns
        -------
        (n,) array of :attr:`dtype`
        """
        passes, places = np.divmod(numbers, self.length)
        draws = np.zeros(numbers.size, self.dtype)
        for number in np.unique(passes).tolist():
            here = passes == number
            at = self._order(seed, number)(places[here])
            draws[here] = (
                sample_draws(ids_at(self.ids, at))
                if self.sampler is None
                else self.sampler.draws(at, seed=seed, epoch=number)
            )
        if self.dtype == SAMPLE_DRAW:
            draws["id"] += self.first_row
            # A pass draws a sample less than `length` times: no two draws of an epoch are equal.
            each = 1 if self.sampler is None else self.length
            draws["repeat"] += (passes - since) * each
            return draws
        draws["case"] += self._first_case
        draws["first_tile"] += self.first_row
        draws["tile"] += np.where(draws["tile"] == FREE, 0, self.first_row)
        return draws

    def described(self) -> dict[str, Any]:
        """Return what the draws depend on in JSON, but not where the store is."""
        identity = self._identity() if callable(self._identity) else self._identity
        return {
            **identity,
            "length": self.length,
            "shuffle": self._shuffle,
            "order": order_version(self.length, shuffle=self._shuffle, in_memory=IN_MEMORY),
            **({"block": self._block} if self._shuffle == "block" else {}),
            **({} if self.sampler is None else {"sampler": self.sampler.described()}),
        }


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
    """

    shuffled = True

    def __init__(
        self, stores: Sequence[StoreDraws], history: WeightHistory, *, length: int
    ) -> None:
        self.stores = stores
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
        return partial(MixedDraws, length=self.length), (self.stores, self.history)

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
        return {"kind": "Mix"}

    def saved(self) -> dict[str, Any]:
        """Return what a state has of the draws in JSON: what tells the stores, and the weights."""
        return {
            "stores": [store.described() for store in self.stores],
            "weights": self.history.saved(),
        }

    def before(self, saved: Any) -> MixedDraws:
        """Return the draws of the run that has saved this, with its weights.

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
        for number, (store, former) in enumerate(zip(self.stores, found, strict=True), start=1):
            if other := list(differences(former, store.described())):
                raise ValueError(
                    f"the state was saved with another store in place of {store.name} (number "
                    f"{number} of the Mix): {'; '.join(other)}. Give the same stores in the same "
                    f"order; they may have moved, and weights may change{look_up('resume')}"
                )
        history = WeightHistory.restored(weights, len(self.stores))
        return MixedDraws(self.stores, history, length=self.length)

    def after(self, before: ResumableSampler, draw: int) -> MixedDraws:
        """Return the draws of `before` up to a draw, and from there on those of these weights."""
        assert isinstance(before, MixedDraws)
        history = before.history.changed(draw, self.history.shares)
        return MixedDraws(self.stores, history, length=self.length)


def _store_seeds(stores: int, seed: int) -> list[int]:
    """Return a seed for each store, so that two of equal length do not share an order."""
    return [
        int(np.random.SeedSequence((seed, number, Purpose.STORE)).generate_state(1, np.uint64)[0])
        for number in range(stores)
    ]
