"""Whatever happens under way ends in seconds: in right batches, or in one error that says what."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from zarr import codecs

import transforms
from kinds import KINDS, PROCESSES, Kind, children, ids_of
from scripts import wait_until
from stores import Pixels, traced_pixels, write_split
from transforms import SignsIn
from zarrfeed import ReadError, WorkerError, ZarrSequence, open_split
from zarrfeed.feed.workers import Task
from zarrfeed.store.reader import BatchReader, read_samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from zarrfeed.arrays import Arrays


def right_ids(batches: Iterable[Arrays], pixels: Pixels) -> list[int]:
    """Go through batches, pixel by pixel."""
    found = []
    for image, mask in batches:
        ids = ids_of((image, mask))
        assert np.array_equal(image, pixels["image"][ids])
        assert np.array_equal(mask, pixels["mask"][ids])
        found += ids
    return found


# -- stores that are hurt under way -------------------------------------------------------------

ROWS = 8  # a shard: its first batches are taken, its last ones are still to come


def packed(path: Path, pixels: Pixels, **layout: Any) -> Path:
    """A store in which every shard must have its file."""
    write_split(path, pixels, shard=ROWS, **layout)
    zarr.open_group(str(path), mode="a").attrs["zarrfeed"] = {"format": 1}
    return path


@contextmanager
def under_way(store: Path, kind: Kind) -> Iterator[tuple[ZarrSequence, Iterator[Arrays]]]:
    """Samples 0 and 1 are taken, 2 and 3 are read ahead, and nobody reads any more."""
    signs = SignsIn(str(store.with_name("signs")))
    with ZarrSequence(store, 2, shuffle=False, transform=signs, max_queue_size=1, **kind) as seq:
        batches = iter(seq)
        assert ids_of(next(batches)) == [0, 1]
        read = 2 if kind["workers"] == 0 else 4
        wait_until(lambda: signs.samples() == 1 + read)
        yield seq, batches


def chunk_at(shard: Path, row: int) -> int:
    """Where a chunk begins in its shard."""
    index = shard.read_bytes()[-(16 * ROWS + 4) : -4]
    return int(np.frombuffer(index, "<u8").reshape(ROWS, 2)[row, 0])


@pytest.fixture(params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


def test_a_shard_deleted_in_use_is_read_on_or_named(
    kind: Kind, tmp_path: Path, pixels: Pixels
) -> None:
    store = packed(tmp_path / "train", pixels)
    failure = None
    with under_way(store, kind) as (_, batches):
        (store / "image/c/0/0/0/0").unlink()
        try:
            assert right_ids(batches, pixels) == list(range(2, 22))
        except ReadError as error:
            failure = str(error)
    if kind["workers"] < 2:  # its only reader still has it
        assert failure is None
    assert failure is None or "image/c/0/0/0/0: the shard is missing" in failure
    with (
        ZarrSequence(store, 2, **kind) as seq,
        pytest.raises(ReadError, match="image/c/0/0/0/0: the shard is missing"),
    ):
        list(seq)


def test_a_shard_deleted_before_its_turn_is_named(
    kind: Kind, tmp_path: Path, pixels: Pixels
) -> None:
    store = packed(tmp_path / "train", pixels)
    with under_way(store, kind) as (seq, batches):
        (store / "image/c/2/0/0/0").unlink()
        for _ in range(2):
            with pytest.raises(ReadError, match="image/c/2/0/0/0: the shard is missing"):
                list(batches)
            batches = iter(seq)


@pytest.mark.parametrize("shard", [0, 2], ids=["in use", "before its turn"])
def test_a_shard_truncated_under_way_is_named(
    shard: int, kind: Kind, tmp_path: Path, pixels: Pixels
) -> None:
    store = packed(tmp_path / "train", pixels)
    file = store / f"image/c/{shard}/0/0/0"
    with under_way(store, kind) as (seq, batches):
        os.truncate(file, file.stat().st_size // 2)
        for _ in range(2):
            with pytest.raises(ReadError, match=rf"image/c/{shard}/0/0/0: .*truncated"):
                list(batches)
            batches = iter(seq)


def flip_a_bit(file: Path, at: int) -> None:
    with file.open("r+b") as shard:
        shard.seek(at + 40)
        [byte] = shard.read(1)
        shard.seek(at + 40)
        shard.write(bytes([byte ^ 16]))


def spoil_the_header(file: Path, at: int) -> None:
    with file.open("r+b") as shard:
        shard.seek(at)
        shard.write(b"\xff" * 12)


@pytest.mark.parametrize(
    ("compressors", "damage"),
    [
        (codecs.Crc32cCodec(), flip_a_bit),
        ([codecs.BloscCodec(cname="lz4"), codecs.Crc32cCodec()], flip_a_bit),
        (codecs.BloscCodec(cname="lz4"), spoil_the_header),
    ],
    ids=["raw with crc32c", "lz4 with crc32c", "lz4"],
)
def test_a_chunk_damaged_under_way_is_named_with_its_sample(
    compressors: Any, damage: Callable[[Path, int], None], kind: Kind, tmp_path: Path,
    pixels: Pixels,
) -> None:  # fmt: skip
    store = packed(tmp_path / "train", pixels, compressors=compressors)
    file = store / "image/c/0/0/0/0"
    with under_way(store, kind) as (_, batches):
        damage(file, chunk_at(file, 5))
        assert right_ids([next(batches)], pixels) == [2, 3]
        with pytest.raises(
            ReadError, match=r"image/c/0/0/0/0: chunk 5 \(sample 5 of 'image'\) is damaged"
        ):
            next(batches)


@pytest.mark.parametrize(
    "compressors", [None, codecs.BloscCodec(cname="lz4", shuffle="noshuffle")], ids=["raw", "lz4"]
)
def test_a_shard_truncated_while_nobody_maps_it_is_named(
    compressors: Any, tmp_path: Path, pixels: Pixels
) -> None:
    store = packed(tmp_path / "train", pixels, compressors=compressors)
    file = store / "image/c/0/0/0/0"
    reader = BatchReader(open_split(store), ["image"], open_files=1)
    out = np.empty((1, 8, 6, 3), np.uint8)
    for sample in (0, ROWS):
        reader.read_into(np.array([sample]), [out])
    os.truncate(file, chunk_at(file, 5) + 40)
    with pytest.raises(ReadError, match=r"image/c/0/0/0/0: .*truncated"):
        reader.read_into(np.array([5]), [out])


def test_a_blosc_chunk_cut_short_is_damaged(tmp_path: Path, pixels: Pixels) -> None:
    lz4 = codecs.BloscCodec(cname="lz4", shuffle="noshuffle")
    store = write_split(tmp_path / "train", pixels, shard=None, compressors=lz4)
    file = store / "image/c/5/0/0/0"
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(ReadError, match=r"image/c/5/0/0/0: chunk 0 \(sample 5 of 'image'\)"):
        read_samples(open_split(store), "image", np.array([5]))


# -- workers that die ---------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:worker process")
def test_processes_killed_while_they_are_idle_are_replaced(
    split: Path, pixels: Pixels, tmp_path: Path
) -> None:
    signs = SignsIn(str(tmp_path))
    with ZarrSequence(
        split, 4, shuffle=False, transform=signs, max_queue_size=2, **PROCESSES
    ) as seq:
        batches = iter(seq)
        assert ids_of(next(batches)) == [0, 1, 2, 3]
        wait_until(lambda: signs.samples() == 1 + 3 * 4)
        for pid in signs.processes() - {os.getpid()}:
            os.kill(pid, signal.SIGKILL)
        assert right_ids(batches, pixels) == list(range(4, 22))
        assert right_ids(seq, pixels) == list(range(22))
        assert len(children()) == 2
    assert not children()


@pytest.mark.filterwarnings("ignore:worker process")
def test_two_dozen_kills_at_any_moment_cost_no_sample_and_no_pixel(tmp_path: Path) -> None:
    """One at a time: what was under way at one kill has been taken before the next."""
    pixels = traced_pixels(80, 96, 96)
    store = packed(tmp_path / "train", pixels, compressors=codecs.ZstdCodec(level=1))
    signs = SignsIn(str(tmp_path / "signs"))
    rng = random.Random(5)
    killed = {os.getpid()}
    orders = []
    with ZarrSequence(store, 2, seed=3, transform=signs, max_queue_size=2, **PROCESSES) as seq:
        for _ in range(3):
            order = []
            for number, batch in enumerate(seq):
                order += right_ids([batch], pixels)
                if number % 5 == 4:
                    time.sleep(rng.uniform(0, 0.003))
                    victim = rng.choice(sorted(signs.processes() - killed))
                    os.kill(victim, signal.SIGKILL)
                    killed.add(victim)
            assert sorted(order) == list(range(80))
            orders.append(order)
    assert len(killed) == 1 + 24
    with ZarrSequence(store, 2, seed=3, workers=0) as plain:
        assert orders == [right_ids(plain, pixels) for _ in range(3)]


@pytest.mark.filterwarnings("ignore:worker process")
def test_a_transform_that_ends_every_process_is_an_error_with_its_exit_status(split: Path) -> None:
    with (
        ZarrSequence(
            split, 4, shuffle=False, transform=transforms.exits_hard_on_nine, **PROCESSES
        ) as seq,
        pytest.raises(WorkerError, match=r"died on batch 2 of epoch 0.*\(exit status 3\)"),
    ):
        list(seq)
    assert not children()


def test_any_number_of_tasks_is_sent_before_a_reply_is_taken(
    split: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `max_queue_size=2000` may ask for."""
    monkeypatch.setattr("zarrfeed.feed.workers.process_handle._ANSWER_SECONDS", 2.0)
    with ZarrSequence(split, 4, max_queue_size=1, **KINDS["one process"]) as seq:
        next(iter(seq))
        feeder = seq._stream._feeder
        assert feeder is not None
        task = Task(number=1, slot=feeder._arena.take(), rows=1, epoch=0, batch=0)
        for number in range(10, 2010):
            feeder._workers.submit(replace(task, number=number))
        assert feeder._workers.wait(replace(task, number=2009), 30.0)


def test_two_sequences_with_processes_go_side_by_side(split: Path, pixels: Pixels) -> None:
    with ZarrSequence(split, 4, seed=1, **PROCESSES) as a, ZarrSequence(split, 4, **PROCESSES) as b:
        assert len({tuple(ids_of(seq[0])) for seq in (a, b)}) == 2
        for _ in range(2):
            for batches in zip(*zip(a, b, strict=True), strict=True):
                assert sorted(right_ids(batches, pixels)) == list(range(22))
        assert len(children()) == 4
    assert not children()
