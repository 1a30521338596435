"""The page on the store: its reader reads what zarr-python reads; it names all that is written."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pytest
import xxhash
import zarr

from doc_blocks import blocks_of
from prediction_models import Bright
from specified_writer import write_field
from zarrfeed import FrontEnd, GridPatches, predict
from zarrfeed.store.schema import DESCRIPTIVE
from zarrfeed_convert import convert, open_source, repack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "specification.md").read_text("utf-8")
[CODE] = [block.code for block in blocks_of(PAGE) if "class Split" in block.code]
Sample = dict[str, Any]


@pytest.fixture(scope="module")
def reader() -> dict[str, Any]:
    """What the page's first block defines."""
    names: dict[str, Any] = {}
    exec(compile(CODE, "specification.md", "exec"), names)
    return names


def samples(size: tuple[int, ...], count: int, *, seed: int = 0) -> list[Sample]:
    random = np.random.default_rng(seed)
    return [
        {
            "image": random.integers(-1000, 1000, (*size, 2), "int16"),
            "mask": random.integers(0, 3, size).astype("uint8"),
            "depth": random.random(size).astype("float32"),
        }
        for _ in range(count)
    ]


def cases(axes: int) -> list[Sample]:
    sizes = [(20, 33, 17), (5, 32, 40), (16, 16, 16)]
    return [samples(size[-axes:], 1, seed=size[0])[0] for size in sizes]


def pack(folder: Path, name: str, given: list[Sample], **options: Any) -> Path:
    convert(given, folder / f"{name}.zarr", split="train", classes=3, workers=1, **options)
    return folder / f"{name}.zarr" / "train"


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Splits of samples and cases in every codec; the last shard and the last chunk are ragged."""
    folder = tmp_path_factory.mktemp("specified")
    small: dict[str, Any] = {"chunk_samples": 2, "shard_size": 4 * 12 * 10 * 2 * 2}
    flat, deep = samples((12, 10), 11), samples((6, 12, 10), 5)
    return {
        **{
            f"samples {codec}": pack(folder, codec, flat, ignore=255, codec=codec, **small)
            for codec in ("raw", "lz4", "zstd")
        },
        "volumes": pack(folder, "volumes", deep, codec="zstd"),
        "cases 2-D": pack(folder, "images", cases(2), tile=(16, 16), codec="lz4", ignore=9),
        "cases 3-D": pack(
            folder, "scans", cases(3), tile=(8, 16, 16), codec="raw", shard_size=40_000
        ),
    }


def test_the_stores_have_several_files(stores: dict[str, Path]) -> None:
    """So that what follows tests more than one shard and chunk."""
    files = sorted(stores["samples raw"].glob("image/c/*/0/0/0"))
    assert [path.parts[-4] for path in files] == ["0", "1", "2"]
    array = zarr.open_array(stores["samples raw"] / "image")
    assert (array.shards, array.chunks) == ((4, 12, 10, 2), (2, 12, 10, 2))
    assert len(list(stores["cases 3-D"].glob("image/c/*"))) > 1


KINDS = ("samples raw", "samples lz4", "samples zstd", "volumes", "cases 2-D", "cases 3-D")


@pytest.mark.parametrize("kind", KINDS)
def test_the_reader_reads_what_zarr_python_reads(
    kind: str, stores: dict[str, Path], reader: dict[str, Any]
) -> None:
    split, group = reader["Split"](stores[kind]), zarr.open_group(stores[kind], mode="r")
    assert split.fields == ["image", "mask", "depth"]
    for name in split.fields:
        stored = np.asarray(group[name])
        read = np.stack([split[name][row] for row in range(len(stored))])
        np.testing.assert_array_equal(read, stored, strict=False)
        assert read.dtype == stored.dtype
    described = {name for name, _ in group.arrays()} - set(split.fields)
    assert {"digest", "class_pixels", "channel_sums", "shard_files"} < described
    for name in described:
        np.testing.assert_array_equal(split[name].all(), np.asarray(group[name]))


@pytest.mark.parametrize("axes", [2, 3])
def test_the_reader_puts_cases_together(
    axes: int, stores: dict[str, Path], reader: dict[str, Any]
) -> None:
    split = reader["Split"](stores[f"cases {axes}-D"])
    given = cases(axes)
    assert sorted(split.names()) == ["00000000", "00000001", "00000002"]
    for m, name in enumerate(split.names()):
        for field, values in given[int(name)].items():
            np.testing.assert_array_equal(split.case(m, field), values)


def test_the_reader_finds_a_flipped_bit_in_an_index(
    stores: dict[str, Path], reader: dict[str, Any], tmp_path: Path
) -> None:
    broken = shutil.copytree(stores["samples raw"].parent, tmp_path / "broken.zarr") / "train"
    path = broken / "image/c/1/0/0/0"
    stored = bytearray(path.read_bytes())
    stored[-10] ^= 4
    path.write_bytes(stored)
    with pytest.raises(ValueError, match="not those that were written"):
        reader["Split"](broken)["image"][5]


def test_the_reader_refuses_a_newer_format(
    stores: dict[str, Path], reader: dict[str, Any], tmp_path: Path
) -> None:
    newer = shutil.copytree(stores["samples raw"].parent, tmp_path / "newer.zarr")
    text = (newer / "zarr.json").read_text()
    (newer / "zarr.json").write_text(text.replace('"format": 1', '"format": 2'))
    with pytest.raises(ValueError, match="needed format 1"):
        reader["Split"](newer / "train")


def test_the_reader_needs_neither_zarr_nor_zarrfeed() -> None:
    imported = {
        name
        for node in ast.walk(ast.parse(CODE))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None) or node.names[0].name]
    }
    assert imported == {"json", "pathlib", "numpy", "numcodecs"}
    assert len(CODE.splitlines()) < 100


def test_crc32c_is_that_of_the_page(reader: dict[str, Any]) -> None:
    assert reader["checked"](b"123456789" + (0xE3069283).to_bytes(4, "little")) == b"123456789"


@pytest.mark.parametrize("kind", KINDS)
def test_digests_are_as_the_page_says(
    kind: str, stores: dict[str, Path], reader: dict[str, Any]
) -> None:
    split = reader["Split"](stores[kind])
    for row, digest in enumerate(split["digest"].all()):
        pixels = b"".join(
            split[name][row].astype(split[name].dtype.newbyteorder("<")).tobytes()
            for name in split.fields
        )
        assert xxhash.xxh3_64_intdigest(pixels) == digest
    for shard, facts in enumerate(split["shard_files"].all()):
        for name, (nbytes, digest) in zip(split.fields, facts, strict=True):
            zeros = "/0" * (len(split[name].shape) - 1)
            content = (stores[kind] / name / f"c/{shard}{zeros}").read_bytes()
            assert (len(content), xxhash.xxh3_64_intdigest(content)) == (nbytes, digest)


@pytest.mark.parametrize("kind", ["samples raw", "cases 2-D", "cases 3-D"])
def test_counts_and_sums_are_as_the_page_says(
    kind: str, stores: dict[str, Path], reader: dict[str, Any]
) -> None:
    """Of cases, without the padding."""
    split = reader["Split"](stores[kind])
    whole = range(split.cases or split["image"].shape[0])
    of = split.case if split.cases else lambda m, name: split[name][m]
    masks = np.concatenate([of(m, "mask").ravel() for m in whole])
    images = np.concatenate([of(m, "image").reshape(-1, 2) for m in whole]).astype(float)
    assert split["class_pixels"].all().sum(0).tolist() == np.bincount(masks, minlength=3).tolist()
    sums = np.stack([images.sum(0), (images**2).sum(0)], axis=1)
    np.testing.assert_array_equal(split["channel_sums"].all().sum(0), sums)


class ThreeClasses(Bright):
    """A model of as many classes as the stores."""

    def predict_on_batch(self, x: Any) -> Any:
        return np.repeat(super().predict_on_batch(x), (1, 2), axis=-1)


def looks(image: NDArray[Any]) -> int:
    """The difference hash of an image (H, W, C) or (D, H, W, C), as the page says it."""
    grey = image.astype(float).mean(axis=-1)
    grey = grey.mean(axis=0) if grey.ndim == 3 else grey
    cells = np.empty((8, 9))
    for y, x in np.ndindex(8, 9):
        top, left = y * grey.shape[0] // 8, x * grey.shape[1] // 9
        low, right = (y + 1) * grey.shape[0] // 8, (x + 1) * grey.shape[1] // 9
        cells[y, x] = grey[top : max(low, top + 1), left : max(right, left + 1)].mean()
    bits = "".join("01"[brighter] for brighter in (cells[:, 1:] > cells[:, :-1]).ravel().tolist())
    return int(bits, 2)


@pytest.mark.parametrize("kind", ["samples raw", "volumes"])
def test_dhash_is_as_the_page_says(
    kind: str, stores: dict[str, Path], reader: dict[str, Any]
) -> None:
    split = reader["Split"](stores[kind])
    found = [looks(split["image"][row]) for row in range(split["image"].shape[0])]
    assert split["dhash"].all().tolist() == found


def test_a_store_that_was_written_by_the_page_feeds(tmp_path: Path, reader: dict[str, Any]) -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 255, (7, 6, 5, 3), "uint8")
    mask = random.integers(0, 2, (7, 6, 5)).astype("uint16")
    root = {"format": 1, "classes": ["a", "b"], "ignore": None}
    attributes = {"format": 1, "fields": ["image", "mask"], "samples": 7}
    for folder, own in ((tmp_path, root), (tmp_path / "train", attributes)):
        group = {"zarr_format": 3, "node_type": "group", "attributes": {"zarrfeed": own}}
        folder.mkdir(exist_ok=True)
        (folder / "zarr.json").write_text(json.dumps(group))
    write_field(tmp_path / "train/image", image, chunk_rows=2, shard_rows=4)
    write_field(tmp_path / "train/mask", mask, chunk_rows=1, shard_rows=7)
    with FrontEnd(tmp_path / "train", 4, shuffle=False, workers=0) as fed:
        assert (fed.classes, fed.ignore) == (("a", "b"), None)
        batches = list(fed)
    np.testing.assert_array_equal(np.concatenate([batch[0] for batch in batches]), image)
    np.testing.assert_array_equal(np.concatenate([batch[1] for batch in batches]), mask)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "train/image"), image)
    field = reader["Split"](tmp_path / "train")["mask"]
    np.testing.assert_array_equal(np.stack([field[row] for row in range(7)]), mask)


def written(folder: Path) -> Iterator[Path]:
    """Yield splits of every kind that zarrfeed writes."""
    random = np.random.default_rng(1)
    grey = random.random((9, 8, 1)).astype("f4")
    grey[0, 0] = np.nan
    overlapping = [{"image": grey, "mask": random.random((9, 8, 2)) > 0.5}]
    convert(overlapping, folder / "overlapping.zarr", split="train", workers=1)
    yield folder / "overlapping.zarr" / "train"
    bowl = folder / "bowl" / "a"
    for name, shape in (("images/a.png", (6, 5, 3)), ("masks/1.png", (6, 5))):
        (bowl / name).parent.mkdir(parents=True)
        (bowl / name).write_bytes(imagecodecs.png_encode(np.full(shape, 255, np.uint8)))
    cells = open_source("mask-folders", {"images": str(bowl.parent), "instances": "keep"})
    convert(cells, folder / "instances.zarr", split="train", workers=1)
    yield folder / "instances.zarr" / "train"
    scans = [{**one, "spacing": (2.0, 1.0, 1.0)} for one in cases(3)]
    yield pack(folder, "mm", scans, tile=(8, 16, 16), spacing=(2.0, 1.0, 1.0), pad_value=-1.0)
    flat = pack(folder, "flat", samples((12, 10), 4))
    repack([flat], folder / "tiled.zarr", split="train", tile=(8, 8), workers=1)
    yield folder / "tiled.zarr" / "train"
    patches = GridPatches((8, 16, 16))
    yield predict(ThreeClasses(), folder / "mm.zarr/train", folder / "predicted.zarr", patches)


def test_the_page_names_every_attribute_and_array(tmp_path: Path) -> None:
    named = {"zarrfeed"}
    for split in written(tmp_path):
        for folder in (split, split.parent):
            own = json.loads((folder / "zarr.json").read_text())["attributes"]["zarrfeed"]
            packed = own.get("packed", {})
            objects = (
                own,
                own.get("channels"),
                packed,
                packed.get("settings"),
                packed.get("coverage"),
            )
            named |= {name for known in objects if known for name in known}
        named |= {path.parent.name for path in split.glob("*/zarr.json")}
    assert {"from_samples", "roles", "not_finite", "prediction", "instances", "dhash"} <= named
    left_out = {name for name in named | DESCRIPTIVE if f"`{name}`" not in PAGE}
    assert left_out == {"depth"}  # a field of these tests
