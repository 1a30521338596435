"""As much of Azure's Blob Storage as obstore asks for, in a thread.

Azurite, Microsoft's emulator, needs Node.js and 186 MB. The server here checks the name of the
account, not its signatures.
"""

from __future__ import annotations

import itertools
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

from servers.cloud import Cloud

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCOUNT = "devstoreaccount1"  # Azurite's, whose key is published
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_PAGE = 7  # objects in an answer to "list", so that lists have several pages


class _Azure(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    blobs: ClassVar[dict[str, tuple[bytes, str]]]  # path in the account → bytes, tag
    blocks: ClassVar[dict[tuple[str, str], bytes]]
    tags: ClassVar[Iterator[int]]

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        _, account, container, *rest = unquote(address.path).split("/", 3)
        path, asked = "".join(rest), dict(parse_qsl(address.query))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.headers.get("Authorization", "").startswith(f"SharedKey {account}:"):
            self.answer(403, "AuthenticationFailed")
        elif container != "bucket":
            self.answer(404, "ContainerNotFound")
        elif asked.get("comp") == "list":
            self.list(*(asked.get(name, "") for name in ("prefix", "delimiter", "marker")))
        elif asked.get("comp") == "batch":
            self.delete(body)
        elif asked.get("comp") == "block":
            self.blocks[path, asked["blockid"]] = body
            self.answer(201)
        elif self.command == "PUT":
            self.put(path, body, in_blocks=asked.get("comp") == "blocklist")
        elif path not in self.blobs:
            self.answer(404, "BlobNotFound")
        else:
            self.send(*self.blobs[path])

    do_HEAD = do_PUT = do_POST = do_GET  # noqa: N815

    def delete(self, batch: bytes) -> None:
        parts = []
        for number, path in re.findall(r"Content-ID: (\d+)\r.*?DELETE (\S+)", batch.decode(), re.S):
            there = self.blobs.pop(unquote(path).split("/", 3)[3], None)
            status = "404 Not Found\r\nx-ms-error-code: BlobNotFound" if there is None else "202 OK"
            head = f"Content-Type: application/http\r\nContent-ID: {number}"
            parts.append(f"--b\r\n{head}\r\n\r\nHTTP/1.1 {status}\r\n\r\n\r\n")
        body = f"{''.join(parts)}--b--\r\n".encode()
        self.answer(202, body, **{"Content-Type": "multipart/mixed; boundary=b"})

    def put(self, path: str, body: bytes, *, in_blocks: bool) -> None:
        if self.headers.get("If-None-Match") == "*" and path in self.blobs:
            return self.answer(409, "BlobAlreadyExists")
        if in_blocks:
            names = re.findall(r"<Uncommitted>(.*?)<", body.decode())
            body = b"".join(self.blocks.pop((path, name)) for name in names)
        self.blobs[path] = body, f"0x{next(self.tags):015X}"
        return self.answer(201, ETag=f'"{self.blobs[path][1]}"')

    def send(self, content: bytes, tag: str) -> None:
        first, last = re.findall(r"\d+|$", self.headers.get("Range", "bytes=0-"))[:2]
        part = content[int(first) : int(last or len(content)) + 1]
        end = f"{first}-{int(first) + len(part) - 1}/{len(content)}"
        if not part and content:
            return self.answer(416, "InvalidRange")
        status = 206 if "Range" in self.headers else 200
        return self.answer(status, part, **{"ETag": f'"{tag}"', "Content-Range": f"bytes {end}"})

    def list(self, prefix: str, delimiter: str, marker: str) -> None:
        rows = {}
        for path in sorted(path for path in self.blobs if path.startswith(prefix)):
            content, tag = self.blobs[path]
            inside, slash, _ = path.removeprefix(prefix).partition(delimiter or "\n")
            name = f"<Name>{prefix}{inside}{slash}</Name>"
            rows[prefix + inside + slash] = f"<BlobPrefix>{name}</BlobPrefix>" if slash else (
                f"<Blob>{name}<Properties><Last-Modified>{self.date_time_string()}</Last-Modified>"
                f"<Content-Type>any</Content-Type><Etag>{tag}</Etag>"  # not quoted as in headers
                f"<Content-Length>{len(content)}</Content-Length></Properties></Blob>"
            )  # fmt: skip
        left = [name for name in rows if name >= marker]
        page, after = "".join(rows[name] for name in left[:_PAGE]), "".join(left[_PAGE:][:1])
        tail = f"<NextMarker>{after}</NextMarker></EnumerationResults>"
        self.answer(200, f"<EnumerationResults><Blobs>{page}</Blobs>{tail}".encode())

    def answer(self, status: int, body: bytes | str = b"", **headers: str) -> None:
        if isinstance(body, str):  # a code of an error
            body = f"<?xml version='1.0'?><Error><Code>{body}</Code><Message>No.</Message></Error>"
            body = body.encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.send_header("Last-Modified", self.date_time_string())
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _cloud(host: str) -> Cloud:
    endpoint = f"{host}/{ACCOUNT}"
    return Cloud(
        "az", "bucket", endpoint, "endpoint", {"account_name": ACCOUNT, "account_key": KEY},
        {
            "AZURE_STORAGE_ENDPOINT": endpoint,
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": KEY,
        },
    )  # fmt: skip


@contextmanager
def azure_server() -> Iterator[Cloud]:
    """Run the small server, with one container."""
    state: dict[str, Any] = {"blobs": {}, "blocks": {}, "tags": itertools.count(1)}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Azure", (_Azure,), state))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield _cloud(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()
    thread.join()
