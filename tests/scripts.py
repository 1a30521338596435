"""Run a user's script, interrupt it, and see what it leaves behind."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fork_server import ForkServer


def wait_until(happened: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def environment(**variables: str) -> dict[str, str]:
    """What a script needs to find what the tests find, without a framework."""
    path = os.pathsep.join(sys.path)
    return {**os.environ, "KERAS_BACKEND": "numpy", "PYTHONPATH": path, **variables}


def output_on(backend: str, client: Path, *arguments: str | Path, server: ForkServer | None) -> str:
    """Run a client on a Keras backend, or on tf_keras, in a process of its own.

    The server, which has imported TensorFlow, forks that process if it is to have TensorFlow.
    """
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs {backend}: pip install -e '.[backends]'")
    legacy = backend == "tf_keras"
    given = [str(argument) for argument in arguments]
    variables = environment(
        KERAS_BACKEND="tensorflow" if legacy else backend,
        TF_USE_LEGACY_KERAS="1" if legacy else "",
        CUDA_VISIBLE_DEVICES="",
    )
    if server is not None and variables["KERAS_BACKEND"] == "tensorflow":
        done = server.run(client, *given, folder=Path.cwd(), variables=variables, timeout=400)
    else:
        done = subprocess.run(
            [sys.executable, str(client), *given],
            capture_output=True, text=True, timeout=400, check=False, env=variables,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@contextmanager
def running(script: str, *arguments: object, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A user's script in a process group of its own, as a terminal makes it."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=environment(**variables),
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def interrupt(process: subprocess.Popen[str]) -> str:
    """Press Ctrl-C; returns what stands on standard error at the end."""
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT, errors
    assert errors.count("Traceback") == 1, errors
    return errors.rstrip()


def gone(pids: Iterable[int]) -> bool:
    return not any(psutil.pid_exists(pid) for pid in pids)
