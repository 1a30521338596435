"""Hands out finished batches in order, and keeps the workers busy with the ones to come.

There is no thread of its own: whoever takes a batch also sends the next tasks. A task is sent as
soon as a slot is free, across the end of an epoch too, so that the first batches of the next one
are read while the last of this one are consumed.
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
from zarrfeed.feed.forks import ask_at_forks
from zarrfeed.feed.lookahead import Lookahead
from zarrfeed.feed.slot import SlotLayout, weighing
from zarrfeed.feed.stats import Tally
from zarrfeed.feed.workers import Task, Workers
from zarrfeed.machine_memory import afford, resident

if TYPE_CHECKING:
    from collections.abc import Callable

    from zarrfeed.order.schedule import Schedule

# Batches that a consumer holds at the same time: TensorFlow, JAX and torch hold up to 4 by
# themselves (measured). One that holds more gets copies, so that the workers never run dry.
HELD = 4
# Small batches may queue as long as they stay in the processor's cache together.
_CACHE_NBYTES = 16 << 20
# After a batch that had to wait for the disk, so many are read ahead: advice prevents the very
# waits by which a cold disk is known.
_COLD_BATCHES = 64
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
        depth = afford(depth, layout.nbytes, held=HELD)
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
        # One more than there are workers: none waits for its next task.
        least = max(self._workers.count + 1, _CACHE_NBYTES // layout.nbytes)
        self._ahead = Lookahead(least=min(depth, least), most=depth, workers=self._workers.count)
        self._pending: deque[Task] = deque()
        self._epoch = self._batch = 0  # of the next task to be sent
        self._cold = 0  # batches that are still read ahead from the disk
        self._sent = 0
        self._taken = 0.0  # when the last batch was handed out
        self._ticket = 0
        self._closing = False
        self.closed = False
        self._end: weakref.finalize[..., object] | None = None
        ask_at_forks(self)

    def begin(self, epoch: int, batch: int) -> int:
        """Start an epoch from one of its batches.

        Returns
        -------
        int
            A ticket for :meth:`take`. Every ticket ends the one before.
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
        """Begin to count an epoch."""
        return Tally(epoch, max(1, self._workers.count))

    def take(self, ticket: int, tally: Tally) -> Arrays | None:
        """Take the next batch.

        Parameters
        ----------
        ticket
            Of the pass that asks.
        tally
            Where the batch is counted.

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
                # Whatever it was, Ctrl-C too: nobody knows who writes to which slot. Start afresh.
                self.close()
                raise

    def _take(self, tally: Tally) -> Arrays:
        began = time.perf_counter()
        # What the consumer has dropped since the last batch is written to first.
        self._send(self._ahead.batches)
        task = self._pending.popleft()
        if task.batch == self.schedule.batches - 1:  # measured while the workers work
            tally.rss = self.resident()
        self._wait(task)
        now = time.perf_counter()
        *spent, from_disk = self._arena.slot(task.slot).spent.tolist()
        if task.batch:  # before an epoch there may be a pause, which says nothing
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
        if rows < task.rows:
            batch = weighing(batch, rows)
        # Every worker has a task; one more can wait for the slot that the consumer drops now.
        ahead = self._ahead.batches
        self._send(min(ahead, max(ahead - 1, self._workers.count)))
        return batch

    def resident(self) -> int:
        """Bytes of resident memory of this process and its workers."""
        return resident(self._workers.pids)

    def close(self) -> None:
        """Stop the workers and let go of the memory. May be called twice."""
        self._closing = True
        with self._lock:
            if not self.closed:
                self._forget()
                self._workers.close()
                self._arena.close()

    def end_with(self, owner: object) -> None:
        """Close when the owner dies."""
        self._end = weakref.finalize(owner, self.close)

    def before_fork(self) -> None:
        """Keep what a child may hold; see :mod:`zarrfeed.feed.forks`."""
        self._arena.before_fork()

    def after_fork(self, *, child: bool) -> None:
        """In a child, be closed: workers are the parent's, and its threads hold locks."""
        if child:
            self._closing = True
            self._lock = threading.RLock()
            self._forget()
            self._workers.abandon()
        self._arena.after_fork(child=child)

    def _forget(self) -> None:
        """Be closed, and be known as such to nobody's finaliser, which would keep the memory."""
        self.closed = True
        self._pending.clear()
        if self._end is not None:
            self._end.detach()

    def _hand_out(self, task: Task) -> Arrays:
        """Lease the slot, or copy it where the consumer holds so many that workers lack slots."""
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
        # A page that is in memory already costs as much to advise as to copy.
        coming = schedule.batch_ids(*self._later(self._depth)) if self._cold > 0 else None
        self._arena.slot(slot).set_ids(ids, coming)
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
        """Wait for tasks that nobody wants any more; their failures matter to nobody either."""
        while self._pending:
            task = self._pending.popleft()
            try:
                self._wait(task)
            except WorkerTimeout:
                raise
            except ZarrfeedError:  # of a batch that nobody gets
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
