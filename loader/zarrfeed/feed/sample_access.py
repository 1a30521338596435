"""How is any one sample of any epoch read, out of order and from any thread?

A pipeline of another library asks for samples by their index, which counts on from epoch to epoch::

    index    0 1 2 3 4 5 | 6 7 8 9 …        6 samples in an epoch of this rank
    epoch         0      |    1
    batch    0 0 0 0 1 1 | 0 0 0 0 …        4 in a batch
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from zarrfeed.feed.opening import open_request
from zarrfeed.feed.slot import SlotLayout
from zarrfeed.feed.workers.batch_maker import BatchMaker
from zarrfeed.feed.workers.function_copies import own_copies
from zarrfeed.store.file_limits import descriptors_each
from zarrfeed.store.files import require_all_same

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from zarrfeed.arrays import Arrays, Batch
    from zarrfeed.feed.request import Request
    from zarrfeed.feed.workers.batch_spec import BatchSpec
    from zarrfeed.order.schedule import Schedule
    from zarrfeed.store.files import Stamp

_READERS = 16  # that share the descriptors; as many as Grain has threads by default


class SampleAccess:
    """The samples of all epochs of one rank, by their index.

    It may be used by several threads, and pickled: a copy opens the store again.

    Parameters
    ----------
    request
        The user's request.
    schedule
        Which samples are in which batch, for the rank that reads.
    batch_spec
        How a batch is made.

    Raises
    ------
    ValueError
        The request has a `batch_transform`, which makes batches, not samples.
    """

    def __init__(self, request: Request, schedule: Schedule, batch_spec: BatchSpec) -> None:
        if batch_spec.batch_transform is not None:
            raise ValueError(
                "samples one by one need a transform of one sample, got batch_transform="
                f"{batch_spec.function_names}: give ZarrSequence(transform=…), or map such a "
                "function over batches in the other library"
            )
        self._request = replace(request, rank=schedule.rank, world_size=schedule.world_size)
        self._schedule = replace(schedule, rest=None)  # the index alone says what is read
        each = descriptors_each(_READERS, processes=False)
        self._spec = replace(batch_spec, open_files=each)
        self._length: int = self._schedule.grid(0).rows(schedule.batches - 1).stop
        self._idle: deque[BatchMaker] = deque()  # those that no thread uses; its methods are atomic

    def __reduce__(self) -> tuple[Callable[..., SampleAccess], tuple[Any, ...]]:
        return _reopened, (self._request, self._spec.stamps)

    def __len__(self) -> int:
        """Return the number of samples in an epoch of this rank, padding included."""
        return self._length

    def __repr__(self) -> str:
        schedule = self._schedule
        share = f", rank {schedule.rank} of {schedule.world_size}" * (schedule.world_size > 1)
        return f"{str(self._request.path)!r}, {len(self)} samples per epoch{share}"

    def read(self, indices: Sequence[int]) -> list[Batch]:
        """Read samples into new memory.

        Parameters
        ----------
        indices
            Indices from 0 on: ``epoch * len(self) + place``.

        Returns
        -------
        list
            One element per index: a batch without its first axis.

        Raises
        ------
        ReadError, WorkerError
            As for :meth:`zarrfeed.feed.workers.batch_maker.BatchMaker.fill`.
        """
        places = [divmod(index, self._length) for index in indices]
        size = self._schedule.batch_size
        found: list[Batch] = []
        for (epoch, batch), those in groupby(places, lambda at: (at[0], at[1] // size)):
            found += self._read_rows(epoch, batch, [place % size for _, place in those])
        return found

    def _read_rows(self, epoch: int, batch: int, rows: list[int]) -> Iterable[Batch]:
        """Read some rows of one batch."""
        draws = self._schedule.batch_draws(epoch, batch)[rows]
        layout = SlotLayout.of(self._spec.layout.specs, draws.size, self._spec.layout.draw)
        slot = layout.new_slot()
        slot.set_draws(draws)
        maker = self._take_maker()
        try:
            maker.fill(slot, rows=draws.size, epoch=epoch, batch=batch)
        finally:
            self._idle.append(maker)
        structure, real = self._spec.structure, self._schedule.real_rows(epoch, batch)
        for number, row in enumerate(rows):
            arrays: Arrays = tuple(array[number : number + 1] for array in slot.arrays)
            if row >= real:
                structure.zero_padding_weights(arrays, 0)
            yield structure.nest([array[0, ...] for array in arrays])

    def _take_maker(self) -> BatchMaker:
        try:
            return self._idle.pop()
        except IndexError:  # all are in use
            (own,) = own_copies(self._spec, 1)  # threads must not share the state of functions
            return BatchMaker(own)


def _reopened(request: Request, stamps: Mapping[str, Stamp | None]) -> SampleAccess:
    """Open the store of a copy, which may be in another process."""
    split, schedule, batch_spec = open_request(request)
    require_all_same(split.path, stamps)  # the split may have been replaced
    return SampleAccess(request, schedule, batch_spec)
