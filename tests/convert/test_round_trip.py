"""What was packed is what other readers of Zarr find, down to the byte and the pixel."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import tensorstore
import xxhash
import zarr
from PIL import Image

from zarrfeed import ZarrSequence
from zarrfeed.store.array_metadata import parse_array
from zarrfeed_convert import PairedFolders, convert
from zarrfeed_convert.header import Header
from zarrfeed_convert.shards.codecs import encoder
from zarrfeed_convert.shards.field_layout import FieldLayout
from zarrfeed_convert.shards.shard_file import ShardFile
from zarrfeed_convert.source import Source
from zarrfeed_convert.splits.split_writer import write_array


class Arrays(Source):
    """A source of arrays; picklable, as every source."""

    def __init__(self, images, masks):
        self.images, self.masks = images, masks

    @property
    def keys(self):
        return [f"s{place}" for place in range(len(self.images))]

    def describe(self):
        return {"kind": "arrays"}

    def names(self, sample):
        return f"image {sample}", f"mask {sample}"

    def probe(self, sample):
        image, mask = self.images[sample], self.masks[sample]
        return Header.of_pair(image.shape, str(image.dtype), mask.shape)

    def read(self, sample):
        return self.images[sample], self.masks[sample]

    def read_mask(self, sample):
        return self.masks[sample]


def arrays(count, shape=(6, 5, 3), dtype="uint8", mask_dtype="uint8"):
    rng = np.random.default_rng(count)
    images = (rng.random((count, *shape)) * 200).astype(dtype)
    masks = rng.integers(0, 3, (count, *shape[:2])).astype(mask_dtype)
    masks[:, 0, :3] = [0, 1, 2]
    return Arrays(images, masks)


def by_tensorstore(path):
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}}
    return tensorstore.open(spec).result().read().result()


def files_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


CASES = list(
    itertools.product(
        ["uint8", "uint16", "float32"],
        ["raw", "blosc-lz4", "blosc-lz4hc", "zstd-1"],
        [(1, 1), (1, 4), (3, 3), (2, 6)],
        [6, 7],
    )
)


@pytest.mark.parametrize(("dtype", "codec", "grid", "count"), CASES)
def test_our_shards_are_the_ones_that_others_read(tmp_path, dtype, codec, grid, count):
    chunk_rows, shard_rows = grid
    values = (np.random.default_rng(3).random((count, 5, 4, 3)) * 250).astype(dtype)
    values[0] = 0  # a chunk of fill values only
    layout = FieldLayout("image", (5, 4, 3), np.dtype(dtype), codec, chunk_rows, shard_rows)
    write_array(tmp_path, layout, samples=count, spatial_axes=2)
    for number, start in enumerate(range(0, count, shard_rows)):
        path = tmp_path / "image" / "c" / str(number) / "0/0/0"
        shard = values[start : start + shard_rows]
        with ShardFile(
            path, chunks=shard_rows // chunk_rows, encode=encoder(codec, values.itemsize)
        ) as file:
            for first in range(0, len(shard), chunk_rows):
                chunk = np.zeros((chunk_rows, 5, 4, 3), dtype)
                part = shard[first : first + chunk_rows]
                chunk[: len(part)] = part
                file.append(chunk)
    np.testing.assert_array_equal(zarr.open_array(str(tmp_path / "image"))[:], values)
    np.testing.assert_array_equal(by_tensorstore(tmp_path / "image"), values)


def test_a_shard_that_fails_leaves_no_file(tmp_path):
    file = ShardFile(tmp_path / "s" / "0", chunks=1, encode=encoder("raw", 1))
    file.append(np.zeros(3, np.uint8))
    file.__exit__(RuntimeError, RuntimeError(), None)
    assert not list((tmp_path / "s").iterdir())


@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(
    ("codec", "chunk", "shard"), [("lz4", None, None), ("zstd", 3, 300), ("raw", 1, 1)]
)
def test_packed_splits_hold_the_sources_pixels_for_every_reader(
    tmp_path, count, channels, dtype, codec, chunk, shard
):
    source = arrays(count, (6, 5, channels), dtype)
    report = convert(
        source,
        tmp_path / "o.zarr",
        split="train",
        codec=codec,
        chunk_samples=chunk,
        shard_size=shard,
        workers=1,
    )
    split = zarr.open_group(str(tmp_path / "o.zarr/train"), mode="r")
    keys = [bytes(row).rstrip(b"\0").decode() for row in split["key"][:]]
    assert sorted(keys) == sorted(source.keys)
    order = [source.keys.index(key) for key in keys]
    for name, expected in (("image", source.images), ("mask", source.masks)):
        np.testing.assert_array_equal(split[name][:], expected[order])
        np.testing.assert_array_equal(
            by_tensorstore(tmp_path / "o.zarr/train" / name), expected[order]
        )
        metadata = json.loads((tmp_path / "o.zarr/train" / name / "zarr.json").read_text())
        assert parse_array(metadata, name=name).indirect is None
    with ZarrSequence(tmp_path / "o.zarr/train", 3, workers=0) as sequence:
        for batch in range(len(sequence)):
            rows = [source.keys.index(key) for key in sequence.batch_keys(batch)]
            image, mask = sequence[batch]
            np.testing.assert_array_equal(image, source.images[rows])
            np.testing.assert_array_equal(mask, source.masks[rows])
            assert image.dtype == dtype
    for place, row in enumerate(order):
        digest = xxhash.xxh3_64(source.images[row].tobytes() + source.masks[row].tobytes())
        assert int(split["digest"][place]) == digest.intdigest()
        counts = np.bincount(source.masks[row].ravel(), minlength=3)
        assert split["class_pixels"][place].tolist() == counts.tolist()
    assert split["image"].metadata.dimension_names == ("sample", "y", "x", "channel")
    assert split["mask"].metadata.dimension_names == ("sample", "y", "x")
    assert report.packed == count
    assert sum(row.share for row in report.classes) == pytest.approx(1)


def test_the_store_is_the_same_for_any_number_of_workers_and_in_every_run(tmp_path, write_pairs):
    pairs = PairedFolders(*write_pairs(40, shape=(32, 32, 3)))
    stores = []
    for run, workers in enumerate([1, 1, 2]):
        out = tmp_path / f"{run}.zarr"
        convert(pairs, out, split="train", chunk_samples=2, shard_size=20_000, workers=workers)
        stores.append(files_of(out))
    assert len([name for name in stores[0] if name.startswith("train/image/c/")]) > 4
    assert stores[0] == stores[1]
    assert stores[0] == stores[2]


def test_source_order_is_sorted_and_a_seed_changes_the_other(tmp_path):
    source = arrays(9)

    def keys(name, **options):
        convert(source, tmp_path / name, split="s", workers=1, **options)
        rows = zarr.open_array(str(tmp_path / name / "s" / "key"))[:]
        return [bytes(row).decode() for row in rows]

    assert keys("a", order="source") == source.keys
    assert keys("b") != keys("c", seed=1)


def test_what_was_decided_is_recorded(tmp_path):
    report = convert(arrays(5), tmp_path / "o", split="train", workers=1, ignore=255)
    root = zarr.open_group(str(tmp_path / "o"), mode="r")
    assert root.attrs["zarrfeed"] == {"format": 1, "classes": ["0", "1", "2"], "ignore": 255}
    split = root["train"].attrs["zarrfeed"]
    assert split["fields"] == ["image", "mask"]
    assert split["samples"] == 5
    assert split["source"] == {"kind": "arrays"}
    assert split["packed"]["settings"]["order"] == "shuffled"
    reasons = {entry["what"]: entry["reason"] for entry in split["packed"]["decisions"]}
    assert [*reasons, "workers"] == [decision.what for decision in report.decisions]
    assert all(reasons.values())


def test_ids_above_255_are_stored_in_16_bits(tmp_path):
    source = arrays(3, mask_dtype="uint16")
    source.masks[0, 3, 3] = 400
    convert(source, tmp_path / "o", split="s", classes=300, ignore=400, workers=1)
    assert zarr.open_array(str(tmp_path / "o/s/mask")).dtype == np.uint16


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_ends_at_all_samples(tmp_path, write_pairs, workers):
    told = []
    convert(
        PairedFolders(*write_pairs(12)),
        tmp_path / "o",
        split="s",
        workers=workers,
        progress=lambda what, done, total: told.append((what, done, total)),
    )
    assert ("packing", 12, 12) in told
    assert ("finding classes", 12, 12) in told


def test_camvid_pixels_are_what_pillow_decodes(tmp_path, camvid):
    pairs = PairedFolders(camvid / "val" / "0016E5_079*.png", camvid / "valannot" / "0016E5_079*")
    report = convert(pairs, tmp_path / "o", split="val", classes=11, ignore=11, workers=2)
    assert report.found >= 15
    split = zarr.open_group(str(tmp_path / "o/val"), mode="r")
    keys = [bytes(row).rstrip(b"\0").decode() for row in split["key"][:]]
    assert sorted(keys) == pairs.keys
    for place, key in enumerate(keys):
        for field, folder in (("image", "val"), ("mask", "valannot")):
            expected = np.array(Image.open(camvid / folder / f"{key}.png"))
            np.testing.assert_array_equal(split[field][place], expected)
