"""Errors of object stores say what failed and what to do; cuts go on at the byte reached."""

from __future__ import annotations

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

pytest.importorskip("obstore")
from obstore.store import MemoryStore

from zarrfeed.errors import ReadError, StoreError
from zarrfeed.store.object_store import ObjectError, ObjectStore, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATA = bytes(range(256)) * 4096  # 1 MiB
QUICK = {"max_retries": 1, "retry_timeout": 2, "read_timeout": "500ms"}


class Faults(BaseHTTPRequestHandler):
    """The name of the object says what goes wrong."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[str]] = []

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        what, wanted = self.path.rpartition("/")[2], self.headers.get("Range", "")
        self.asked.append(f"{what} {wanted.removeprefix('bytes=')}")
        if what.isdigit():
            return self.answer(int(what), b"because")
        if what == "stalls":
            threading.Event().wait(3)
            return None
        first, last = map(int, wanted.removeprefix("bytes=").split("-"))
        data = DATA[first : last + 1]
        sent = data[:100_000] if what == "cuts" else data
        headers = {"Content-Range": f"bytes {first}-{first + len(data) - 1}/{len(DATA)}"}
        self.answer(206, sent, nbytes=len(data), **headers)
        self.close_connection = len(sent) < len(data)
        return None

    def answer(self, code: int, body: bytes, *, nbytes: int = 0, **headers: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(nbytes or len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Faults)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/data"
    server.shutdown()
    server.server_close()


def read(url: str, key: str, start: int = 0, stop: int = len(DATA)) -> bytes:
    store = open_store(url, QUICK)
    return bytes(memoryview(asyncio.run(store.read_range(key, start, stop)).data))


def test_a_range_is_read(url: str) -> None:
    assert read(url, "whole", 10, 1000) == DATA[10:1000]


def test_a_connection_that_is_cut_again_and_again_goes_on_at_the_byte_reached(url: str) -> None:
    assert read(url, "cuts", 5, 900_000) == DATA[5:900_000]
    starts = [int(line.split()[1].split("-")[0]) for line in Faults.asked if "cuts" in line][1:]
    assert starts == [5 + 100_000 * i for i in range(9)]


@pytest.mark.parametrize(
    ("key", "kind", "words"),
    [
        ("401", "refused", "401 .*credentials"),
        ("403", "refused", "403 .*because.*credentials"),
        ("404", "missing", "no such object.*check the address"),
        ("429", "throttled", "overloaded.*429"),
        ("503", "throttled", "overloaded.*503"),
        ("500", "other", "500"),
        ("stalls", "stalled", "in time.*read_timeout"),
    ],
)
def test_an_error_names_the_object_what_the_server_said_and_the_way_out(
    url: str, key: str, kind: str, words: str
) -> None:
    with pytest.raises(ObjectError, match=words) as caught:
        read(url, key)
    assert caught.value.kind == kind
    assert f"{url}/{key}" in str(caught.value)
    assert isinstance(caught.value, FileNotFoundError) == (kind == "missing")


def test_a_range_beyond_the_end_names_both_sizes(url: str) -> None:
    with pytest.raises(ObjectError, match=r"needed bytes 1,048,000 to 1,058,576.*1,048,576 bytes"):
        read(url, "whole", 1_048_000, 1_058_576)


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(ObjectError, match="Connection refused") as caught:
        open_store("http://127.0.0.1:9/x", {**QUICK, "max_retries": 0}).read("a")
    assert caught.value.kind == "unreachable"


def test_no_message_shows_an_option() -> None:
    with pytest.raises(StoreError, match="names: bogus") as caught:
        open_store("s3://bucket/x", {"bogus": "very secret"})
    assert "very secret" not in str(caught.value)
    store = open_store("s3://bucket/x", {"access_key_id": "a", "secret_access_key": "very secret"})
    assert "very secret" not in repr(store)


def test_a_web_server_cannot_list(url: str) -> None:
    with pytest.raises(ReadError, match="cannot list"):
        next(open_store(url).list())


def test_objects_are_written_listed_and_read(tmp_path: Path) -> None:
    store = ObjectStore("memory://", MemoryStore())
    large = tmp_path / "large"
    large.write_bytes(DATA * 20)
    store.put("a/large", large)
    store.put("a/small", b"small")
    assert {each.key: each.nbytes for each in store.list("a")} == {
        "a/large": len(DATA) * 20,
        "a/small": 5,
    }
    assert bytes(memoryview(store.read("a/small").data)) == b"small"
    assert store.look("a/large").nbytes == len(DATA) * 20
    with pytest.raises(FileNotFoundError):
        store.look("a/none")
