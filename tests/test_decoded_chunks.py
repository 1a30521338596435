"""Decoded chunks that are kept change how often chunks are decoded, and nothing else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr import codecs

from case_stores import write_cases
from zarrfeed import ReadError, open_split
from zarrfeed.store import decoding_reader
from zarrfeed.store.box_plan import BoxPlan
from zarrfeed.store.decoded_chunks import DecodedChunks
from zarrfeed.store.reader import BatchReader
from zarrfeed.store.tile_grid import TileGrid

if TYPE_CHECKING:
    from pathlib import Path

SIZE, TILE = (9, 11), (3, 4)
IMAGE = np.random.default_rng(0).integers(0, 99, (*SIZE, 2)).astype(np.int16)
MASK = (IMAGE[..., 0] % 3).astype(np.uint8)
GRID = TileGrid(SIZE, TILE)
TILE_NBYTES = 3 * 4 * (2 * 2 + 1)  # of both fields


def write(path: Path, chunk: int = 1) -> Path:
    cases = {"a": {"image": IMAGE, "mask": MASK}}
    return write_cases(path, cases, TILE, chunk=chunk, compressors=codecs.ZstdCodec())


def read(reader: BatchReader, *box: slice) -> None:
    """Read a box of both fields, and compare it with the case."""
    out = [np.full_like(case[box], 100) for case in (IMAGE, MASK)]
    reader.read_box_into(BoxPlan.of_box(0, GRID, box), out)
    assert all(np.array_equal(a, case[box]) for a, case in zip(out, (IMAGE, MASK), strict=True))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """A list that grows with every chunk that is decoded."""
    calls: list[None] = []
    decode = decoding_reader.decode_chunk
    monkeypatch.setattr(decoding_reader, "decode_chunk", lambda *a: calls.append(decode(*a)))
    return calls


def span(extent: int) -> st.SearchStrategy[slice]:
    ends = st.tuples(st.integers(0, extent - 1), st.integers(1, extent))
    return ends.map(lambda found: slice(found[0], min(extent, sum(found))))


spans = [span(extent) for extent in SIZE]


@pytest.fixture(scope="module", params=[1, 3])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("chunks") / "s", chunk=request.param)


@given(st.lists(st.tuples(*spans), max_size=6), st.integers(0, 9 * TILE_NBYTES))
@settings(max_examples=30)
def test_boxes_do_not_depend_on_what_is_kept(store, boxes, cache_nbytes):
    reader = BatchReader(open_split(store), ["image", "mask"], cache_nbytes=cache_nbytes)
    for box in boxes:
        read(reader, *box)
    reader.close()


def test_boxes_that_share_tiles_decode_each_once(tmp_path, decoded):
    split = open_split(write(tmp_path / "s"))
    for kept, times in ((0, 4 + 4 + 1), (4, 4)):
        reader = BatchReader(split, ["image", "mask"], cache_nbytes=kept * TILE_NBYTES)
        decoded.clear()
        read(reader, slice(2, 5), slice(3, 6))
        read(reader, slice(1, 4), slice(2, 5))
        read(reader, slice(3, 6), slice(4, 8))  # a whole tile
        assert len(decoded) == 2 * times
        reader.close()


def test_only_as_many_bytes_are_kept_as_given():
    chunks = DecodedChunks(chunk_nbytes=10, cache_nbytes=35)
    memories = []
    for number in range(5):
        memories.append(chunks.memory())
        chunks.keep((0, number), memories[-1])
        assert chunks.find((0, 0)) is not None, "what is used stays"
    assert [chunks.find((0, n)) is not None for n in range(5)] == [True, False, False, True, True]
    assert len({id(memory) for memory in memories}) == 3


def test_a_truncated_file_is_an_error_even_if_its_chunks_are_kept(tmp_path, decoded):
    store = write(tmp_path / "s")
    reader = BatchReader(open_split(store), ["image", "mask"], cache_nbytes=100 * TILE_NBYTES)
    whole = slice(0, SIZE[0]), slice(0, SIZE[1])
    read(reader, *whole)
    decoded.clear()
    read(reader, *whole)
    assert not decoded
    shard = next(path for path in sorted((store / "image" / "c").rglob("*")) if path.is_file())
    content = shard.read_bytes()
    os.truncate(shard, 10)
    with pytest.raises(ReadError, match="truncated while in use"):
        read(reader, *whole)
    shard.write_bytes(content)
    read(reader, *whole)
    assert decoded, "nothing is kept after an error"
    reader.close()
