"""The servers that remote tests stand on do what these rely on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import psutil
import pytest

from scripts import environment, gone, wait_until
from servers.fault_proxy import FaultProxy, Rule
from servers.s3 import s3_server
from web_server import serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from servers.s3 import Bucket
    from web_server import WebServer

obstore = pytest.importorskip("obstore")
CONTENT = bytes(range(256)) * 1000


def get(url: str, first: int | None = None, last: int | None = None, timeout: float = 20) -> bytes:
    headers = {} if first is None else {"Range": f"bytes={first}-{last}"}
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return bytes(answer.read())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "store.zarr/c").mkdir(parents=True)
    (tmp_path / "store.zarr/c/0").write_bytes(CONTENT)
    (tmp_path / "store.zarr/zarr.json").write_text("{}")
    return tmp_path / "store.zarr"


@pytest.fixture
def url(folder: Path, published: Callable[[Path], str]) -> str:
    return published(folder) + "/c/0"


@pytest.fixture
def proxy(web: WebServer, fault_proxy: Callable[[str], FaultProxy]) -> FaultProxy:
    return fault_proxy(web.url)


@pytest.fixture
def through(url: str, web: WebServer, proxy: FaultProxy) -> str:
    """The same file, behind the proxy."""
    return url.replace(web.url, proxy.url)


def test_the_s3_server_serves_ranges_of_what_was_uploaded(bucket: Bucket, folder: Path) -> None:
    assert bucket.upload(folder) == f"s3://{bucket.name}/store.zarr"
    found = obstore.get_range(bucket.store(), "store.zarr/c/0", start=300, end=700)
    assert bytes(found) == CONTENT[300:700]


def test_the_s3_server_refuses_a_wrong_secret_and_an_unknown_key(
    bucket: Bucket, folder: Path
) -> None:
    bucket.upload(folder)
    with pytest.raises(obstore.exceptions.PermissionDeniedError, match="SignatureDoesNotMatch"):
        obstore.get(bucket.with_wrong_secret().store(), "store.zarr/c/0")
    with pytest.raises(FileNotFoundError, match="NoSuchKey"):
        obstore.get(bucket.store(), "store.zarr/c/1")


def test_the_s3_server_takes_signed_requests_through_the_proxy(
    bucket: Bucket, folder: Path, fault_proxy: Callable[[str], FaultProxy]
) -> None:
    proxy = fault_proxy(bucket.endpoint)
    hurt = bucket.through(proxy.url)
    hurt.upload(folder)
    proxy.add(Rule("/c/0", times=1, status=503))
    found = obstore.get_range(hurt.store(), "store.zarr/c/0", start=300, end=700)
    assert bytes(found) == CONTENT[300:700]
    assert [(one.method, one.status) for one in proxy.requests] == [
        ("PUT", 200), ("PUT", 200), ("GET", 503), ("GET", 206),
    ]  # fmt: skip


def test_nginx_serves_ranges_and_logs_requests(url: str, web: WebServer) -> None:
    before = len(web.answered())
    assert get(url) == CONTENT
    assert get(url, 300, 699) == CONTENT[300:700]
    first, second = web.answered()[before:]
    assert (first.method, first.range, first.status, first.nbytes) == (
        "GET",
        "-",
        200,
        len(CONTENT),
    )
    assert (second.range, second.status, second.nbytes) == ("bytes=300-699", 206, 400)


def test_an_unhurt_request_passes_the_proxy_unchanged(through: str, proxy: FaultProxy) -> None:
    assert get(through) == CONTENT
    assert get(through, 300, 699) == CONTENT[300:700]
    first, second = proxy.requests
    assert (first.range, first.status, first.nbytes) == (None, 200, len(CONTENT))
    assert (second.range, second.status, second.nbytes) == ((300, 699), 206, 400)
    assert proxy.hurt() == []


def test_a_rule_hurts_the_requests_whose_turn_it_is(through: str, proxy: FaultProxy) -> None:
    proxy.add(Rule("/c/0", skip=1, times=2, status=503, headers={"Retry-After": "7"}))
    statuses = []
    for _ in range(4):
        try:
            get(through)
            statuses.append("200")
        except urllib.error.HTTPError as error:
            statuses.append(f"{error.code} {error.headers['Retry-After']}")
            error.close()
    assert statuses == ["200", "503 7", "503 7", "200"]
    proxy.clear()


def test_a_connection_is_cut_after_the_bytes_that_were_said(
    through: str, proxy: FaultProxy
) -> None:
    proxy.add(Rule(cut_after=1000))
    with urllib.request.urlopen(through, timeout=20) as answer:
        assert answer.headers["Content-Length"] == str(len(CONTENT))
        assert answer.read(1000) == CONTENT[:1000]
        assert answer.read(1) == b""


def test_a_byte_of_the_object_is_flipped_in_every_range(through: str, proxy: FaultProxy) -> None:
    proxy.add(Rule(flip_at=100_000))
    wrong = bytearray(CONTENT)
    wrong[100_000] ^= 0xFF
    assert get(through) == wrong
    assert get(through, 99_990, 100_009) == wrong[99_990:100_010]
    assert get(through, 0, 99_999) == CONTENT[:100_000]


def test_a_stalled_answer_sends_nothing_more(through: str, proxy: FaultProxy) -> None:
    proxy.add(Rule(stall_after=1000))
    with pytest.raises(TimeoutError):
        get(through, timeout=0.3)


def test_a_slow_answer_takes_its_time(through: str, proxy: FaultProxy) -> None:
    proxy.add(Rule(bytes_per_second=len(CONTENT) / 0.3, wait=0.1))
    began = time.monotonic()
    assert get(through) == CONTENT
    assert time.monotonic() - began > 0.35


def test_another_size_is_said(through: str, proxy: FaultProxy) -> None:
    proxy.add(Rule(total=777))
    request = urllib.request.Request(through, headers={"Range": "bytes=300-699"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.headers["Content-Range"] == "bytes 300-699/777"


_SERVERS = """
import sys, time
from pathlib import Path
from servers.s3 import s3_server
from web_server import serving
with s3_server() as server, serving(Path(sys.argv[1])) as web:
    print("ready", flush=True)
    time.sleep(60)
"""


def test_servers_end_with_a_killed_parent(tmp_path: Path, web: WebServer) -> None:
    (tmp_path / "temporary").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", _SERVERS, str(tmp_path)], stdout=subprocess.PIPE, text=True,
        env=environment(TMPDIR=str(tmp_path / "temporary")),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        children = [one.pid for one in psutil.Process(process.pid).children(recursive=True)]
        assert len(children) >= 3  # moto, the shell, nginx
        os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: gone(children))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_servers_end_though_a_fork_has_their_pipes_open(tmp_path: Path, web: WebServer) -> None:
    del web  # which skips the test without nginx
    began = time.monotonic()
    with s3_server(), serving(tmp_path):
        fork = os.fork()
        if not fork:
            time.sleep(60)
            os._exit(0)
    assert time.monotonic() - began < 20
    os.kill(fork, signal.SIGKILL)
    os.waitpid(fork, 0)
