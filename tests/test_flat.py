"""Files in one range of addresses give the samples that they hold."""

from __future__ import annotations

import mmap
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stores import traced_pixels, write_split
from zarrfeed.flat import FlatFiles, stride
from zarrfeed.reader import BatchReader
from zarrfeed.store import open_split

if TYPE_CHECKING:
    from numpy.typing import NDArray


@given(st.integers(1, 10**9), st.integers(1, 10**6))
def test_a_stride_is_whole_pages_and_whole_samples(nbytes: int, sample: int) -> None:
    found = stride(nbytes, sample)
    assert found >= nbytes
    assert found % sample == found % mmap.PAGESIZE == 0


def flat_files(contents: list[NDArray[np.uint8]], sample: int) -> FlatFiles:
    flat = FlatFiles(len(contents), max(c.size for c in contents), sample)
    for number, content in enumerate(contents):
        with tempfile.TemporaryFile() as file:
            file.write(content.tobytes())
            file.flush()
            flat.place(number, file.fileno(), content.size)
    return flat


@given(st.data())
def test_a_batch_is_gathered_from_all_files(data: st.DataObject) -> None:
    """Each file: `shift` bytes that are not ours, some samples, an index behind them."""
    sample, shift = data.draw(st.integers(1, 5000)), data.draw(st.integers(0, 9000))
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    counts = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    contents = [rng.integers(0, 256, shift + n * sample + 20, np.uint8) for n in counts]
    flat = flat_files(contents, sample)
    places = [(f, shift + i * sample) for f, n in enumerate(counts) for i in range(n)]
    wanted = data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=9))
    out = np.empty((len(wanted), sample), np.uint8)
    files, positions = np.array(wanted).T
    assert flat.gather(files, positions, out)
    for row, (file, position) in zip(out, wanted, strict=True):
        assert np.array_equal(row, contents[file][position : position + sample])


def test_samples_that_stand_no_whole_samples_apart_are_left_to_others() -> None:
    flat = flat_files([np.arange(100, dtype=np.uint8)], 10)
    out = np.full((2, 10), 7, np.uint8)
    assert not flat.gather(np.array([0, 0]), np.array([0, 15]), out)
    assert (out == 7).all()


def test_a_file_that_is_too_long_is_refused() -> None:
    flat = FlatFiles(1, 100, 10)
    with tempfile.TemporaryFile() as file, pytest.raises(OSError, match="100000 bytes"):
        flat.place(0, file.fileno(), 100_000)


def test_too_many_addresses_are_refused() -> None:
    with pytest.raises(OSError, match="too many addresses"):
        FlatFiles(1 << 20, 1 << 30, 4096)


@pytest.mark.parametrize("open_files", [2, 128])
def test_more_files_than_may_be_open_are_read_one_by_one(tmp_path: Path, open_files: int) -> None:
    pixels = traced_pixels(22)
    split = open_split(write_split(tmp_path / "s", pixels, compressors=None))
    reader = BatchReader(split, ["image", "mask"], open_files=open_files)
    assert (reader._fields[0][1]._files._flat is None) == (open_files == 2)  # type: ignore[attr-defined]
    ids = np.random.default_rng(0).permutation(22)
    out = [np.empty_like(pixels[name]) for name in ("image", "mask")]
    reader.read_into(ids, out)
    assert np.array_equal(out[0], pixels["image"][ids])
    assert np.array_equal(out[1], pixels["mask"][ids])
    reader.close()


def test_the_addresses_are_given_back() -> None:
    def mappings() -> int:
        return len(Path("/proc/self/maps").read_text().splitlines())

    contents = [np.arange(200, dtype=np.uint8)] * 50
    flat_files(contents, 10)
    before = mappings()
    for _ in range(5):
        flat = flat_files(contents, 10)
        flat.gather(np.array([3]), np.array([10]), np.empty((1, 10), np.uint8))
        del flat
    assert mappings() <= before + 10
