"""Which samples are in batch i of epoch e?

Pure: the answer depends only on the fields of :class:`Schedule`, never on workers or history.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.order.batch_grid import BatchGrid
from zarrfeed.order.draws import SAMPLE_DRAW, ids_at, ids_digest, sample_draws
from zarrfeed.order.shuffle import IN_MEMORY, Order, Shuffle, epoch_order, order_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from zarrfeed.arrays import Ids
    from zarrfeed.order.draws import Draws, Sampler


# Draws are computed so many at a time, because a patch with shares takes a twentieth of the time
# among 64 that it takes among two (measured).
_DRAWS = 64
# Of whole samples, 1024: one of a mix then takes 0.25 µs of CPU time, not 2.2 µs (measured).
_SAMPLE_DRAWS = 1024


@dataclass(frozen=True, slots=True)
class EpochRest:
    """The rest of an epoch that another run has begun, perhaps with other ranks and batches.

    Attributes
    ----------
    epoch
        Number of the epoch.
    place
        First place of its order that no rank has read yet.
    block
        Samples per block of a "block" shuffle in this epoch, or its order would change halfway.
    """

    epoch: int
    place: int
    block: int


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """The batches of every epoch.

    Attributes
    ----------
    ids
        (n,) int64, or a range: the sample ids to visit; with a `sampler` those that it draws from.
    batch_size
        Samples per batch, on this rank.
    shuffle
        True for a global shuffle, "block" for one that keeps storage neighbours near each other,
        False for the order of `ids`.
    block
        Samples per block of a "block" shuffle.
    seed
        Seed of the shuffle.
    drop_remainder
        Whether to leave out a last batch that is not full.
    rank, world_size
        The share of each epoch that this process reads: every `world_size`-th place of the global
        order, from `rank` on. Shares are disjoint and equally long, so that no rank waits for
        another. The last ``n % world_size`` places of the order are left out in this epoch.
    pad_remainder
        Whether to fill up the last batch of every rank, so that all batches of all ranks are full
        and no place of the order is left out. The rows after :meth:`real_rows` are padding: samples
        from the beginning of the epoch.
    in_memory
        Largest number of samples whose order is kept in memory.
    sampler
        What an epoch consists of; None for every sample once. "Samples" of the other attributes are
        then its draws. If they are in random order by themselves, there is no shuffle, and a batch
        is a run of successive draws on every rank.
    rest
        The epoch that begins in the middle; None if every epoch begins with its first place.

    Examples
    --------
    >>> of = {"shuffle": True, "block": 1, "seed": 0, "drop_remainder": False}
    >>> second = Schedule(range(6), batch_size=2, **of, rank=1, world_size=2)
    >>> second.batch_ids(0, 0).tolist(), second.batch_ids(0, 1).tolist()
    ([3, 1], [4])
    >>> padded = Schedule(range(5), batch_size=2, **of, rank=1, world_size=2, pad_remainder=True)
    >>> padded.batch_ids(0, 1).tolist(), padded.real_rows(0, 1)
    ([0, 1], 0)
    """

    ids: Ids
    batch_size: int
    shuffle: Shuffle
    block: int
    seed: int
    drop_remainder: bool
    rank: int
    world_size: int
    pad_remainder: bool = False
    in_memory: int = IN_MEMORY
    sampler: Sampler | None = None
    rest: EpochRest | None = None
    _order: Callable[[int], Order] = field(init=False, repr=False)
    _whole: BatchGrid = field(init=False, repr=False)
    _rest: BatchGrid = field(init=False, repr=False)
    # Draws of the last blocks of batches, by epoch and the first batch of the block.
    _drawn: dict[tuple[int, int], Draws] = field(init=False, repr=False, default_factory=dict)
    _subset: Callable[[], str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        order = partial(
            epoch_order,
            self.length,
            shuffle=False if self._runs else self.shuffle,
            seed=self.seed,
            in_memory=self.in_memory,
        )
        block_in = partial(_block_in, self.rest, self.block)
        # Two epochs, because reading of the next one begins before this one ends.
        cached = lru_cache(maxsize=2)(lambda epoch: order(epoch=epoch, block=block_in(epoch)))
        whole = BatchGrid(
            self.length,
            self.batch_size,
            drop_remainder=self.drop_remainder,
            pad_remainder=self.pad_remainder,
            runs=self._runs,
            rank=self.rank,
            world_size=self.world_size,
        )
        rest = whole if self.rest is None else whole.rest(self.rest.place)
        object.__setattr__(self, "_subset", lru_cache(maxsize=1)(partial(ids_digest, self.ids)))
        object.__setattr__(self, "_order", cached)
        object.__setattr__(self, "_whole", whole)
        object.__setattr__(self, "_rest", rest)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments; the order follows from them."""
        return Schedule, tuple(getattr(self, each.name) for each in fields(self) if each.init)

    @property
    def length(self) -> int:
        """Number of samples of an epoch, over all ranks."""
        return len(self.ids) if self.sampler is None else self.sampler.length

    @property
    def subset(self) -> str:
        """What tells the samples, and their order, from others."""
        return self._subset()

    @property
    def draw(self) -> np.dtype[np.void]:
        """Data type of a draw."""
        return SAMPLE_DRAW if self.sampler is None else self.sampler.dtype

    @property
    def samples(self) -> int:
        """Number of samples of this rank, before a remainder is dropped and without padding."""
        return self._whole.samples

    @property
    def batches(self) -> int:
        """Number of batches per epoch, equal on all ranks."""
        return self._whole.count

    @property
    def left_out(self) -> int:
        """Number of samples that no rank reads in an epoch."""
        return self._whole.left_out

    @property
    def order_version(self) -> int:
        """Version of the rule that computes the order."""
        return order_version(self.length, shuffle=self.shuffle, in_memory=self.in_memory)

    @property
    def _runs(self) -> bool:
        """Whether the batches of all ranks are runs of successive places."""
        return self.sampler is not None and self.sampler.shuffled

    def grid(self, epoch: int) -> BatchGrid:
        """Return the batches of an epoch, or of what is left of it."""
        return self._rest if self.rest is not None and self.rest.epoch == epoch else self._whole

    def block_in(self, epoch: int) -> int:
        """Return the number of samples per block of a "block" shuffle in an epoch."""
        return _block_in(self.rest, self.block, epoch)

    def require_batch(self, epoch: int, batch: int) -> None:
        """Refuse a batch that a run with other ranks or batches has cut in another way.

        Raises
        ------
        IndexError
            `batch` is no batch of what is left of the epoch.
        """
        numbers = self.grid(epoch).numbers
        if batch not in numbers:
            raise IndexError(
                f"epoch {epoch} was begun by a run with other ranks or batches: needed one of the "
                f"batches that are left, {numbers.start} … {numbers.stop - 1}, got {batch}"
            )

    def batch_ids(self, epoch: int, batch: int) -> NDArray[np.int64]:
        """Return the sample ids of one batch of this rank.

        Parameters
        ----------
        epoch
            Number of the epoch, from 0 on.
        batch
            Number of the batch, from 0 to `batches` - 1.

        Returns
        -------
        (b,) int64
        """
        ids: NDArray[np.int64] = self.batch_draws(epoch, batch)["id"]
        return ids

    def batch_draws(self, epoch: int, batch: int) -> Draws:
        """Return what the rows of one batch of this rank hold.

        Parameters
        ----------
        epoch, batch
            As for :meth:`batch_ids`.

        Returns
        -------
        (b,) array of the sampler's dtype, or of ``SAMPLE_DRAW``
        """
        grid = self.grid(epoch)
        if self.sampler is None:
            return sample_draws(ids_at(self.ids, self._order(epoch)(grid.places(batch))))
        draws = _SAMPLE_DRAWS if self.draw == SAMPLE_DRAW else _DRAWS
        together = max(1, draws // self.batch_size)
        begin = max(batch - batch % together, grid.numbers.start)
        known = self._drawn.get((epoch, begin))
        if known is None:
            batches = range(begin, min(begin + together, grid.numbers.stop))
            places = np.concatenate([grid.places(b) for b in batches])
            known = self.sampler.draws(self._order(epoch)(places), seed=self.seed, epoch=epoch)
            known.setflags(write=False)
            if len(self._drawn) > 1:  # two, because reading of the next epoch begins early
                self._drawn.clear()
            self._drawn[epoch, begin] = known
        rows = grid.rows(batch)
        first = (batch - begin) * self.batch_size
        return known[first : first + rows.stop - rows.start]

    def real_rows(self, epoch: int, batch: int) -> int:
        """Return the number of rows of a batch that are not padding. They come first."""
        return self.grid(epoch).real_rows(batch)


def _block_in(rest: EpochRest | None, block: int, epoch: int) -> int:
    return rest.block if rest is not None and rest.epoch == epoch else block
