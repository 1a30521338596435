"""A batch is the same whatever the workers are: inline, threads or processes; and none hangs."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import transforms
from kinds import KINDS, PROCESSES, Kind, children, ids_of, worker_threads
from stores import Pixels, traced_pixels, write_split
from zarrfeed import ReadError, WorkerError, ZarrSequence
from zarrfeed.arrays import ALIGNMENT
from zarrfeed.feed.workers import process_pool


@pytest.fixture(params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


class TestEveryKindOfWorker:
    """The contract of :class:`zarrfeed.feed.workers.Workers`, as a user meets it."""

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

    def test_a_transform_that_keeps_state_belongs_to_one_worker(
        self, kind: Kind, split: Path
    ) -> None:
        with (
            ZarrSequence(split, 2, transform=transforms.Seeded(), **kind) as seq,
            ZarrSequence(split, 2, transform=transforms.Seeded(), workers=0) as plain,
        ):
            for ours, theirs in zip(seq, plain, strict=True):
                assert np.array_equal(ours[0], theirs[0])

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
            seq.set_epoch(0)
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
            said = r"raises_on_nine raised ZeroDivision.* at .*transforms\.py:\d+ on sample 9"
            with pytest.raises(WorkerError, match=said):
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

    def test_its_repr_shows_its_state(self, kind: Kind, split: Path) -> None:
        with ZarrSequence(split, 4, **kind) as seq:
            batches = iter(seq)
            next(batches)
            feeder = seq._stream._feeder
            assert feeder is not None
            state = repr(feeder._workers)
            of = "processes" if "use_multiprocessing" in kind else "threads"
            who = f"{kind['workers']} worker {of}" if kind["workers"] else "no worker"
            name = type(feeder._workers).__name__
            assert state.startswith(f"<{name}: {who}; tasks: ")
            tasks = map(int, re.findall(r"\d+", state.partition("tasks")[2]))
            assert sum(tasks) == len(feeder._pending)
        assert repr(feeder._workers) == f"<{name}: closed>"

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


@pytest.mark.parametrize("in_order", [True, False])
def test_replies_and_slots_tell_the_same(
    split: Path, monkeypatch: pytest.MonkeyPatch, in_order: bool
) -> None:
    """A slow consumer finds most batches ready: by their slots, or by replies alone."""
    monkeypatch.setattr(process_pool, "_STORES_IN_ORDER", in_order)
    monkeypatch.setattr(process_pool, "_MOST_UNREAD", 3)
    with ZarrSequence(split, 1, shuffle=False, **PROCESSES) as seq:
        for _ in range(3):
            ids = []
            for batch in seq:
                time.sleep(0.002)
                ids += ids_of(batch)
            assert ids == list(range(22))
        assert seq._stream._feeder is not None
        assert seq._stream._feeder._workers._ledger.unread <= 4  # type: ignore[attr-defined]


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
    with pytest.raises(WorkerError, match=r"batch \d of epoch 0 did not come within 1 s.*timeout="):
        list(seq)
    seq.close()
    assert time.monotonic() - started < 20
    assert not children()


def test_a_close_from_another_thread_ends_the_waiting(split: Path) -> None:
    seq = ZarrSequence(split, 4, shuffle=False, transform=transforms.sleeps, **PROCESSES)
    threading.Timer(1.0, seq.close).start()
    started = time.monotonic()
    with pytest.raises(WorkerError, match="closed while it waited for a batch"):
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
    before = worker_threads()
    files = len(os.listdir("/proc/self/fd"))
    seq = ZarrSequence(split, 4, workers=3)
    next(iter(seq))
    ours = worker_threads() - before
    assert len(ours) == 3
    del seq
    gc.collect()
    assert not any(thread.is_alive() for thread in ours)
    assert len(os.listdir("/proc/self/fd")) <= files


def test_a_transform_that_cannot_travel_is_named(split: Path) -> None:
    lock = threading.Lock()

    def locked(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Any:
        with lock:
            return image, mask

    with (
        ZarrSequence(split, 4, transform=locked, **PROCESSES) as seq,
        pytest.raises(WorkerError, match=r"transform locked cannot be sent.*lock"),
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


CACHES = """
import functools, sys
import numpy as np
from zarrfeed import FrontEnd

@functools.lru_cache(maxsize=3)
def table(shift):
    return (np.arange(256) + shift).astype(np.uint8)

class Shift:
    @functools.cache
    def by(self, shift):
        return table(shift)

    def __call__(self, image, mask, rng):
        return self.by(2)[table(1)[image]], mask

class Registered:
    def __reduce__(self):
        return "registered"  # by its name

    def __call__(self, image, mask, rng):
        return image, mask

registered = Registered()

plain = FrontEnd(sys.argv[1], 4, workers=0)
with FrontEnd(sys.argv[1], 4, transform=Shift(), use_multiprocessing=True) as seq:
    print(all((a[0] == b[0] + np.uint8(3)).all() for a, b in zip(seq, plain)))
with FrontEnd(sys.argv[1], 4, transform=registered, use_multiprocessing=True) as seq:
    try:
        next(iter(seq))
    except Exception as error:
        print(type(error).__name__, error)
"""


def test_what_a_script_caches_travels_and_what_it_names_is_told(
    split: Path, tmp_path: Path
) -> None:
    script = tmp_path / "train.py"
    script.write_text(CACHES)
    done = subprocess.run(
        [sys.executable, str(script), str(split)],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    travelled, told = done.stdout.splitlines()
    assert travelled == "True", done.stderr
    assert re.fullmatch(
        r"WorkerError worker process \d+ cannot load the transform: .*registered.*\(__main__\): "
        r"put what the transform uses into a module, or set use_multiprocessing=False "
        r"\(look up: transform-copies\)",
        told,
    )


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
            "import sys, zarrfeed.feed.workers.process_main; "
            "print([m for m in ('keras', 'tensorflow', 'zarr') if m in sys.modules])",
        ],
        capture_output=True, text=True, timeout=60, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert found.stdout.strip() == "[]"
