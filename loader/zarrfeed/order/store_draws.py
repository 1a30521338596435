"""Which samples of one of several stores are drawn, pass after pass?"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.order.draws import FREE, SAMPLE_DRAW, ids_at, ids_digest, sample_draws
from zarrfeed.order.repeated_samples import RepeatedSamples
from zarrfeed.order.shuffle import IN_MEMORY, Shuffle, epoch_order, order_version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from zarrfeed.arrays import Ids
    from zarrfeed.order.draws import Draws, Sampler


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
        self._subset = lru_cache(maxsize=1)(partial(ids_digest, ids))
        order = partial(epoch_order, self.length, shuffle=self._shuffle, block=block)
        # Two passes, because reading ahead begins the next one before this one ends.
        self._order = lru_cache(maxsize=2)(lambda seed, epoch: order(seed=seed, epoch=epoch))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments, for the process that fetches; orders follow from them."""
        options = self._options
        options["identity"] = {}
        return partial(StoreDraws, **options), self._drawn

    @property
    def _drawn(self) -> tuple[str, Ids, Sampler | None]:
        return self.name, self.ids, self.sampler

    @property
    def _options(self) -> dict[str, Any]:
        return {
            "shuffle": self._shuffle,
            "block": self._block,
            "first_row": self.first_row,
            "first_case": self._first_case,
            "identity": self._identity,
        }

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

    def in_blocks(self, block: int) -> StoreDraws:
        """Return the draws with other blocks; themselves if the order has none, or the same."""
        if self._shuffle != "block" or block == self._block:
            return self
        options = self._options
        options["block"] = block
        return StoreDraws(*self._drawn, **options)

    @property
    def identity(self) -> Mapping[str, Any]:
        """What tells the store from others, in JSON."""
        return self._identity() if callable(self._identity) else self._identity

    def described(self) -> dict[str, Any]:
        """Return what the draws depend on in JSON, but not where the store is."""
        sampler = None if self.sampler is None else self.sampler.described()
        return {
            **self.identity,
            "length": self.length,
            **({} if "cases" in (sampler or ()) else {"subset": self._subset()}),
            "shuffle": self._shuffle,
            "order": order_version(self.length, shuffle=self._shuffle, in_memory=IN_MEMORY),
            **({"block": self._block} if self._shuffle == "block" else {}),
            **({} if sampler is None else {"sampler": sampler}),
        }
