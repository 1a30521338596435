"""A repacking that is killed goes on, and ends with the bytes of one that was not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from packed import pack

# Kills a repacking at operations that change what is on the disk, at all of its end and at some of
# the others, goes on with it, and looks whether the result is that of a run that was not stopped.
# Children are forked, so that what takes a second is loaded once; this process has no threads.
KILLED_EVERYWHERE = """
import os, shutil, signal, sys
from pathlib import Path
import numcodecs.blosc
from zarrfeed_convert import repack
import zarr.storage, zarr.codecs

numcodecs.blosc.use_threads = False
source, split, codec, step = sys.argv[1:]
options = {"split": split, "codec": codec, "order": "source", "workers": 1, "chunk_samples": 2}
options |= {"shard_size": 6 * 126, "overwrite": split == "train"}

def counted(operation):
    def perform(*arguments, **keywords):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return operation(*arguments, **keywords)
    return perform

def child(work):
    pid = os.fork()
    if not pid:
        try:
            work()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1]

def killed():
    os.fsync, os.unlink, shutil.rmtree = map(counted, (os.fsync, os.unlink, shutil.rmtree))
    for name in ("replace", "rename", "mkdir", "rmdir"):
        setattr(Path, name, counted(getattr(Path, name)))
    repack("o.zarr/train", "o.zarr", **options)

def fresh():
    shutil.rmtree("o.zarr", ignore_errors=True)
    shutil.copytree(source, "o.zarr")

def contents():
    return {p: p.read_bytes() for p in Path("o.zarr").rglob("*") if p.is_file()}

def whole():
    repack("o.zarr/train", "o.zarr", **options)

def count():
    killed()
    Path("left").write_text(str(left))

fresh()
assert child(whole) == 0
expected = contents()
fresh()
left = 10_000
assert child(count) == 0
total = 10_000 - int(Path("left").read_text())
tail = 45 if split == "train" else 20  # the old split is removed at the very end
step = int(step)
stops = sorted({*range(total - tail, total, step), *range(0, total, 20 * step)})
for stop in stops:
    fresh()
    left = stop
    assert os.WTERMSIG(child(killed)) == signal.SIGKILL
    assert child(whole) == 0, f"stopped at {stop} of {total}, and could not go on"
    found = contents()
    differ = {str(p) for p in {*expected, *found} if found.get(p) != expected.get(p)}
    assert not differ, f"stopped at {stop} of {total}, and differs in {differ}"
print(len(stops), total)
"""


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.soak)])
@pytest.mark.parametrize("split", [pytest.param("new", marks=pytest.mark.soak), "train"])
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(tmp_path, split, step):
    """Also where a split is replaced by what is made of it."""
    store = pack(tmp_path / "before").store
    (tmp_path / "script.py").write_text(KILLED_EVERYWHERE)
    done = subprocess.run(
        [sys.executable, "script.py", str(store), split, "lz4", str(step)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    stops, total = map(int, done.stdout.split())
    assert 20 < stops * step < total
