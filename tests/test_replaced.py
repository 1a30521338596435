"""A split that another one takes the place of is never mixed with it."""

from __future__ import annotations

import copy
import pickle
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr

from kinds import KINDS, ids_of
from stores import traced_pixels, write_split
from zarrfeed import FrontEnd, ReadError, SplitReader, StoreError, open_split

if TYPE_CHECKING:
    from pathlib import Path

SAMPLES = 32
REPLACED = "the split was replaced or removed while it was read: make a new ZarrSequence"


def write(path: Path, *, first: int = 0, **codecs: Any) -> Path:
    """Samples `first`, `first` + 1, …, one a shard."""
    pixels = traced_pixels(SAMPLES)
    return write_split(
        path, {n: np.roll(p, first, 0) for n, p in pixels.items()}, shard=1, **codecs
    )


def rename(path: Path, **codecs: Any) -> None:
    """Replace a split as `zarrfeed convert --overwrite` does."""
    new = write(path.with_name("new"), first=7, **codecs)
    path.rename(path.with_name("old"))
    new.rename(path)
    shutil.rmtree(path.with_name("old"))


def write_anew(path: Path, **codecs: Any) -> None:
    write(path, first=7, **codecs)


def remove(path: Path, **codecs: Any) -> None:
    shutil.rmtree(path)


def write_one_array_anew(path: Path, **codecs: Any) -> None:
    pixels = np.roll(traced_pixels(SAMPLES)["mask"], 7, 0)
    group = zarr.open_group(str(path), mode="a")
    group.create_array(
        "mask", data=pixels, chunks=(1, 8, 6), shards=(1, 8, 6), overwrite=True, **codecs
    )


@pytest.mark.parametrize(
    ("kind", "replace"),
    [
        ("inline", rename),
        ("inline", write_anew),
        ("inline", remove),
        ("inline", write_one_array_anew),
        ("three threads", rename),
        ("two processes", rename),
    ],
)
def test_no_epoch_mixes_two_splits(tmp_path: Path, kind: str, replace: Any) -> None:
    split = write(tmp_path / "s")
    right = traced_pixels(SAMPLES)["image"]
    with FrontEnd(split, 4, max_queue_size=2, **KINDS[kind]) as seq:
        batches = iter(seq)
        for _ in range(3):
            next(batches)
        replace(split)
        seen = []
        with pytest.raises((ReadError, StoreError), match=REPLACED):
            seen.extend(batches)
        for image, mask in seen:
            assert np.array_equal(image, right[mask[:, 0, 0]])
        with pytest.raises((ReadError, StoreError), match=f"{REPLACED}|no such store"):
            list(seq)  # by new workers
        with pytest.raises((ReadError, StoreError), match=f"{REPLACED}|no such store"):
            seq[0]


@pytest.mark.filterwarnings("ignore:.*which is slower")
def test_a_split_that_is_read_the_slow_way_is_not_mixed_either(tmp_path: Path) -> None:
    codecs = {"filters": [zarr.codecs.TransposeCodec(order=(0, 2, 1))]}
    pixels = {"image": traced_pixels(SAMPLES)["mask"], "mask": traced_pixels(SAMPLES)["mask"]}

    def write_transposed(path: Path, first: int) -> Path:
        rolled = {n: np.roll(p, first, 0) for n, p in pixels.items()}
        return write_split(path, rolled, shard=None, **codecs)

    split = write_transposed(tmp_path / "s", 0)
    with FrontEnd(split, 4, workers=1, max_queue_size=2) as seq:
        batches = iter(seq)
        next(batches)
        shutil.rmtree(split)
        write_transposed(split, 7)
        with pytest.raises(ReadError, match=REPLACED):
            list(batches)


def test_files_that_are_open_stay_what_they_are(tmp_path: Path) -> None:
    """What was mapped before is the old split's, and right."""
    split = write(tmp_path / "s")
    with FrontEnd(split, 4, workers=0) as seq:
        assert len(list(seq)) == SAMPLES // 4
        rename(split)
        assert sorted(i for batch in seq for i in ids_of(batch)) == list(range(SAMPLES))


def test_a_reader_and_the_names_of_samples_notice_too(tmp_path: Path) -> None:
    split = write(tmp_path / "s")
    opened = open_split(split)
    rename(split)
    with SplitReader(opened) as reader, pytest.raises(ReadError, match=REPLACED):
        reader.read([3])


@pytest.mark.parametrize("kind", ["inline", "two processes"])
@pytest.mark.parametrize("replace", [rename, write_anew, remove, write_one_array_anew])
def test_a_copy_does_not_open_another_split(tmp_path: Path, kind: str, replace: Any) -> None:
    split = write(tmp_path / "s")
    with FrontEnd(split, 4, **KINDS[kind]) as seq:
        kept = pickle.dumps(seq)
        assert len(pickle.loads(kept)) == SAMPLES // 4
        replace(split)
        with pytest.raises((ReadError, StoreError), match=f"{REPLACED}|no such store"):
            pickle.loads(kept)
        with pytest.raises((ReadError, StoreError), match=f"{REPLACED}|no such store"):
            copy.deepcopy(seq)


def test_an_array_beside_those_that_are_read_does_not_matter(tmp_path: Path) -> None:
    split = write(tmp_path / "s")
    with FrontEnd(split, 4, workers=1) as seq:
        next(iter(seq))
        zarr.open_group(str(split), mode="a").create_array("other", data=np.zeros(SAMPLES))
        seq.close()
        assert sorted(i for batch in seq for i in ids_of(batch)) == list(range(SAMPLES))
