"""Originals in an object store are brought once, and converted as local ones; splits go back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typer.testing import CliRunner

from folders import contents
from packed import pack, write_originals
from servers.fault_proxy import Rule
from zarrfeed.errors import ReadError, SourceError, StoreError
from zarrfeed_convert import PairedFolders, convert, fetch_originals, require_target
from zarrfeed_convert.copying.originals import require_name
from zarrfeed_tools.application import app

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.fault_proxy import FaultProxy
    from servers.s3 import Bucket

pytest.importorskip("obstore")


@pytest.fixture
def originals(tmp_path: Path, bucket: Bucket) -> Path:
    write_originals(tmp_path / "raw", count=3)
    bucket.upload(tmp_path / "raw")
    return tmp_path / "raw"


@pytest.fixture
def _aws(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ZARRFEED_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def proxy(bucket: Bucket, fault_proxy: Callable[[str], FaultProxy]) -> FaultProxy:
    return fault_proxy(bucket.endpoint)


@pytest.mark.usefixtures("_aws")
def test_convert_reads_from_and_uploads_to_addresses(originals, bucket, tmp_path):
    line = [
        "convert", "o.zarr", "--split", "train", "--images", bucket.url("raw/images"),
        "--masks", bucket.url("raw/masks"), "--classes", "3", "--workers", "1",
    ]  # fmt: skip
    done = CliRunner().invoke(app, [*line, "--upload", bucket.url("o.zarr"), "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["upload"]["splits"][0]["path"] == bucket.url("o.zarr/train")
    pairs = PairedFolders(originals / "images", originals / "masks")
    convert(pairs, "expected.zarr", split="train", classes=3, workers=1)
    expected = contents(tmp_path / "expected.zarr")
    found = contents(tmp_path / "o.zarr")
    written = found["train/zarr.json"].decode()
    assert str(tmp_path / "cache") not in written
    assert json.loads(written)["attributes"]["zarrfeed"]["source"]["images"] == bucket.url(
        "raw/images"
    )
    assert not [name for name in found if bucket.secret.encode() in found[name]]
    compared = CliRunner().invoke(app, ["verify", "o.zarr/train", "--source"])
    assert compared.exit_code == 0, compared.output
    assert "the originals of 3 samples" in compared.output
    assert {name: found[name] for name in found if "train/zarr.json" not in str(name)} == {
        name: expected[name] for name in expected if "train/zarr.json" not in str(name)
    }
    back = CliRunner().invoke(app, ["copy", bucket.url("o.zarr"), "back.zarr"])
    assert back.exit_code == 0, back.output
    assert "Copied" in back.stdout
    assert contents(tmp_path / "back.zarr") == found
    again = CliRunner().invoke(app, [*line, "--upload", bucket.url("o.zarr")])
    assert "is already there" in again.stdout
    wrong = CliRunner().invoke(app, [*line, "--upload", "s3://no-such-bucket/o.zarr"])
    assert isinstance(wrong.exception, ReadError)


@pytest.mark.usefixtures("_aws")
def test_originals_that_have_moved_to_an_address_are_compared(originals, bucket):
    pairs = PairedFolders(originals / "images", originals / "masks")
    convert(pairs, "o.zarr", split="train", classes=3, workers=1)
    moved = ["--images", bucket.url("raw/images"), "--masks", bucket.url("raw/masks")]
    good = CliRunner().invoke(app, ["verify", "o.zarr/train", *moved])
    assert good.exit_code == 0, good.output
    assert "the originals of 3 samples" in good.output
    none = CliRunner().invoke(app, ["verify", "o.zarr", "--images", bucket.url("nothing")])
    assert none.exit_code == 1
    assert f"{bucket.url('nothing')}: needed the address of a folder" in none.output


@pytest.mark.usefixtures("_aws")
def test_a_skipped_original_is_recorded_by_its_address(originals, bucket):
    (originals / "images/s01.png").write_bytes(b"no image")
    bucket.upload(originals)
    line = [
        "convert", "o.zarr", "--split", "train", "--images", bucket.url("raw/images"),
        "--masks", bucket.url("raw/masks"), "--classes", "3", "--workers", "1",
        "--on-error", "skip",
    ]  # fmt: skip
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 0, done.output
    packed = json.loads(Path("o.zarr/train/zarr.json").read_text())["attributes"]["zarrfeed"]
    assert packed["packed"]["skipped"][0]["name"] == bucket.url("raw/images/s01.png")
    assert "/originals/" not in json.dumps(packed)
    compared = CliRunner().invoke(app, ["verify", "o.zarr/train", "--source"])
    assert compared.exit_code == 0, compared.output


@pytest.mark.usefixtures("_aws")
def test_an_address_to_pack_into_is_an_error_that_says_upload(originals, bucket):
    pairs = PairedFolders(originals / "images", originals / "masks")
    with pytest.raises(StoreError, match=r"--upload s3://b/o.zarr, or copy .*remote-store"):
        convert(pairs, "s3://b/o.zarr", split="train")
    require_target(bucket.url("new.zarr"), "train")
    with pytest.raises(SourceError, match="needed a zarrfeed dataset or a new path"):
        require_target(bucket.url("raw"), "train")


def test_only_what_has_changed_is_brought_again(originals, bucket, proxy, tmp_path):
    options = {"storage_options": bucket.through(proxy.url).options, "cache": tmp_path / "cache"}

    def brought() -> list[str]:
        fetched = [one.path for one in proxy.requests if one.method == "GET"]
        proxy.requests.clear()
        return sorted(path.rpartition("/")[2] for path in fetched if "list-type" not in path)

    folder = fetch_originals(bucket.url("raw/images"), **options)
    assert contents(Path(folder)) == contents(originals / "images")
    assert len(brought()) == 3
    assert fetch_originals(bucket.url("raw/images"), **options) == folder
    assert not brought()
    (originals / "images/s01.png").write_bytes(b"changed")
    (originals / "images/s02.png").unlink()
    (originals / "images/s09.png").write_bytes(b"new")
    bucket.upload(originals)
    bucket.store().delete("raw/images/s02.png")
    fetch_originals(bucket.url("raw/images"), **options)
    assert brought() == ["s01.png", "s09.png"]
    assert contents(Path(folder)) == contents(originals / "images")


def test_a_stopped_fetch_goes_on(originals, bucket, proxy, tmp_path):
    quick = {"max_retries": "1", "retry_timeout": "1"}
    options = {
        "storage_options": {**bucket.through(proxy.url).options, **quick},
        "cache": tmp_path / "cache",
    }
    proxy.add(Rule("s01.png", status=403))
    with pytest.raises(ReadError, match="check the credentials"):
        fetch_originals(bucket.url("raw/images"), concurrency=1, **options)
    proxy.clear()
    proxy.requests.clear()
    folder = fetch_originals(bucket.url("raw/images"), concurrency=1, **options)
    assert not [one for one in proxy.requests if one.path.endswith("s00.png")]
    assert contents(Path(folder)) == contents(originals / "images")


def test_globs_files_and_arrays_in_files_have_addresses(originals, bucket, tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(originals / "cells.h5", "w") as file:
        file["images"] = np.zeros((2, 8, 8, 3), np.uint8)
    bucket.upload(originals)
    options = {"storage_options": bucket.options, "cache": tmp_path / "cache"}
    glob = fetch_originals(bucket.url("raw/**/*0.png"), **options)
    assert glob.endswith("/**/*0.png")
    assert sorted(
        path.name for path in (tmp_path / "cache").rglob("*.png")
    ) == ["s00.png", "s00.png"]  # fmt: skip
    assert fetch_originals(bucket.url("raw/cells.h5"), **options).endswith("/cells.h5")
    inside = fetch_originals(bucket.url("raw/cells.h5:/images"), **options)
    assert inside.endswith("/cells.h5:/images")
    with pytest.raises(SourceError, match="found nothing there"):
        fetch_originals(bucket.url("raw/nothing"), **options)
    assert fetch_originals(originals) == str(originals)


def test_a_file_of_a_web_server(originals, published, tmp_path):
    url = published(originals)
    path = fetch_originals(f"{url}/images/s00.png", cache=tmp_path / "cache")
    assert path.endswith("/s00.png")
    with pytest.raises((SourceError, ReadError)):
        fetch_originals(f"{url}/images/", cache=tmp_path / "cache")


@pytest.mark.parametrize("key", ["../x.png", "a//b.png", "/etc/passwd", "a/./b", "a\\b", "a\0b"])
def test_names_that_leave_the_folder_are_refused(key):
    with pytest.raises(SourceError, match="whose names can be those of files"):
        require_name("s3://b", key)


def test_commands_that_read_take_addresses_with_their_options(bucket, tmp_path):
    packed = pack(tmp_path / "packed")
    url = bucket.upload(packed.store)
    options = [
        f"--storage-option={name}={value}"
        for name, value in bucket.options.items()
        if isinstance(value, str)
    ]
    cached = [*options, f"--cache={tmp_path / 'cache'}"]
    for line in (
        ["inspect", url, *cached],
        ["report", f"{url}/train", str(tmp_path / "r.html"), *cached],
        ["verify", url, *options],
    ):
        done = CliRunner().invoke(app, line)
        assert done.exit_code == 0, (done.output, done.exception)
    assert (tmp_path / "r.html").stat().st_size > 10_000
    assert not [
        path
        for path in (tmp_path / "cache").rglob("*")
        if path.is_file() and bucket.secret.encode() in path.read_bytes()
    ]
    wrong = CliRunner().invoke(app, ["inspect", url, "--storage-option", "hush"])
    assert wrong.exit_code == 2
    assert "hush" not in wrong.output
