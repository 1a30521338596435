"""Errors of object stores say what failed and what to do; cuts go on at the byte reached."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

pytest.importorskip("obstore")
from obstore.store import MemoryStore

from zarrfeed.errors import ReadError, StoreError
from zarrfeed.store.address import remote_url
from zarrfeed.store.objects.errors import ObjectError, said_by
from zarrfeed.store.objects.object_store import ObjectStore, open_store
from zarrfeed.store.objects.object_transfers import ObjectTransfers, Stopped, open_transfers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
        first, last = wanted.removeprefix("bytes=").split("-")
        start, data = int(first), DATA[int(first) : int(last or len(DATA)) + 1]
        sent = data[:100_000] if what == "cuts" else data
        headers = {"Content-Range": f"bytes {start}-{start + len(data) - 1}/{len(DATA)}"}
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


def test_pieces_go_on_at_the_byte_reached_though_each_is_longer(url: str) -> None:
    """No answer has enough bytes for a piece; those that came are not asked for again."""
    store = open_transfers(url, QUICK)
    Faults.asked.clear()
    assert b"".join(store.pieces("cuts", start=5)) == DATA[5:]
    starts = [int(line.split()[1].split("-")[0]) for line in Faults.asked][1:]
    assert starts == [5 + 100_000 * i for i in range(11)]


@pytest.mark.parametrize("key", ["stalls", "cuts"])
def test_pieces_end_within_a_moment_once_others_have_failed(url: str, key: str) -> None:
    stop = threading.Event()
    pieces = open_transfers(url, {"max_retries": 0}, stop).pieces(key, start=5)
    if key == "cuts":
        next(pieces)
    stop.set()
    with pytest.raises(Stopped):
        list(pieces)


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


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("404 Not Found: <?xml version='1.0'?><Error><Code>NoSuchKey</Code>\n<Message>None.\n"
         "RequestId: 1</Message></Error>", "404 Not Found: NoSuchKey: None. RequestId: 1"),
        ("404 Not Found: <html>\n<head><title>Gone</title></head></html>", "404 Not Found"),
        ("403 Forbidden: no, at https://a/b?sig=secret.", "403 Forbidden: no, at https://a/b"),
        ("503 Busy: " + "x" * 200, "503 Busy: " + "x" * 110 + "…"),
    ],
)  # fmt: skip
def test_what_a_server_says_is_shown_without_markup_and_secrets(answer: str, said: str) -> None:
    request = "Generic S3 error: Error performing GET http://a/b?sig=secret in 1ms - "
    assert said_by(OSError(f"{request}Server returned non-2xx status code: {answer}")) == said


def test_a_range_beyond_the_end_names_both_sizes(url: str) -> None:
    with pytest.raises(ObjectError, match=r"needed bytes 1,048,000 to 1,058,576.*1,048,576 bytes"):
        read(url, "whole", 1_048_000, 1_058_576)


def test_a_range_that_begins_at_the_end_says_so(memory: ObjectTransfers) -> None:
    memory.put("a", b"ten bytes.")
    with pytest.raises(ObjectError, match="memory:///a: the object has fewer bytes than the split"):
        asyncio.run(memory.read_range("a", 10, 20))


def test_the_interpreter_ends_late_once_a_store_was_opened() -> None:
    """Without a pause, some of these processes would abort, though not each time."""
    script = (
        "import time; time.sleep = lambda seconds: print('waited', seconds)\n"
        "from zarrfeed.store.objects.object_store import open_store\n"
        "open_store('http://127.0.0.1:9'), open_store('http://127.0.0.1:9/a')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "waited 0.05\n"


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(ObjectError, match="Connection refused") as caught:
        open_store("http://127.0.0.1:9/x", {**QUICK, "max_retries": 0}).read("a")
    assert caught.value.kind == "unreachable"


def test_no_message_shows_an_option() -> None:
    with pytest.raises(StoreError, match=r"storage_options \(bogus\)") as caught:
        open_store("s3://bucket/x", {"bogus": "very secret"})
    assert "very secret" not in str(caught.value)
    store = open_store("s3://bucket/x", {"access_key_id": "a", "secret_access_key": "very secret"})
    assert "very secret" not in repr(store)


@pytest.mark.parametrize("ask", [lambda store: next(store.list()), ObjectStore.entries])
def test_a_web_server_cannot_list(url: str, ask: Callable[[ObjectStore], object]) -> None:
    with pytest.raises(ReadError, match="cannot list"):
        ask(open_store(url))


@pytest.fixture
def memory() -> ObjectTransfers:
    return ObjectTransfers("memory://", MemoryStore(), threading.Event())


def test_objects_are_written_listed_and_read(memory: ObjectTransfers) -> None:
    memory.send("a/large", [DATA] * 20, len(DATA) * 20)
    memory.put("a/small", b"small")
    memory.put("empty", b"")
    assert {each.key: each.nbytes for each in memory.list("a")} == {
        "a/large": len(DATA) * 20,
        "a/small": 5,
    }
    assert memory.entries() == (("a",), ("empty",))
    assert memory.folders() == ("a",)
    assert bytes(memoryview(memory.read("a/small").data)) == b"small"
    assert memory.look("a/large").nbytes == len(DATA) * 20
    with pytest.raises(FileNotFoundError):
        memory.look("a/none")


@pytest.mark.parametrize("start", [0, 1, len(DATA) * 3 - 1])
def test_pieces_are_the_rest_of_an_object(memory: ObjectTransfers, start: int) -> None:
    memory.send("a", [DATA] * 3, len(DATA) * 3)
    assert b"".join(memory.pieces("a", start=start)) == (DATA * 3)[start:]


def test_an_empty_object_has_no_pieces(memory: ObjectTransfers) -> None:
    memory.put("empty", b"")
    assert b"".join(memory.pieces("empty")) == b""


def test_pieces_of_an_object_with_another_tag_are_refused(memory: ObjectTransfers) -> None:
    memory.put("a", b"first")
    tag = memory.look("a").etag
    assert b"".join(memory.pieces("a", etag=f'W/"{tag}"')) == b"first", "as some servers list it"
    memory.put("a", b"other")
    with pytest.raises(ObjectError, match="memory:///a: the object was replaced"):
        next(memory.pieces("a", etag=tag))


@pytest.mark.parametrize("name", ["endpoint", "aws_endpoint"])
def test_a_server_without_a_scheme_is_refused_before_obstore_panics(name: str) -> None:
    with pytest.raises(StoreError, match=f"{name}: needed the address of a server, such as https"):
        open_store("s3://bucket/a", {name: "127.0.0.1:9000"})


@pytest.mark.parametrize(
    ("scheme", "words"),
    [("s3", "access_key_id.*AWS_ACCESS_KEY_ID"), ("gs", "base_url.*GOOGLE_APP"),
     ("az", "account_name.*AZURE_STORAGE_ACCOUNT_NAME")],
)  # fmt: skip
def test_options_that_are_unknown_name_those_of_the_store(scheme: str, words: str) -> None:
    said = rf"with storage_options \(account_name, acount_key\): .*such as .*{words}"
    if scheme != "az":
        said = said.replace("account_name, ", "")
    options = {"account_name": "a"} if scheme == "az" else {}
    with pytest.raises(StoreError, match=said):
        open_store(f"{scheme}://bucket/a", {**options, "acount_key": "x"})


def test_the_server_of_a_bucket_is_named() -> None:
    options = {"endpoint": "http://127.0.0.1:9", "skip_signature": True, "max_retries": 0}
    with pytest.raises(ObjectError, match=r"cannot be reached at http://127\.0\.0\.1:9 \("):
        open_store("s3://bucket/a", options).read("zarr.json")


def test_a_shard_that_is_missing_is_to_be_copied_again(url: str) -> None:
    with pytest.raises(ObjectError, match=r"the split needs it.*copy the split again"):
        open_store(url, QUICK).read("image/c/0/404")


def test_empty_names_of_an_address_are_left_out() -> None:
    assert remote_url("s3://bucket//a.zarr///train/") == "s3://bucket/a.zarr/train"
