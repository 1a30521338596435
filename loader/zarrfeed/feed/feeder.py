"""Hands out finished batches in order, and keeps the workers busy with the ones to come.

It has no thread of its own: whoever takes a batch also sends the next tasks. A task is sent as soon
as a slot is free, even across the end of an epoch, so that the first batches of the next one are
read while the last ones of this one are consumed.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING

from zarrfeed.arrays import Arrays, aligned_empty
from zarrfeed.errors import WorkerTimeout, ZarrfeedError
from zarrfeed.feed.arena import Arena
from zarrfeed.feed.forks import register_at_fork
from zarrfeed.feed.lookahead import Lookahead
from zarrfeed.feed.stats import Tally
from zarrfeed.feed.workers import Task, Workers
from zarrfeed.machine_memory import limited_depth, resident

if TYPE_CHECKING:
    from collections.abc import Callable

    from zarrfeed.feed.slot import SlotLayout
    from zarrfeed.order.schedule import Schedule

# Batches that a consumer holds at the same time: TensorFlow, JAX and torch hold up to 4 by
# themselves (measured). One that holds more gets copies, so that the workers never run dry.
HELD = 4
# Small batches may queue as long as they stay in the processor's cache together.
_CACHE_NBYTES = 16 << 20
# After a batch that had to wait for the disk, this many are read ahead: reading ahead prevents the
# very waits by which a cold disk is known.
_COLD_BATCHES = 64
_POLL_SECONDS = 0.2


class Feeder:
    """One stream of batches.

    Parameters
    ----------
    schedule
        Which samples make which batch.
    layout
        Of a batch in memory.
    start_workers
        Starts the workers on an arena.
    depth
        Most batches that are under way or ready at the same time, at least 1. It is lowered, with a
        warning, if they would take more than half of the free memory.
    timeout
        Seconds to wait for one batch.
    shared
        Whether other processes write the batches.
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
        # One more than there are workers, so that none waits for its next task.
        least = max(self._workers.count + 1, _CACHE_NBYTES // layout.nbytes)
        self._ahead = Lookahead(least=min(depth, least), most=depth, workers=self._workers.count)
        self._pending: deque[Task] = deque()
        self._epoch = self._batch = 0  # of the next task to be sent
        self._cold = 0  # batches for which the disk is still read ahead
        self._sent = 0
        self._taken = 0.0  # when the last batch was handed out
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

    def begin(self, epoch: int, batch: int) -> int:
        """Start an epoch from one of its batches.

        Returns
        -------
        int
            A ticket for :meth:`take`. It makes the earlier ones invalid.
        """
        with self._lock:
            try:
                return self._begin(epoch, batch)
            except BaseException:
                self.close()
                raise

    def _begin(self, epoch: int, batch: int) -> int:
        first = self._pending[0] if self._pending else None
        if first is None or (first.epoch, first.batch) != (epoch, batch):
            self._discard()
            self._epoch, self._batch = epoch, batch
        self._ticket += 1
        self._send(self._ahead.batches)
        return self._ticket

    def tally(self, epoch: int) -> Tally:
        """Make the counter of an epoch that begins."""
        return Tally(epoch, max(1, self._workers.count))

    def take(self, ticket: int, tally: Tally) -> Arrays | None:
        """Take the next batch.

        Parameters
        ----------
        ticket
            Of the pass that asks.
        tally
            Counts the batch.

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
            try:
                return self._take(tally)
            except BaseException:
                # After any exception, Ctrl-C too, workers may still write to any slot: start anew.
                self.close()
                raise

    def _take(self, tally: Tally) -> Arrays:
        began = time.perf_counter()
        # Slots that the consumer has dropped since the last batch are used first.
        self._send(self._ahead.batches)
        task = self._pending.popleft()
        if task.batch == self.schedule.batches - 1:  # measured while the workers work
            tally.rss = self.resident()
        self._wait(task)
        now = time.perf_counter()
        *spent, from_disk = self._arena.slot(task.slot).spent.tolist()
        if task.batch:  # a pause before an epoch says nothing about the workers
            self._ahead.note(seconds=now - self._taken, waited=now - began, worked=sum(spent))
        self._taken = now
        rows = self.schedule.real_rows(task.batch)
        tally.add(
            rows=rows,
            nbytes=task.rows * self._sample_nbytes,
            waited=now - began,
            spent=spent,
        )
        self._cold = _COLD_BATCHES if from_disk else self._cold - 1
        batch = self._hand_out(task)
        # Every worker has a task; the next one can wait for the slot that the consumer drops now.
        ahead = self._ahead.batches
        self._send(min(ahead, max(ahead - 1, self._workers.count)))
        return batch

    def resident(self) -> int:
        """Bytes of resident memory of this process and its workers."""
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
        """Close when the owner dies."""
        self._finalizer = weakref.finalize(owner, self.close)

    def before_fork(self) -> None:
        """Keep the batches that a child may hold; see :mod:`zarrfeed.feed.forks`."""
        self._arena.before_fork()

    def after_fork(self, *, child: bool) -> None:
        """Be closed in a child: the workers are the parent's, and its threads hold locks."""
        if child:
            self._closing = True
            self._lock = threading.RLock()
            self._mark_closed()
            self._workers.abandon()
        self._arena.after_fork(child=child)

    def _mark_closed(self) -> None:
        """Forget the tasks, and the finaliser, which would keep this object and its memory."""
        self.closed = True
        self._pending.clear()
        if self._finalizer is not None:
            self._finalizer.detach()

    def _hand_out(self, task: Task) -> Arrays:
        """Lease the slot; copy it if the consumer holds so many that the workers lack slots."""
        if self._arena.free + len(self._pending) >= self._depth:
            return self._arena.lease(task.slot, task.rows)
        layout = self._arena.layout
        copy = layout.slot(aligned_empty(layout.nbytes))
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
        ids = schedule.batch_ids(self._epoch, self._batch)
        slot = self._arena.take()
        # Only from a cold disk: advice on a page that is in memory costs as much as its copy.
        later = schedule.batch_ids(*self._later(self._depth)) if self._cold > 0 else None
        self._arena.slot(slot).set_ids(ids, later)
        self._sent += 1
        task = Task(self._sent, slot, ids.size, self._epoch, self._batch)
        self._pending.append(task)
        self._workers.submit(task)
        self._batch += 1

    def _later(self, batches: int) -> tuple[int, int]:
        """Epoch and number of the batch so many after the next one."""
        epochs, batch = divmod(self._batch + batches, self.schedule.batches)
        return self._epoch + epochs, batch

    def _discard(self) -> None:
        """Wait for tasks that nobody wants any more; ignore their failures."""
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
        """Wait for a task, a little at a time, so that another thread can close meanwhile."""
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
                    "that slow, raise ZarrSequence(timeout=…)"
                )
