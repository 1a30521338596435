"""Files in one range of addresses give the samples that they hold."""

from __future__ import annotations

import mmap
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import google_crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stores import traced_pixels, write_split
from zarrfeed.store.mapped_shards import MappedShards, stride
from zarrfeed.store.reader import BatchReader
from zarrfeed.store.split_opening import open_split

if TYPE_CHECKING:
    from numpy.typing import NDArray


@given(st.integers(1, 10**9), st.integers(1, 10**6), st.sampled_from([4096, 2 << 20]))
def test_a_stride_is_whole_pages_and_whole_samples(nbytes: int, sample: int, page: int) -> None:
    found = stride(nbytes, sample, page)
    assert found >= nbytes
    assert found % sample == found % page == 0


@pytest.mark.parametrize(
    ("files", "sample", "page"),
    [(64, 196_608, 2 << 20), (64, 999_999, 64 << 10), (1000, 999_999, mmap.PAGESIZE)],
)
def test_files_begin_on_the_largest_pages_for_which_there_are_addresses(
    files: int, sample: int, page: int
) -> None:
    shards = MappedShards(files, 64, 1, 64 * sample, sample)
    assert shards._start % page == shards._stride % page == 0
    larger = [p for p in (64 << 10, 2 << 20) if p > page]
    assert all(shards._stride % p for p in larger)


def placed_files(
    contents: list[NDArray[np.uint8]], chunks: int, rows: int, sample: int
) -> MappedShards:
    shards = MappedShards(len(contents), chunks, rows, max(c.size for c in contents), sample)
    for number, content in enumerate(contents):
        with tempfile.TemporaryFile() as file:
            file.write(content.tobytes())
            file.flush()
            shards.place(number, file.fileno(), content.size)
    return shards


@given(st.data())
def test_a_batch_is_gathered_from_all_files(data: st.DataObject) -> None:
    """Each file: bytes that are not ours, its chunks in any order, some missing, an index."""
    sample, rows = data.draw(st.integers(1, 5000)), data.draw(st.integers(1, 3))
    files, chunks = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    shift = data.draw(st.integers(0, 9000))
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    places = np.stack([rng.permutation(chunks) for _ in range(files)])
    positions = shift + places * rows * sample
    positions[rng.random(positions.shape) < 0.2] = -1
    nbytes = shift + chunks * rows * sample + 20
    contents = [rng.integers(0, 256, nbytes, np.uint8) for _ in range(files)]
    shards = placed_files(contents, chunks, rows, sample)
    assert all(shards.locate(file, positions[file]) for file in range(files))
    most = files * chunks * rows - 1
    ids = np.array(data.draw(st.lists(st.integers(0, most), min_size=1, max_size=9)))
    out = np.empty((ids.size, sample), np.uint8)
    absent = shards.gather(ids, out)
    for row, lacks, number in zip(out, absent, ids, strict=True):
        file, within = divmod(int(number), chunks * rows)
        start = int(positions[file, within // rows])
        assert lacks == (start < 0)
        if not lacks:
            start += within % rows * sample
            assert np.array_equal(row, contents[file][start : start + sample])


def test_samples_that_stand_no_whole_samples_apart_are_told() -> None:
    shards = placed_files([np.arange(100, dtype=np.uint8)] * 2, 2, 2, 10)
    assert shards.locate(0, np.array([3, 23]))
    assert not shards.locate(1, np.array([3, 24]))
    assert shards.locate(1, np.array([-1, 13]))


def test_a_file_that_is_too_long_is_refused() -> None:
    shards = MappedShards(1, 5, 2, 100, 10)
    with tempfile.TemporaryFile() as file, pytest.raises(OSError, match="1073741824 bytes"):
        shards.place(0, file.fileno(), 1 << 30)


def test_too_many_addresses_are_refused() -> None:
    with pytest.raises(OSError, match="too many addresses"):
        MappedShards(1 << 20, 1 << 9, 1 << 9, 1 << 30, 4096)


def shards_of(field: Path) -> list[Path]:
    """The files of an array, in order."""
    return sorted(path for path in (field / "c").rglob("*") if path.is_file())


def swap_first_chunks(shard: Path, chunks: int = 4) -> None:
    """Exchange two chunks of a file, and their places in its index."""
    index = 16 * chunks
    stored = bytearray(shard.read_bytes())
    pixels = np.frombuffer(stored, np.uint8)
    places = np.frombuffer(stored, "<u8", 2 * chunks, len(stored) - index - 4).reshape(-1, 2)
    (first, nbytes), (second, _) = places[:2].tolist()
    before = pixels.copy()
    pixels[first : first + nbytes] = before[second : second + nbytes]
    pixels[second : second + nbytes] = before[first : first + nbytes]
    places[:2] = places[1::-1].copy()
    stored[-4:] = google_crc32c.value(bytes(stored[-index - 4 : -4])).to_bytes(4, "little")
    shard.write_bytes(stored)


def gathered(reader: BatchReader) -> list[bool]:
    """Whether each field's batches are one copy."""
    return [field.files.mapped_shards is not None for _, field in reader._fields]  # type: ignore[attr-defined]


def check(split: Path, pixels: dict[str, NDArray[np.uint8]], *, shards: bool, **how: int) -> None:
    reader = BatchReader(open_split(split), ["image", "mask"], **how)
    for seed in range(3):
        ids = np.random.default_rng(seed).permutation(len(pixels["image"]))[:15]
        out = [np.empty_like(pixels[name][:15]) for name in ("image", "mask")]
        reader.read_into(ids, out)
        assert np.array_equal(out[0], pixels["image"][ids])
        assert np.array_equal(out[1], pixels["mask"][ids])
    assert gathered(reader) == [shards, shards]
    reader.close()


@pytest.mark.parametrize("open_files", [2, 128])
def test_more_files_than_may_be_open_are_read_one_by_one(tmp_path: Path, open_files: int) -> None:
    pixels = traced_pixels(22)
    split = write_split(tmp_path / "s", pixels, compressors=None)
    check(split, pixels, shards=open_files == 128, open_files=open_files)


def test_chunks_in_any_order_are_gathered(tmp_path: Path) -> None:
    """Two chunks of every shard, swapped in the index and in the file."""
    pixels = traced_pixels(22)
    pixels["mask"] += 1  # an empty one would not be written
    split = write_split(tmp_path / "s", pixels, compressors=None)
    for field in ("image", "mask"):
        for shard in shards_of(split / field):
            swap_first_chunks(shard)
    check(split, pixels, shards=True)


def test_what_was_never_written_holds_the_fill_value(tmp_path: Path) -> None:
    """A whole shard; and one empty mask among others."""
    pixels = traced_pixels(22)
    pixels["mask"][9] = 0
    split = write_split(tmp_path / "s", pixels, compressors=None)
    for field in ("image", "mask"):
        shards_of(split / field)[0].unlink()
        pixels[field][:4] = 0
    check(split, pixels, shards=True)


def test_the_addresses_are_given_back() -> None:
    def mappings() -> int:
        return len(Path("/proc/self/maps").read_text().splitlines())

    contents = [np.arange(200, dtype=np.uint8)] * 50
    placed_files(contents, 1, 20, 10)
    before = mappings()
    for _ in range(5):
        shards = placed_files(contents, 1, 20, 10)
        shards.locate(3, np.array([0]))
        shards.gather(np.array([61]), np.empty((1, 10), np.uint8))
        del shards
    assert mappings() <= before + 10
