"""Whatever networks and servers do: the batches are the local store's, or one error says why.

The servers are real (moto's S3 server, which checks signatures, and nginx), the faults are done to
requests by a proxy in front of them.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from remote_stores import (
    MIB,
    expect_nothing_left,
    fetchers,
    stored_nbytes,
    trained,
    write_samples,
)
from servers.fault_proxy import FaultProxy, Rule
from servers.s3 import new_bucket
from zarrfeed import ReadError, StoreError, ZarrSequence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from servers.s3 import Bucket
    from web_server import WebServer

pytest.importorskip("obstore")

PIXELS = "/(image|mask)/c/"
NBYTES = 24 * MIB  # of all shards


@dataclass
class Served:
    """A store on a server, and the proxy between."""

    url: str
    options: dict[str, Any]
    proxy: FaultProxy
    cache: Path

    def trained(self, epochs: int = 2, **options: Any) -> list[str]:
        asked = {"cache": self.cache, "storage_options": self.options, **options}
        return trained(f"{self.url}/train", epochs, **asked)

    def opened(self, **options: Any) -> ZarrSequence:
        asked = {"cache": self.cache, "storage_options": self.options, **options}
        return ZarrSequence(f"{self.url}/train", 4, seed=3, **asked)

    def fetched(self) -> int:
        """Bytes of shards that were sent so far."""
        return sum(one.nbytes for one in self.proxy.requests if re.search(PIXELS, one.path))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_samples(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def expected(store: Path) -> list[str]:
    """The batches of two epochs of the local store."""
    return trained(store / "train")


@pytest.fixture(scope="module")
def uploaded(store: Path, s3: Bucket) -> Iterator[tuple[str, Bucket]]:
    """The store's address, and its bucket, in which no test changes anything."""
    with new_bucket(s3) as bucket:
        yield bucket.upload(store), bucket


@pytest.fixture
def on_s3(
    uploaded: tuple[str, Bucket], tmp_path: Path, fault_proxy: Callable[[str], FaultProxy]
) -> Iterator[Served]:
    url, bucket = uploaded
    proxy = fault_proxy(bucket.endpoint)
    yield Served(url, bucket.through(proxy.url).options, proxy, tmp_path / "cache")
    expect_nothing_left(tmp_path / "cache")


@pytest.fixture
def on_web(
    store: Path,
    tmp_path: Path,
    web: WebServer,
    published: Callable[[Path], str],
    fault_proxy: Callable[[str], FaultProxy],
) -> Iterator[Served]:
    proxy = fault_proxy(web.url)
    url = published(store).replace(web.url, proxy.url)
    yield Served(url, {}, proxy, tmp_path / "cache")
    expect_nothing_left(tmp_path / "cache")


@pytest.fixture(params=["on_s3", "on_web"])
def served(request: pytest.FixtureRequest) -> Served:
    found: Served = request.getfixturevalue(request.param)
    return found


# -- nothing goes wrong ---------------------------------------------------------------------------


def test_two_epochs_are_those_of_the_local_store_and_fetched_once(
    served: Served, expected: list[str]
) -> None:
    assert served.trained() == expected
    assert NBYTES <= served.fetched() < 1.05 * NBYTES
    assert {one.method for one in served.proxy.requests} == {"GET"}, "no HEAD"
    assert not [one for one in served.proxy.requests if "list-type" in one.path], "no LIST"
    before = len(served.proxy.requests)
    assert served.trained() == expected
    assert not [one for one in served.proxy.requests[before:] if re.search(PIXELS, one.path)]


def test_secrets_are_nowhere_on_disk_or_on_a_command_line(on_s3: Served) -> None:
    secret = on_s3.options["secret_access_key"].encode()
    with on_s3.opened() as seq:
        next(iter(seq))
        for process in fetchers(on_s3.cache):
            assert secret.decode() not in " ".join(process.cmdline())
            assert secret.decode() not in process.environ().values()
    for file in on_s3.cache.rglob("*"):
        if file.is_file():
            assert secret not in file.read_bytes()


# -- connections ----------------------------------------------------------------------------------


def test_connections_cut_in_mid_object_are_gone_on_with_where_they_broke(
    served: Served, expected: list[str]
) -> None:
    served.proxy.add(Rule(PIXELS, times=6, cut_after=700_000))
    assert served.trained() == expected
    assert len(served.proxy.hurt()) == 6
    assert served.fetched() < 1.2 * NBYTES


def test_a_connection_cut_before_its_first_byte_is_tried_again(
    on_s3: Served, expected: list[str]
) -> None:
    on_s3.proxy.add(Rule(PIXELS, skip=1, times=3, cut_after=0))
    assert on_s3.trained() == expected
    assert len(on_s3.proxy.hurt()) == 3


def test_connections_that_are_always_cut_end_in_right_batches_or_one_error(
    on_web: Served, expected: list[str]
) -> None:
    on_web.proxy.add(Rule(PIXELS, cut_after=300_000))
    try:
        assert on_web.trained() == expected
    except ReadError as error:
        assert on_web.url in str(error)  # noqa: PT017  either is right


def test_an_object_that_never_gives_a_byte_is_an_error_that_names_it(on_web: Served) -> None:
    on_web.proxy.add(Rule("/image/c/3/", cut_after=0))
    with pytest.raises(ReadError, match="image/c/3/0/0/0"):
        on_web.trained()


def test_an_answer_that_stalls_is_asked_for_again(on_web: Served, expected: list[str]) -> None:
    on_web.proxy.add(Rule(PIXELS, skip=2, times=1, stall_after=500_000))
    assert on_web.trained() == expected
    assert len(on_web.proxy.hurt()) == 1


def test_a_server_that_is_gone_is_an_error_that_names_its_address(
    on_web: Served, tmp_path: Path
) -> None:
    url = on_web.url.replace(on_web.proxy.url, "http://127.0.0.1:9")
    with pytest.raises(StoreError, match=r"http://127\.0\.0\.1:9/"):
        trained(f"{url}/train", cache=on_web.cache)


# -- answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_busy_for_a_while_is_asked_again(
    status: int, served: Served, expected: list[str]
) -> None:
    served.proxy.add(Rule(PIXELS, times=4, status=status, headers={"Retry-After": "1"}))
    served.proxy.add(Rule("zarr.json", times=1, status=status))
    assert served.trained() == expected
    assert len(served.proxy.hurt()) == 5


def test_a_server_that_stays_busy_is_an_error_that_says_so(on_s3: Served) -> None:
    on_s3.proxy.add(Rule("/image/c/3/", status=503))
    with pytest.raises(ReadError, match=r"(?s)image/c/3/0/0/0.*503"):
        on_s3.trained()


@pytest.mark.parametrize(("status", "word"), [(403, "credentials"), (404, "no such object")])
def test_an_object_that_is_refused_in_mid_epoch_is_one_error(
    status: int, word: str, served: Served
) -> None:
    served.proxy.add(Rule("/image/c/3/", status=status))
    with pytest.raises(ReadError, match=rf"(?s)image/c/3/0/0/0.*({word})"):
        served.trained()


def test_a_wrong_secret_is_an_error_at_the_start(on_s3: Served) -> None:
    on_s3.options["secret_access_key"] = "wrong"
    with pytest.raises(StoreError, match=r"(?s)403.*credentials"):
        on_s3.trained()


def test_missing_keys_are_an_error_at_the_start(on_s3: Served) -> None:
    on_s3.url += "-that-is-not-there"
    with pytest.raises(StoreError, match="that-is-not-there"):
        on_s3.trained()


def test_a_missing_bucket_is_an_error_at_the_start(on_s3: Served) -> None:
    with pytest.raises(StoreError, match="no-such-bucket"):
        trained(
            "s3://no-such-bucket/a.zarr/train", cache=on_s3.cache, storage_options=on_s3.options
        )


def test_an_object_of_another_size_is_an_error_that_says_it_was_replaced(on_web: Served) -> None:
    on_web.proxy.add(Rule("/image/c/3/", total=9_999_999))
    with pytest.raises(ReadError, match=r"(?s)image/c/3/0/0/0.*replaced"):
        on_web.trained()


# -- wrong bytes ----------------------------------------------------------------------------------


def test_wrong_bytes_are_found_by_the_hash_and_fetched_again(
    served: Served, expected: list[str]
) -> None:
    """What was handed out before the shard was whole may have been wrong, and is then named."""
    served.proxy.add(Rule("/image/c/3/", times=1, flip_at=1000))
    with served.opened() as seq:
        try:
            list(seq)
        except ReadError as error:
            assert "image/c/3/0/0/0" in str(error)  # noqa: PT017  so is no error
    assert len(served.proxy.hurt()) == 1
    assert served.trained() == expected


@pytest.mark.filterwarnings("ignore:.*wrong bytes:UserWarning")
def test_bytes_that_stay_wrong_are_an_error_that_names_the_object(on_web: Served) -> None:
    on_web.proxy.add(Rule("/image/c/3/", flip_at=1000))
    with pytest.raises(ReadError, match=r"(?s)image/c/3/0/0/0"):
        on_web.trained(epochs=3)


# -- disks ----------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 12 MiB; half the store."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs to mount a small disk, as root")
    yield folder
    # Lazily, because a traceback may still hold arrays on its files.
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_is_full_is_a_limit(
    small_disk: Path, on_web: Served, expected: list[str]
) -> None:
    on_web.cache = small_disk / "cache"
    assert on_web.trained() == expected
    expect_nothing_left(on_web.cache)


def test_a_disk_that_holds_nothing_is_an_error_that_names_it(
    small_disk: Path, on_web: Served
) -> None:
    (small_disk / "other").write_bytes(bytes(12 * MIB - (256 << 10)))
    on_web.cache = small_disk / "cache"
    with pytest.raises((StoreError, ReadError), match=str(small_disk)):
        on_web.trained()
    expect_nothing_left(on_web.cache)


def test_a_limit_holds_on_the_disk_too(on_web: Served, expected: list[str]) -> None:
    with on_web.opened(cache_limit="20MiB", max_queue_size=2) as seq:
        most = 0
        for _ in range(2):
            for _batch in seq:
                most = max(most, stored_nbytes(on_web.cache))
    assert most < 21 * MIB
    assert on_web.trained(cache_limit="20MiB", max_queue_size=2) == expected


def test_a_limit_that_is_too_small_is_refused_at_the_start(on_web: Served) -> None:
    said = r"needed .* got 1,048,576: raise cache_limit to at least '[0-9]+MiB'"
    with pytest.raises(StoreError, match=said):
        on_web.trained(cache_limit="1MiB")
