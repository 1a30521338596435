"""A command that works under supervision, and comes to grief over a file as its argument says."""

from __future__ import annotations

import os
import signal
import sys
import time

import psutil

from zarrfeed_convert import begin_supervised, set_read_timeout
from zarrfeed_convert.supervision.board import marked


def main() -> None:
    how, *_ = begin_supervised()
    set_read_timeout(3)
    with marked("cells/bad\x1b.tif"):
        if how == "crash":
            os.abort()
        if how == "hang":
            time.sleep(1000)
        if how == "open":
            open(os.devnull).close()
            time.sleep(1000)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "claim":  # it would be zeros, of which none is touched
            bytearray(psutil.virtual_memory().total * 4 // 5)
    if how == "work":
        for step in range(40):
            with marked(f"{step}"):
                time.sleep(0.1)
    if how == "wait":
        try:
            print("waiting", flush=True)
            time.sleep(1000)
        except KeyboardInterrupt:
            time.sleep(0.3)  # a second one would end this
            print("interrupted", flush=True)
            sys.exit(130)
    sys.exit(7)
