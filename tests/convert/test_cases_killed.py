"""Cases that are packed or cut anew by a run that is killed, however often, have the same bytes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cases import CaseArrays, pair
from stored_samples import files
from zarrfeed_convert import convert, verify

SIZES = [(5, 9), (1, 1), (8, 8), (3, 20), (13, 4)]
CASES = {f"case{place}": pair(size, place) for place, size in enumerate(SIZES)}

# Killed at the operations that change what is on the disk whose numbers come on stdin. Children are
# forked, so that what takes a second is loaded once; this process has no threads.
KILLED = """
import os, shutil, signal, sys
from pathlib import Path
import zarr.codecs, zarr.storage
import numcodecs.blosc
from zarrfeed_convert import convert, repack
sys.path.insert(0, sys.argv[1])
from cases import CaseArrays, pair

numcodecs.blosc.use_threads = False
SIZES = [(5, 9), (1, 1), (8, 8), (3, 20), (13, 4)]
CASES = {f"case{place}": pair(size, place) for place, size in enumerate(SIZES)}

def counted(operation):
    def perform(*arguments, **options):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return operation(*arguments, **options)
    return perform

def pack():
    os.fsync, os.unlink, shutil.rmtree = map(counted, (os.fsync, os.unlink, shutil.rmtree))
    for name in ("replace", "rename", "mkdir", "rmdir"):
        setattr(Path, name, counted(getattr(Path, name)))
    options = {"split": "s", "codec": "lz4", "workers": 1, "shard_size": 200}
    if sys.argv[2] == "convert":
        source = CaseArrays(CASES, bad=frozenset({"case2"}))
        convert(source, "o.zarr", tile=(4, 4), classes=3, on_error="skip", **options)
    else:
        tile = (3, 7) if sys.argv[2] == "cut" else None
        repack("before.zarr", "o.zarr", tile=tile, **options)

for line in sys.stdin:
    left = int(line)
    pid = os.fork()
    if not pid:
        signal.alarm(60)
        try:
            pack()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


def killed_until_done(how, first, step):
    """Run it again and again, killed a little later each time; return how often it was killed."""
    script = [sys.executable, "-c", KILLED, str(Path(__file__).parents[1]), how]
    with subprocess.Popen(
        script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        for kills, stop in enumerate(range(first, 20_000, step)):
            print(stop, file=process.stdin, flush=True)
            status = int(process.stdout.readline())
            if status == 0:
                return kills
            assert status == -signal.SIGKILL
    pytest.fail("it never came to its end")


@pytest.mark.parametrize("how", ["convert", "copied", "cut"])
def test_killed_at_any_step_it_ends_as_if_it_had_not_been(tmp_path, monkeypatch, how):
    monkeypatch.chdir(tmp_path)
    source = CaseArrays(CASES)
    convert(source, "before.zarr", split="s", tile=(4, 4), classes=3, shard_size=150, workers=1)
    assert killed_until_done(how, 10_000, 1) == 0
    (tmp_path / "o.zarr").rename(tmp_path / "expected.zarr")
    kills = killed_until_done(how, 3, 13)
    assert kills > 2
    assert files(tmp_path / "o.zarr") == files(tmp_path / "expected.zarr")
    assert verify("o.zarr", workers=1).ok
