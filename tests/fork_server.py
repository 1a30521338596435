"""How does a script start without importing Keras and its backend anew, which takes seconds?

A server imports modules once, and forks for each script and command. It has one thread only, and
has not begun to compute, so that what it forks is a process as if it had imported them by itself.
A keeper, forked, too, waits for the script and kills it if the test no longer waits.

    test ── socket ── server: imports, forks
              │          └── keeper ── script or command

With the folder of ``commands`` first in PATH, ``zarrfeed`` in a shell comes to the server, too.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ADDRESS = "ZARRFEED_FORK_SERVER"
APPLICATION = "zarrfeed_tools.application"
MODULES = (
    "keras",
    "zarrfeed.fronts.keras_sequence",
    "zarrfeed_convert.sources.image_files.paired",
    APPLICATION,
)
# What stands for `zarrfeed`, or for `python`, in a shell: a client that imports next to nothing.
COMMAND = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect(os.environ[{address!r}])
    asked = [{kind!r}, sys.argv[1:], os.getcwd(), dict(os.environ)]
    body = json.dumps(asked).encode()
    socket.send_fds(server, [len(body).to_bytes(4, "big")], [0, 1, 2])
    server.sendall(body)
    status = server.recv(2)
sys.exit(int.from_bytes(status, "big", signed=True) if status else 70)
"""


class ForkServer:
    """A server that tests ask to run scripts.

    Parameters
    ----------
    address
        Path of its socket.
    commands
        Folder with the command ``zarrfeed``.
    """

    def __init__(self, address: Path, commands: Path) -> None:
        self.address, self.commands = address, commands

    def run(
        self,
        script: Path,
        *arguments: str,
        folder: Path,
        variables: Mapping[str, str],
        timeout: float,
    ) -> subprocess.CompletedProcess[str]:
        """Run a script in a folder, as ``python script`` does.

        Parameters
        ----------
        script, arguments
            Path of the script, and its arguments.
        folder
            Its current folder.
        variables
            All its environment variables. Its PATH begins with the folder of `zarrfeed`.
        timeout
            Seconds after which it is killed, with all that it has started.
        """
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            streams = (out.fileno(), err.fileno())
            with self.start(
                script, *arguments, folder=folder, variables=variables, streams=streams
            ) as started:
                status = started.wait(timeout)
            out.seek(0)
            err.seek(0)
            printed, errors = out.read().decode(), err.read().decode()
        assert status is not None, f"the fork server ended: {errors}"
        return subprocess.CompletedProcess([str(script)], status, printed, errors)

    def start(
        self,
        script: Path,
        *arguments: str,
        folder: Path,
        variables: Mapping[str, str],
        streams: Sequence[int],
    ) -> ForkedScript:
        """Start a script, as `run` does; ``streams`` are its standard output and error."""
        path = f"{self.commands}:{variables['PATH']}"
        environment = {**variables, "PATH": path, ADDRESS: str(self.address)}
        asked = json.dumps(["script", [str(script), *arguments], str(folder), environment]).encode()
        server = socket.socket(socket.AF_UNIX)
        server.connect(str(self.address))
        with open(os.devnull, "rb") as nothing:
            socket.send_fds(server, [len(asked).to_bytes(4, "big")], [nothing.fileno(), *streams])
        server.sendall(asked)
        return ForkedScript(server)


class ForkedScript:
    """A script that was started; at the end of the context it is killed, with all it has started.

    Parameters
    ----------
    keeper
        Its keeper's socket.
    """

    def __init__(self, keeper: socket.socket) -> None:
        self._keeper = keeper

    def wait(self, timeout: float) -> int | None:
        """Return the script's status, None if the server has ended; or raise a `TimeoutError`.

        As for `subprocess.Popen`, the status is -9 if signal 9 has ended it.
        """
        self._keeper.settimeout(timeout)
        status = self._keeper.recv(2)
        return int.from_bytes(status, "big", signed=True) if status else None

    def __enter__(self) -> ForkedScript:
        return self

    def __exit__(self, *_: object) -> None:
        self._keeper.close()


class ForkServers:
    """A server for each backend of Keras, which starts when it is first needed.

    Processes with the same folder share them, those of pytest-xdist. Whoever has started one ends
    it, once the others are done.

    Parameters
    ----------
    folder
        A folder that is empty before the first of them.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._found: dict[str, ForkServer] = {}
        self._started = False
        self._stack = ExitStack()
        self._users = (folder / "users").open("a")
        fcntl.flock(self._users, fcntl.LOCK_SH)

    def on(self, backend: str) -> ForkServer:
        """Return the server that has imported Keras on a backend."""
        if backend not in self._found:
            with (self._folder / f"{backend}.lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._found[backend] = self._of_others(backend) or self._start(backend)
        return self._found[backend]

    def _of_others(self, backend: str) -> ForkServer | None:
        with suppress(FileNotFoundError):
            address, commands, owner = json.loads((self._folder / f"{backend}.json").read_text())
            if psutil.pid_exists(owner):
                return ForkServer(Path(address), Path(commands))
        return None

    def _start(self, backend: str) -> ForkServer:
        folder = self._folder / f"{backend} of {os.getpid()}"
        folder.mkdir()
        server = self._stack.enter_context(
            fork_server(folder, *MODULES, KERAS_BACKEND=backend, COLUMNS="100")
        )
        told = self._folder / f"{backend}.json"
        told.write_text(json.dumps([str(server.address), str(server.commands), os.getpid()]))
        self._stack.callback(told.unlink)
        self._started = True
        return server

    def close(self) -> None:
        """End the servers that were started here, when nobody needs them any more."""
        with self._users:
            if self._started:
                fcntl.flock(self._users, fcntl.LOCK_UN)
                deadline = time.monotonic() + 600
                while time.monotonic() < deadline:
                    with suppress(BlockingIOError):
                        fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        break
                    time.sleep(0.1)
            self._stack.close()


@contextmanager
def fork_server(folder: Path, *modules: str, **variables: str) -> Iterator[ForkServer]:
    """Start a server that has imported modules.

    Parameters
    ----------
    folder
        Empty folder for its socket and the command.
    modules
        What it imports.
    variables
        Environment variables, set when it imports them.
    """
    commands = folder / "commands"
    commands.mkdir()
    write_client(commands / "zarrfeed", "command")
    # Sockets have paths of 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="zf") as short:
        address = Path(short) / "socket"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(address))
            listening.listen()
            process = subprocess.Popen(
                [sys.executable, __file__, str(listening.fileno()), *modules],
                stdin=subprocess.PIPE,
                pass_fds=[listening.fileno()],
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(sys.path),
                    "ARROW_DEFAULT_MEMORY_POOL": "system",  # the others have a thread
                    **variables,
                },
            )
        try:
            yield ForkServer(address, commands)
        finally:
            process.communicate(b"\n", timeout=60)


def write_client(path: Path, kind: str) -> None:
    """Write a program that has its server run a "command" of `zarrfeed`, or a "script"."""
    path.write_text(COMMAND.format(python=sys.executable, address=ADDRESS, kind=kind))
    path.chmod(0o755)


def serve(listening: socket.socket) -> None:
    """Fork for whoever asks, until standard input has something, or ends with who has it open."""
    keepers = set()
    while True:
        ready, _, _ = select.select([listening, 0], [], [], 1)
        keepers -= {pid for pid in keepers if os.waitpid(pid, os.WNOHANG)[0]}
        if 0 in ready:
            return
        if listening not in ready:
            continue
        asking, _ = listening.accept()
        with asking:
            if keeper := os.fork():
                keepers.add(keeper)
                continue
            listening.close()
            size, streams, _, _ = socket.recv_fds(asking, 4, 3)
            asked = json.loads(asking.makefile("rb").read(int.from_bytes(size, "big")))
            script = os.fork()
            if script:
                keep(script, asking)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        begin(*asked)


def keep(script: int, asking: socket.socket) -> NoReturn:
    """Tell how a script ends; kill it, and what it has started, if nobody waits any more."""
    process = os.pidfd_open(script)
    ready, _, _ = select.select([process, asking], [], [])
    if process not in ready:
        with suppress(ProcessLookupError):
            os.killpg(script, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(script, 0)[1])
    with suppress(OSError):
        asking.sendall(status.to_bytes(2, "big", signed=True))
    os._exit(0)


def begin(kind: str, arguments: list[str], folder: str, variables: dict[str, str]) -> NoReturn:
    """Become the process that was asked for."""
    os.setpgid(0, 0)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.stdin, sys.stdout, sys.stderr = (
        io.TextIOWrapper(io.FileIO(number, mode, closefd=False), "utf-8", write_through=True)
        for number, mode in enumerate("rww")
    )
    status = 0
    try:
        if kind == "command":
            run_command(arguments)
        else:
            run_script(arguments)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    os._exit(status)  # tearing down what was imported would copy all of it


def run_command(arguments: list[str]) -> NoReturn:
    """Run ``zarrfeed`` without its supervisor."""
    from zarrfeed_tools.application import run

    sys.argv = ["zarrfeed", *arguments]
    run(arguments)


def run_script(arguments: list[str]) -> None:
    """Run a script as ``__main__``."""
    path, sys.argv = arguments[0], arguments
    sys.path[0] = str(Path(path).parent)
    code = compile(Path(path).read_bytes(), path, "exec")
    script = sys.modules["__main__"] = ModuleType("__main__")
    script.__file__ = path
    exec(code, script.__dict__)


def main() -> None:
    """Import the modules that are named, then serve."""
    # Its memory pool starts a thread, and pandas, which Keras imports, does without.
    sys.modules["pyarrow"] = None  # type: ignore[assignment]
    for module in sys.argv[2:]:
        import_module(module)
    if application := sys.modules.get(APPLICATION):
        for name in application.COMMANDS:
            application.command(name)
    del sys.modules["pyarrow"]
    gc.freeze()  # a collection would write to all objects, and so copy them
    threads = os.listdir("/proc/self/task")
    assert len(threads) == 1, "a fork copies one thread only"
    serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
