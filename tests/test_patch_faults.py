"""What happens to a sequence of patches under way ends in right patches, or in one clear error."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from zarr import codecs

from kinds import KINDS, PROCESSES, children
from patch_stores import ct, write_classed_cases
from zarrfeed import CoverPatches, FrontEnd, GridPatches, RandomPatches, ReadError, StoreError
from zarrfeed.errors import WorkerError

if TYPE_CHECKING:
    from pathlib import Path

CASES = {
    "a": ct((9, 14, 11), 0, lesions=40),
    "b": ct((4, 17, 20), 1, lesions=0),
    "c": ct((12, 5, 6), 2, lesions=3),
}
TILE, SIZE = (4, 6, 5), (5, 6, 7)
FORCED = RandomPatches(SIZE, per_epoch=22, shares={"lesion": 0.5})
KINDS_OF_WORKERS = ["inline", "two processes"]
LZ4 = codecs.BloscCodec(cname="lz4", shuffle="noshuffle")
SHARD = "image/c/1/0/0/0/0"  # tiles 4 to 7 of case a


def packed(path: Path, compressors: Any = None) -> Path:
    return write_classed_cases(path / "train", CASES, TILE, compressors=compressors)


def spoil(file: Path) -> None:
    content = bytearray(file.read_bytes())
    for at in range(0, len(content) - 68, 40):  # not the index
        content[at] ^= 255
    file.write_bytes(content)


# -- stores that are hurt -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS_OF_WORKERS)
def test_what_cannot_be_read_names_the_file_the_case_and_the_patch(
    kind: str, tmp_path: Path
) -> None:
    """One shard after another is hurt, each in another way, and what was read goes on."""
    path = packed(tmp_path, codecs.Crc32cCodec())
    hurt = {
        "is damaged: its crc32c .*; restore the file or convert again": spoil,
        "truncated.*; restore it or convert again": lambda file: os.truncate(file, 90),
        "the shard is missing; restore it or convert again": os.unlink,
    }
    with FrontEnd(path, 4, patches=GridPatches(SIZE), shuffle=False, **KINDS[kind]) as sequence:
        for message, harm in hurt.items():
            whole = (path / SHARD).read_bytes()
            harm(path / SHARD)
            sequence.close()
            with pytest.raises(ReadError, match=rf"{SHARD}: .*{message}") as raised:
                list(sequence)
            assert re.search(
                r" \(read for patch at \d+,\d+,\d+ of a\) \(look up: [a-z-]+\)$", str(raised.value)
            )
            notes = "".join(getattr(raised.value, "__notes__", []))
            assert ("In worker process" in notes) is (kind == "two processes")
            with pytest.raises(ReadError, match=r"\(read for patch at .* of a\)"):
                sequence[0]
            (path / SHARD).write_bytes(whole)
        sequence.close()
        with FrontEnd(path, 4, patches=GridPatches(SIZE), shuffle=False, workers=0) as plain:
            for batch, right in zip(sequence, plain, strict=True):
                np.testing.assert_array_equal(batch[0], right[0])


@pytest.mark.parametrize("compressors", [None, LZ4], ids=["raw", "lz4"])
def test_a_mask_that_only_classes_need_is_named(compressors: Any, tmp_path: Path) -> None:
    path = packed(tmp_path, compressors)
    (path / "mask/c/0/0/0/0").unlink()
    around = r"mask/c/0/0/0/0: the shard is missing.* \(read for patch around a pixel of class 2 of"
    with FrontEnd(path, 4, patches=FORCED, workers=1, fields="image") as sequence:
        with pytest.raises(ReadError, match=around):
            list(sequence)
        with pytest.raises(ReadError, match="mask/c/0/0/0/0: the shard is missing"):
            [sequence.batch_places(n) for n in range(len(sequence))]


@pytest.mark.parametrize("kind", ["inline", "three threads"])
@pytest.mark.parametrize("wrong", [1, -1], ids=["too many", "too few"])
def test_wrong_counts_of_classes_are_told(wrong: int, kind: str, tmp_path: Path) -> None:
    path = packed(tmp_path)
    counts = zarr.open_group(str(path), mode="a")["class_pixels"]
    values = counts[:]
    values[values[:, 2] > 1, 2] += wrong
    counts[:] = values
    told = (
        r"mask: needed \d+ pixels of class 2 in a#\d+,\d+,\d+, as class_pixels says, found \d+: "
        r"check the store by `zarrfeed verify`, and convert again \(read for patch around"
    )
    with (
        FrontEnd(path, 4, patches=FORCED, subset=[0], **KINDS[kind]) as sequence,
        pytest.raises(ReadError, match=told),
    ):
        list(sequence)


@pytest.mark.parametrize("value", [-1, 4 * 6 * 5 + 1, 2**33])
def test_impossible_counts_are_refused_at_the_start(value: int, tmp_path: Path) -> None:
    path = packed(tmp_path)
    zarr.open_group(str(path), mode="a")["class_pixels"][3, 2] = value
    with pytest.raises(StoreError, match="class_pixels: needed counts of at"):
        FrontEnd(path, 4, patches=FORCED)


def put(name: str, values: Any) -> Any:
    return lambda group: group.create_array(name, data=np.asarray(values), overwrite=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("case_size", [[2**62, 2, 2]] * 3), "case_first_tile: needed"),
        (put("case_size", [[2**21] * 3] * 3), "case_first_tile: needed"),
        (put("case_size", [[9, 14, 11], [4, 17, 20], [2**40, 5, 6]]), "case_size: "),
        (put("case_size", [[9, 14, 11], [4, 17, 20], [0, 5, 6]]), "case_size: "),
        (put("case_size", [[9, 14, 11], [4, 17, -20], [12, 5, 6]]), "case_size: "),
        (put("case_first_tile", [0, 2**40, 51]), "case_first_tile: needed 27 for case 1"),
        (put("class_pixels", np.zeros((5, 3), np.int64)), "shares need 'mask' and 'class_pixels'"),
        (put("class_pixels", np.ones((45, 2), np.int64)), "counts of 3 classes, found 2"),
        (put("mask", np.zeros((45, 4, 6, 4), np.uint8)), "tiles with 3 spatial axes, the same"),
    ],
)  # fmt: skip
def test_what_a_store_claims_is_checked_before_it_takes_memory(
    change: Any, message: str, tmp_path: Path
) -> None:
    path = packed(tmp_path)
    change(zarr.open_group(str(path), mode="a"))
    for subset in (None, [2, 0]):
        with pytest.raises(StoreError, match=message):
            FrontEnd(path, 4, patches=FORCED, subset=subset)


def test_as_many_samples_as_fit_no_memory_are_refused(tmp_path: Path) -> None:
    group = zarr.open_group(str(tmp_path / "s"), mode="w")
    for name in ("image", "mask"):
        group.create_array(name, shape=(2**50, 8, 8), chunks=(1, 8, 8), dtype=np.uint8)
    for patches in (RandomPatches((4, 4)), CoverPatches((4, 4))):
        with pytest.raises(StoreError, match=r"the numbers of .* samples would take .* of memory"):
            FrontEnd(tmp_path / "s", 4, patches=patches)


def test_cases_of_more_tiles_than_fit_memory_are_refused(tmp_path: Path) -> None:
    """2^50 tiles, of which nothing is stored."""
    group = zarr.open_group(str(tmp_path / "s"), mode="w")
    for name in ("image", "mask"):
        group.create_array(name, shape=(2**50 + 1, 4, 4), chunks=(1, 4, 4), dtype=np.uint8)
    put("case_size", [[2**27, 2**27], [4, 4]])(group)
    put("case_first_tile", [0, 2**50])(group)
    put("case_key", np.frombuffer(b"ab", np.uint8).reshape(2, 1))(group)
    for patches in (RandomPatches((8, 8)), CoverPatches((8, 8)), GridPatches((8, 8))):
        with FrontEnd(tmp_path / "s", 4, patches=patches, workers=0) as sequence:
            assert sequence.samples > 2**48
            with pytest.raises(StoreError, match=r"the table of .* would take"):
                sequence[0]
        with pytest.raises(StoreError, match=r"the rows of .* tiles would take"):
            FrontEnd(tmp_path / "s", 4, patches=patches, subset=[1, 0])


# -- splits that are replaced ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS_OF_WORKERS)
def test_patches_of_two_splits_are_never_mixed(kind: str, tmp_path: Path) -> None:
    path = packed(tmp_path)
    with FrontEnd(path, 2, patches=FORCED, max_queue_size=1, **KINDS[kind]) as sequence:
        right = [[array.copy() for array in batch] for batch in sequence]
        sequence.set_epoch(0)
        sequence.close()
        batches = iter(sequence)
        next(batches)
        shutil.rmtree(path)
        write_classed_cases(path, {**CASES, "b": ct((4, 17, 20), 9, lesions=0)}, TILE)
        replaced = "the split was replaced or removed while it was read"
        seen: list[Any] = []
        with pytest.raises((ReadError, StoreError), match=replaced):
            seen.extend(itertools.chain(batches, sequence))
        for batch, needed in zip(seen, right[1:], strict=False):
            for array, values in zip(batch, needed, strict=True):
                np.testing.assert_array_equal(array, values)


# -- transforms and workers that fail -------------------------------------------------------------


class KilledInWorkers:
    """Die as by the out-of-memory killer at a lesion, at most so many times, in a worker."""

    def __init__(self, folder: Path, times: int) -> None:
        self.folder, self.times, self.parent = str(folder), times, os.getpid()

    def __call__(self, image: Any, mask: Any, rng: Any) -> Any:
        killed = len(os.listdir(self.folder))
        if os.getpid() != self.parent and killed < self.times and (mask == 2).any():
            with open(os.path.join(self.folder, str(os.getpid())), "w"):
                pass
            os.kill(os.getpid(), signal.SIGKILL)
        return image, mask


@pytest.mark.parametrize("kind", ["inline", "three threads", "two processes"])
def test_a_transform_that_raises_names_the_patch(kind: str, tmp_path: Path) -> None:
    path = packed(tmp_path)
    # Draw 19 is the first that must contain the class.
    last = RandomPatches(SIZE, per_epoch=22, shares={"lesion": 0.05}, border="fill")
    options: dict[str, Any] = {"patches": last, "subset": [0], "transform": only_forced}
    told = "only_forced raised ZeroDivisionError.* on patch around a pixel of class 2 of a"
    with (
        FrontEnd(path, 4, **options, **KINDS[kind]) as sequence,
        pytest.raises(WorkerError, match=told),
    ):
        list(sequence)


def only_forced(image: Any, mask: Any, rng: Any) -> Any:
    """Raise at a patch whose middle is a lesion."""
    if mask[tuple(extent // 2 for extent in SIZE)] == 2:
        raise ZeroDivisionError("lesions are not welcome")
    return image, mask


@pytest.mark.filterwarnings("ignore:worker process")
def test_a_killed_worker_is_replaced_and_no_patch_is_lost(tmp_path: Path) -> None:
    path, flags = packed(tmp_path), tmp_path / "flags"
    flags.mkdir()
    transform = KilledInWorkers(flags, 1)
    with (
        FrontEnd(path, 4, patches=FORCED, transform=transform, **PROCESSES) as sequence,
        FrontEnd(path, 4, patches=FORCED, workers=0) as plain,
    ):
        for batch, right in zip(sequence, plain, strict=True):
            for array, values in zip(batch, right, strict=True):
                np.testing.assert_array_equal(array, values)
    assert len(list(flags.iterdir())) == 1
    assert not children()


@pytest.mark.filterwarnings("ignore:worker process")
def test_workers_that_die_again_name_the_patches_at_work(tmp_path: Path) -> None:
    path, flags = packed(tmp_path), tmp_path / "flags"
    flags.mkdir()
    with (
        FrontEnd(
            path, 4, patches=FORCED, transform=KilledInWorkers(flags, 99), **PROCESSES
        ) as sequence,
        pytest.raises(
            WorkerError,
            match=r"batch \d+ of epoch 0 \(.*patch around a pixel of class 2 of .*signal 9",
        ),
    ):
        list(sequence)
    assert not children()
