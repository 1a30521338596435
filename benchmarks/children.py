"""Run a script of this folder in a new interpreter, and parse the JSON that it prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import memory

_HERE = Path(__file__).resolve().parent


def run(script: str, *arguments: str) -> list[Any]:
    """Run a script.

    Parameters
    ----------
    script
        File name of the script.
    *arguments
        Its command line.

    Returns
    -------
    list
        The values of its JSON lines, in order.

    Raises
    ------
    RuntimeError
        The script failed. The message ends with its standard error.
    """
    return _watched(script, arguments, look=False)[0]


def run_watched(script: str, *arguments: str) -> tuple[memory.Memory, memory.Memory]:
    """Run a script and measure its memory meanwhile, which slows it down.

    Returns
    -------
    peak, later
        Largest memory of the script and its children: in total, and after it printed ``fitting``.
    """
    return _watched(script, arguments, look=True)[1:]


def _watched(
    script: str, arguments: tuple[str, ...], *, look: bool
) -> tuple[list[Any], memory.Memory, memory.Memory]:
    lines: list[str] = []
    before = later = memory.Memory()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, str(_HERE / script), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow", **os.environ},
        )
        reader = threading.Thread(target=lambda: lines.extend(process.stdout or ()))
        reader.start()
        if look:
            before = memory.peak(
                process.pid, lambda: process.poll() is None and "fitting\n" not in lines
            )
            later = memory.peak(process.pid, lambda: process.poll() is None)
        status = process.wait()
        reader.join()
        if status:
            errors.seek(0)
            called = " ".join((script, *arguments[:-1]))  # without the trial, which is long
            raise RuntimeError(f"{called} ended with {status}:\n{errors.read()}")
    found = [json.loads(line) for line in lines if line.startswith(("{", "["))]
    return found, before.most(later), later
