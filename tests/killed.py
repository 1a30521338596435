"""Kill work at the operations that change what is on the disk, a little later each time."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from scripts import environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# The numbers of these operations come on stdin. Children are forked, so that what takes a second is
# loaded once; this process has no threads.
_SCRIPT = """
import os, shutil, signal, sys
from pathlib import Path
import zarr.codecs, zarr.storage
{setup}

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
{work}

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


def killed_until_done(
    setup: str, work: str, arguments: Iterable[str], stops: Iterable[int]
) -> Iterator[int]:
    """Run it again and again, killed after so many operations; yield these at every kill.

    It fails if it never comes to its end.
    """
    script = _SCRIPT.format(setup=setup, work=textwrap.indent(work, "    "))
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(),
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        for stop in stops:
            print(stop, file=process.stdin, flush=True)
            status = int(process.stdout.readline())
            if status == 0:
                return
            assert status == -signal.SIGKILL
            yield stop
    pytest.fail("it never came to its end")
