"""Hands out finished batches in order, and keeps the workers busy with the next ones.

It has no thread of its own: taking a batch also sends the next tasks. A task is sent as soon as a
slot is free, even across the end of an epoch, so that the first batches of the next epoch are read
while the last ones of this epoch are consumed.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING

from zarrfeed.errors import WorkerTimeout, ZarrfeedError, look_up
from zarrfeed.feed.arena import Arena
from zarrfeed.feed.forks import register_at_fork
from zarrfeed.feed.lookahead import Lookahead
from zarrfeed.feed.stats import Tally
from zarrfeed.feed.workers import Task, Workers
from zarrfeed.machine_memory import limited_depth, resident

if TYPE_CHECKING:
    from collections.abc import Callable

    from zarrfeed.arrays import Arrays
    from zarrfeed.feed.slot import SlotLayout
    from zarrfeed.order.schedule import Schedule

# Batches that a consumer may hold at the same time: TensorFlow, JAX and torch hold up to 4
# (measured). A consumer that holds more gets copies, so that the workers never run out of slots.
HELD = 4
# Small batches may queue as long as they fit in the processor's cache together.
_CACHE_NBYTES = 16 << 20
# After a batch that had to wait for the disk, this many are prefetched. Prefetching prevents such
# waits, so that the lack of waits does not show that the store is in the page cache.
_COLD_BATCHES = 64
_POLL_SECONDS = 0.2


class Feeder:
    """One stream of batches.

    Parameters
    ----------
    schedule
        Which samples are in which batch.
    layout
        Layout of a batch in memory.
    start_workers
        Function that starts the workers on an arena.
    depth
        Largest number of batches that are under way or ready at the same time, at least 1. It is
        lowered, with a warning, if they would take more than half of the free memory.
    timeout
        Seconds to wait for one batch.
    shared
        Whether the workers are other processes.
    """

    def __init__(
        self,
        schedule: Schedule,
        layout: SlotLayout,
        start_workers: Callable[[Arena], Workers],
        *,
        depth: int,
        timeout: float,
        shared: bool,
    ) -> None:
        depth = limited_depth(depth, layout.nbytes, held=HELD)
        self.schedule = schedule
        self._sample_nbytes = layout.sample_nbytes
        self._depth = depth
        self._timeout = timeout
        self._lock = threading.RLock()
        self._arena = Arena(layout, depth + HELD, shared=shared)
        try:
            self._workers = start_workers(self._arena)
        except BaseException:
            self._arena.close()
            raise
        # One more than there are workers, so that no worker waits for its next task.
        least = max(self._workers.count + 1, _CACHE_NBYTES // layout.nbytes)
        self._ahead = Lookahead(least=min(depth, least), most=depth, workers=self._workers.count)
        self._pending: deque[Task] = deque()
        self._epoch = self._batch = 0  # the next batch to send as a task
        self._cold = 0  # number of tasks that still prefetch a later batch
        self._sent = 0
        self._taken = 0.0  # time at which the last batch was handed out
        self._ticket = 0
        self._closing = False
        self.closed = False
        self._finalizer: weakref.finalize[..., object] | None = None
        register_at_fork(self)

    def __repr__(self) -> str:
        if self.closed:
            return f"<{type(self).__name__}: closed>"
        pending = tuple(self._pending)
        ready = sum(self._arena.slot(task.slot).done[0] == task.number for task in pending)
        epoch, batch = (pending[0].epoch, pending[0].batch) if pending else self._later(0)
        return (
            f"<{type(self).__name__} epoch {epoch}, batch {batch}: {ready} ready, "
            f"{len(pending) - ready} under way, {self._arena.leased} held>"
        )

    def begin(self, schedule: Schedule, epoch: int, batch: int) -> int:
        """Start a pass over an epoch.

        Parameters
        ----------
        schedule, epoch, batch
            Which samples are in which batch, the epoch, and its first batch to hand out.

        Returns
        -------
        int
            A ticket for :meth:`take`. Earlier tickets become invalid.
        """
        with self._lock:
            try:
                return self._begin(schedule, epoch, batch)
            except BaseException:
                self.close()
                raise

    def _begin(self, schedule: Schedule, epoch: int, batch: int) -> int:
        first = self._pending[0] if self._pending else None
        ready = None if first is None else (self.schedule, first.epoch, first.batch)
        if ready != (schedule, epoch, batch):
            self._discard()
            self.schedule, self._epoch, self._batch = schedule, epoch, batch
        self._ticket += 1
        self._send(self._ahead.batches)
        return self._ticket

    def tally(self, epoch: int) -> Tally:
        """Return the counter for an epoch that begins."""
        return Tally(epoch, max(1, self._workers.count))

    def take(self, ticket: int, tally: Tally) -> Arrays | None:
        """Take the next batch.

        Parameters
        ----------
        ticket
            Ticket of the pass.
        tally
            Counter to which the batch is added.

        Returns
        -------
        tuple of arrays or None
            None if the ticket is invalid, because another pass has begun.

        Raises
        ------
        ZarrfeedError
            The batch could not be made. The feeder is then closed.
        """
        with self._lock:
            if ticket != self._ticket or self.closed:
                return None
            try:
                return self._take(tally)
            except BaseException:
                # Close after any exception, even Ctrl-C, because workers may still write to slots.
                self.close()
                raise

    def _take(self, tally: Tally) -> Arrays:
        began = time.perf_counter()
        # Reuse the slots that the consumer has dropped since the last batch.
        self._send(self._ahead.batches)
        task = self._pending.popleft()
        if task.batch == self.schedule.batches - 1:  # measured while the workers are busy
            tally.rss = self.resident()
        self._wait(task)
        now = time.perf_counter()
        *spent, from_disk = self._arena.slot(task.slot).spent.tolist()
        if task.batch:  # the pause between epochs says nothing about the workers
            self._ahead.note(seconds=now - self._taken, waited=now - began, worked=sum(spent))
        self._taken = now
        rows = self.schedule.real_rows(task.epoch, task.batch)
        tally.add(
            rows=rows,
            nbytes=task.rows * self._sample_nbytes,
            waited=now - began,
            spent=spent,
        )
        self._cold = _COLD_BATCHES if from_disk else self._cold - 1
        batch = self._hand_out(task)
        # Keep one task back for the slot that the consumer drops now, if every worker has one.
        ahead = self._ahead.batches
        self._send(min(ahead, max(ahead - 1, self._workers.count)))
        return batch

    def resident(self) -> int:
        """Return the resident memory of this process and its workers in bytes."""
        return resident(self._workers.pids)

    def close(self) -> None:
        """Stop the workers and release the memory. May be called twice."""
        self._closing = True
        with self._lock:
            if not self.closed:
                self._mark_closed()
                self._workers.close()
                self._arena.close()

    def close_with(self, owner: object) -> None:
        """Close when `owner` is garbage-collected."""
        self._finalizer = weakref.finalize(owner, self.close)

    def before_fork(self) -> None:
        """Copy the batches that a child may hold; see :mod:`zarrfeed.feed.forks`."""
        self._arena.before_fork()

    def after_fork(self, *, child: bool) -> None:
        """In a child, close: the workers are the parent's, and its threads may hold locks."""
        if child:
            self._closing = True
            self._lock = threading.RLock()
            self._mark_closed()
            self._workers.abandon()
        self._arena.after_fork(child=child)

    def _mark_closed(self) -> None:
        """Drop the tasks, and the finaliser, which would keep this object and its memory alive."""
        self.closed = True
        self._pending.clear()
        if self._finalizer is not None:
            self._finalizer.detach()

    def _hand_out(self, task: Task) -> Arrays:
        """Lease the slot, or copy it if the consumer holds so many that the workers lack slots."""
        if self._arena.free + len(self._pending) >= self._depth:
            return self._arena.lease(task.slot, task.rows)
        layout = self._arena.layout
        copy = layout.new_slot()
        copy.memory[:] = self._arena.slot(task.slot).memory
        self._arena.give_back(task.slot)
        return copy.first_rows(task.rows)

    def _send(self, ahead: int) -> None:
        """Keep up to `ahead` batches under way or ready."""
        while len(self._pending) < ahead and self._arena.free:
            self._send_one()

    def _send_one(self) -> None:
        schedule = self.schedule
        if self._batch == schedule.batches:
            self._epoch, self._batch = self._epoch + 1, 0
        draws = schedule.batch_draws(self._epoch, self._batch)
        slot = self._arena.take()
        # Prefetch only if the disk is slow: it costs as much as copying if pages are in memory.
        later = schedule.batch_draws(*self._later(self._depth)) if self._cold > 0 else None
        self._arena.slot(slot).set_draws(draws, later)
        self._sent += 1
        task = Task(self._sent, slot, draws.size, self._epoch, self._batch)
        self._pending.append(task)
        self._workers.submit(task)
        self._batch += 1

    def _later(self, batches: int) -> tuple[int, int]:
        """Return epoch and number of the batch that is `batches` after the next one to send."""
        epochs, batch = divmod(self._batch + batches, self.schedule.batches)
        return self._epoch + epochs, batch

    def _discard(self) -> None:
        """Wait for tasks whose batches are not needed any more, and ignore their failures."""
        while self._pending:
            task = self._pending.popleft()
            try:
                self._wait(task)
            except WorkerTimeout:
                raise
            except ZarrfeedError:
                pass
            self._arena.give_back(task.slot)

    def _wait(self, task: Task) -> None:
        """Wait for a task in short steps, so that another thread can close the feeder meanwhile."""
        deadline = time.monotonic() + self._timeout
        left = self._timeout
        while not self._workers.wait(task, min(_POLL_SECONDS, left)):
            left = max(0.0, deadline - time.monotonic())
            if self._closing:
                raise WorkerTimeout("the sequence was closed while it waited for a batch")
            if not left:
                raise WorkerTimeout(
                    f"batch {task.batch} of epoch {task.epoch} did not come within "
                    f"{self._timeout:g} s from {self._workers}: if the storage or the transform is "
                    "that slow, increase ZarrSequence(timeout=…)"
                    f"{look_up('timeout')}"
                )
