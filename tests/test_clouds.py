"""Google Cloud Storage and Azure do what S3 does, asked by their own protocols."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from folders import contents
from packed import Packed, pack
from remote_stores import end_fetchers
from servers.azure import ACCOUNT, azure_server
from servers.fault_proxy import Rule
from servers.google import google_server
from zarrfeed import FrontEnd
from zarrfeed.errors import StoreError
from zarrfeed.store.address import remote_url
from zarrfeed.store.objects.errors import ObjectError
from zarrfeed.store.objects.object_transfers import open_transfers
from zarrfeed_convert import copy, fetch_originals, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from servers.cloud import Cloud
    from servers.fault_proxy import FaultProxy
    from zarrfeed.store.objects.object_transfers import ObjectTransfers

pytest.importorskip("obstore")
QUICK = {"max_retries": 0, "retry_timeout": 2}
LARGE = bytes(range(256)) * 40_000  # 10 MB, which are sent in two parts


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    return pack(tmp_path_factory.mktemp("packed"))


@pytest.fixture(scope="module", params=["gs", "az"])
def cloud(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    """A bucket of Google's or Azure's protocol; S3 has tests of its own."""
    with {"gs": google_server, "az": azure_server}[request.param]() as made:
        yield made


@pytest.fixture
def folder(cloud: Cloud) -> str:
    """The address of a folder of the test's own."""
    return cloud.url(uuid.uuid4().hex)


@pytest.fixture
def store(cloud: Cloud, folder: str) -> ObjectTransfers:
    return open_transfers(folder, {**cloud.options, **QUICK})


def epoch(split: Path | str, **options: Any) -> list[np.ndarray]:
    with FrontEnd(split, 3, seed=1, workers=0, **options) as seq:
        return [np.array(array) for batch in seq for array in batch]


def test_a_split_is_copied_there_read_verified_and_copied_back(
    packed: Packed, cloud: Cloud, folder: str, tmp_path: Path
) -> None:
    url, options = f"{folder}/o.zarr", cloud.options
    there = copy(packed.store, url, storage_options=options)
    assert there.splits[0].status == "copied"
    assert bool(there.splits[0].read_back) == (cloud.scheme == "az"), "its tags are no digests"
    assert copy(packed.store, url, storage_options=options).splits[0].status == "already there"
    assert verify(url, workers=1, storage_options=options).ok
    cache = tmp_path / "cache"
    found = epoch(f"{url}/train", cache=cache, storage_options=options)
    for array, wanted in zip(found, epoch(packed.split), strict=True):
        np.testing.assert_array_equal(array, wanted, strict=True)
    end_fetchers(cache)
    copy(url, tmp_path / "back.zarr", storage_options=options)
    assert contents(tmp_path / "back.zarr") == contents(packed.store)


def test_originals_come_into_the_cache(
    packed: Packed, cloud: Cloud, folder: str, store: ObjectTransfers, tmp_path: Path
) -> None:
    for path in packed.images.iterdir():
        store.put(f"images/{path.name}", path.read_bytes())
    url = f"{folder}/images/*.png"
    found = fetch_originals(url, cache=tmp_path, storage_options=cloud.options)
    assert contents(tmp_path / "originals" / found.split("/")[-2]) == contents(packed.images)


def test_objects_are_written_listed_read_and_removed(store: ObjectTransfers) -> None:
    names = [f"a/{number:02}" for number in range(20)]  # several pages of Azure
    for name in names:
        store.put(name, name.encode())
    store.put("empty", b"")
    tag = store.send("b/large", [LARGE], len(LARGE))
    assert store.entries() == (("a", "b"), ("empty",))
    assert sorted(each.key for each in store.list("a")) == names
    assert b"".join(store.pieces("b/large", etag=tag)) == LARGE
    assert b"".join(store.pieces("b/large", start=9_999_999)) == LARGE[9_999_999:]
    assert b"".join(store.pieces("empty")) == b""
    assert store.look("b/large").nbytes == len(LARGE)
    assert not store.create("empty", b"another"), "it exists"
    assert store.create("new", b"new")
    store.remove([*names, "nothing"])
    assert store.entries() == (("b",), ("empty", "new"))


def test_an_object_that_was_listed_is_read_until_it_is_replaced(store: ObjectTransfers) -> None:
    store.put("a", b"first")
    (listed,) = store.list()
    assert b"".join(store.pieces("a", etag=listed.etag)) == b"first"
    store.put("a", b"other")
    with pytest.raises(ObjectError, match="the object was replaced"):
        next(store.pieces("a", etag=listed.etag))


def test_a_connection_that_is_cut_goes_on_at_the_byte_reached(
    cloud: Cloud, folder: str, store: ObjectTransfers, fault_proxy: Callable[[str], FaultProxy]
) -> None:
    store.send("large", [LARGE], len(LARGE))
    proxy = fault_proxy(cloud.endpoint)
    proxy.add(Rule("large", times=3, cut_after=3_000_000))
    options = {**cloud.through(proxy.url).options, **QUICK}
    assert b"".join(open_transfers(folder, options).pieces("large")) == LARGE
    assert len(proxy.hurt()) == 3
    assert sum(one.nbytes for one in proxy.requests) < 1.2 * len(LARGE)


@pytest.mark.parametrize("ask", ["read", "look", "range", "list", "put"])
def test_an_error_says_in_words_what_is_missing(
    cloud: Cloud, store: ObjectTransfers, ask: str
) -> None:
    store.put("short", b"ten bytes.")
    nowhere = open_transfers(f"{cloud.scheme}://nowhere/a", {**cloud.options, **QUICK})
    asked: dict[str, tuple[Callable[[], object], str, str]] = {
        "read": (lambda: store.read("a"), "missing", r"/a: there is no such object \(404 .*No"),
        "look": (lambda: store.look("a"), "missing", r"/a: there is no such object \(404 N.*nd\)"),
        "range": (
            lambda: asyncio.run(store.read_range("short", 10, 20)), "other", "has fewer bytes",
        ),
        "list": (lambda: list(nowhere.list()), "other", "nowhere/a: there is no such bucket"),
        "put": (lambda: nowhere.put("b", b""), "other", "nowhere/a/b: there is no such bucket"),
    }  # fmt: skip
    call, kind, words = asked[ask]
    with pytest.raises(ObjectError, match=words) as caught:
        call()
    assert caught.value.kind == kind
    assert "<" not in str(caught.value), "no markup"


def test_wrong_credentials_are_refused_and_not_shown(cloud: Cloud, folder: str) -> None:
    wrong = {"bearer_token": "wrong"} if cloud.scheme == "gs" else {"account_name": "wrong"}
    store = open_transfers(folder, {**cloud.options, **wrong, **QUICK})
    with pytest.raises(ObjectError, match=r"the server refused it \(40[13] .*check the") as caught:
        store.read("a")
    assert caught.value.kind == "refused"
    assert not [value for value in cloud.credentials.values() if value in str(caught.value)]


def test_only_the_server_refuses_those_who_skip_signatures(cloud: Cloud, folder: str) -> None:
    account = {} if cloud.scheme == "gs" else {"account_name": ACCOUNT}
    options = {cloud.at: cloud.endpoint, "skip_signature": True, **account, **QUICK}
    with pytest.raises(ObjectError, match=r"the server refused it \(40[13] "):
        open_transfers(folder, options).read("a")


def test_who_gives_no_credentials_is_told_so(cloud: Cloud, folder: str) -> None:
    account = {} if cloud.scheme == "gs" else {"account_name": ACCOUNT}
    options = {cloud.at: cloud.endpoint, **account, **QUICK, "connect_timeout": "500ms"}
    with pytest.raises(ObjectError, match="found no credentials: give them") as caught:
        open_transfers(folder, options).read("a")
    assert caught.value.kind == "refused"


def test_the_environment_says_where_the_server_is_and_who_asks(
    cloud: Cloud, folder: str, store: ObjectTransfers, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("a", b"found")
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)
    assert bytes(memoryview(open_transfers(folder).read("a").data)) == b"found"


def test_every_spelling_of_an_address_names_the_same_object(
    cloud: Cloud, store: ObjectTransfers
) -> None:
    store.put("a", b"found")
    hosts = {
        "gs": ["gs://bucket", "gcs://bucket", "GS:/bucket"],
        "az": [
            "az://bucket", "abfs://bucket", "abfss://bucket",
            f"abfss://bucket@{ACCOUNT}.dfs.core.windows.net",
        ],
    }  # fmt: skip
    for host in hosts[cloud.scheme]:
        url = remote_url(f"{host}/{store.url.rpartition('/')[2]}")
        assert url is not None
        assert bytes(memoryview(open_transfers(url, cloud.options).read("a").data)) == b"found"


def test_an_unknown_option_is_named_without_its_value(folder: str) -> None:
    with pytest.raises(StoreError, match=r"storage_options \(bogus\)") as caught:
        open_transfers(folder, {"bogus": "very secret"})
    assert "very secret" not in str(caught.value)
