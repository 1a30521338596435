"""Commands do the same with a split in an object store as with its copy on the disk."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from PIL import Image
from typer.testing import CliRunner

from cases import CaseArrays, pair
from folders import contents
from packed import pack
from scripts import running
from zarrfeed.errors import SourceError, StoreError
from zarrfeed_convert import convert, repack
from zarrfeed_tools.application import app

if TYPE_CHECKING:
    from pathlib import Path

    from packed import Packed
    from servers.s3 import Bucket

pytest.importorskip("obstore")


@pytest.fixture
def packed(tmp_path: Path) -> Packed:
    return pack(tmp_path / "packed")


@pytest.fixture
def options(bucket: Bucket, tmp_path: Path) -> list[str]:
    """The options that open the bucket."""
    given = [
        f"--storage-option={name}={value}"
        for name, value in bucket.options.items()
        if isinstance(value, str)
    ]
    return [*given, f"--cache={tmp_path / 'cache'}"]


def run(*words: object) -> str:
    done = CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "300"})
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def described(split: Path) -> Any:
    return json.loads((split / "zarr.json").read_text())["attributes"]["zarrfeed"]


@pytest.mark.parametrize("codec", ["keep", "lz4"])
def test_repacking_an_address_gives_the_bytes_of_repacking_the_copy(
    codec: str, packed: Packed, bucket: Bucket, options: list[str], tmp_path: Path
) -> None:
    url = bucket.upload(packed.store)
    line = ["--split", "s", "--subset", "1:9", "--codec", codec, "--workers", "1"]
    run("repack", packed.split, tmp_path / "near.zarr", *line)
    run("repack", url, tmp_path / "far.zarr", *line, *options, "--cache-limit=64MiB")
    near, far = (contents(tmp_path / f"{name}.zarr") for name in ("near", "far"))
    said = far["s/zarr.json"].decode().replace(url, str(packed.store))
    assert json.loads(said) == json.loads(near["s/zarr.json"])
    assert url.encode() in far["s/zarr.json"]
    assert str(tmp_path / "cache").encode() not in b"".join(far.values())
    assert near.keys() == far.keys()
    assert [name for name in near if near[name] != far[name]] == ["s/zarr.json"]
    again = run("repack", url, tmp_path / "far.zarr", *line, *options)
    assert "already" in again
    run("verify", tmp_path / "far.zarr")


def test_near_and_far_splits_are_merged_by_two_processes(
    packed: Packed, bucket: Bucket, tmp_path: Path
) -> None:
    url = f"{bucket.upload(packed.store)}/train"
    reading = {"cache": tmp_path / "cache", "storage_options": bucket.options}
    merged = {"split": "s", "prefix_keys": True, "order": "stored"}
    near = pack(tmp_path / "other").store.rename(tmp_path / "other.zarr")
    repack([near, url], tmp_path / "m.zarr", workers=2, **merged, **reading)
    repack([near, packed.split], tmp_path / "n.zarr", workers=1, **merged)
    found, wanted = (contents(tmp_path / name) for name in ("m.zarr", "n.zarr"))
    assert [name for name in wanted if wanted[name] != found[name]] == ["s/zarr.json"]
    assert described(tmp_path / "m.zarr/s")["source"]["inputs"][1]["path"] == url


def test_cases_far_away_are_cut_into_other_tiles(bucket: Bucket, tmp_path: Path) -> None:
    arrays = {f"{number}": pair((40, 50), number) for number in range(3)}
    convert(CaseArrays(arrays), tmp_path / "c.zarr", split="t", tile=(32, 32), classes=3)
    url = bucket.upload(tmp_path / "c.zarr")
    reading = {"cache": tmp_path / "cache", "storage_options": bucket.options}
    for name, place, how in (("far", url, reading), ("near", tmp_path / "c.zarr", {})):
        repack(place, tmp_path / f"{name}.zarr", split="t", tile=(16, 16), workers=1, **how)
    found, wanted = (contents(tmp_path / name) for name in ("far.zarr", "near.zarr"))
    assert [name for name in wanted if wanted[name] != found[name]] == ["t/zarr.json"]


def test_a_damaged_sample_far_away_is_named_by_its_address(
    packed: Packed, bucket: Bucket, tmp_path: Path
) -> None:
    packed.array("digest")[3] = 7
    url = f"{bucket.upload(packed.store)}/train"
    reading = {"cache": tmp_path / "cache", "storage_options": bucket.options}
    with pytest.raises(SourceError, match=rf"{url}/.*{packed.keys[3]}") as caught:
        repack(url, tmp_path / "o.zarr", split="s", workers=1, **reading)
    assert str(tmp_path / "cache") not in str(caught.value)


def test_what_repacking_needs_is_said_of_addresses_too(
    packed: Packed, bucket: Bucket, tmp_path: Path
) -> None:
    repack(packed.split, packed.store, split="val", workers=1)
    url = bucket.upload(packed.store)
    reading = {"cache": tmp_path / "cache", "storage_options": bucket.options}
    with pytest.raises(SourceError, match=f"such as {url}/train"):
        repack(url, tmp_path / "o.zarr", split="s", **reading)
    with pytest.raises(StoreError, match=f"{url}/trian.*no such"):
        repack(f"{url}/trian", tmp_path / "o.zarr", split="s", **reading)


def test_preview_draws_the_same_from_an_address(
    packed: Packed, bucket: Bucket, options: list[str], tmp_path: Path
) -> None:
    url = bucket.upload(packed.store)
    for place, name, how in ((packed.store, "near.png", []), (url, "far.png", options)):
        said = run("preview", place, "--patches", "4x4", "--out", tmp_path / name, *how)
        assert "o.zarr/train" in said
    near, far = (np.asarray(Image.open(tmp_path / name)) for name in ("near.png", "far.png"))
    np.testing.assert_array_equal(near, far)


def test_report_names_the_address(packed: Packed, bucket: Bucket, options: list[str]) -> None:
    url = bucket.upload(packed.store)
    assert json.loads(run("report", url, "--json", *options))["store"] == url


def test_inspect_names_the_address(packed: Packed, bucket: Bucket, options: list[str]) -> None:
    url = bucket.upload(packed.store)
    found = json.loads(run("inspect", url, "--json", *options))
    assert [split["path"] for split in found] == [f"{url}/train"]


_PREDICTION = """
import sys
import keras
from typer.testing import CliRunner
from zarrfeed_tools.application import app

near, far, model, out, *options = sys.argv[1:]
inputs = keras.Input((None, None, 3))
keras.Model(inputs, keras.layers.Dense(3)(inputs)).save(model)
for place, name, how in ((near, "near", []), (far, "far", options)):
    line = ["predict", place, model, f"{out}/{name}.zarr", "--size", "16x16", *how]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 0, (done.output, done.exception)
"""


def test_predictions_are_those_of_the_local_store(
    bucket: Bucket, options: list[str], tmp_path: Path
) -> None:
    arrays = {f"{number}": pair((40, 50), number) for number in range(2)}
    convert(CaseArrays(arrays), tmp_path / "c.zarr", split="t", tile=(32, 32), classes=3)
    url = f"{bucket.upload(tmp_path / 'c.zarr')}/t"
    model = tmp_path / "model.keras"
    with running(_PREDICTION, tmp_path / "c.zarr/t", url, model, tmp_path, *options) as process:
        said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    near, far = (
        np.asarray(zarr.open_array(str(tmp_path / f"{name}.zarr/t/prediction"))[:])
        for name in ("near", "far")
    )
    assert len(np.unique(near)) > 1
    np.testing.assert_array_equal(near, far)
