"""Moto's S3 server, which checks signatures, in a process of its own; buckets in it."""

from __future__ import annotations

import json
import sys
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from servers.children import child

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Prints its port and a key that may do everything in S3, then serves until its input is closed.
# What it logs goes to its own list of lines, not to the terminal.
_SERVER = """
import json, logging, os, sys
os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "0"  # every request must be signed by a known key
from moto import backends
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
services = frozenset(backends.list_of_moto_modules())
backends.list_of_moto_modules = lambda: services  # each request would look into the folder
iam = backends.get_backend("iam")["123456789012"]["aws"]
iam.create_user("us-east-1", "tests")
allow = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
iam.put_user_policy("tests", "all", json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
key = iam.create_access_key("tests")
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
about = [server.get_host_and_port()[1], key.access_key_id, key.secret_access_key]
print(json.dumps(about), flush=True)
sys.stdin.readline()
os._exit(0)
"""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket.

    Attributes
    ----------
    name, endpoint
        Name of the bucket, and address of the server.
    key, secret
        Credentials that work.
    """

    name: str
    endpoint: str
    key: str
    secret: str

    @property
    def options(self) -> dict[str, Any]:
        """``storage_options`` that open it."""
        return {
            "endpoint": self.endpoint,
            "region": "us-east-1",
            "access_key_id": self.key,
            "secret_access_key": self.secret,
            "client_options": {"allow_http": True},
        }

    @property
    def environment(self) -> dict[str, str]:
        """Variables of the environment that say the same."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_ALLOW_HTTP": "true",
        }

    def through(self, proxy: str) -> Bucket:
        """Return the same bucket, asked for at another address."""
        return replace(self, endpoint=proxy)

    def with_wrong_secret(self) -> Bucket:
        """Return the same bucket, with requests that are signed wrongly."""
        return replace(self, secret=self.secret[::-1])

    def url(self, path: str = "") -> str:
        """Return the address of what lies in it."""
        return f"s3://{self.name}/{path}".rstrip("/")

    def upload(self, folder: Path, path: str | None = None) -> str:
        """Upload all files below a folder, and return its address.

        Parameters
        ----------
        folder
            A store.
        path
            Where it is to lie; by default under its own name.
        """
        import obstore

        place = folder.name if path is None else path
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                key = f"{place}/{file.relative_to(folder).as_posix()}"
                obstore.put(self.store(), key, file.read_bytes())
        return self.url(place)

    def unfinished_uploads(self) -> list[Any]:
        """Return what was begun in parts, and neither completed nor given up."""
        found = _client(self).list_multipart_uploads(Bucket=self.name)
        return list(found.get("Uploads", ()))

    def store(self) -> Any:
        """Return obstore's view of it."""
        from obstore.store import S3Store

        return S3Store(self.name, **self.options)


@contextmanager
def s3_server() -> Iterator[Bucket]:
    """Run a server; yields a bucket without a name, which `new_bucket` names."""
    pytest.importorskip("moto")
    pytest.importorskip("obstore")
    with child([sys.executable, "-c", _SERVER]) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "moto did not start"
        port, key, secret = json.loads(line)
        yield Bucket("", f"http://127.0.0.1:{port}", key, secret)


def _client(server: Bucket) -> Any:
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=server.key,
        aws_secret_access_key=server.secret,
    )


@contextmanager
def new_bucket(server: Bucket, name: str | None = None) -> Iterator[Bucket]:
    """Make a bucket, by default of a new name, and delete it with all that it holds."""
    import obstore

    client = _client(server)
    bucket = replace(server, name=name or f"bucket-{uuid.uuid4().hex}")
    client.create_bucket(Bucket=bucket.name)
    try:
        yield bucket
    finally:
        for page in obstore.list(bucket.store()):
            obstore.delete(bucket.store(), [entry["path"] for entry in page])
        client.delete_bucket(Bucket=bucket.name)
        client.close()
