"""An nginx of one's own: serves the files of a folder, with byte ranges, on loopback.

It needs no root. Its configuration, its pid and its temporary files lie in a folder of its own, and
it ends when its parent does.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONFIGURATION = """
daemon off;
master_process off;
pid {own}/pid;
error_log {own}/error.log warn;
events {{ worker_connections 512; }}
http {{
    log_format requests '$request_method\t$uri\t$http_range\t$status\t$body_bytes_sent';
    access_log {own}/access.log requests;
    client_body_temp_path {own}/body;
    proxy_temp_path {own}/proxy;
    fastcgi_temp_path {own}/fastcgi;
    uwsgi_temp_path {own}/uwsgi;
    scgi_temp_path {own}/scgi;
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    server {{
        listen 127.0.0.1:{port} backlog=512;
        root {root};
    }}
}}
"""
# The shell ends the server when it gets a line, or its standard input is closed: the parent died.
_SHELL = '"$@" & server=$!; read -r _; kill $server; wait $server'
_ATTEMPTS = 5  # another process may take the port in between


@dataclass(frozen=True, slots=True)
class Answered:
    """A request, as nginx logs it.

    Attributes
    ----------
    method, path, range
        What was asked for; ``range`` is "-" without one.
    status, nbytes
        What was answered, without headers.
    """

    method: str
    path: str
    range: str
    status: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class WebServer:
    """A running server.

    Attributes
    ----------
    url
        Address of `root`, without a slash at the end.
    root
        What is served. Links in it are followed.
    log
        The access log.
    """

    url: str
    root: Path
    log: Path

    def answered(self) -> list[Answered]:
        """Return the requests so far."""
        found = []
        for line in self.log.read_text("utf-8").splitlines():
            method, path, asked, status, nbytes = line.split("\t")
            found.append(Answered(method, path, asked, int(status), int(nbytes)))
        return found


def nginx() -> str | None:
    """Return the path of nginx; None without one."""
    return installed("nginx")


def installed(name: str) -> str | None:
    """Return the path of a program, also of one that only root has in its path."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))


@contextmanager
def serving(root: Path) -> Iterator[WebServer]:
    """Serve a folder."""
    program = nginx()
    if program is None:
        raise FileNotFoundError("needs nginx: apt install nginx")
    with tempfile.TemporaryDirectory(prefix="nginx-") as folder:
        own = Path(folder)
        for _ in range(_ATTEMPTS):
            port = _free_port()
            (own / "nginx.conf").write_text(_CONFIGURATION.format(own=own, root=root, port=port))
            command = [
                program,
                "-p",
                folder,
                "-c",
                str(own / "nginx.conf"),
                "-e",
                f"{own}/error.log",
            ]
            with subprocess.Popen(
                ["sh", "-c", _SHELL, "sh", *command], stdin=subprocess.PIPE
            ) as sh:
                try:
                    if _answers(port, own):
                        yield WebServer(f"http://127.0.0.1:{port}", root, own / "access.log")
                        return
                finally:
                    # A line, because a fork of this process may have the pipe open.
                    sh.communicate(b"\n", timeout=20)
        raise RuntimeError(f"nginx did not start: {(own / 'error.log').read_text('utf-8')}")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _answers(port: int, own: Path) -> bool:
    """Wait until this server listens; return False if its port is another's."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if (own / "pid").exists() and (own / "pid").read_text().strip():  # written after it listens
            with socket.create_connection(("127.0.0.1", port), timeout=20):
                return True
        log = own / "error.log"
        if log.exists() and "[emerg]" in log.read_text("utf-8"):
            log.unlink()
            return False
        time.sleep(0.01)
    return False
