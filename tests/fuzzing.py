"""Try mutated input in guarded children, where a hang, a crash or a bomb is seen and named.

One trial is a number: its generator is seeded by (seed, number), so that a finding can be tried
again alone::

    python tests/fuzzing.py store_trials:StoreTrials --seed 7 --only 1234 --keep /tmp/finding

`trials` names a class ``module:Class`` of the tests. It is made once in every child with an empty
folder of its own, and called once for every trial with ``(rng, folder)``. It mutates something in
`folder` (empty before every trial), tries it, and returns the bytes that the input declares. What
it raises is a finding: the right errors are caught by the trial itself, and counted by it. So is
a crash or a hang, unless the trial says on a board (:func:`board_in`) which file it reads.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import mmap
import os
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed_convert.supervision.board import Board

if TYPE_CHECKING:
    from collections.abc import Callable

    Trial = Callable[[random.Random, Path], int]

SECONDS = 30.0  # that one trial may take; an honest one takes milliseconds
ENOUGH = 20  # findings after which a run stops
_MEMORY = 300 << 20  # what a trial may take beside 4 times what its input declares
_DATA = 6 << 30  # bytes of memory for a child: a bomb must not end the machine
_RENEWED = 2000  # trials after which a child is replaced


@dataclass(frozen=True, slots=True)
class Finding:
    """A trial that did not end as it should.

    Attributes
    ----------
    number
        Of the trial.
    what
        A traceback, a signal, a time or a number of bytes.
    """

    number: int
    what: str


def fuzz(
    trials: str, *, seed: int | str, count: int, processes: int = 2, seconds: float = SECONDS
) -> list[Finding]:
    """Make `count` trials; nothing is found if the list is empty."""
    with ThreadPoolExecutor(processes) as pool:
        parts = [
            pool.submit(_part, trials, seed, range(first, count, processes), seconds)
            for first in range(processes)
        ]
        return sorted((one for part in parts for one in part.result()), key=lambda f: f.number)


def setting(name: str, default: int) -> int:
    """Read SEED or COUNT, as ``make fuzz SEED=3 COUNT=1000`` sets them."""
    return int(os.environ.get(name) or default)


def _in_memory() -> str | None:
    """A folder in which to make and remove others takes no disk: half of a trial's time."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _part(trials: str, seed: int | str, numbers: range, seconds: float) -> list[Finding]:
    found: list[Finding] = []
    while numbers and len(found) < ENOUGH:
        done = _child(trials, seed, numbers[:_RENEWED], seconds, found)
        numbers = numbers[done:]
    return found


def _child(
    trials: str, seed: int | str, numbers: range, seconds: float, found: list[Finding]
) -> int:
    """Make trials in one child until it ends; the number of those that are done."""
    place = tempfile.TemporaryDirectory(prefix="fuzz-", dir=_in_memory())
    with place as folder, tempfile.TemporaryFile() as words:
        child = subprocess.Popen(
            [sys.executable, __file__, trials, "--seed", str(seed), "--folder", folder,
             "--seconds", str(seconds),
             "--numbers", f"{numbers.start},{numbers.stop},{numbers.step}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=words, start_new_session=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )  # fmt: skip
        assert child.stdout is not None
        done, rest, late = 0, b"", False
        try:
            while True:
                # The child ends itself first, with a traceback that says where it hangs.
                late = not select.select([child.stdout], [], [], 60 + 2 * seconds)[0]
                piece = b"" if late else os.read(child.stdout.fileno(), 1 << 16)
                if not piece:
                    break
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    done += 1
                    if line != b"fine":
                        what = line.decode("utf-8", "replace").replace("\\n", "\n")
                        found.append(Finding(numbers[done - 1], what))
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.stdout.close()
            status = child.wait()
        if done < len(numbers) and named_by(Path(folder)):
            done += 1  # whoever watches such a process says which file it read
        elif done < len(numbers):
            words.seek(max(0, words.seek(0, os.SEEK_END) - 4000))
            said = words.read().decode("utf-8", "replace")
            found.append(Finding(numbers[done], f"ended by status {status}, late={late}\n{said}"))
            done += 1
        return done


def board_in(folder: Path) -> Board:
    """Give the board on which a child writes what it reads, if it does."""
    descriptor = os.open(folder / "board", os.O_RDWR | os.O_CREAT)
    os.truncate(descriptor, 2 * mmap.PAGESIZE)
    return Board(1, descriptor)


def named_by(folder: Path) -> str:
    """Say what a child read that is dead; empty where nobody could know."""
    own = folder / "own"
    return board_in(own).place(0).reading.name if (own / "board").exists() else ""


def peak() -> int:
    """Give the most memory since the last call of :func:`forget_peak`, in bytes."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) << 10


def forget_peak() -> int:
    """Begin a new peak, and give it; more than any where the system has none."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 1 << 62  # cannot be measured here
    return peak()


# -- in the child -------------------------------------------------------------------------------


def _try(trial: Trial, rng: random.Random, folder: Path) -> str | None:
    before = forget_peak()
    try:
        declared = trial(rng, folder)
    except BaseException:
        return traceback.format_exc()[-4000:]
    taken, allowed = peak() - before, 4 * declared + _MEMORY
    if taken > allowed:
        return f"took {taken:,} bytes of memory; {allowed:,} are allowed ({declared:,} declared)"
    return None


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trials")
    parser.add_argument("--seed", required=True)
    parser.add_argument("--numbers", default="")
    parser.add_argument("--only", type=int)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--keep", type=Path, help="with --only: where to leave the mutated input")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    words = parser.parse_args()
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_DATA, (_DATA, _DATA))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a trial prints is no answer
    warnings.simplefilter("ignore")
    module, _, name = words.trials.partition(":")
    folder = words.folder or Path(tempfile.mkdtemp(prefix="fuzz-"))
    own = folder / "own"
    own.mkdir()
    trial: Trial = getattr(importlib.import_module(module), name)(own)
    if words.only is not None:
        place = words.keep or folder / "trial"
        rng = random.Random(f"{words.seed}/{words.only}")
        print(_try(trial, rng, _empty(place)) or "fine", file=answers)
        return
    for number in range(*map(int, words.numbers.split(","))):
        place = _empty(folder / "trial")
        faulthandler.dump_traceback_later(words.seconds, exit=True)
        found = _try(trial, random.Random(f"{words.seed}/{number}"), place)
        faulthandler.cancel_dump_traceback_later()
        print(found.replace("\n", "\\n") if found else "fine", file=answers)


if __name__ == "__main__":
    _main()
