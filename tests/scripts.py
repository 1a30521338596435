"""Run a user's script, interrupt it, and see what it leaves behind."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import IO, Any

    from fork_server import ForkedScript, ForkServers

SECONDS = 400  # on a busy machine; alone a script takes 20


def backends(*every_day: str, soak: tuple[str, ...]) -> list[Any]:
    """Return parameters: backends to test on every day, and those that only `make soak` tries.

    What Keras does with batches is tested on all of them every day by ``test_keras``.
    """
    return [*every_day, *(pytest.param(each, marks=pytest.mark.soak) for each in soak)]


def wait_until(
    happened: Callable[[], bool], seconds: float = 30.0, *, every: float = 0.005
) -> None:
    """Ask, `every` so many seconds, until it has happened; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(every)


def environment(**variables: str) -> dict[str, str]:
    """What a script needs to find what the tests find, without a framework."""
    path = os.pathsep.join(sys.path)
    return {**os.environ, "KERAS_BACKEND": "numpy", "PYTHONPATH": path, **variables}


def output_on(
    backend: str, client: Path, *arguments: str | Path, servers: ForkServers | None
) -> str:
    """Run a client on a Keras backend, or on tf_keras, in a process of its own.

    A server that has imported the backend forks that process.
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
    if servers is not None:
        forking = servers.on(variables["KERAS_BACKEND"])
        done = forking.run(client, *given, folder=Path.cwd(), variables=variables, timeout=SECONDS)
    else:
        done = subprocess.run(
            [sys.executable, str(client), *given],
            capture_output=True, text=True, timeout=SECONDS, check=False, env=variables,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def run_together(
    commands: Sequence[Sequence[str]],
    each: Sequence[dict[str, str]],
    *,
    folder: Path,
    servers: ForkServers | None,
    status: int = 0,
) -> list[str]:
    """Run scripts side by side, and return what each has printed.

    Servers fork them, as in `output_on`. None outlives the others' failure, or `SECONDS`.

    Parameters
    ----------
    commands
        Path of each script, and its arguments.
    each
        Environment variables of each, with its ``KERAS_BACKEND``.
    folder
        Their current folder, and that of what they print.
    servers
        What forks them; without it they are new interpreters.
    status
        The status with which all of them end.
    """
    outputs = [folder / f"output{number}.txt" for number in range(len(each))]
    with ExitStack() as stack:
        started = []
        for command, variables, output in zip(commands, each, outputs, strict=True):
            file = stack.enter_context(output.open("wb"))
            process = _started(command, variables, folder, servers, file)
            started.append(stack.enter_context(process))
        for process, output in zip(started, outputs, strict=True):
            assert process.wait(timeout=SECONDS) == status, output.read_text()[-4000:]
    return [output.read_text() for output in outputs]


@contextmanager
def _started(
    command: Sequence[str],
    variables: dict[str, str],
    folder: Path,
    servers: ForkServers | None,
    file: IO[bytes],
) -> Iterator[ForkedScript | subprocess.Popen[bytes]]:
    script, *arguments = command
    if servers is not None:
        server = servers.on(variables["KERAS_BACKEND"])
        with server.start(
            Path(script),
            *arguments,
            folder=folder,
            variables=variables,
            streams=[file.fileno()] * 2,
        ) as forked:
            yield forked
        return
    process = subprocess.Popen(
        [sys.executable, *command], cwd=folder, stdout=file, stderr=file, env=variables
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


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
