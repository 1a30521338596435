"""Moto as Google Cloud Storage, whose XML interface, which obstore speaks, is that of S3.

Emulators of Google's JSON interface do not take what obstore sends. Moto does: but for the
condition under which an object is created, which has another name, and the credentials.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from servers.children import child
from servers.cloud import Cloud

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN = "a-token-of-the-tests"

# Prints its port, then serves until its input is closed.
_SERVER = """
import json, logging, os, sys, threading
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication, MotoRequestHandler, create_backend_app)
from werkzeug.serving import make_server
logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
s3 = DomainDispatcherApplication(create_backend_app)
refusal = b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>AuthenticationRequired</Code>" \
          b"<Message>Authentication required.</Message></Error>"
def google(environ, start):
    if environ.get("HTTP_AUTHORIZATION") != "Bearer " + sys.argv[1]:
        start("401 Unauthorized", [("Content-Length", str(len(refusal)))])
        return [refusal]
    if environ.pop("HTTP_X_GOOG_IF_GENERATION_MATCH", "") == "0":
        environ["HTTP_IF_NONE_MATCH"] = "*"
    return s3(environ, start)
server = make_server("127.0.0.1", 0, google, True, request_handler=MotoRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(json.dumps(server.server_address[1]), flush=True)
sys.stdin.readline()
os._exit(0)
"""


@contextmanager
def google_server() -> Iterator[Cloud]:
    """Run a server, with one bucket."""
    pytest.importorskip("moto")
    with child([sys.executable, "-c", _SERVER, _TOKEN]) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "moto did not start"
        endpoint = f"http://127.0.0.1:{json.loads(line)}"
        request = urllib.request.Request(
            f"{endpoint}/bucket", method="PUT", headers={"Authorization": f"Bearer {_TOKEN}"}
        )
        urllib.request.urlopen(request).close()
        yield Cloud(
            "gs", "bucket", endpoint, "base_url", {"bearer_token": _TOKEN},
            {"GOOGLE_BASE_URL": endpoint, "GOOGLE_BEARER_TOKEN": _TOKEN},
        )  # fmt: skip
