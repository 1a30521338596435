"""The downloads of the fetcher, in this process: whole, once, verified and within a limit."""

from __future__ import annotations

import asyncio
import errno
import pickle
import shutil
import socket
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("obstore")
from obstore.store import LocalStore

from cases import CaseArrays, pair
from zarrfeed.errors import ReadError, StoreError
from zarrfeed.feed.fetching import mirror_folder
from zarrfeed.feed.fetching.cache_space import CacheSpace
from zarrfeed.feed.fetching.chunk_blocks import ChunkBlocks
from zarrfeed.feed.fetching.clients import Clients
from zarrfeed.feed.fetching.downloads import Downloads
from zarrfeed.feed.fetching.fetch_plan import FetchPlan
from zarrfeed.feed.fetching.found_split import find_split
from zarrfeed.feed.fetching.mirror import Mirror
from zarrfeed.feed.fetching.mirror_folder import journal_of, make_folder
from zarrfeed.feed.fetching.next_uses import NextUses
from zarrfeed.feed.fetching.upcoming import Plan, Upcoming
from zarrfeed.feed.fetching.whole_files import WholeFiles
from zarrfeed.order.schedule import Schedule
from zarrfeed.store.files import replace_file
from zarrfeed.store.mirror import messages
from zarrfeed.store.mirror.block_table import WHOLE, WRONG
from zarrfeed.store.mirror.file_table import BLOCK_NBYTES
from zarrfeed.store.mirror.mirrored_reader import table_path
from zarrfeed.store.objects.object_store import ObjectStore
from zarrfeed_convert import convert

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

MIB = 1 << 20
BLOCKS = 54


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 images of ¾ MiB and masks of ¼ MiB, four a shard: 3 shards of 12 + 4 blocks and a bit."""
    folder = tmp_path_factory.mktemp("dataset") / "a.zarr"
    arrays = {f"{n:02}": pair((512, 512), n) for n in range(12)}
    convert(
        CaseArrays(arrays), folder, split="train", workers=1, codec="raw", shard_size=3 * MIB,
        chunk_samples=1, classes=3,
    )  # fmt: skip
    return folder


class Objects(ObjectStore):
    """A local folder as an object store, which changes what a test says."""

    def __init__(self, folder: Path) -> None:
        super().__init__("test://a.zarr/train", LocalStore(folder))
        self.flips = 0  # answers whose first byte is wrong
        self.asked: list[tuple[str, int, int]] = []

    async def parts(
        self, key: str, start: int, stop: int, *, nbytes: int = MIB
    ) -> AsyncIterator[Any]:
        self.asked.append((key, start, stop))
        flip, self.flips = self.flips > 0, max(0, self.flips - 1)
        async for known, part in super().parts(key, start, stop, nbytes=nbytes):
            yield known, bytes([part[0] ^ 1, *part[1:9]]) + part[9:] if flip else part
            flip = False


class Fetching:
    """A mirror of the dataset, and its downloads."""

    def __init__(self, cache: Path, dataset: Path, limit: int | None = None) -> None:
        self.cache, self.dataset = cache, dataset
        self.objects = Objects(dataset / "train")
        self.downloads = Downloads(FetchPlan(limit))

    async def open(self) -> Mirror:
        found = await find_split(
            self.objects.url, [self.objects, ObjectStore("", LocalStore(self.dataset))]
        )
        folder = await make_folder(found, self.objects, self.cache)
        self.mirror = Mirror(folder, found, self.objects)
        self.mirror.clients.add(self)
        assert self.mirror.table is not None
        self.mirror.table.announce(evicts=True)  # so that nothing waits for readers
        self.downloads.add(self.mirror)
        self.files, self.table = self.mirror.files, self.mirror.table
        return self.mirror

    async def settled(self) -> None:
        while self.downloads._tasks:
            await asyncio.gather(*self.downloads._tasks)

    def content(self, file: int) -> tuple[bytes, bytes]:
        """The bytes of a file, here and there."""
        key = self.mirror.key_of(file)
        return (self.mirror.folder / key).read_bytes(), (self.dataset / "train" / key).read_bytes()


@pytest.fixture
def run(tmp_path: Path, dataset: Path) -> Callable[..., None]:
    def run(test: Callable[[Fetching], Coroutine[Any, Any, None]], **options: Any) -> None:
        async def whole() -> None:
            fetching = Fetching(tmp_path, dataset, **options)
            await fetching.open()
            await asyncio.wait_for(test(fetching), 30)

        asyncio.run(whole())

    return run


def test_what_is_required_comes_and_then_the_rest_of_its_files(run: Any) -> None:
    async def test(fetching: Fetching) -> None:
        await fetching.downloads.require("a", fetching.mirror, np.array([1]))
        assert fetching.table.present(np.array([1])).all()
        await fetching.settled()
        [file] = set(fetching.files.files_of(np.array([1])).tolist())
        here, there = fetching.content(file)
        assert here == there
        assert fetching.table.verified[file] == WHOLE
        assert fetching.table.missing.tolist().count(0) == 1
        nbytes = [stop - start for _, start, stop in fetching.objects.asked if "c/" in _]
        assert sum(nbytes) == len(there)  # nothing twice

    run(test)


def test_neighbours_come_by_one_request(run: Any) -> None:
    async def test(fetching: Fetching) -> None:
        fetching.objects.asked.clear()
        await fetching.downloads.require("a", fetching.mirror, np.arange(12))
        await fetching.settled()
        assert fetching.objects.asked[0][1:] == (0, 3 * MIB)

    run(test)


def test_nothing_is_asked_for_before_what_a_new_reader_needs_first_has_come(run: Any) -> None:
    first, later = [1, 20, 40], [2, 21, 45]

    async def test(fetching: Fetching) -> None:
        downloads, objects = fetching.downloads, fetching.objects
        uses = NextUses(BLOCKS)
        downloads.plan.add_reader("a", uses)
        uses.append(np.zeros(3, np.int64), np.array(first), 1)
        objects.asked.clear()
        downloads.begin(np.array(first))
        uses.append(np.ones(3, np.int64), np.array(later), 2)
        downloads.pump()
        await downloads.first_come()
        assert fetching.table.present(np.array(first)).all()
        places = [fetching.files.place_of(block) for block in first]
        needed = [(fetching.mirror.key_of(place.file), place.offset) for place in places]
        assert [(key, start) for key, start, _ in objects.asked[:3]] == needed
        assert {stop - start for _, start, stop in objects.asked[:3]} == {BLOCK_NBYTES}
        await fetching.settled()
        assert fetching.table.present(np.array(later)).all()

    run(test)


def test_wrong_bytes_are_fetched_again_and_told(run: Any) -> None:
    async def test(fetching: Fetching) -> None:
        fetching.objects.flips = 1
        await fetching.downloads.require("a", fetching.mirror, np.array([0]))
        await fetching.settled()
        here, there = fetching.content(0)
        assert here == there
        assert fetching.table.verified[0] == WHOLE
        [warning] = fetching.mirror.warnings
        assert "samples 0 to 3" in warning

    run(test)


def test_blocks_that_a_reader_doubts_are_fetched_again_unless_they_are_right(run: Any) -> None:
    async def test(fetching: Fetching) -> None:
        downloads, mirror, blocks = fetching.downloads, fetching.mirror, np.array([0])
        fetching.objects.flips = 1
        await downloads.require("a", mirror, blocks)
        assert downloads.doubt(mirror, blocks)
        assert not fetching.table.present(blocks).any()
        await downloads.require("a", mirror, blocks)
        await fetching.settled()
        here, there = fetching.content(0)
        assert here == there
        assert fetching.table.verified[0] == WHOLE
        assert not mirror.warnings
        assert not downloads.doubt(mirror, blocks)

    run(test)


def test_bytes_stay_while_readers_may_decode_them_in_place(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zarrfeed.feed.fetching.mirror.DECODE_SECONDS", 0.2)

    async def test(fetching: Fetching) -> None:
        downloads, mirror, block = fetching.downloads, fetching.mirror, np.array([0])
        await downloads.require("a", mirror, block)
        fetching.table.announce(evicts=False)
        done: list[tuple[str, bool]] = []

        def noting(name: str, call: Callable[..., None]) -> Callable[..., None]:
            def noted(*arguments: Any) -> None:
                done.append((name, time.monotonic() >= mirror.decoded_until))
                call(*arguments)

            return noted

        monkeypatch.setattr(mirror, "free", noting("free", mirror.free))
        monkeypatch.setattr(mirror, "write", noting("write", mirror.write))
        assert downloads.doubt(mirror, block)
        assert not done  # and nobody waited
        assert not fetching.table.present(block).any()
        await downloads.require("a", mirror, block)
        assert done[:2] == [("free", True), ("write", True)]
        done.clear()
        assert downloads.doubt(mirror, block)
        assert done == [("free", True)]  # readers know by now

    run(test)


def test_bytes_that_stay_wrong_are_an_error(run: Any) -> None:
    async def test(fetching: Fetching) -> None:
        fetching.objects.flips = 99
        await fetching.downloads.require("a", fetching.mirror, np.array([0]))
        await fetching.settled()
        assert fetching.table.verified[0] == WRONG
        with pytest.raises(ReadError, match="came twice with other bytes"):
            await fetching.downloads.require("a", fetching.mirror, np.array([0]))

    run(test)


def test_a_limit_holds_and_holes_take_no_space(run: Any) -> None:
    async def test(fetching: Fetching) -> None:
        for block in range(fetching.files.blocks):
            await fetching.downloads.require("a", fetching.mirror, np.array([block]))
            assert fetching.mirror.nbytes <= 3 * MIB
        taken = sum(p.stat().st_blocks * 512 for p in fetching.mirror.folder.rglob("*/c/*/**/*"))
        assert taken < 4 * MIB

    run(test, limit=3 * MIB)


def test_an_object_that_is_replaced_is_told_where_no_hash_tells(
    tmp_path: Path, dataset: Path
) -> None:
    served = tmp_path / "a.zarr"
    shutil.copytree(dataset, served)

    async def test() -> None:
        fetching = Fetching(tmp_path / "cache", served, limit=2 * MIB)
        await fetching.open()
        path = served / "train" / fetching.mirror.key_of(0)
        await fetching.downloads.require("a", fetching.mirror, np.array([0]))
        await fetching.downloads.require("a", fetching.mirror, np.array([1]))
        assert not fetching.mirror.warnings
        path.write_bytes(path.read_bytes()[::-1])
        for block in (2, 3):
            await fetching.downloads.require("a", fetching.mirror, np.array([block]))
        [warning] = fetching.mirror.warnings
        assert "its ETag has changed" in warning
        assert fetching.mirror.key_of(0) in warning

    asyncio.run(test())


def test_more_than_the_limit_at_once_is_an_error(run: Any) -> None:
    async def test(fetching: Fetching) -> None:
        with pytest.raises(ReadError, match=r"needed .* bytes at the same time"):
            await fetching.downloads.require("a", fetching.mirror, np.arange(20))

    run(test, limit=3 * MIB)


class FullDisk:
    """A disk with room for so many bytes of a mirror."""

    def __init__(self, mirror: Mirror, room: int) -> None:
        self._mirror, self._room, self._write = mirror, room, mirror.write
        mirror.write = self.write  # type: ignore[method-assign]

    def write(self, file: int, offset: int, data: bytes) -> None:
        self._require_room(data)
        self._write(file, offset, data)

    def replace(self, path: Path, data: bytes) -> None:
        self._require_room(data)
        replace_file(path, data)

    def _require_room(self, data: bytes) -> None:
        if self._mirror.nbytes + len(data) > self._room:
            raise OSError(errno.ENOSPC, "No space left on device")


@settings(max_examples=25, deadline=None)
@given(
    batches=st.lists(
        st.lists(st.sets(st.integers(0, BLOCKS - 1), min_size=1, max_size=8), max_size=3),
        min_size=1,
        max_size=4,
    )
)
def test_readers_of_a_full_disk_that_holds_what_any_of_them_needs_all_get_it(
    dataset: Path, batches: list[list[set[int]]]
) -> None:
    """Even if it does not hold what all need together, and some keep what they have read."""

    async def read(fetching: Fetching, name: int) -> None:
        for needed in batches[name]:
            blocks = np.array(sorted(needed))
            await fetching.downloads.require(name, fetching.mirror, blocks)
            assert fetching.table.present(blocks).all()

    async def read_all(fetching: Fetching) -> None:
        mirror = await fetching.open()
        needs = [np.array(sorted(needed)) for reader in batches for needed in reader]
        most = max((int(fetching.files.nbytes_of(needed).sum()) for needed in needs), default=0)
        FullDisk(mirror, most + MIB + BLOCK_NBYTES)
        reading = asyncio.gather(*(read(fetching, name) for name in range(len(batches))))
        await asyncio.wait_for(reading, 30)

    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("zarrfeed.feed.fetching.downloads._READ_S", 0.02)
        asyncio.run(read_all(Fetching(Path(folder), dataset)))


def test_a_full_disk_that_cannot_hold_what_is_needed_is_an_error_that_names_it(run: Any) -> None:
    async def test(fetching: Fetching) -> None:
        FullDisk(fetching.mirror, BLOCK_NBYTES)
        with pytest.raises(ReadError, match=str(fetching.mirror.folder)):
            await fetching.downloads.require("a", fetching.mirror, np.arange(3))

    run(test)


@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("what", ["indexes", "a whole array"])
def test_on_a_full_disk_blocks_go_for_what_is_no_block(
    run: Any, monkeypatch: pytest.MonkeyPatch, what: str, pinned: bool
) -> None:
    async def test(fetching: Fetching) -> None:
        downloads, mirror = fetching.downloads, fetching.mirror
        disk = FullDisk(mirror, 4 * BLOCK_NBYTES)
        monkeypatch.setattr("zarrfeed.feed.fetching.whole_files.replace_file", disk.replace)
        await downloads.require("a", mirror, np.arange(4))
        if pinned:
            asyncio.get_running_loop().call_later(0.3, downloads.unpin, "a")
        else:
            downloads.unpin("a")
        if what == "indexes":
            await ChunkBlocks(mirror, "mask", downloads).load(np.arange(3))
            assert fetching.table.indexed.sum() == 3
        else:
            space = CacheSpace(fetching.cache, downloads.plan)
            await WholeFiles(downloads, space).fetch(mirror, "channel_sums")
            [key] = mirror.keys_of("channel_sums")
            assert (mirror.folder / key).is_file()
        assert 0 < mirror.nbytes < 4 * BLOCK_NBYTES

    run(test)


def test_what_cannot_be_written_is_an_error_that_names_the_folder(run: Any) -> None:
    async def test(fetching: Fetching) -> None:
        FullDisk(fetching.mirror, 0)
        with pytest.raises(ReadError, match=f"{fetching.mirror.folder}: cannot be written"):
            await ChunkBlocks(fetching.mirror, "mask", fetching.downloads).load(np.arange(3))

    run(test)


@pytest.mark.parametrize("hurt", [False, True])
def test_after_a_reboot_files_are_hashed_before_they_are_used(
    run: Any, monkeypatch: pytest.MonkeyPatch, hurt: bool
) -> None:
    async def fill(fetching: Fetching) -> None:
        await fetching.downloads.require("a", fetching.mirror, np.arange(fetching.files.blocks))
        await fetching.settled()

    async def use(fetching: Fetching) -> None:
        assert not fetching.table.present(np.arange(fetching.files.blocks)).any()
        fetching.objects.asked.clear()
        await fill(fetching)
        for file in range(fetching.files.files):
            here, there = fetching.content(file)
            assert here == there
        files = {key for key, *_ in fetching.objects.asked}
        assert files == ({fetching.mirror.key_of(0)} if hurt else set())

    run(fill)
    if hurt:

        async def damage(fetching: Fetching) -> None:
            fetching.mirror.write(0, 5, b"damaged")

        run(damage)
    monkeypatch.setattr("zarrfeed.feed.fetching.mirror.boot_id", lambda: "another start")
    run(use)


def test_a_cache_that_is_opened_again_has_what_it_had(run: Any) -> None:
    async def fill(fetching: Fetching) -> None:
        await fetching.downloads.require("a", fetching.mirror, np.array([0]))
        await fetching.settled()

    async def again(fetching: Fetching) -> None:
        assert fetching.table.present(np.array([0])).all()
        assert fetching.table.verified[0] == WHOLE

    run(fill)
    run(again)


LOSSES = ("removed", "empty", "short", "long")


def lose(path: Path, how: str) -> None:
    content = path.read_bytes()
    path.unlink()
    if how != "removed":
        path.write_bytes(
            {"empty": b"", "short": content[: len(content) // 2], "long": content + b"more"}[how]
        )


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_what_a_cache_has_lost_comes_again(dataset: Path, data: st.DataObject) -> None:
    """Whatever is missing or of another size: all bytes are right, and whole files stay."""

    async def fill(fetching: Fetching, blocks: set[int] | range) -> None:
        await fetching.open()
        await fetching.downloads.require("a", fetching.mirror, np.array(sorted(blocks)))
        await fetching.settled()

    with TemporaryDirectory() as folder:
        before, after = (Fetching(Path(folder), dataset) for _ in range(2))
        asyncio.run(fill(before, data.draw(st.sets(st.integers(0, BLOCKS - 1), min_size=1))))
        mirror = before.mirror
        assert before.files.blocks == BLOCKS
        whole = {mirror.key_of(int(file)) for file in np.flatnonzero(before.table.missing == 0)}
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        lost = data.draw(st.sets(st.sampled_from(files), max_size=3))
        for path in sorted(lost):
            lose(path, data.draw(st.sampled_from(LOSSES)))
        asyncio.run(fill(after, range(BLOCKS)))
        for file in range(mirror.files.files):
            here, there = after.content(file)
            assert here == there
        fetched = {key for key, *_ in after.objects.asked}
        kept = {key for key in whole if mirror.folder / key not in lost}
        assert table_path(mirror.folder) in lost or not kept & fetched


def test_a_file_that_is_removed_in_use_is_never_one_of_zeros(run: Any) -> None:
    async def test(fetching: Fetching) -> None:
        downloads, mirror = fetching.downloads, fetching.mirror
        await downloads.require("a", mirror, np.array([0]))
        mirror.close()  # as if many other files had been opened since
        path = mirror.folder / mirror.key_of(0)
        path.unlink()
        with pytest.raises(ReadError, match="files of the cache were removed"):
            await downloads.require("a", mirror, np.array([1]))
        assert not path.exists()

    run(test)


@pytest.mark.parametrize("how", ["nothing", *LOSSES, "other bytes", "no journal"])
def test_arrays_that_are_fetched_whole_are_compared_with_what_came(
    run: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    restarts = how in {"nothing", "other bytes"}

    async def fetch(fetching: Fetching) -> int:
        space = CacheSpace(fetching.cache, fetching.downloads.plan)
        await WholeFiles(fetching.downloads, space).fetch(fetching.mirror, "channel_sums")
        return fetching.downloads.counters["requests"]

    async def first(fetching: Fetching) -> None:
        assert await fetch(fetching) == 1
        assert await fetch(fetching) == 1
        [path] = (fetching.mirror.folder / key for key in fetching.mirror.keys_of("channel_sums"))
        if how == "other bytes":
            path.write_bytes(bytes(path.stat().st_size))
        elif how == "no journal":
            journal_of(fetching.mirror.folder, "channel_sums").unlink()
        elif how != "nothing":
            lose(path, how)

    async def again(fetching: Fetching) -> None:
        assert await fetch(fetching) == (how != "nothing")
        [key] = fetching.mirror.keys_of("channel_sums")
        here, there = fetching.mirror.folder / key, fetching.dataset / "train" / key
        assert here.read_bytes() == there.read_bytes()

    run(first)
    if restarts:
        for module in ("mirror", "whole_files"):
            monkeypatch.setattr(f"zarrfeed.feed.fetching.{module}.boot_id", lambda: "another start")
    run(again)


def test_names_that_leave_the_folder_are_refused(tmp_path: Path, dataset: Path) -> None:
    hostile = tmp_path / "hostile.zarr"
    shutil.copytree(dataset, hostile)
    path = hostile / "train/zarr.json"
    path.write_text(path.read_text().replace('"mask"', '"../../mask"'))
    with pytest.raises(StoreError, match="needed names of arrays"):
        asyncio.run(find_split("test://x/train", [Objects(hostile / "train")]))


def test_a_replaced_split_is_another_mirror(tmp_path: Path, dataset: Path) -> None:
    copied = tmp_path / "b.zarr"
    shutil.copytree(dataset, copied)

    def name() -> str:
        found = asyncio.run(find_split("test://b/train", [Objects(copied / "train")]))
        asyncio.run(make_folder(found, Objects(copied / "train"), tmp_path))
        return found.folder_name

    before = name()
    assert name() == before
    path = copied / "train/zarr.json"
    path.write_text(path.read_text().replace("cases in memory", "other cases"))
    assert name() != before


def test_another_limit_is_refused_and_names_the_one_in_force(tmp_path: Path) -> None:
    space = CacheSpace(tmp_path, FetchPlan(None))
    space.agree(5 * MIB)
    space.agree(5 * MIB)
    space.agree(None)  # whoever does not care
    with pytest.raises(StoreError, match=r"limit of 5,242,880 bytes, not 1,048,576"):
        space.agree(MIB)


def test_a_full_disk_gets_the_room_of_as_few_mirrors_as_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zarrfeed.feed.fetching.cache_space._ROOM", 0)
    for name in "abc":
        (tmp_path / name / "train.mirror").mkdir(parents=True)
        (tmp_path / name / "train.mirror/files.json").write_bytes(bytes(8192))
    plan = FetchPlan(None)
    space = CacheSpace(tmp_path, plan)
    plan.limit = 0  # as a full disk sets it
    space.make_way(8192)
    assert plan.limit == 8192
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    "sent",
    [
        b"\xff" * 8,
        b"GET / HTTP/1.1\r\n\r\n",
        messages.encoded({"do": "format the disk"}),
        messages.encoded({"do": "require", "folder": "/etc"}, b"12345678"),
        messages.encoded({"do": "plan", "epoch": 0, "batch": 0}, pickle.dumps(1)),
        messages.encoded({"do": "open", "url": "s3://a/b", "limit": -1}, pickle.dumps(({}, {}))),
        messages.encoded({})[:9],
    ],
)
def test_who_says_nonsense_is_hung_up_on(tmp_path: Path, sent: bytes) -> None:
    async def whole() -> None:
        plan = FetchPlan(None)
        clients = Clients(tmp_path, Downloads(plan), CacheSpace(tmp_path, plan))
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=theirs)
        serving = asyncio.create_task(clients.serve(reader, writer))
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(ours, sent)
        if len(sent) < 10:  # half a message
            ours.shutdown(socket.SHUT_WR)
        assert await asyncio.wait_for(loop.sock_recv(ours, 99), 10) == b""
        ours.close()
        await asyncio.wait_for(serving, 10)
        assert not clients.connected

    asyncio.run(whole())


def test_messages_are_received_as_they_were_sent() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(messages.encoded({"do": "at", "epoch": 1}, b"abc"))
        assert messages.receive(theirs) == ({"do": "at", "epoch": 1}, b"abc")
        ours.close()
        with pytest.raises(messages.Hangup):
            messages.receive(theirs)


def test_a_schedule_is_pickled_by_its_arguments() -> None:
    of = {"shuffle": True, "block": 1, "seed": 3, "drop_remainder": False}
    schedule = Schedule(range(40), batch_size=3, **of, rank=1, world_size=2)  # type: ignore[arg-type]
    again = pickle.loads(pickle.dumps(schedule))
    for batch in range(schedule.batches):
        assert (again.batch_ids(2, batch) == schedule.batch_ids(2, batch)).all()


@pytest.mark.parametrize("samples", [1, 3])
def test_no_more_than_two_epochs_are_planned_ahead(samples: int) -> None:
    of = {"shuffle": True, "block": 1, "seed": 0, "drop_remainder": False}
    schedule = Schedule(range(samples), 1, **of, rank=0, world_size=1)  # type: ignore[arg-type]
    upcoming = Upcoming(Plan(schedule, None, (), (), 1), (), epoch=0, batch=0, blocks=0)

    async def plan_all() -> None:
        while not upcoming.complete:
            await upcoming.extend()

    asyncio.run(plan_all())
    assert upcoming.uses.known == 2 * samples + 1
    for _ in range(4):  # everything is there, so that planning overtakes the reader
        while upcoming.uses.planned < upcoming.uses.known:
            upcoming.uses.plan_batch()
        asyncio.run(plan_all())
    assert upcoming.uses.known == 3 * samples + 1


def test_there_is_a_boot_id() -> None:
    assert mirror_folder.boot_id() == mirror_folder.boot_id()
