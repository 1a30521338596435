"""``tile="auto"`` takes the tile of the dataset's other splits, since one model reads them all."""

from __future__ import annotations

import json

import pytest
import zarr

from cases import CaseArrays, pair
from zarrfeed import open_split
from zarrfeed_convert import convert, repack, verify
from zarrfeed_convert.shards.shard_record import ShardRecord
from zarrfeed_convert.splits.destination import destination_of

LARGE, SMALL = [(40, 50), (44, 50), (39, 20)], [(20, 9), (12, 16)]


def source(sizes):
    return CaseArrays({f"case{place}": pair(size, place) for place, size in enumerate(sizes)})


def pack(out, split, sizes, **options):
    return convert(
        source(sizes), out, split=split, classes=3, **{"tile": "auto", "workers": 1, **options}
    )


def tile_of(path):
    return open_split(path).tile_size


def reasons(report, what):
    return [each.reason for each in report.decisions if each.what == what]


def files(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_the_tile_of_another_split_is_taken(tmp_path):
    out = tmp_path / "o.zarr"
    pack(out, "train", LARGE, tile=(32, 16))
    report = pack(out, "val", SMALL)
    assert tile_of(out / "val") == (32, 16)
    assert reasons(report, "tile") == [
        "that of train, of the same dataset: 64% of the stored pixels are padding"
    ]
    assert not reasons(report, "other splits")
    assert verify(out / "val", source=source(SMALL), workers=1).ok
    alone = pack(tmp_path / "alone.zarr", "val", SMALL)
    assert tile_of(tmp_path / "alone.zarr/val") != (32, 16)
    assert reasons(alone, "tile")[0].startswith("pads least: ")


def test_a_split_is_packed_already_whatever_was_packed_since(tmp_path):
    out = tmp_path / "o.zarr"
    pack(out, "train", LARGE)
    pack(out, "val", SMALL, tile=(8, 8))
    assert pack(out, "train", LARGE).status == "already packed"
    assert tile_of(out / "train") != (8, 8)
    pack(out, "train", LARGE, overwrite=True)
    assert tile_of(out / "train") == (8, 8)


def test_a_tile_that_differs_from_that_of_another_split_is_told(tmp_path):
    out = tmp_path / "o.zarr"
    pack(out, "train", LARGE, tile=(16, 16))
    report = pack(out, "val", SMALL, tile=(8, 16))
    assert reasons(report, "other splits") == [
        "8x16, but train has 16x16: a model that reads whole tiles may need one size; use --tile "
        "16x16"
    ]
    assert "other splits: tile differs: 8x16, but train has 16x16" in str(report)


def test_splits_of_other_axes_or_of_samples_give_no_tile(tmp_path):
    out = tmp_path / "o.zarr"
    samples = [(image["image"], image["mask"]) for image in [pair((16, 16), 0)] * 2]
    convert(samples, out, split="samples", workers=1)
    destination = destination_of(out, "train")
    assert [*map(destination.tile_of, destination.others)] == [None]
    pack(out, "volumes", [(20, 30, 30)], overwrite=True)
    report = pack(out, "train", LARGE)
    assert reasons(report, "tile")[0].startswith("pads least")


def test_a_damaged_split_gives_no_tile(tmp_path):
    out = tmp_path / "o.zarr"
    pack(out, "train", LARGE)
    metadata = out / "train/image/zarr.json"
    whole = json.loads(metadata.read_text())
    for shape in ([9, 10**30, "x", 3], [9], "9", [9, -1, 0, 3], [9, 2.5, 8, 3]):
        metadata.write_text(json.dumps(whole | {"shape": shape}))
        assert destination_of(out, "val").tile_of("train") is None


@pytest.mark.parametrize("repacked", [False, True])
def test_a_stopped_run_keeps_its_tile_though_another_split_was_packed(
    tmp_path, monkeypatch, repacked
):
    pack(tmp_path / "in.zarr", "train", LARGE, tile=(10, 10))

    def run(out, **options):
        if not repacked:
            return pack(out, "train", LARGE, shard_size=1000, **options)
        inputs = tmp_path / "in.zarr/train"
        return repack(inputs, out, split="train", tile="auto", shard_size=1000, **options)

    run(tmp_path / "whole.zarr")
    out, save = tmp_path / "o.zarr", ShardRecord.save

    def stop(record, path):
        save(record, path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ShardRecord, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            run(out, workers=1)
    pack(out, "val", SMALL, tile=(8, 8))
    report = run(out)
    assert files(out / "train") == files(tmp_path / "whole.zarr/train")
    assert reasons(report, "other splits")[0].startswith(f"{report.fields[0].shape[1]}x")
    with monkeypatch.context() as patch:
        patch.setattr(ShardRecord, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            run(out, overwrite=True, workers=1)
    run(out, overwrite=True, restart=True)
    assert tile_of(out / "train") == (8, 8)


def test_repacked_cases_take_the_tile_of_splits_beside_them_but_not_their_own(tmp_path):
    out = tmp_path / "o.zarr"
    pack(out, "train", LARGE, tile=(10, 10))
    report = repack(out / "train", out, split="again", tile="auto", workers=1)
    assert tile_of(out / "again") != (10, 10)
    assert reasons(report, "tile")[0].startswith("pads least: ")
    other = tmp_path / "other.zarr"
    pack(other, "val", SMALL, tile=(10, 10))
    report = repack(out / "train", other, split="train", tile="auto", workers=1)
    assert reasons(report, "tile")[0].startswith("that of val, of the same dataset: ")
    assert tile_of(other / "train") == (10, 10)
    assert repack(out / "train", other, split="train", tile="auto").status == "already packed"
    assert verify(other).ok


def test_the_recorded_padding_is_that_which_the_decision_tells(tmp_path):
    pack(tmp_path / "o.zarr", "train", LARGE)
    [about] = [
        each["reason"]
        for each in open_split(tmp_path / "o.zarr/train").attributes["packed"]["decisions"]
        if each["what"] == "tile"
    ]
    image = zarr.open_array(tmp_path / "o.zarr/train/image")
    padded = open_split(tmp_path / "o.zarr/train").attributes["packed"]["coverage"]["padded"]
    share = padded / (image.shape[0] * image.shape[1] * image.shape[2])
    assert f"{share:.0%} of the stored pixels are padding" in about
