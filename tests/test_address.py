"""What is not on this machine is an error that says what to do, never a folder called ``s3:``."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from zarrfeed import FrontEnd, StoreError, list_splits, open_cases, open_split
from zarrfeed.errors import ReadError
from zarrfeed.store.address import local_path
from zarrfeed_convert import FORMATS, PairedFolders, convert, factory_of, repack, verify
from zarrfeed_tools.cli import app

ADDRESSES = ["s3://bucket/o.zarr", "gs://b/o.zarr", "http://host/o.zarr", "simplecache::s3://b/o"]
UNKNOWN = ["simplecache::s3://b/o", "hdfs://host/o.zarr", "ftp://host/o.zarr"]
# A server that is not there, and that is asked once.
NOWHERE = {"endpoint": "http://127.0.0.1:9", "skip_signature": True, "max_retries": 0}


@pytest.fixture(autouse=True)
def _here(tmp_path, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZARRFEED_CACHE", str(tmp_path_factory.mktemp("cache")))


def samples():
    return [(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8))]


@pytest.mark.parametrize("as_path", [str, Path])
@pytest.mark.parametrize("address", ADDRESSES)
def test_packing_into_an_address_is_refused(address, as_path):
    convert(samples(), "here.zarr", split="s", classes=1, workers=1)
    before = set(Path().rglob("*"))
    place = as_path(address)
    for attempt in (
        lambda: convert(samples(), place, split="s", classes=1, workers=1),
        lambda: repack("here.zarr/s", place, split="s"),
    ):
        with pytest.raises(StoreError, match=r"://.*needed .*local folder.*copy "):
            attempt()
    assert set(Path().rglob("*")) == before


@pytest.mark.parametrize("as_path", [str, Path])
@pytest.mark.parametrize("address", UNKNOWN)
def test_addresses_of_unknown_kinds_are_refused(address, as_path):
    place = as_path(address)
    for attempt in (
        open_split, list_splits, open_cases, verify, lambda path: FrontEnd(path, 1),
        lambda path: repack(path, "new.zarr", split="s"),
    ):  # fmt: skip
        with pytest.raises(StoreError, match=r"://.*needed the path of a local folder.*copy it"):
            attempt(place)
    assert not list(Path().iterdir())


@pytest.mark.parametrize("as_path", [str, Path])
def test_what_cannot_be_reached_is_an_error_that_names_the_address(as_path):
    place = as_path("s3://bucket/o.zarr")
    for attempt in (
        open_split, list_splits, open_cases, verify, lambda p, **o: FrontEnd(p, 1, **o),
        lambda p, **o: repack(p, "new.zarr", split="s", **o),
    ):  # fmt: skip
        said = r"s3://bucket/(o.zarr/)?zarr.json: cannot be reached.*remote-store"
        with pytest.raises((StoreError, ReadError), match=said):
            attempt(place, storage_options=NOWHERE)
    assert not list(Path().iterdir())


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("zarr", "ome-zarr")])
def test_formats_that_read_local_files_say_so(name):
    with pytest.raises(StoreError, match=r"s3://bucket/x: needed the path of a local"):
        factory_of(name)(images="s3://bucket/x", masks="s3://bucket/y")


@pytest.mark.parametrize(
    "arguments",
    [
        ("convert", ADDRESSES[0], "--split", "s", "--images", "i", "--masks", "m"),
        ("repack", "i.zarr", ADDRESSES[0], "--split", "s"),
        ("bench", ADDRESSES[0]),
        ("demo", "--out", ADDRESSES[0]),
        ("preview", "i.zarr", "--out", "s3://bucket/o.zarr/preview.png"),
        ("report", "i.zarr", "s3://bucket/o.zarr/report.html"),
        ("predict", "i.zarr", "model.keras", ADDRESSES[0]),
    ],
    ids=lambda arguments: arguments[0],
)
def test_commands_that_need_a_local_folder_refuse_addresses(arguments):
    for folder in ("i", "m"):
        os.mkdir(folder)
        Path(folder, "a.png").touch()
    result = CliRunner().invoke(app, list(arguments))
    assert isinstance(result.exception, StoreError), result.output
    assert re.match(r"s3://bucket/o\.zarr[^:]*: needed .* local ", str(result.exception))
    assert "remote-store" in str(result.exception)
    assert not Path("s3:").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("repack", ADDRESSES[0], "new.zarr", "--split", "s"),
        ("verify", ADDRESSES[0]),
        ("inspect", ADDRESSES[0]),
        ("preview", ADDRESSES[0]),
        ("report", ADDRESSES[0], "r.html"),
        ("copy", ADDRESSES[0], "new.zarr"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_commands_say_that_a_server_cannot_be_reached(arguments):
    options = ["endpoint=http://127.0.0.1:9", "skip_signature=true", "max_retries=0"]
    line = [*arguments, *(f"--storage-option={option}" for option in options)]
    result = CliRunner().invoke(app, line)
    assert isinstance(result.exception, ReadError), result.output
    assert "s3://bucket/o.zarr" in str(result.exception)
    assert "cannot be reached" in str(result.exception)
    assert not Path("s3:").exists()
    assert not Path("new.zarr/s").exists()


def test_a_local_folder_of_that_name_is_told():
    Path("s3:/bucket").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"local folder of that name is \./s3:/bucket"):
        local_path("s3://bucket")
    source = PairedFolders
    with pytest.raises(StoreError, match=r"file://data/x: .*give the path alone: /data/x"):
        source("file:///data/x", "m")


def test_a_cache_is_no_address():
    with pytest.raises(StoreError, match=r"s3://b/c: needed a folder on a local disk as cache="):
        open_split("s3://bucket/o.zarr/s", cache="s3://b/c")


def test_an_open_split_is_short_in_print_and_no_path():
    convert(samples(), "here.zarr", split="s", classes=1, workers=1)
    split = open_split("here.zarr/s")
    assert str(split) == (
        f"Split('{Path.cwd() / 'here.zarr/s'}': image uint8[1, 4, 4, 3], mask uint8[1, 4, 4])"
    )
    with pytest.raises(TypeError, match=r"give its address, '.*here\.zarr/s'"):
        FrontEnd(split, 1)
