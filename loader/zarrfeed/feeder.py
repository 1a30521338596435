"""Hands out finished batches in order, and keeps the workers busy with the ones to come.

There is no thread of its own: whoever takes a batch also sends the next tasks. A task is sent as
soon as a slot is free, across the end of an epoch too, so that the first batches of the next one
are read while the last of this one are consumed.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING

import psutil

from zarrfeed.arena import Arena
from zarrfeed.errors import WorkerTimeout, ZarrfeedError
from zarrfeed.slot import Arrays, SlotLayout, aligned_empty
from zarrfeed.workers import Task, Workers

if TYPE_CHECKING:
    from collections.abc import Callable

    from zarrfeed.schedule import Schedule

# Batches that a consumer holds at the same time: TensorFlow, JAX and torch hold up to 4 by
# themselves (measured). One that holds more gets copies, so that the workers never run dry.
HELD = 4
# Of the free memory, what the arena may take: the model needs some, too.
_SHARE = 0.5
_TURN = 0.2  # seconds


class Feeder:
    """One stream of batches.

    Parameters
    ----------
    schedule
        Which samples make which batch.
    layout
        Of a batch in memory.
    start_workers
        Makes the workers for an arena.
    depth
        Batches under way or finished at the same time, at least 1; fewer, with a warning, where
        the machine's free memory would not hold them.
    timeout
        Seconds to wait for one batch.
    """

    def __init__(
        self,
        schedule: Schedule,
        layout: SlotLayout,
        start_workers: Callable[[Arena], Workers],
        *,
        depth: int,
        timeout: float,
    ) -> None:
        depth = _afford(depth, layout.nbytes)
        self._schedule = schedule
        self._depth = depth
        self._timeout = timeout
        self._lock = threading.RLock()
        self._arena = Arena(layout, depth + HELD)
        try:
            self._workers = start_workers(self._arena)
        except BaseException:
            self._arena.close()
            raise
        self._pending: deque[Task] = deque()
        self._epoch = self._batch = 0  # of the next task to be sent
        self._epoch_ids = lru_cache(maxsize=1)(schedule.epoch_ids)
        self._sent = 0
        self._ticket = 0
        self._closing = False
        self.closed = False

    def begin(self, epoch: int) -> int:
        """Start an epoch from its first batch.

        Returns
        -------
        int
            A ticket for :meth:`take`. Every ticket ends the one before.
        """
        with self._lock:
            first = self._pending[0] if self._pending else None
            if first is None or (first.epoch, first.batch) != (epoch, 0):
                self._discard()
                self._epoch, self._batch = epoch, 0
            self._ticket += 1
            self._send_more()
            return self._ticket

    def take(self, ticket: int) -> Arrays | None:
        """Take the next batch.

        Returns
        -------
        tuple of arrays or None
            None if a newer ticket has taken over.

        Raises
        ------
        ZarrfeedError
            The batch could not be made. The feeder is then closed.
        """
        with self._lock:
            if ticket != self._ticket or self.closed:
                return None
            task = self._pending.popleft()
            try:
                self._wait(task)
            except BaseException:
                # Nobody knows who still writes to which slot: start afresh.
                self.close()
                raise
            batch = self._hand_out(task)
            self._send_more()
            return batch

    def close(self) -> None:
        """Stop the workers and let go of the memory. May be called twice."""
        self._closing = True
        with self._lock:
            if not self.closed:
                self.closed = True
                self._workers.close()
                self._arena.close()

    def _hand_out(self, task: Task) -> Arrays:
        """Lease the slot, or copy it where the consumer holds so many that workers lack slots."""
        if self._arena.free + len(self._pending) >= self._depth:
            return self._arena.lease(task.slot, task.rows)
        layout = self._arena.layout
        memory = aligned_empty(layout.nbytes)
        memory[:] = self._arena.memory(task.slot)
        self._arena.give_back(task.slot)
        return layout.arrays(memory, task.rows)

    def _send_more(self) -> None:
        while len(self._pending) < self._depth and self._arena.free:
            self._send()

    def _send(self) -> None:
        schedule = self._schedule
        if self._batch == schedule.batches:
            self._epoch, self._batch = self._epoch + 1, 0
        ids = self._epoch_ids(self._epoch)[schedule.rows(self._batch)]
        slot = self._arena.take()
        self._arena.layout.ids(self._arena.memory(slot))[: ids.size] = ids
        self._sent += 1
        task = Task(self._sent, slot, ids.size, self._epoch, self._batch)
        self._pending.append(task)
        self._workers.submit(task)
        self._batch += 1

    def _discard(self) -> None:
        """Wait for tasks that nobody wants any more; their failures matter to nobody either."""
        while self._pending:
            task = self._pending.popleft()
            try:
                self._wait(task)
            except WorkerTimeout:
                self.close()
                raise
            except ZarrfeedError:
                pass
            self._arena.give_back(task.slot)

    def _wait(self, task: Task) -> None:
        """Wait for a task, a little at a time, so that another thread may close meanwhile."""
        deadline = time.monotonic() + self._timeout
        while not self._workers.wait(task, max(0.0, min(_TURN, deadline - time.monotonic()))):
            if self._closing:
                raise WorkerTimeout("the sequence was closed while a batch was waited for")
            if time.monotonic() >= deadline:
                raise WorkerTimeout(
                    f"batch {task.batch} of epoch {task.epoch} did not come within "
                    f"{self._timeout:g} s from {self._workers}: raise ZarrSequence(timeout=…) if "
                    "the storage or the transform is that slow"
                )


def affordable_depth(depth: int, slot_nbytes: int, available: int) -> int:
    """Bound the batches under way by memory.

    Parameters
    ----------
    depth
        As many as are wanted.
    slot_nbytes
        Of one batch.
    available
        Bytes of free memory.

    Returns
    -------
    int
        At least 1 and at most `depth`, such that these and `HELD` more fit half of `available`.

    Examples
    --------
    >>> affordable_depth(10, slot_nbytes=100, available=2000)
    6
    """
    return max(1, min(depth, int(available * _SHARE) // slot_nbytes - HELD))


def _afford(depth: int, slot_nbytes: int) -> int:
    available = psutil.virtual_memory().available
    affordable = affordable_depth(depth, slot_nbytes, available)
    if affordable < depth:
        wanted = (depth + HELD) * slot_nbytes
        warnings.warn(
            f"max_queue_size={depth} would take ({depth} + {HELD}) batches × {slot_nbytes:,} bytes "
            f"= {wanted:,} bytes, over half of the {available:,} that are free; {affordable} it "
            "is. A smaller batch_size or max_queue_size takes less",
            RuntimeWarning,
            stacklevel=2,
        )
    return affordable
