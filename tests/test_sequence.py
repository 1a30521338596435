"""A sequence is exact whatever its workers are: inline, threads or processes."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import zarr

import transforms
from stores import Pixels, traced_pixels, write_split
from zarrfeed import ReadError, StoreError, WorkerError, ZarrSequence
from zarrfeed.slot import ALIGNMENT

Kind = dict[str, Any]

KINDS: dict[str, Kind] = {
    "inline": {"workers": 0},
    "one thread": {"workers": 1},
    "three threads": {"workers": 3},
    "one process": {"workers": 1, "use_multiprocessing": True},
    "two processes": {"workers": 2, "use_multiprocessing": True},
}


def ids_of(batch: tuple[np.ndarray, ...]) -> list[int]:
    return [int(sample) for sample in batch[1][:, 0, 0]]


def children() -> list[psutil.Process]:
    """Worker processes of this very test process."""
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if "zarrfeed.workers.process" in child.cmdline()
    ]


@pytest.fixture(params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


class TestEveryKindOfWorker:
    """The contract of :class:`zarrfeed.workers.Workers`, as a user meets it."""

    def test_two_epochs_hold_every_sample_once_with_its_own_pixels(
        self, kind: Kind, split: Path, pixels: Pixels
    ) -> None:
        with ZarrSequence(split, 4, seed=5, **kind) as seq:
            orders = []
            for _ in range(2):
                order: list[int] = []
                for image, mask in seq:
                    ids = ids_of((image, mask))
                    assert np.array_equal(image, pixels["image"][ids])
                    assert np.array_equal(mask, pixels["mask"][ids])
                    assert {array.ctypes.data % ALIGNMENT for array in (image, mask)} == {0}
                    assert image.flags.c_contiguous
                    order += ids
                assert sorted(order) == list(range(22))
                orders.append(order)
            assert orders[0] != orders[1]

    def test_batches_are_bit_equal_to_inline_ones_transforms_included(
        self, kind: Kind, split: Path
    ) -> None:
        functions = {"transform": transforms.noisy, "batch_transform": transforms.mix}
        with (
            ZarrSequence(split, 4, seed=9, **functions, **kind) as seq,
            ZarrSequence(split, 4, seed=9, **functions, workers=0) as plain,
        ):
            for _ in range(2):
                for ours, theirs in zip(seq, plain, strict=True):
                    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))

    def test_batches_that_are_kept_are_never_overwritten(
        self, kind: Kind, split: Path, pixels: Pixels
    ) -> None:
        with ZarrSequence(split, 2, seed=1, max_queue_size=2, **kind) as seq:
            kept = [batch for _ in range(4) for batch in seq]
        assert len(kept) == 44
        for image, mask in kept:
            assert np.array_equal(image, pixels["image"][ids_of((image, mask))])

    def test_a_pass_that_is_given_up_does_not_shift_the_next(self, kind: Kind, split: Path) -> None:
        with ZarrSequence(split, 4, **kind) as seq:
            first = [ids_of(batch) for batch in seq]
            seq.set_epoch(0)
            for _ in zip(range(2), seq, strict=False):
                pass
            assert seq.epoch == 0
            assert [ids_of(batch) for batch in seq] == first

    def test_two_iterators_at_once_are_both_exact(self, kind: Kind, split: Path) -> None:
        with ZarrSequence(split, 4, **kind) as seq:
            expected = [ids_of(seq[i]) for i in range(len(seq))]
            both = [(ids_of(a), ids_of(b)) for a, b in zip(seq, seq, strict=True)]
        assert both == [(ids, ids) for ids in expected]

    def test_a_failing_transform_ends_the_epoch_with_the_sample(
        self, kind: Kind, split: Path
    ) -> None:
        with ZarrSequence(
            split, 4, shuffle=False, transform=transforms.raises_on_nine, **kind
        ) as seq:
            passed = iter(seq)
            for _ in range(2):
                next(passed)
            with pytest.raises(WorkerError, match=r"raises_on_nine raised ZeroDivision.*sample 9"):
                next(passed)
            assert ids_of(next(iter(seq))) == [0, 1, 2, 3]  # and it can be used again

    def test_a_transform_that_exits_is_an_error(self, kind: Kind, split: Path) -> None:
        if kind["workers"] == 0:
            pytest.skip("in the caller, SystemExit is the caller's")
        with (
            ZarrSequence(
                split, 4, shuffle=False, transform=transforms.exits_on_nine, **kind
            ) as seq,
            pytest.raises(WorkerError, match="SystemExit"),
        ):
            list(seq)

    def test_a_transform_that_changes_shape_is_an_error(self, kind: Kind, split: Path) -> None:
        with (
            ZarrSequence(split, 4, transform=transforms.reshapes_on_nine, **kind) as seq,
            pytest.raises(
                WorkerError, match=r"image of shape \(7, 6, 3\).*sample 9.*needed \(8, 6, 3\)"
            ),
        ):
            list(seq)

    def test_a_damaged_shard_is_an_error(self, kind: Kind, tmp_path: Path) -> None:
        path = write_split(tmp_path / "s", traced_pixels(22))
        shard = path / "image/c/3/0/0/0"
        shard.write_bytes(shard.read_bytes()[:100])
        with (
            ZarrSequence(path, 4, shuffle=False, **kind) as seq,
            pytest.raises(ReadError, match=r"c/3/0/0/0.*truncated"),
        ):
            list(seq)


# -- processes ----------------------------------------------------------------------------------

PROCESSES = KINDS["two processes"]


def test_a_process_that_was_killed_is_replaced_with_a_warning(split: Path, tmp_path: Path) -> None:
    transform = transforms.KilledOnce(str(tmp_path / "flag"))
    with ZarrSequence(split, 4, shuffle=False, transform=transform, **PROCESSES) as seq:
        with pytest.warns(RuntimeWarning, match=r"died \(signal 9\)"):
            ids = [sample for batch in seq for sample in ids_of(batch)]
        assert ids == list(range(22))


@pytest.mark.filterwarnings("ignore:worker process")
def test_a_batch_that_kills_every_process_is_an_error(split: Path) -> None:
    with (
        ZarrSequence(
            split, 4, shuffle=False, transform=transforms.killed_on_nine, **PROCESSES
        ) as seq,
        pytest.raises(
            WorkerError, match=r"two worker processes died on batch 2 of epoch 0.*signal 9"
        ),
    ):
        list(seq)


@pytest.mark.parametrize("kind", [KINDS["one thread"], PROCESSES], ids=["threads", "processes"])
def test_a_worker_that_does_not_answer_is_an_error_that_names_the_knob(
    kind: Kind, split: Path
) -> None:
    seq = ZarrSequence(split, 4, shuffle=False, transform=transforms.sleeps, timeout=1.0, **kind)
    started = time.monotonic()
    with pytest.raises(WorkerError, match=r"batch 2 of epoch 0 did not come within 1 s.*timeout="):
        list(seq)
    seq.close()
    assert time.monotonic() - started < 20
    assert not children()


def test_a_close_from_another_thread_ends_the_waiting(split: Path) -> None:
    seq = ZarrSequence(split, 4, shuffle=False, transform=transforms.sleeps, **PROCESSES)
    threading.Timer(1.0, seq.close).start()
    started = time.monotonic()
    with pytest.raises(WorkerError, match="closed while a batch was waited for"):
        list(seq)
    assert time.monotonic() - started < 10
    assert not children()


def test_processes_end_when_the_sequence_is_dropped(split: Path) -> None:
    seq = ZarrSequence(split, 4, **PROCESSES)
    next(iter(seq))
    assert len(children()) == 2
    del seq
    gc.collect()
    assert not children()


def test_threads_and_descriptors_end_when_the_sequence_is_dropped(split: Path) -> None:
    gc.collect()
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    seq = ZarrSequence(split, 4, workers=3)
    next(iter(seq))
    assert threading.active_count() == threads + 3
    del seq
    gc.collect()
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) <= files


def test_a_transform_that_cannot_travel_is_named(split: Path) -> None:
    lock = threading.Lock()

    def locked(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Any:
        with lock:
            return image, mask

    with (
        ZarrSequence(split, 4, transform=locked, **PROCESSES) as seq,
        pytest.raises(WorkerError, match=r"transform locked cannot travel.*lock"),
    ):
        list(seq)


def test_a_closure_travels(split: Path) -> None:
    shift = 3

    def shifted(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Any:
        return image + np.uint8(shift), mask

    with (
        ZarrSequence(split, 4, transform=shifted, **PROCESSES) as seq,
        ZarrSequence(split, 4) as plain,
    ):
        assert all(np.array_equal(a[0], b[0] + 3) for a, b in zip(seq, plain, strict=True))


SCRIPT = """
import os, signal, sys
from zarrfeed import ZarrSequence

def flip(image, mask, rng):  # lives in __main__, which no worker imports
    return image[:, ::-1], mask

seq = ZarrSequence(sys.argv[1], 4, transform=flip, workers=2, use_multiprocessing=True)
next(iter(seq))
print(*[worker.process.pid for worker in seq._stream._feeder._workers._workers], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_no_process_outlives_a_parent_that_was_killed(split: Path, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), str(split)],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == -9, done.stderr
    workers = [int(pid) for pid in done.stdout.split()]
    assert len(workers) == 2
    deadline = time.monotonic() + 5
    while any(psutil.pid_exists(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(psutil.pid_exists(pid) for pid in workers)


def test_workers_import_neither_keras_nor_zarr(split: Path) -> None:
    with ZarrSequence(split, 4, **PROCESSES) as seq:
        next(iter(seq))
        for child in children():
            mapped = {Path(entry.path).name for entry in child.memory_maps()}
            assert not any("tensorflow" in name or "pywrap" in name for name in mapped)
    found = subprocess.run(
        [
            sys.executable, "-c",
            "import sys, zarrfeed.workers.process; "
            "print([m for m in ('keras', 'tensorflow', 'zarr') if m in sys.modules])",
        ],
        capture_output=True, text=True, timeout=60, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert found.stdout.strip() == "[]"


# -- what the arguments mean ----------------------------------------------------------------------


def test_items_are_the_batches_of_the_coming_epoch(split: Path) -> None:
    with ZarrSequence(split, 4, seed=2, workers=1) as seq:
        assert len(seq) == 6
        items = [ids_of(seq[i]) for i in range(6)]
        assert items[-1] == ids_of(seq[-1])
        assert [ids_of(batch) for batch in seq] == items
        assert seq.epoch == 1
        assert [ids_of(seq[i]) for i in range(6)] != items
        with pytest.raises(IndexError, match="batch 6 of 6"):
            seq[6]
        assert [len(batch[0]) for batch in seq] == [4, 4, 4, 4, 4, 2]
        assert seq.partial_batch_size == 2


def test_unshuffled_batches_stand_in_storage_order(split: Path) -> None:
    with ZarrSequence(split, 5, shuffle=False, drop_remainder=True) as seq:
        assert [i for batch in seq for i in ids_of(batch)] == list(range(20))
        assert not seq.has_partial_batch


def test_block_shuffles_visit_everything(split: Path) -> None:
    with ZarrSequence(split, 4, shuffle="block", workers=2) as seq:
        order = [i for batch in seq for i in ids_of(batch)]
    assert sorted(order) == list(range(22))
    assert order != sorted(order)


@pytest.mark.parametrize(
    "subset", [[3, 1, -1], slice(1, 9, 2), np.arange(22) % 2 == 0, np.array([], np.int64)]
)
def test_a_subset_is_ids_a_slice_or_a_mask(split: Path, subset: Any) -> None:
    expected = np.arange(22)[subset].tolist()
    if not expected:
        with pytest.raises(ValueError, match="an epoch has no batch: 0 samples"):
            ZarrSequence(split, 2, subset=subset)
        return
    with ZarrSequence(split, 2, subset=subset, shuffle=False) as seq:
        assert [i for batch in seq for i in ids_of(batch)] == expected


def test_ranks_see_disjoint_shares_of_one_order(split: Path) -> None:
    shares = []
    for rank in range(3):
        with ZarrSequence(split, 2, rank=rank, world_size=3, seed=4) as seq:
            assert len(seq) == 4
            shares.append([i for batch in seq for i in ids_of(batch)])
    assert {len(share) for share in shares} == {7}
    assert len({i for share in shares for i in share}) == 21


def test_fields_stand_in_the_order_that_was_asked_for(split: Path, pixels: Pixels) -> None:
    with ZarrSequence(split, 22, fields=("mask",), shuffle=False) as seq:
        [(mask,)] = list(seq)
        assert np.array_equal(mask, pixels["mask"])


def test_class_weights_become_a_weight_map(split: Path) -> None:
    with ZarrSequence(split, 4, class_weight={3: 0.5, 4: 2.0}) as seq:
        for _, mask, weight in seq:
            assert weight.dtype == np.float32
            assert np.array_equal(weight, np.where(mask == 3, 0.5, np.where(mask == 4, 2.0, 1.0)))


def test_class_weights_are_named_counted_or_balanced(tmp_path: Path) -> None:
    """By hand: 3 classes, 96 pixels: 48, 36 and 12 of them."""
    mask = np.zeros((2, 8, 6), np.uint8)
    mask[0, :6], mask[1, :2] = 1, 2
    pixels = {"image": traced_pixels(2)["image"], "mask": mask}
    pixels["class_pixels"] = np.array([[12, 36, 0], [36, 0, 12]], np.uint32)
    path = write_split(tmp_path / "d" / "train", pixels)
    for group, attributes in (
        (path, {"format": 1, "fields": ["image", "mask"]}),
        (path.parent, {"format": 1, "classes": ["sky", "road", "car"], "ignore": 9}),
    ):
        zarr.open_group(str(group), mode="a").attrs["zarrfeed"] = attributes
    for given, expected in (
        ("balanced", [96 / (3 * 48), 96 / (3 * 36), 96 / (3 * 12)]),
        ({"road": 5.0, 2: 0.5}, [1, 5, 0.5]),
        ([1, 2, 3], [1, 2, 3]),
    ):
        with ZarrSequence(path, 2, shuffle=False, class_weight=given) as seq:
            [(_, _, weight)] = list(seq)
            assert np.array_equal(weight, np.float32(expected)[mask])
    for given, message in (
        ([1.0, 2.0], "one weight for each of the 3 classes, not 2: sky, road, car"),
        ({"tree": 1.0}, "class 'tree'; the store has sky, road, car"),
        ({3: 1.0}, "class 3, the ids go from 0 to 2"),
    ):
        with pytest.raises(ValueError, match=message):
            ZarrSequence(path, 2, class_weight=given)


def test_a_sequence_says_what_it_is(split: Path) -> None:
    assert repr(ZarrSequence(split, 4)).endswith(
        "train': 22 samples in 6 batches of 4; image uint8[8, 6, 3], mask uint8[8, 6])"
    )


def test_one_field_may_be_named_alone(split: Path, pixels: Pixels) -> None:
    with ZarrSequence(split, 22, fields="image", shuffle=False) as seq:
        [(image,)] = list(seq)
        assert np.array_equal(image, pixels["image"])


def test_a_transform_may_change_shape_and_dtype(split: Path) -> None:
    with ZarrSequence(split, 4, transform=transforms.to_float_crop, **PROCESSES) as seq:
        for image, mask in seq:
            assert (image.shape[1:], image.dtype) == ((4, 4, 3), np.float32)
            assert mask.shape[1:] == (4, 4)


def test_batch_keys_name_the_rows_of_a_batch(split: Path) -> None:
    with ZarrSequence(split, 4) as seq:
        names = seq.batch_keys(2)
        assert names == [f"sample {i}" for i in ids_of(seq[2])]
        assert seq.batch_keys(0, epoch=1) != seq.batch_keys(0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"batch_size": 2.5}, "batch_size must be a whole number, not 2.5"),
        ({"shuffle": "yes"}, "shuffle must be True, False or 'block', not 'yes'"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"workers": -1}, "workers must be at least 0"),
        ({"max_queue_size": 0}, "max_queue_size must be at least 1"),
        ({"rank": 2, "world_size": 2}, "rank must be below world_size, not 2 of 2"),
        ({"timeout": 0}, "timeout must be above 0"),
        ({"subset": [1, 1]}, "holds id 1 2 times"),
        ({"subset": [22]}, "holds id 22, the split has 22"),
        ({"subset": [True, False]}, "a mask of 2, the split has 22"),
        ({"subset": [0.5]}, "must be ids"),
        (
            {"batch_size": 30, "drop_remainder": True},
            "no batch: 22 samples in .* drop_remainder; needs a smaller",
        ),
        ({"class_weight": {300: 1.0}}, "class 300, the ids go from 0 to 255"),
        ({"class_weight": {"sky": 1.0}}, "class 'sky'; the store has no class names"),
        ({"class_weight": "even"}, "a dict, a list or 'balanced', not 'even'"),
        ({"class_weight": "balanced"}, "needs class_pixels, which this store lacks"),
    ],
)
def test_bad_arguments_are_named_at_the_door(split: Path, arguments: Kind, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        ZarrSequence(split, **{"batch_size": 4, **arguments})


def test_bad_transforms_are_found_at_the_door(split: Path) -> None:
    with pytest.raises(WorkerError, match="forgets_the_mask must return 2 arrays"):
        ZarrSequence(split, 4, transform=transforms.forgets_the_mask)


def test_class_weights_need_a_mask(split: Path) -> None:
    with pytest.raises(StoreError, match="needs a uint8 or uint16 mask"):
        ZarrSequence(
            split, 4, class_weight=[1.0], transform=lambda i, m, rng: (i, m.astype(np.float32))
        )


def test_a_closed_sequence_starts_anew(split: Path) -> None:
    seq = ZarrSequence(split, 4, workers=2)
    first = [ids_of(batch) for batch in seq]
    seq.close()
    seq.close()
    seq.set_epoch(0)
    assert [ids_of(batch) for batch in seq] == first
    assert ids_of(seq[0]) != first[0]
    seq.close()
