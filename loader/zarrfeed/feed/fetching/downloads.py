"""Downloads blocks, those that somebody waits for first, and verifies complete files."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections import Counter, deque
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import ReadError, ZarrfeedError, look_up
from zarrfeed.feed.fetching.block_queue import BlockQueue, Waiter
from zarrfeed.feed.fetching.block_request import BlockRequest
from zarrfeed.feed.fetching.file_checks import FileChecks
from zarrfeed.feed.fetching.open_mirrors import OpenMirrors
from zarrfeed.store.mirror.block_table import UNKNOWN
from zarrfeed.store.mirror.file_table import BLOCK_NBYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed.feed.fetching.fetch_plan import Fetch, FetchPlan
    from zarrfeed.feed.fetching.mirror import Mirror

_LOG = logging.getLogger(__name__)

LANES = 16  # requests at the same time; those that somebody waits for do not wait for others
_MOST_BLOCKS = (16 << 20) // BLOCK_NBYTES  # of a request
_ALONE_BLOCKS = (1 << 20) // BLOCK_NBYTES  # of a request while somebody waits for others
_ORDERED_BLOCKS = (512 << 20) // BLOCK_NBYTES  # that are ordered ahead of the requests
_ATTEMPTS = 20  # to write what is no block
_LOOK_EVERY_S = 0.5
_READ_S = 0.25  # in which a reader has read what it required
_PATIENCE_S = 1.0  # until something goes that the plan would keep
_LEAST_PATIENCE_S = 0.01  # on a disk that is too small for what is read together
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_NONE = np.empty(0, np.int64)


class Downloads:
    """The blocks of all mirrors that are on their way, or should be.

    All methods are of one event loop.

    Parameters
    ----------
    plan
        Decides what comes and what goes.

    Attributes
    ----------
    counters
        Numbers of requests, of bytes fetched, and so on.
    """

    def __init__(self, plan: FetchPlan) -> None:
        self.plan = plan
        self._mirrors = OpenMirrors()
        self.counters: Counter[str] = Counter()
        self._urgent, self._ahead = BlockQueue(), BlockQueue()
        self._running = {True: 0, False: 0}  # by whether somebody waits
        self._waiters: dict[int, list[Waiter]] = {}
        # Who waits, and for which blocks; who has waited longest comes first.
        self._waiting: dict[Hashable, NDArray[np.int64]] = {}
        self._first = _NONE  # blocks of readers' first batches
        self._patience = _PATIENCE_S  # less after each time that it was in vain
        self._changed = asyncio.Event()
        self._checks = FileChecks(plan, self._mirrors, self.counters)
        self._tasks: set[asyncio.Task[None]] = set()
        self._rest: deque[tuple[Mirror, int]] = deque()  # files of which some block was needed
        self._touched: set[tuple[Mirror, int]] = set()

    def add(self, mirror: Mirror) -> None:
        """Add a mirror, with the blocks that it has."""
        if mirror.files is not None and mirror.table is not None:
            blocks = np.arange(mirror.files.blocks)
            present = mirror.table.present(blocks)
            mirror.first = self.plan.add_blocks(mirror.files.nbytes_of(blocks), present)
            self._mirrors.add(mirror)

    async def require(self, name: Hashable, mirror: Mirror, local: NDArray[np.int64]) -> None:
        """Wait until blocks of a mirror are there, all at the same time.

        They stay until the same `name` requires others, or is unpinned.

        Raises
        ------
        ReadError
            They cannot be had.
        """
        plan, blocks = self.plan, local + mirror.first
        loop = asyncio.get_running_loop()
        patience = loop.time() + self._patience
        self._waiting[name] = blocks
        try:
            while True:
                plan.pin(name, blocks)
                self._require_room(mirror, blocks)
                missing = blocks[~plan.present[blocks]]
                if not missing.size:
                    return
                self._checks.refuse_wrong(mirror, missing - mirror.first)
                in_time = self._ordered_in_time(missing)
                if not in_time and loop.time() < patience:
                    # The readers go on, and let blocks go.
                    await self._change(min(_LOOK_EVERY_S, patience - loop.time()))
                    continue
                wanted = self._patience * (2 if in_time else 0.5)
                self._patience = min(_PATIENCE_S, max(_LEAST_PATIENCE_S, wanted))
                fetch = plan.require(blocks)
                if fetch is None:  # until somebody has read what can go
                    if not await self._change(_READ_S):
                        plan.pin_only(*next(iter(self._waiting.items())))
                    continue
                waiter = Waiter(missing.size)
                for block in missing.tolist():
                    self._waiters.setdefault(block, []).append(waiter)
                self._urgent.add(self._ahead.remove(missing.tolist()))
                self.carry_out(fetch, self._urgent)
                self.pump()
                await waiter.done
        finally:
            del self._waiting[name]

    async def write(self, path: Path, write: Callable[[], object], nbytes: int) -> None:
        """Write what is no block; on a full disk, blocks go for it.

        Parameters
        ----------
        path
            What an error names.
        write
            May be called several times.
        nbytes
            About how many bytes it writes.

        Raises
        ------
        ReadError
            It cannot be written.
        """
        for left in reversed(range(_ATTEMPTS)):
            try:
                write()
                return
            except OSError as error:
                if error.errno not in _NO_SPACE or not left:
                    raise _unwritable(path, error) from error
            self._take_for_limit(nbytes)
            fetch = self.plan.require(_NONE)
            if fetch is None:
                await self._change(_READ_S)
            else:
                self.carry_out(fetch)
                await self._mirrors.freed()

    def unpin(self, name: Hashable) -> None:
        """Let the blocks go that somebody required last."""
        self.plan.unpin(name)
        self._changed.set()

    def doubt(self, mirror: Mirror, local: NDArray[np.int64]) -> bool:
        """Let blocks go that a reader cannot decode, unless their files are known to be right.

        Returns
        -------
        bool
            Whether they may come otherwise if they are required again.
        """
        assert mirror.files is not None
        assert mirror.table is not None
        local = local[mirror.table.verified[mirror.files.files_of(local)] == UNKNOWN]
        if local.size:
            self.counters["doubted"] += local.size
            self._checks.forget(mirror, local)
        return bool(local.size)

    def advance(self, name: Hashable, batch: int) -> None:
        """Note that a reader has gone on to a batch."""
        self.plan.advance(name, batch)
        self._changed.set()
        self.pump()

    def carry_out(self, fetch: Fetch, queue: BlockQueue | None = None) -> None:
        """Let blocks go, and queue others."""
        for mirror, local in self._mirrors.by_mirror(fetch.evicted):
            self._mirrors.evict(mirror, local)
            self.counters["evicted"] += local.size
        (self._ahead if queue is None else queue).add(fetch.blocks.tolist())

    def begin(self, blocks: NDArray[np.int64]) -> None:
        """Order what is known to be needed, then nothing until a new reader's first batch has come.

        Anything else would take the network from what somebody waits for.

        Parameters
        ----------
        blocks
            (n,) int64: those of the first batch, numbered among all blocks.
        """
        self.pump()
        self._first = np.concatenate((self._first, blocks))

    async def first_come(self) -> None:
        """Wait until what new readers need first has come."""
        while self._first_comes():
            await self._change(_LOOK_EVERY_S)

    def pump(self) -> None:
        """Start as many requests as may run."""
        while self._running[True] < LANES and len(self._urgent):
            self._begin(self._urgent, urgent=True)
        self._order_ahead()
        while sum(self._running.values()) < LANES and len(self._ahead):
            self._begin(self._ahead, urgent=False)

    def _ordered_in_time(self, blocks: NDArray[np.int64]) -> bool:
        """Order what the plan says until blocks are needed, so that what it spares stays.

        Returns
        -------
        bool
            False if blocks are in the plan, but cannot come before readers have gone on.
        """
        plan = self.plan
        until = plan.due_by(blocks)
        if plan.limit is None or until is None:
            return True
        while fetch := plan.next_fetch(until):
            self.carry_out(fetch)
        return bool((plan.present | plan.coming)[blocks].all())

    async def _change(self, seconds: float) -> bool:
        """Wait until something has come, or may go; False if nothing has in time."""
        self._changed.clear()
        try:
            return await asyncio.wait_for(self._changed.wait(), seconds)
        except TimeoutError:
            return False

    def _first_comes(self) -> bool:
        self._first = self._first[self.plan.coming[self._first]]
        return self._first.size > 0

    def _order_ahead(self) -> None:
        if self._first_comes():
            return
        most = _ORDERED_BLOCKS
        if self.plan.limit is not None:
            most = max(1, min(most, self.plan.limit // BLOCK_NBYTES // 16))
        while len(self._ahead) < most:
            fetch = self.plan.next_fetch() or self._rest_of_files(most)
            if fetch is None:
                return
            self.carry_out(fetch)

    def _rest_of_files(self, most: int) -> Fetch | None:
        """Return blocks that are missing of files that were begun, so that they can be verified."""
        while self._rest:
            mirror, file = self._rest[0]
            assert mirror.files is not None
            blocks = mirror.files.blocks_of(file)
            first = mirror.first
            fetch = None
            if mirror.clients and not self._checks.came_wrong(mirror, file):
                fetch = self.plan.rest_of(first + blocks.start, first + blocks.stop, most)
            if fetch is not None:
                return fetch
            self._rest.popleft()
        return None

    def _begin(self, queue: BlockQueue, *, urgent: bool) -> None:
        # Nobody waits for what others need later.
        alone = _ALONE_BLOCKS if self._waiting else None
        blocks = queue.take(self._mirrors.file_around, _MOST_BLOCKS, alone=alone)
        self._running[urgent] += 1
        self._run(self._download(blocks, urgent=urgent))

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _download(self, blocks: range, *, urgent: bool) -> None:
        mirror = self._mirrors.of(blocks.start)
        assert mirror.files is not None
        local = range(blocks.start - mirror.first, blocks.stop - mirror.first)
        file = mirror.files.place_of(local.start).file
        request = BlockRequest(mirror, file, local.start, local.stop)
        try:
            if self.plan.present[np.array(blocks)].all():
                return  # the whole file was found to be right meanwhile
            if file not in mirror.unchecked or not await self._was_kept(mirror, file):
                await self._mirrors.freed()
                arrived = partial(self._arrive, mirror, file)
                limited = self.plan.limit is not None
                await request.fetch(arrived, self.counters, limited=limited)
        except ZarrfeedError as error:
            self._fail(mirror, request.left, error)
        except OSError as error:
            self._no_space(mirror, request.left, error)
        finally:
            self._running[urgent] -= 1
            self._changed.set()
            self.pump()

    def _arrive(self, mirror: Mirror, file: int, local: range, *, verified: bool = False) -> None:
        assert mirror.table is not None
        mirror.table.arrive(file, local)
        self.plan.arrived(np.array(local) + mirror.first)
        for block in range(local.start + mirror.first, local.stop + mirror.first):
            for waiter in self._waiters.pop(block, ()):
                waiter.arrived()
        name = mirror, file
        if name not in self._touched:
            self._touched.add(name)
            self._rest.append(name)
        if verified:
            mirror.mark_whole(file)
        elif not mirror.table.missing[file]:
            self._run(self._verify(mirror, file))

    # -- what goes wrong --------------------------------------------------------------------------

    def _fail(self, mirror: Mirror, local: range, error: ZarrfeedError) -> None:
        _LOG.warning("%s", error)
        self.counters["failures"] += 1
        blocks = np.array(local) + mirror.first
        self.plan.failed(blocks)
        for block in blocks.tolist():
            for waiter in self._waiters.pop(block, ()):
                waiter.failed(error)

    def _no_space(self, mirror: Mirror, local: range, error: OSError) -> None:
        """Let those ask again who wait for blocks that a full disk cannot hold."""
        if error.errno not in _NO_SPACE:
            self._fail(mirror, local, _unwritable(mirror.folder, error))
            return
        blocks = np.array(local) + mirror.first
        self.plan.failed(blocks)
        self._take_for_limit(0)
        for block in blocks.tolist():
            for waiter in self._waiters.pop(block, ()):
                waiter.wake()

    def _take_for_limit(self, nbytes: int) -> None:
        """Take a full disk for a limit, below what there is, so that something goes."""
        self.counters["full"] += 1
        self.plan.limit = max(0, self.plan.taken - max(BLOCK_NBYTES, nbytes))
        self.plan.plan_again()

    def _require_room(self, mirror: Mirror, blocks: NDArray[np.int64]) -> None:
        needed, limit = int(self.plan.nbytes[blocks].sum()), self.plan.limit
        if limit is not None and needed > limit:
            raise ReadError(
                f"{mirror.folder}: needed {needed:,} bytes at the same time, but there is room for "
                f"{limit:,} in the cache: raise cache_limit if you gave one, free space on its "
                f"disk, or read less at a time{look_up('cache-limit')}"
            )

    # -- verification -----------------------------------------------------------------------------

    async def _was_kept(self, mirror: Mirror, file: int) -> bool:
        """Return whether a file is as before this machine was started again; then it is there."""
        right = await self._checks.was_kept(mirror, file)
        if file in mirror.unchecked:
            mirror.unchecked.discard(file)
            if right:
                assert mirror.files is not None
                local = mirror.files.blocks_of(file)
                self.plan.found(np.array(local) + mirror.first)
                self._arrive(mirror, file, local, verified=True)
        return right

    async def _verify(self, mirror: Mirror, file: int) -> None:
        """Compare the hash of a complete file; if it is wrong, fetch the file again, once."""
        again = await self._checks.verify(mirror, file)
        fetch = None if again is None else self.plan.require(again)
        if fetch is not None:
            self.carry_out(fetch)
            self.pump()


def _unwritable(path: Path, error: OSError) -> ReadError:
    return ReadError(
        f"{path}: cannot be written ({error.strerror}): if its disk is full, free space; if files "
        f"of the cache were removed, start again; or give another cache={look_up('remote-store')}"
    )
