"""Fixtures of servers, which conftest gives to all tests."""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from servers.fault_proxy import FaultProxy
from servers.s3 import Bucket, new_bucket, s3_server
from web_server import WebServer, nginx, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def s3() -> Iterator[Bucket]:
    """One S3 server for all tests of this process."""
    with s3_server() as server:
        yield server


@pytest.fixture
def bucket(s3: Bucket) -> Iterator[Bucket]:
    """A bucket of the test's own: ``bucket.upload(store)``, ``bucket.options``."""
    with new_bucket(s3) as made:
        yield made


@pytest.fixture(scope="session")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """One nginx for all tests of this process."""
    if nginx() is None:
        pytest.skip("needs nginx")
    with serving(tmp_path_factory.mktemp("web")) as server:
        yield server


@pytest.fixture
def published(web: WebServer) -> Iterator[Callable[[Path], str]]:
    """Serve a store of the test's own by nginx: ``url = published(store)``."""
    made = []

    def publish(store: Path) -> str:
        folder = web.root / uuid.uuid4().hex
        folder.mkdir()
        made.append(folder / store.name)
        made[-1].symlink_to(store)
        return f"{web.url}/{folder.name}/{store.name}"

    yield publish
    for link in made:
        link.unlink()
        link.parent.rmdir()


@pytest.fixture
def fault_proxy() -> Iterator[Callable[[str], FaultProxy]]:
    """A proxy in front of a server: ``proxy = fault_proxy(bucket.endpoint)``."""
    with ExitStack() as proxies:
        yield lambda upstream: proxies.enter_context(FaultProxy(upstream))
