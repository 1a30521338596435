"""Copies have the bytes of the original, go on where they stopped, and appear when complete."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from folders import contents
from packed import Packed, flipped, pack, write_originals
from scripts import environment, wait_until
from servers.fault_proxy import Rule
from zarrfeed import open_split
from zarrfeed.errors import ReadError, SourceError, StoreError
from zarrfeed_convert import PairedFolders, convert, copy, verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from servers.fault_proxy import FaultProxy
    from servers.s3 import Bucket

pytest.importorskip("obstore")
QUICK = {"max_retries": "1", "retry_timeout": "2"}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    return pack(tmp_path_factory.mktemp("packed"))


@pytest.fixture
def proxy(bucket: Bucket, fault_proxy: Callable[[str], FaultProxy]) -> FaultProxy:
    return fault_proxy(bucket.endpoint)


@pytest.fixture
def options(bucket: Bucket, proxy: FaultProxy) -> dict[str, object]:
    """Open the bucket through the proxy, with little patience."""
    return {**bucket.through(proxy.url).options, **QUICK}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zarrfeed_convert.copying.store_copy._PAUSE_S", 0.01)


def keys(bucket: Bucket, prefix: str = "o.zarr") -> dict[str, int]:
    found = bucket.store().list(prefix).collect()
    return {each["path"]: each["size"] for each in found}


def sent(proxy: FaultProxy) -> list[str]:
    """What was written since the last call, without the journal."""
    paths = [one.path.split("?")[0] for one in proxy.requests if one.method == "PUT"]
    proxy.requests.clear()
    return sorted({path.split("o.zarr/")[1] for path in paths if "~journal" not in path})


def test_a_dataset_there_and_back_has_the_same_bytes(packed, bucket, tmp_path):
    there = copy(packed.store, bucket.url("o.zarr"), storage_options=bucket.options)
    back = copy(bucket.url("o.zarr"), tmp_path / "back.zarr", storage_options=bucket.options)
    assert contents(tmp_path / "back.zarr") == contents(packed.store)
    assert verify(tmp_path / "back.zarr", workers=1).ok
    (split,) = there.splits
    files = [path for path in packed.split.rglob("*") if path.is_file()]
    assert split.files == split.sent_files == len(files) == back.splits[0].sent_files
    assert split.sent_nbytes == sum(path.stat().st_size for path in files)
    assert keys(bucket) == {
        path.relative_to(packed.folder).as_posix(): path.stat().st_size
        for path in packed.store.rglob("*")
        if path.is_file()
    }


def test_what_is_there_is_not_sent_again(packed, bucket, proxy, options, tmp_path):
    copy(packed.store, bucket.url("o.zarr"), storage_options=options)
    assert sent(proxy)
    again = copy(packed.store, bucket.url("o.zarr"), storage_options=options)
    assert again.splits[0].status == "already there"
    assert not sent(proxy)
    dry = copy(packed.store, bucket.url("o.zarr"), storage_options=options, dry_run=True)
    assert (dry.splits[0].status, dry.splits[0].sent_files) == ("already there", 0)
    copy(bucket.url("o.zarr/train"), tmp_path / "b.zarr", storage_options=options)
    proxy.requests.clear()
    again = copy(bucket.url("o.zarr/train"), tmp_path / "b.zarr", storage_options=options)
    assert again.splits[0].status == "already there"
    assert not [one for one in proxy.requests if "/image/c/" in one.path]


def test_between_object_stores_with_options_of_each(packed, bucket, proxy, tmp_path):
    copy(packed.store, bucket.url("o.zarr"), storage_options=bucket.options)
    report = copy(
        bucket.url("o.zarr/train"), bucket.url("other.zarr"), split="again",
        storage_options=bucket.through(proxy.url).options, target_options=bucket.options,
    )  # fmt: skip
    assert report.splits[0].path.endswith("other.zarr/again")
    assert not [one for one in proxy.requests if one.method == "PUT"]
    copy(bucket.url("other.zarr"), tmp_path / "back.zarr", storage_options=bucket.options)
    assert contents(tmp_path / "back.zarr/again") == contents(packed.split)


def test_between_folders(packed, tmp_path):
    before = copy(packed.store, tmp_path / "o.zarr", dry_run=True).splits[0]
    done = copy(packed.store, tmp_path / "o.zarr").splits[0]
    after = copy(packed.store, tmp_path / "o.zarr", dry_run=True).splits[0]
    assert [one.status for one in (before, done, after)] == ["dry run", "copied", "already there"]
    assert [one.sent_files for one in (before, done, after)] == [done.files, done.files, 0]
    assert contents(tmp_path / "o.zarr") == contents(packed.store)


def test_from_a_web_server_one_split(packed, published, tmp_path):
    url = published(packed.store)
    copy(f"{url}/train", tmp_path / "o.zarr")
    assert contents(tmp_path / "o.zarr") == contents(packed.store)
    with pytest.raises(StoreError, match="needed the address of one split, since a web server"):
        copy(url, tmp_path / "p.zarr")
    with pytest.raises(SourceError, match="found a web server"):
        copy(packed.store, url)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A split of one shard of 12 MB, which is sent in two parts."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(0)
    samples = [{"image": rng.integers(0, 256, (1000, 1000, 3), np.uint8)} for _ in range(4)]
    convert(samples, folder / "o.zarr", split="train", workers=1, codec="raw", shard_size=1 << 24)
    return folder / "o.zarr"


def test_large_objects_are_sent_in_parts(large, bucket, proxy, options, tmp_path):
    report = copy(large, bucket.url("o.zarr"), storage_options=options)
    assert not report.splits[0].read_back, "the tag of the parts is understood"
    parts = [one.path for one in proxy.requests if "partNumber" in one.path]
    assert len(parts) == 2
    copy(bucket.url("o.zarr"), bucket.url("p.zarr"), storage_options=options)
    copy(bucket.url("p.zarr"), tmp_path / "b.zarr", storage_options=options)
    assert contents(tmp_path / "b.zarr") == contents(large)


def test_read_back_compares_bytes_and_sends_what_is_wrong(packed, bucket, proxy, options):
    copy(packed.store, bucket.url("o.zarr"), storage_options=options)
    name = "train/image/c/1/0/0/0"
    nbytes = keys(bucket)[f"o.zarr/{name}"]
    bucket.store().put(f"o.zarr/{name}", bytes(nbytes))
    sent(proxy)
    report = copy(packed.store, bucket.url("o.zarr"), storage_options=options, read_back=True)
    assert sent(proxy) == [name]
    assert report.splits[0].read_back > 1
    assert (
        bytes(bucket.store().get(f"o.zarr/{name}").bytes()) == packed.shard("image", 1).read_bytes()
    )


def test_damaged_files_of_a_local_copy_are_mended(packed, tmp_path):
    copy(packed.store, tmp_path / "o.zarr")
    path = tmp_path / "o.zarr/train/mask/c/0/0/0"
    path.write_bytes(bytes(path.stat().st_size))
    report = copy(packed.store, tmp_path / "o.zarr")
    assert report.splits[0].sent_files == 2  # and the metadata
    assert contents(tmp_path / "o.zarr") == contents(packed.store)


# Interruptions


@pytest.fixture
def command(bucket: Bucket, proxy: FaultProxy) -> Callable[..., subprocess.Popen[str]]:
    def run(*arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "zarrfeed_tools", "copy", *map(str, arguments)],
            env=environment(**bucket.through(proxy.url).environment),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    return run


def arrived(bucket: Bucket) -> list[str]:
    """Which files the journal names."""
    try:
        said = bucket.store().get("o.zarr/train~journal.partial/copy.json").bytes()
    except FileNotFoundError:
        return []
    return sorted(json.loads(bytes(said))["arrived"])


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=lambda how: how.name)
def test_a_copy_that_is_stopped_goes_on(packed, bucket, proxy, command, options, how, tmp_path):
    proxy.add(Rule("/mask/c/1", wait=60), Rule("/image/c/", wait=0.8))
    process = command(packed.store, bucket.url("o.zarr"), "--concurrency", 1)
    wait_until(lambda: len(arrived(bucket)) >= 2)
    wait_until(lambda: any("/mask/c/1" in one.path for one in proxy.requests))
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (-9 if how is signal.SIGKILL else 130), said
    if how is signal.SIGINT:
        assert "interrupted: what has arrived is kept: the same command resumes" in said
    with pytest.raises(StoreError, match="no-split"):
        copy(bucket.url("o.zarr"), tmp_path / "b.zarr", storage_options=options)
    before = arrived(bucket)
    proxy.clear()
    sent(proxy)
    copy(packed.store, bucket.url("o.zarr"), storage_options=options)
    again = sent(proxy)
    assert "train/mask/c/1/0/0" in again
    assert not {f"train/{name}" for name in before} & {*again}
    copy(bucket.url("o.zarr"), tmp_path / "b.zarr", storage_options=options)
    assert contents(tmp_path / "b.zarr") == contents(packed.store)
    assert not [key for key in keys(bucket) if "~" in key]


def test_a_download_goes_on_within_a_file(large, bucket, proxy, options, tmp_path):
    bucket.upload(large)
    proxy.add(Rule("/image/c/", times=1, cut_after=5 << 20), Rule("/image/c/", status=404))
    with pytest.raises(ReadError, match="no such object"):
        copy(bucket.url("o.zarr"), tmp_path / "b.zarr", storage_options=options)
    part = tmp_path / "b.zarr/train.partial/image/c/0/0/0/0.part"
    reached = part.stat().st_size
    assert reached > 1 << 20
    for place in ("b.zarr", "b.zarr/train"):
        with pytest.raises(StoreError, match=r"repeat the same .*`copy` .*unfinished-split"):
            open_split(tmp_path / place)
    proxy.clear()
    proxy.requests.clear()
    copy(bucket.url("o.zarr"), tmp_path / "b.zarr", storage_options=options)
    (asked,) = [one for one in proxy.requests if "/image/c/" in one.path]
    assert asked.nbytes == large.joinpath("train/image/c/0/0/0/0").stat().st_size - reached
    assert contents(tmp_path / "b.zarr") == contents(large)


def test_connections_that_break_are_no_error(packed, bucket, proxy, options, tmp_path):
    proxy.add(Rule("/image/c/0", times=1, cut_after=0), Rule("/mask/c/1", times=2, status=503))
    copy(packed.store, bucket.url("o.zarr"), storage_options=options)
    proxy.add(Rule("/image/c/1", times=1, cut_after=100), Rule("/mask/c/0", times=2, cut_after=9))
    copy(bucket.url("o.zarr"), tmp_path / "b.zarr", storage_options=options)
    assert contents(tmp_path / "b.zarr") == contents(packed.store)
    assert len(proxy.hurt()) >= 5


# Wrong bytes


def test_wrong_bytes_that_arrive_once_are_sent_again(packed, bucket, proxy, options):
    proxy.add(Rule("/image/c/1", times=1, flip_sent_at=50))
    copy(packed.store, bucket.url("o.zarr"), storage_options=options)
    assert len(proxy.hurt()) == 1
    stored = bucket.store().get("o.zarr/train/image/c/1/0/0/0").bytes()
    assert bytes(stored) == packed.shard("image", 1).read_bytes()


def test_wrong_bytes_that_arrive_twice_are_an_error_and_removed(packed, bucket, proxy, options):
    proxy.add(Rule("/image/c/1", flip_sent_at=50))
    with pytest.raises(ReadError, match=r"image/c/1/0/0/0: other bytes .*look up: wrong-bytes"):
        copy(packed.store, bucket.url("o.zarr"), storage_options=options)
    assert "o.zarr/train/image/c/1/0/0/0" not in keys(bucket)
    assert "o.zarr/train/zarr.json" not in keys(bucket)


def test_wrong_bytes_of_a_download_are_fetched_again_then_an_error(
    packed, bucket, proxy, options, tmp_path
):
    bucket.upload(packed.store)
    proxy.add(Rule("/image/c/1", times=1, flip_at=7))
    copy(bucket.url("o.zarr"), tmp_path / "b.zarr", storage_options=options)
    assert contents(tmp_path / "b.zarr") == contents(packed.store)
    proxy.clear()
    proxy.add(Rule("/image/c/1", flip_at=7))
    with pytest.raises(ReadError, match=r"image/c/1/0/0/0: needed bytes of xxh3_64"):
        copy(bucket.url("o.zarr"), tmp_path / "c.zarr", storage_options=options)
    assert not (tmp_path / "c.zarr/train").exists()


def test_a_damaged_original_is_named_and_never_arrives(packed, bucket, tmp_path):
    shutil.copytree(packed.store, tmp_path / "o.zarr")
    hurt = Packed(tmp_path, packed.images, packed.masks).shard("mask", 2)
    content = bytearray(hurt.read_bytes())
    content[3] ^= 1
    hurt.write_bytes(content)
    with pytest.raises(ReadError, match=rf"{hurt}: needed bytes of xxh3_64.*damaged-store"):
        copy(tmp_path / "o.zarr", bucket.url("o.zarr"), storage_options=bucket.options)
    assert "o.zarr/train/mask/c/2/0/0" not in keys(bucket)
    assert "o.zarr/train/zarr.json" not in keys(bucket)
    hurt.write_bytes(content[:-1])
    with pytest.raises(StoreError, match=r"found 1 that are missing or have another: mask/c/2/0/0"):
        copy(tmp_path / "o.zarr", bucket.url("o.zarr"), storage_options=bucket.options)


def test_nothing_is_left_of_a_large_object_whose_original_is_damaged(large, bucket, tmp_path):
    shutil.copytree(large, tmp_path / "o.zarr")
    with (
        flipped(tmp_path / "o.zarr/train/image/c/0/0/0/0", 11_999_999, 1),
        pytest.raises(ReadError, match="needed bytes of xxh3_64"),
    ):
        copy(tmp_path / "o.zarr", bucket.url("o.zarr"), storage_options=bucket.options)
    assert not bucket.unfinished_uploads()


def test_an_original_that_is_replaced_meanwhile_is_an_error(packed, bucket, tmp_path):
    shutil.copytree(packed.store, tmp_path / "o.zarr")

    def replace(step: str, done: int, total: int) -> None:
        metadata = tmp_path / "o.zarr/train/zarr.json"
        metadata.write_text(metadata.read_text() + " ")

    for target in (tmp_path / "b.zarr", bucket.url("o.zarr")):
        with pytest.raises(StoreError, match="was replaced or removed while it was copied"):
            copy(
                tmp_path / "o.zarr", target, storage_options=bucket.options, progress=replace
            )  # fmt: skip
    assert not (tmp_path / "b.zarr/train").exists()
    assert "o.zarr/train/zarr.json" not in keys(bucket)


# What is there already


@pytest.fixture
def other(packed: Packed, tmp_path: Path) -> Path:
    """Another split of this name and these classes, of fewer shards."""
    write_originals(tmp_path / "other", count=3, seed=1)
    pairs = PairedFolders(tmp_path / "other/images", tmp_path / "other/masks")
    convert(pairs, tmp_path / "other.zarr", split="train", workers=1, classes=3)
    return tmp_path / "other.zarr"


@pytest.mark.parametrize("remote", [True, False], ids=["object store", "folder"])
def test_another_split_of_this_name_is_kept_unless_overwritten(
    packed, other, bucket, tmp_path, remote
):
    target = bucket.url("o.zarr") if remote else tmp_path / "copy.zarr"
    options = {"storage_options": bucket.options}
    copy(packed.store, target, **options)
    with pytest.raises(SourceError, match="is another split; use --overwrite"):
        copy(other, target, **options)
    copy(other, target, overwrite=True, **options)
    copy(target, tmp_path / "back.zarr", **options)
    assert contents(tmp_path / "back.zarr") == contents(other)
    if remote:
        assert len(keys(bucket)) == len([each for each in other.rglob("*") if each.is_file()])


def test_a_replacement_that_is_stopped_leaves_nothing_that_opens(
    packed, other, bucket, proxy, options, tmp_path
):
    copy(packed.store, bucket.url("o.zarr"), storage_options=options)
    proxy.add(Rule("/mask/c/0", status=403))
    with pytest.raises(ReadError, match="403"):
        copy(other, bucket.url("o.zarr"), storage_options=options, overwrite=True)
    with pytest.raises(StoreError, match="no-split"):
        copy(bucket.url("o.zarr"), tmp_path / "b.zarr", storage_options=options)
    proxy.clear()
    copy(other, bucket.url("o.zarr"), storage_options=options)  # old objects are known as such
    copy(bucket.url("o.zarr"), tmp_path / "b.zarr", storage_options=options)
    assert contents(tmp_path / "b.zarr") == contents(other)


@pytest.mark.parametrize("remote", [True, False], ids=["object store", "folder"])
def test_other_classes_are_refused_and_nothing_is_written(packed, bucket, tmp_path, remote):
    write_originals(tmp_path / "other", count=3)
    pairs = PairedFolders(tmp_path / "other/images", tmp_path / "other/masks")
    convert(pairs, tmp_path / "other.zarr", split="val", workers=1, classes=["a", "b", "c"])
    target = bucket.url("o.zarr") if remote else tmp_path / "copy.zarr"
    copy(packed.store, target, storage_options=bucket.options)
    before = keys(bucket)
    with pytest.raises(SourceError, match="classes must be the same in all splits") as caught:
        copy(tmp_path / "other.zarr", target, storage_options=bucket.options)
    assert str(caught.value).startswith(f"{target}: ")
    assert keys(bucket) == before
    assert not (tmp_path / "copy.zarr/val").exists()


def test_what_is_not_ours_is_left_alone(packed, bucket):
    bucket.store().put("o.zarr/train/holiday.jpg", b"beach")
    with pytest.raises(SourceError, match="needed a zarrfeed dataset or a new path"):
        copy(packed.store, bucket.url("o.zarr"), storage_options=bucket.options)
    bucket.store().put("o.zarr/zarr.json", packed.store.joinpath("zarr.json").read_bytes())
    with pytest.raises(SourceError, match=r"found 1 objects .*\(holiday.jpg\), which were left"):
        copy(packed.store, bucket.url("o.zarr"), storage_options=bucket.options)
    with pytest.raises(SourceError, match="found a path inside one"):
        copy(packed.split, bucket.url("o.zarr/train"), storage_options=bucket.options)
    assert len(keys(bucket)) == 2


def test_splits_join_a_dataset_one_by_one(packed, bucket, tmp_path):
    url = bucket.url("o.zarr")
    for name in ("train", "val"):
        copy(packed.split, url, split=name, storage_options=bucket.options)
    report = copy(url, tmp_path / "b.zarr", storage_options=bucket.options)
    assert [split.path for split in report.splits] == [
        str(tmp_path / "b.zarr" / name) for name in ("train", "val")
    ]
    with pytest.raises(SourceError, match="needed one split to give this name"):
        copy(url, tmp_path / "c.zarr", split="x", storage_options=bucket.options)


def test_two_runs_at_a_time_do_not_mix(packed, other, bucket, proxy, options):
    """The one that began last wins; the other says so."""

    def second(step: str, done: int, total: int) -> None:
        if not begun:
            begun.append(step)
            copy(other, bucket.url("o.zarr"), storage_options=options)

    begun: list[str] = []
    with pytest.raises(SourceError, match="another run has begun to copy to this split"):
        copy(packed.store, bucket.url("o.zarr"), storage_options=options, progress=second)


# Errors


def test_credentials_buckets_and_servers_that_are_wrong_are_told(packed, bucket, proxy, tmp_path):
    wrong = {**bucket.with_wrong_secret().options, **QUICK}
    with pytest.raises(ReadError, match=r"refused.*check the credentials.*remote-store") as caught:
        copy(packed.store, bucket.url("o.zarr"), storage_options=wrong)
    assert wrong["secret_access_key"] not in str(caught.value)
    right = {**bucket.options, **QUICK}
    with pytest.raises(ReadError, match="there is no such bucket: check its name"):
        copy(packed.store, "s3://no-such-bucket/o.zarr", storage_options=right)
    with pytest.raises(ReadError, match="there is no such bucket"):
        copy("s3://no-such-bucket/o.zarr", tmp_path / "o.zarr", storage_options=right)
    with pytest.raises(StoreError, match=r"found no zarr.json there.*no-split"):
        copy(bucket.url("nothing.zarr"), tmp_path / "o.zarr", storage_options=right)
    proxy.add(Rule("/mask/c/0", status=503))
    busy = {**bucket.through(proxy.url).options, **QUICK}
    with pytest.raises(ReadError, match="the server is overloaded"):
        copy(packed.store, bucket.url("o.zarr"), storage_options=busy)


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(
    packed, bucket, tmp_path, monkeypatch
):
    bucket.upload(packed.store)
    usage = shutil.disk_usage(tmp_path)._replace(free=2000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(SourceError, match=r"needed .* KiB on the disk, found .*disk-space"):
        copy(bucket.url("o.zarr"), tmp_path / "b.zarr", storage_options=bucket.options)
    assert not (tmp_path / "b.zarr").exists()


FULL = """
import resource, sys
from zarrfeed_convert import copy
resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, resource.RLIM_INFINITY))
copy(sys.argv[1], sys.argv[2])
"""


def test_a_disk_that_fills_up_keeps_what_has_arrived(large, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(large), str(tmp_path / "b.zarr")],
        capture_output=True, text=True, timeout=60, check=False, env=environment(),
    )  # fmt: skip
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert "0.part" in done.stderr
    assert (tmp_path / "b.zarr/train.partial/image/c/0/0/0/0.part").stat().st_size == 2 << 20
    copy(large, tmp_path / "b.zarr")
    assert contents(tmp_path / "b.zarr") == contents(large)


def test_other_groups_are_no_splits(tmp_path):
    import zarr

    zarr.create_group(str(tmp_path / "g.zarr")).create_array("a", shape=(3,), dtype="u1")
    with pytest.raises(StoreError, match=r"found another Zarr group.*no-split"):
        copy(tmp_path / "g.zarr", tmp_path / "b.zarr")


def test_secrets_are_written_nowhere(packed, bucket, proxy, options):
    proxy.add(Rule("/mask/c/0", status=403))
    with pytest.raises(ReadError, match=r"mask/c/0.*403"):
        copy(packed.store, bucket.url("o.zarr"), storage_options=options)
    stored = [bytes(bucket.store().get(key).bytes()) for key in keys(bucket)]
    assert any(b"arrived" in each for each in stored)
    for secret in (bucket.key, bucket.secret):
        assert not any(secret.encode() in each for each in stored)


# Verification


def test_what_is_in_an_object_store_is_verified_there(packed, bucket, proxy, options):
    bucket.upload(packed.store)
    found = verify(bucket.url("o.zarr"), workers=1, storage_options=options)
    local = verify(packed.store, workers=1)
    assert found.ok
    assert [split.path for split in found.splits] == [bucket.url("o.zarr/train")]
    assert (found.splits[0].decoded, found.splits[0].nbytes) == (
        local.splits[0].decoded, local.splits[0].nbytes,
    )  # fmt: skip
    shards = [one.path for one in proxy.requests if "/c/" in one.path and one.method == "GET"]
    assert len(shards) == len(set(shards)), "every object is read once"
    assert verify(bucket.url("o.zarr/train"), workers=1, storage_options=options).ok


def test_damage_in_an_object_store_is_named_by_its_address(packed, bucket):
    bucket.upload(packed.store)
    damaged, missing = ("o.zarr/train/image/c/1/0/0/0", "o.zarr/train/mask/c/2/0/0")
    content = bytearray(packed.shard("image", 1).read_bytes())
    content[5] ^= 1
    bucket.store().put(damaged, bytes(content))
    bucket.store().delete(missing)
    bucket.store().put("o.zarr/train/mask/c/9/0/0", b"stray")
    found = verify(bucket.url("o.zarr"), workers=2, storage_options=bucket.options)
    files = {file for problem in found.problems for file in problem.files}
    assert {
        bucket.url(damaged),
        bucket.url(missing),
        bucket.url("o.zarr/train/mask/c/9/0/0"),
    } <= files
    kinds = {problem.kind for problem in found.problems}
    assert {"file-damaged", "file-missing", "file-extra"} <= kinds
    assert not any("zarrfeed-verify" in problem.what for problem in found.problems)
    with pytest.raises(StoreError, match="no-split"):
        verify(bucket.url("nothing.zarr"), storage_options=bucket.options)
