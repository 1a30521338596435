"""A parent that is interrupted or killed: right batches afterwards, and nothing left behind."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from kinds import ids_of
from scripts import gone, interrupt, running, wait_until
from transforms import SignsIn
from zarrfeed import ZarrSequence
from zarrfeed.feed.workers.threads import ThreadWorkers

if TYPE_CHECKING:
    from pathlib import Path

    from zarrfeed.feed.workers import Task


SCRIPT = """
import sys, time
from transforms import SignsIn
from zarrfeed import ZarrSequence

split, signs, nap = sys.argv[1:]
seq = ZarrSequence(
    split, 1, shuffle=False, transform=SignsIn(signs, float(nap)), workers=2,
    use_multiprocessing=True,
)
print("under way", flush=True)
while True:
    for batch in seq:
        time.sleep(0.02)  # a model computes
"""


def imports_numpy(process: psutil.Process) -> bool:
    try:
        return any("_multiarray_umath" in entry.path for entry in process.memory_maps())
    except psutil.NoSuchProcess:  # `uname`, which Python's platform module runs, has just ended
        return False


@pytest.mark.parametrize(
    ("nap", "samples"), [(0, 50), (60, 3)], ids=["between batches", "in a slow transform"]
)
def test_ctrl_c_ends_everything_with_one_traceback(
    nap: int, samples: int, split: Path, tmp_path: Path
) -> None:
    signs = SignsIn(str(tmp_path))
    with running(SCRIPT, split, tmp_path, nap) as process:
        wait_until(lambda: signs.samples() > samples)
        assert len(signs.processes()) == 3
        assert interrupt(process).endswith("KeyboardInterrupt")
        wait_until(lambda: gone(signs.processes()), 5)


def test_ctrl_c_while_processes_start_is_as_quiet(split: Path, tmp_path: Path) -> None:
    with running(SCRIPT, split, tmp_path, 0) as process:
        parent = psutil.Process(process.pid)
        wait_until(lambda: any(map(imports_numpy, parent.children())))
        started = [child.pid for child in parent.children()]
        assert interrupt(process).endswith("KeyboardInterrupt")
        wait_until(lambda: gone(started), 5)


@pytest.mark.parametrize(
    ("number", "sent"),
    [(1, False), (1, True), (4, False)],
    ids=["before the first task is sent", "after it is sent", "before another one is sent"],
)
def test_ctrl_c_between_two_tasks_leaves_the_next_pass_exact(
    number: int, sent: bool, split: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = ThreadWorkers.submit

    def interrupted(workers: ThreadWorkers, task: Task) -> None:
        if task.number != number or sent:
            submit(workers, task)
        if task.number == number:
            raise KeyboardInterrupt

    monkeypatch.setattr(ThreadWorkers, "submit", interrupted)
    with ZarrSequence(split, 4, shuffle=False, timeout=2.0) as seq:
        with pytest.raises(KeyboardInterrupt):
            list(seq)
        monkeypatch.undo()
        assert [i for batch in seq for i in ids_of(batch)] == list(range(22))


def test_a_batch_dies_without_python_in_which_ctrl_c_would_be_lost(split: Path) -> None:
    called = []
    with ZarrSequence(split, 4, workers=0) as seq:
        batch = next(iter(seq))
        sys.setprofile(lambda frame, event, _: called.append((event, frame.f_code.co_qualname)))
        del batch
        sys.setprofile(None)
    assert [name for event, name in called if event == "call"] == []


def test_a_killed_parent_leaves_no_process_and_no_file(split: Path, tmp_path: Path) -> None:
    signs = SignsIn(str(tmp_path / "signs"))
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    with running(SCRIPT, split, signs.folder, 60, TMPDIR=str(scratch)) as process:
        wait_until(lambda: signs.samples() > 3)
        pids = signs.processes()
        assert len(pids) == 3
        maps = {m.path for pid in pids for m in psutil.Process(pid).memory_maps()}
        os.kill(process.pid, signal.SIGKILL)
        process.wait(5)
        wait_until(lambda: gone(pids), 5)
    data = str(split.resolve())  # tests may keep it in memory, too
    assert any(path.startswith(data) for path in maps)
    assert not {p for p in maps if p.startswith("/dev/shm") and not p.startswith(data)}
    assert list(scratch.iterdir()) == []
