"""Scripts that a server forks are as good as scripts that start by themselves."""

from __future__ import annotations

import importlib.util
import os
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from scripts import backends, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from fork_server import ForkServer, ForkServers

SCRIPT = """
import os, subprocess, sys, time
print("keras" in sys.modules, "pyarrow" in sys.modules, __name__, os.getcwd(), os.environ["GIVEN"])
subprocess.run(["bash", "-c", "zarrfeed --version; zarrfeed inspect nothing; echo $?"])
sys.exit(7)
"""
FINDS = """
import os, sys
threads = len(os.listdir("/proc/self/task"))
imported = os.environ["KERAS_BACKEND"] in sys.modules
import keras
print(threads, keras.backend.backend(), imported)
"""
SLEEPS = """
import subprocess, sys
child = subprocess.Popen(["sleep", "100"])
with open("pid", "w") as file:
    file.write(str(child.pid))
child.wait()
"""


@pytest.fixture
def server(imported: ForkServers | None) -> ForkServer:
    if imported is None:
        pytest.skip("Linux only")
    return imported.on("tensorflow")


@pytest.mark.parametrize("backend", backends("tensorflow", soak=("jax", "torch")))
def test_a_script_finds_its_backend_and_begins_with_one_thread(
    imported: ForkServers | None, tmp_path: Path, backend: str
) -> None:
    if imported is None or importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs Linux and {backend}")
    script = tmp_path / "script.py"
    script.write_text(FINDS)
    variables = {**os.environ, "KERAS_BACKEND": backend}
    done = imported.on(backend).run(script, folder=tmp_path, variables=variables, timeout=60)
    assert done.stdout == f"1 {backend} True\n", done.stderr


def test_a_script_has_its_folder_variables_commands_and_status(
    server: ForkServer, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    variables = {**os.environ, "GIVEN": "value"}
    done = server.run(script, folder=tmp_path, variables=variables, timeout=60)
    first, version, status = done.stdout.splitlines()
    assert first == f"True False __main__ {tmp_path} value"
    assert version.startswith("zarrfeed ")
    assert "nothing: no such store" in done.stderr
    assert (status, done.returncode) == ("1", 7)


def test_nothing_goes_on_when_time_is_up(server: ForkServer, tmp_path: Path) -> None:
    script = tmp_path / "sleeps.py"
    script.write_text(SLEEPS)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        server.run(script, folder=tmp_path, variables=os.environ, timeout=3)
    assert time.monotonic() - began < 60
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: has_ended(pid))


def has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
