"""Workers and parents that are killed, system calls that fail: right batches, or one clear error.

The suite tries a few seeds; `make chaos` tries others for ten minutes.
"""

from __future__ import annotations

import builtins
import errno
import mmap
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
from zarr import codecs

import transforms
from chaos import chances
from kinds import KINDS, children
from scripts import gone, running, wait_until
from stores import traced_pixels, write_split
from zarrfeed import ZarrfeedError, ZarrSequence

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:worker process", "ignore:max_queue_size")
SAMPLES = 60
CALM = 20.0  # seconds, after which a wait has failed


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chaos") / "train"
    return write_split(
        folder, traced_pixels(SAMPLES, 32, 32), compressors=codecs.BloscCodec(cname="lz4")
    )


Batches = list[tuple[np.ndarray, np.ndarray]]


def options(chance: random.Random) -> dict[str, Any]:
    return {
        "batch_size": chance.choice((1, 4, 7)),
        "seed": chance.randrange(1000),
        "transform": chance.choice((None, transforms.noisy)),
        "max_queue_size": chance.choice((1, 2, 10)),
        "timeout": CALM,
    }


def expected(store: Path, chosen: dict[str, Any], epoch: int) -> Batches:
    with ZarrSequence(store, workers=0, **chosen) as plain:
        plain.set_epoch(epoch)
        return [(image.copy(), mask.copy()) for image, mask in plain]


def require_same(found: Batches, wanted: Batches) -> None:
    for ours, theirs in zip(found, wanted, strict=False):
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def pass_through(seq: ZarrSequence, wanted: Batches, disturb: Callable[[], None]) -> str:
    """Go through an epoch; every batch is right, and the end is an epoch's or an error of ours."""
    count = 0
    try:
        for batch in seq:
            require_same([batch], wanted[count:])
            count += 1
            disturb()
    except ZarrfeedError as error:
        return str(error)
    assert count == len(wanted)
    return ""


# -- workers that are killed or stopped -----------------------------------------------------------


def kill_workers(store: Path, chance: random.Random) -> None:
    chosen = options(chance)
    often = chance.choice((0.02, 0.2))

    def disturb() -> None:
        if chance.random() < often and (workers := children()):
            time.sleep(chance.uniform(0, 0.005))
            number = chance.choice((signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGSTOP))
            with suppress(ProcessLookupError):
                pid = chance.choice(workers).pid
                os.kill(pid, number)
                if number == signal.SIGSTOP:
                    threading.Timer(0.2, os.kill, (pid, signal.SIGCONT)).start()

    count = chance.choice((1, 2, 3))
    with ZarrSequence(store, workers=count, use_multiprocessing=True, **chosen) as seq:
        for epoch in range(2):
            wanted = expected(store, chosen, epoch)
            seq.set_epoch(epoch)
            said = pass_through(seq, wanted, disturb)
            assert re.search(r"^$|two worker processes died on|ended before its first batch", said)
        time.sleep(0.3)  # whoever was stopped goes on
        seq.set_epoch(1)
        assert pass_through(seq, wanted, lambda: None) == ""
    assert not children()


@pytest.mark.parametrize("seed", range(3))
def test_killed_workers_cost_no_pixel(store: Path, seed: int) -> None:
    kill_workers(store, random.Random(seed))


@pytest.mark.chaos
def test_workers_are_killed_for_minutes(store: Path) -> None:
    for chance in chances("killed workers"):
        kill_workers(store, chance)


# -- parents that are killed ----------------------------------------------------------------------

SCRIPT = """
import sys
import transforms
from zarrfeed import ZarrSequence

seq = ZarrSequence(
    sys.argv[1], 2, transform=transforms.SignsIn(sys.argv[2], float(sys.argv[3])),
    workers=int(sys.argv[4]), use_multiprocessing=True,
)
while True:
    list(seq)
"""


def kill_a_parent(store: Path, chance: random.Random, folder: Path) -> None:
    signs = transforms.SignsIn(str(folder / str(chance.random())))
    scratch = folder / f"tmp{chance.random()}"
    scratch.mkdir()
    nap, workers = chance.choice((0, 0.01, 60)), chance.choice((1, 3))
    with running(SCRIPT, store, signs.folder, nap, workers, TMPDIR=str(scratch)) as process:
        if chance.random() < 0.7:
            wait_until(lambda: signs.samples() > 1, 60)  # the first is a trial
        else:  # while it imports, or starts workers
            time.sleep(chance.uniform(0.5, 4.0))
        pids = {child.pid for child in psutil.Process(process.pid).children(recursive=True)}
        process.kill()
        process.wait(10)
        wait_until(lambda: gone(pids), 20)
    assert not list(scratch.iterdir())


def test_a_killed_parent_leaves_nothing(store: Path, tmp_path: Path) -> None:
    kill_a_parent(store, random.Random(1), tmp_path)


@pytest.mark.chaos
def test_parents_are_killed_for_minutes(store: Path, tmp_path: Path) -> None:
    for chance in chances("killed parents"):
        kill_a_parent(store, chance, tmp_path)


# -- system calls that fail -----------------------------------------------------------------------

ERRORS = (errno.EIO, errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES)
CALLS: list[tuple[Any, str]] = [
    (os, "open"), (os, "fstat"), (os, "memfd_create"), (os, "truncate"), (mmap, "mmap"),
    (socket, "socketpair"), (subprocess, "Popen"), (builtins, "open"), (os, "scandir"),
]  # fmt: skip


def fail_a_call(store: Path, chance: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, kind = options(chance), KINDS[chance.choice(list(KINDS))]
    module, name = chance.choice(CALLS)
    number, times, left = chance.choice(ERRORS), chance.choice((1, 1000)), chance.randrange(12)
    genuine = getattr(module, name)

    def failing(*arguments: Any, **keywords: Any) -> Any:
        nonlocal left
        left -= 1
        if -times <= left < 0:
            raise OSError(number, os.strerror(number))
        return genuine(*arguments, **keywords)

    wanted = expected(store, chosen, 0)
    with monkeypatch.context() as patch:
        patch.setattr(module, name, failing)
        try:
            seq = ZarrSequence(store, **kind, **chosen)
        except ZarrfeedError as error:
            said, seq = str(error), None
        else:
            said = pass_through(seq, wanted, lambda: None)
    assert not said or str(store) in said, (module.__name__, name, said)
    if seq is None:
        return
    seq.set_epoch(0)
    assert pass_through(seq, wanted, lambda: None) == ""
    seq.close()
    assert not children()


@pytest.mark.parametrize("seed", range(12))
def test_a_system_call_that_fails_costs_no_pixel(
    store: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_a_call(store, random.Random(seed), monkeypatch)


@pytest.mark.chaos
def test_system_calls_fail_for_minutes(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for chance in chances("failing system calls"):
        fail_a_call(store, chance, monkeypatch)
