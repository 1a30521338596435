"""``zarrfeed bench`` measures a real store, and ends with the right status. No timing decides."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

from packed import pack
from stores import traced_pixels, write_split
from zarrfeed import FrontEnd, ReadError, StoreError, WorkerError, open_split
from zarrfeed_tools.bench import cold
from zarrfeed_tools.bench.decoding import decode, encoded_chunks
from zarrfeed_tools.bench.turn import Consumer, EpochContent
from zarrfeed_tools.bench.word_sums import sum_of_words
from zarrfeed_tools.cli import app

if TYPE_CHECKING:
    from pathlib import Path

# A batch that is an epoch: however slow the machine is, whole epochs are seen.
QUICK = ("--seconds", "0.02", "--rounds", "1", "--batch-size", "22")
CODECS: dict[str, Any] = {
    "blosc": zarr.codecs.BloscCodec(cname="lz4"),
    "zstd": zarr.codecs.ZstdCodec(),
    "gzip": zarr.codecs.GzipCodec(),
}


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


def measured(*arguments: object) -> dict[str, Any]:
    result = invoke(*QUICK, "--json", *arguments)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_store_is_measured_beside_the_limits(split: Path) -> None:
    found = measured(split, "--workers", "2,0,1")
    settings = [(r["setting"]["workers"], r["setting"]["processes"]) for r in found["rows"]]
    assert settings == [(0, False), (1, False), (2, False), (1, True), (2, True)]
    for row in found["rows"]:
        rate = row["samples_per_second"]
        assert 0 < rate["least"] <= rate["median"] <= rate["most"]
        assert row["batches_per_second"]["median"] == pytest.approx(rate["median"] / 22)
        assert row["megabytes_per_second"]["median"] == pytest.approx(rate["median"] * 192 / 1e6)
        assert 0 < row["wait_p50"] <= row["wait_p95"] <= row["wait_p99"]
        assert row["first_batch"]["median"] > 0
        assert row["cpu_per_1000"] >= 0
        assert row["epochs"] >= 1
        assert sum(row["shares"].values()) == pytest.approx(1)
    assert {limit["bound"] for limit in found["limits"]} == {
        "memory", "decode", "python", "consumer",
    }  # fmt: skip
    assert all(limit["batches_per_second"]["least"] > 0 for limit in found["limits"])
    verdict = found["verdict"]
    assert verdict["shares"].keys() == {limit["way"] for limit in found["limits"]}
    assert verdict["best"]["workers"] > 0
    assert "22 samples, and the sum of all bytes equals that of the store" in found["checked"]
    assert found["machine"]["cores"] >= 1
    assert found["store"]["samples"] == 22
    assert found["store"]["fields"]["image"]["sample_shape"] == [8, 6, 3]
    made = eval(verdict["sequence"], {"ZarrSequence": FrontEnd})
    with made as sequence:
        assert sequence.samples == 22


def test_raw_stores_have_nothing_to_decode_and_workers_can_be_of_one_kind(tmp_path: Path) -> None:
    path = write_split(tmp_path / "s", traced_pixels(22), compressors=None)
    found = measured(path, "--workers", "1", "--threads", "--shuffle", "block")
    assert {limit["bound"] for limit in found["limits"]} == {"memory", "python", "consumer"}
    assert [row["setting"] for row in found["rows"]] == [{"workers": 1, "processes": False}]
    assert found["verdict"]["sequence"] == (
        f"ZarrSequence({str(path)!r}, 22, shuffle='block', workers=1)"
    )


def test_a_transform_is_measured_alone(split: Path, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "bench_augment.py").write_text(
        "def flip(image, mask, rng):\n    return image[:, ::-1], mask[:, ::-1]\n"
        "def same(images, masks, rng):\n    return images, masks\n"
    )
    monkeypatch.chdir(tmp_path)
    found = measured(
        split, "--transform", "bench_augment:flip", "--batch-transform", "bench_augment:same",
        "--workers", "1", "--samples", "9",
    )  # fmt: skip
    assert "transform" in {limit["bound"] for limit in found["limits"]}
    assert found["job"]["transform"] == "bench_augment:flip"
    assert "transform=flip, batch_transform=same" in found["verdict"]["sequence"]
    assert found["checked"].endswith(": 9 samples")


@pytest.mark.skipif(not cold.SUPPORTED, reason="needs posix_fadvise")
def test_cold_data_has_the_disk_as_a_limit(split: Path) -> None:
    found = measured(
        split, "--cold", "--workers", "0,1", "--fields", "image", "--batch-size", "4"
    )  # fmt: skip
    assert "disk" in {limit["bound"] for limit in found["limits"]}
    assert list(found["store"]["fields"]) == ["image"]
    assert found["job"]["cold"] is True
    assert "fields=['image']" in found["verdict"]["sequence"]
    result = invoke(split, "--cold", "--batch-size", 22)
    assert result.exit_code == 2
    assert "at least two batches" in result.output


def test_what_zarr_python_reads_is_measured_warm_and_said(tmp_path: Path) -> None:
    pixels = traced_pixels(9)
    path = write_split(tmp_path / "s", pixels)
    image = {"data": pixels["image"], "chunks": (1, 4, 6, 3)}
    zarr.open_group(str(path), mode="a").create_array("image", overwrite=True, **image)
    found = measured(path, "--workers", "1", "--threads")
    assert "read chunk by chunk" in found["notes"][0]
    assert found["store"]["stored_bytes_per_sample"] is None
    if cold.SUPPORTED:
        result = invoke(path, "--cold")
        assert result.exit_code == 2
        assert "without ['image']" in result.output


@pytest.mark.skipif(not cold.SUPPORTED, reason="needs posix_fadvise")
def test_dropped_files_are_read_from_one_end_to_the_other(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(1 << 20))
    cold.drop([file])
    share = cold.cached_share([file])
    assert share is None or 0 <= share <= 1
    assert cold.sequential_rate([file], seconds=60) > 0
    assert cold.cached_share([file]) in (None, 1)


def test_of_a_dataset_train_is_meant_or_its_only_split(tmp_path: Path) -> None:
    dataset = tmp_path / "d.zarr"
    zarr.open_group(str(dataset), mode="w")
    write_split(dataset / "val", traced_pixels(9))
    only = ("--workers", "1", "--threads")
    assert measured(dataset, *only)["store"]["path"] == str(dataset / "val")
    write_split(dataset / "test", traced_pixels(9))
    result = invoke(dataset)
    assert result.exit_code == 2
    assert "name one of test, val, like" in result.output
    write_split(dataset / "train", traced_pixels(9))
    assert measured(dataset, *only)["store"]["path"] == str(dataset / "train")


def test_people_get_tables_that_fit_80_columns(tmp_path: Path, monkeypatch: Any) -> None:
    store = pack(tmp_path, "lz4").store
    monkeypatch.setenv("COLUMNS", "80")
    result = invoke(store, *QUICK, "--workers", "0,1")
    assert result.exit_code == 0, result.output
    for part in ("1 process", "copying from RAM", "Best: 1 ", "Bound by", "ZarrSequence('"):
        assert part in result.stdout
    assert "11 samples" in result.stdout
    assert "…" not in result.stdout
    assert "reading once: 11 of 11 samples" in result.stderr
    assert "turns" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--workers", "1,two"), "needed numbers like 0,1,2,4, found '1,two'"),
        (("--workers", "-1"), "needed numbers"),
        (("--transform", "nothing"), "needed MODULE:FUNCTION"),
        (("--fields", "image,depth"), "needed a field 'depth'"),
        (("--shuffle", "maybe"), "'maybe'"),
        (("--batch-size", "0"), "--batch-size"),
    ],
)
def test_wrong_usage_ends_with_2(split: Path, arguments: tuple[str, ...], said: str) -> None:
    result = invoke(split, *arguments)
    assert result.exit_code == 2, result.output
    assert said in result.output


def test_failures_of_the_data_or_the_transform_are_errors(split: Path, tmp_path: Path) -> None:
    assert isinstance(invoke(tmp_path / "nothing").exception, StoreError)
    failing = invoke(split, *QUICK, "--transform", "transforms:raises_on_nine", "--shuffle", "no")
    assert isinstance(failing.exception, WorkerError)
    assert "nine is not welcome" in str(failing.exception)


def test_an_epoch_that_lost_a_sample_is_told(split: Path) -> None:
    whole = sum_of_words(list(traced_pixels(22).values()))
    for expected in (EpochContent(22, whole), EpochContent(22, None), EpochContent(21, None)):
        with FrontEnd(split, 4, workers=1) as sequence:
            consumer = Consumer(sequence, expected)
            for _ in range(5):
                consumer.take()
            if expected.samples == 22:
                consumer.take()
                assert (consumer.epochs, consumer.samples) == (1, 22)
                continue
            with pytest.raises(ReadError, match="did not hold every sample once"):
                consumer.take()
    with FrontEnd(split, 4, workers=0) as sequence:
        consumer = Consumer(sequence, EpochContent(22, whole + 1))
        for _ in range(5):
            consumer.take()
        with pytest.raises(ReadError, match="the sum of all words"):
            consumer.take()


@pytest.mark.parametrize("codec", list(CODECS))
@pytest.mark.parametrize(("chunk", "shard"), [(1, 4), (2, 4), (3, None)])
def test_the_decoding_limit_decodes_what_the_store_holds(
    tmp_path: Path, codec: str, chunk: int, shard: int | None
) -> None:
    pixels = traced_pixels(10)
    path = write_split(
        tmp_path / "s", pixels, chunk=chunk, shard=shard, compressors=CODECS[codec]
    )  # fmt: skip
    for name, layout in open_split(path).layouts.items():
        chunks = encoded_chunks(path / name, layout, samples=7)
        assert len(chunks) == -(-7 // chunk)
        found = np.empty((len(chunks) * chunk, *layout.sample_shape), np.uint8)
        for number, source in enumerate(chunks):
            room = found[number * chunk : (number + 1) * chunk].reshape(-1)
            room[:] = 0
            if source is not None:  # zarr-python leaves chunks of fill values out
                decode(layout.compressor, source, room.data)
        np.testing.assert_array_equal(found[:7], pixels[name][:7])


def test_the_real_command_loads_no_keras(split: Path) -> None:
    program = (
        "import sys; from zarrfeed_tools.cli import main\n"
        "try: main()\n"
        "except SystemExit as e: print([m for m in ('keras', 'tensorflow') if m in sys.modules])"
    )
    arguments = ["bench", str(split), *QUICK, "--workers", "1", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    found, loaded = done.stdout.splitlines()
    assert json.loads(found)["rows"]
    assert loaded == "[]"
    assert done.returncode == 0, done.stderr


def test_the_help_teaches() -> None:
    said = invoke("--help").stdout
    assert "zarrfeed bench camvid.zarr --cold --shuffle block" in said
    assert "what bounds it" in said
