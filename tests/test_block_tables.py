"""Laws of the tables that say which blocks of a mirror are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed.errors import StoreError
from zarrfeed.store.mirror.block_table import BlockTable
from zarrfeed.store.mirror.file_table import BLOCK_NBYTES, FileTable

if TYPE_CHECKING:
    from pathlib import Path

sizes = st.one_of(
    st.integers(1, 5 * BLOCK_NBYTES), st.sampled_from([1, BLOCK_NBYTES, BLOCK_NBYTES + 1])
)


@st.composite
def tables(draw: st.DrawFn) -> FileTable:
    fields = draw(st.sampled_from([("image",), ("image", "mask"), ("a", "b", "c")]))
    shards = draw(st.integers(1, 5))
    files = len(fields) * shards
    nbytes = draw(st.lists(sizes, min_size=files, max_size=files))
    return FileTable(fields, shards, nbytes, [0] * files)


@given(table=tables())
def test_blocks_tile_the_files_in_order(table: FileTable) -> None:
    places = [table.place_of(block) for block in range(table.blocks)]
    assert places == sorted(places)
    for file in range(table.files):
        here = [places[block] for block in table.blocks_of(file)]
        assert {place.file for place in here} == {file}
        assert [place.offset for place in here] == [i * BLOCK_NBYTES for i in range(len(here))]
        assert sum(place.nbytes for place in here) == table.nbytes[file]
        field, shard = table.field_and_shard(file)
        assert table.file_of(field, shard) == file
    blocks = np.arange(table.blocks)
    assert table.files_of(blocks).tolist() == [place.file for place in places]
    assert table.nbytes_of(blocks).tolist() == [place.nbytes for place in places]


@given(table=tables(), data=st.data())
def test_many_ranges_have_the_blocks_of_each(table: FileTable, data: st.DataObject) -> None:
    file = data.draw(st.lists(st.integers(0, table.files - 1), max_size=6))
    start, stop = [], []
    for each in file:
        bounds = st.integers(0, int(table.nbytes[each]))
        low, high = sorted((data.draw(bounds), data.draw(bounds)))
        start.append(low)
        stop.append(high)
    wanted = {
        block
        for block in range(table.blocks)
        for place in [table.place_of(block)]
        for number, low, high in zip(file, start, stop, strict=True)
        if place.file == number and max(low, place.offset) < min(high, place.offset + place.nbytes)
    }
    one_by_one = [table.blocks_between(*each) for each in zip(file, start, stop, strict=True)]
    assert {block for blocks in one_by_one for block in blocks} == wanted
    arrays = [np.array(each, np.int64) for each in (file, start, stop)]
    assert table.blocks_of_ranges(*arrays).tolist() == sorted(wanted)


def test_the_table_of_a_split_goes_field_by_field() -> None:
    facts = np.array([[[5, 1], [6, 2]], [[7, 3], [8, 4]]], np.uint64)  # (shards, fields, 2)
    table = FileTable.of_shard_files(["image", "mask"], facts)
    assert table.nbytes.tolist() == [5, 7, 6, 8]
    assert table.digests.tolist() == [1, 3, 2, 4]


@pytest.mark.parametrize(
    ("nbytes", "says"),
    [
        ([0, 3], "found 0 in file 0"),
        ([3, 2**64 - 1], "found -1 in file 1"),
        ([2**62, 2**62], "at most 1,024 TiB"),
        ([3], r"found \(1,\)"),
    ],
)
def test_sizes_that_no_files_have_are_refused(nbytes: list[int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        FileTable(("image",), 2, np.array(nbytes, np.uint64).astype(np.int64), [0] * len(nbytes))


@given(table=tables(), data=st.data())
def test_the_table_is_a_set_of_blocks(
    table: FileTable, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("tables") / "blocks"
    BlockTable.create(path, table)
    fetcher = BlockTable.open(path, table, writable=True)
    reader = BlockTable.open(path, table)
    fetcher.announce(evicts=True)
    there: set[int] = set()
    some = st.lists(st.integers(0, table.blocks - 1), max_size=5)
    for arrives, blocks in data.draw(st.lists(st.tuples(st.booleans(), some), max_size=8)):
        before, evictions = reader.generations.copy(), reader.evictions
        if arrives:
            file = data.draw(st.integers(0, table.files - 1))
            first, last = table.blocks_of(file)[0], table.blocks_of(file)[-1]
            start = data.draw(st.integers(first, last))
            run = range(start, data.draw(st.integers(start, last)) + 1)
            changed = set(run) - there
            assert fetcher.arrive(file, run) == len(changed)
        else:
            changed = set(blocks) & there
            assert fetcher.evict(np.array(blocks, np.int64)) == len(changed)
        there = there | changed if arrives else there - changed
        now = reader.generations - before
        assert set(np.flatnonzero(now).tolist()) == changed
        assert (reader.evictions > evictions) == (not arrives and bool(changed))
        missing = [len(set(table.blocks_of(file)) - there) for file in range(table.files)]
        assert reader.missing.tolist() == missing
    blocks = np.arange(table.blocks)
    assert set(np.flatnonzero(reader.present(blocks)).tolist()) == there
    fetcher.missing[:] = 7  # as one that was killed may leave it
    fetcher.recount()
    assert reader.missing.tolist() == [
        len(set(table.blocks_of(file)) - there) for file in range(table.files)
    ]


def test_a_table_of_other_files_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "blocks"
    BlockTable.create(path, FileTable(("image",), 2, [5, 5], [0, 0]))
    with pytest.raises(StoreError, match=r"needed a table of blocks, found none \(No such file"):
        BlockTable.open(tmp_path / "other", FileTable(("image",), 1, [5], [0]))
    with pytest.raises(StoreError, match="needed a table of 74 bytes, found 84 bytes"):
        BlockTable.open(path, FileTable(("image",), 1, [5], [0]))
    content = path.read_bytes()
    path.write_bytes(b"other" + content[5:])
    with pytest.raises(StoreError, match="the cache is damaged"):
        BlockTable.open(path, FileTable(("image",), 2, [5, 5], [0, 0]))


def test_a_table_has_no_holes_so_that_a_full_disk_cannot_kill_who_writes_to_it(
    tmp_path: Path,
) -> None:
    BlockTable.create(tmp_path / "blocks", FileTable(("image",), 1, [1 << 40], [0]))
    found = (tmp_path / "blocks").stat()
    assert found.st_blocks * 512 >= found.st_size > 4 << 20


def test_a_truncated_table_has_no_blocks(tmp_path: Path) -> None:
    path = tmp_path / "blocks"
    table = FileTable(("image",), 1, [5000 * BLOCK_NBYTES], [0])
    BlockTable.create(path, table)
    BlockTable.open(path, table, writable=True).arrive(0, range(5000))
    reader = BlockTable.open(path, table)
    with path.open("r+b") as file:
        file.truncate(64)
    assert not reader.present(np.array([4000])).any()


def test_evictions_are_announced_to_readers_that_decode_in_place(tmp_path: Path) -> None:
    table = FileTable(("image",), 1, [5], [0])
    BlockTable.create(tmp_path / "blocks", table)
    fetcher = BlockTable.open(tmp_path / "blocks", table, writable=True)
    reader = BlockTable.open(tmp_path / "blocks", table)
    fetcher.arrive(0, range(1))
    assert not reader.evicts
    fetcher.evict(np.array([0]))
    assert reader.evicts


def test_a_table_knows_whether_it_was_made_anew(tmp_path: Path) -> None:
    path, table = tmp_path / "blocks", FileTable(("image",), 1, [5], [0])
    BlockTable.create(path, table)
    reader = BlockTable.open(path, table)
    assert reader.is_at(path)
    path.unlink()
    assert not reader.is_at(path)
    BlockTable.create(path, table)
    assert not reader.is_at(path)
    assert BlockTable.open(path, table).is_at(path)
