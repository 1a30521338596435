"""Which blocks will a reader use, batch by batch? It says its plan once; the rest is computed here.

The order of samples is a pure function, so that the fetcher knows the batches of this epoch and of
the next one as well as the reader does. They are computed in chunks, the first of them small.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zarrfeed.feed.fetching.next_uses import NextUses
from zarrfeed.feed.workers.patch_rows import patch_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed.feed.fetching.chunk_blocks import ChunkBlocks
    from zarrfeed.feed.fetching.mirror import Mirror
    from zarrfeed.feed.workers.batch_spec import PatchSpec
    from zarrfeed.order.draws import Draws
    from zarrfeed.order.schedule import Schedule

# Of a chunk. The first one is a batch: it can come while the indexes for further ones are read.
_FIRST_DRAWS, _MOST_DRAWS = 1, 1 << 17
_MOST_NBYTES = 512 << 20  # of the uses that are known
_EPOCHS = 2  # that are known ahead


@dataclass(frozen=True, slots=True)
class PlanPart:
    """Rows of a plan that are those of one mirror.

    Attributes
    ----------
    folder
        Folder of the split in its mirror.
    first, stop
        The first row of the plan that is the mirror's row 0, and the one after its last.
    """

    folder: str
    first: int
    stop: int


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What a reader is going to read. It is pickled.

    Attributes
    ----------
    schedule
        Which draws are in which batch.
    patches
        What is equal for all patches; None if samples are read whole.
    fields
        The fields that are read.
    parts
        The mirrors that the rows are in. Other rows are in local stores.
    window
        Number of batches that are read at the same time.
    """

    schedule: Schedule
    patches: PatchSpec | None
    fields: tuple[str, ...]
    parts: tuple[PlanPart, ...]
    window: int


class OpenPart(NamedTuple):
    """A part of a plan whose mirror is open."""

    mirror: Mirror
    rows: range
    fields: Sequence[ChunkBlocks]


class Upcoming:
    """The uses of one reader, as far as they have been computed.

    Batches are counted from the first one on, over all epochs.

    Parameters
    ----------
    plan
        What is read.
    parts
        The parts of the plan.
    epoch, batch
        What comes first.
    blocks
        Number of blocks of all mirrors.

    Attributes
    ----------
    uses
        The uses that are known.
    """

    def __init__(
        self, plan: Plan, parts: Sequence[OpenPart], epoch: int, batch: int, blocks: int
    ) -> None:
        self.plan = plan
        self.uses = NextUses(blocks)
        self._parts = parts
        self._next = epoch, batch  # to be computed
        self._epochs = {epoch: -batch}  # the number of each epoch's batch 0
        self._draws = _FIRST_DRAWS
        self._measured = 0

    def number_of(self, epoch: int, batch: int) -> int | None:
        """Return the number of a batch; None if it is before the first, or not known yet."""
        begin = self._epochs.get(epoch)
        return None if begin is None or begin + batch < 0 else begin + batch

    @property
    def epoch_batches(self) -> int:
        """Number of batches of an epoch."""
        return self.plan.schedule.batches

    @property
    def complete(self) -> bool:
        """Whether enough is known for now."""
        return self.uses.nbytes > _MOST_NBYTES or self.uses.known > self._horizon

    @property
    def _horizon(self) -> int:
        """The last batch that should be known: of the epochs after what is planned.

        Where nothing has to go, planning goes on without end; of it, an epoch from the reader's
        place on counts.
        """
        planned = min(self.uses.planned, self.uses.position + self.epoch_batches)
        return planned + _EPOCHS * self.epoch_batches

    async def extend(self) -> NDArray[np.int64]:
        """Compute what the next batches use; the first time, that is one batch.

        Returns
        -------
        (n,) int64
            The blocks, numbered among all blocks.

        Raises
        ------
        ReadError
            The index of a shard cannot be read.
        """
        first = self.uses.known
        batch, draws = await asyncio.to_thread(self._next_draws)
        draw, rows = batch, draws["id"]
        if self.plan.patches is not None:
            number, rows = await asyncio.to_thread(patch_rows, draws, self.plan.patches)
            draw = batch[number]
        pairs = []
        for part in self._parts:
            own = (rows >= part.rows.start) & (rows < part.rows.stop)
            local, of = np.ascontiguousarray(rows[own]) - part.rows.start, draw[own]
            await asyncio.gather(*(field.load_rows(local) for field in part.fields))
            for field in part.fields:
                found, block = field.of_rows(local, of)
                pairs.append((found, block + part.mirror.first))
        at, block = await asyncio.to_thread(_distinct, pairs)
        self.uses.append(at, block, int(batch[-1]) + 1 if batch.size else first)
        return block

    def widest(self, nbytes: NDArray[np.int64]) -> int:
        """Return the largest number of bytes that batches need that are read at the same time.

        Batches that were known at the last call are left out. Any thread may call this.

        Parameters
        ----------
        nbytes
            (blocks,) int64: size of each block.
        """
        since, window = self._measured, self.plan.window
        self._measured = max(0, self.uses.known - window + 1)  # windows may reach into what comes
        return self.uses.widest(window, nbytes, since=since)

    def _next_draws(self) -> tuple[NDArray[np.int64], Draws]:
        """Return the draws of the next batches, each with the number of its batch."""
        schedule = self.plan.schedule
        parts, numbers, total = [], [], 0
        epoch, batch = self._next
        last = self._horizon
        while total < self._draws and self._epochs[epoch] + batch <= last:
            if batch >= schedule.grid(epoch).numbers.stop:
                numbers_then = schedule.grid(epoch + 1).numbers
                self._epochs[epoch + 1] = self._epochs[epoch] + batch - numbers_then.start
                epoch, batch = epoch + 1, numbers_then.start
            draws = schedule.batch_draws(epoch, batch)
            parts.append(draws)
            numbers.append(np.full(draws.size, self._epochs[epoch] + batch))
            total += draws.size
            batch += 1
        self._next = epoch, batch
        self._draws = min(_MOST_DRAWS, self._draws * 4)
        return np.concatenate(numbers), np.concatenate(parts)


def _distinct(
    pairs: list[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each pair of batch and block once, in order."""
    if not pairs:
        nothing = np.empty(0, np.int64)
        return nothing, nothing
    batch, block = (np.concatenate(column) for column in zip(*pairs, strict=True))
    order = np.lexsort((block, batch))
    batch, block = batch[order], block[order]
    new = np.ones(batch.size, np.bool_)
    new[1:] = (batch[1:] != batch[:-1]) | (block[1:] != block[:-1])
    return batch[new], block[new]
