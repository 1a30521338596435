"""The command's other parts: inspect, the demonstration, and what it is made of."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import zarr
from PIL import Image
from typer.testing import CliRunner

from stores import traced_pixels, write_split
from zarrfeed import StoreError, ZarrSequence
from zarrfeed.pictures.palette import Palette
from zarrfeed_convert import PairedFolders, convert
from zarrfeed_tools import demonstration
from zarrfeed_tools.cells import CLASSES, write_cells
from zarrfeed_tools.cli import app
from zarrfeed_tools.demonstration import open_sequences
from zarrfeed_tools.pictures import side_by_side
from zarrfeed_tools.unet import Training, build_unet

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed dataset of drawn cells, 12 to train and 6 to validate, 32×32."""
    folder = tmp_path_factory.mktemp("cells")
    for split, count in (("train", 12), ("val", 6)):
        write_cells(folder / split, count, size=32, seed=count)
        pairs = PairedFolders(str(folder / split / "images"), str(folder / split / "masks"))
        options = {"classes": CLASSES, "workers": 1, "chunk_samples": 1}
        convert(pairs, folder / "cells.zarr", split=split, **options)
    return folder / "cells.zarr"


def run(*words: object, status: int = 0) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == status, done.output
    return done.output


def test_inspect_shows_splits_fields_classes_and_shares(cells: Path) -> None:
    text = run("inspect", cells)
    for part in ("train: 12 samples", "val: 6 samples", "12×32×32×3", "raw", "nucleus", "%"):
        assert part in text
    assert "train: 12" not in run("inspect", cells / "val")


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images and masks with a second image and depths: 10 samples in chunks of 4."""
    random, size = np.random.default_rng(0), (32, 32)
    samples = [
        {
            "image": random.integers(0, 256, (*size, 3), np.uint8),
            "mask": random.integers(0, 2, size, np.uint8),
            "depth": random.random(size, np.float32),
        }
        for _ in range(10)
    ]
    out = tmp_path_factory.mktemp("street") / "street.zarr"
    convert(samples, out, split="train", workers=1, chunk_samples=4)
    return out


def test_inspect_shows_roles_and_no_descriptive_arrays_among_fields(street: Path) -> None:
    rows = {
        words[0]: words for line in run("inspect", street).splitlines() if (words := line.split())
    }
    assert [rows[name][1] for name in ("image", "mask", "depth")] == ["image", "mask", "target"]
    assert "digest" not in rows
    assert {"key,", "digest,"} <= set(rows["Descriptive"])
    [facts] = json.loads(run("inspect", street, "--json"))
    assert {"key", "digest"} <= {field["name"] for field in facts["fields"]}
    assert {field["name"]: field["role"] for field in facts["fields"]}["digest"] == ""


def test_inspect_says_why_raw_fields_are_larger_than_decoded(street: Path, cells: Path) -> None:
    [facts] = json.loads(run("inspect", street, "--json"))
    image = next(field for field in facts["fields"] if field["name"] == "image")
    assert image["codec"] == "raw"
    assert image["stored_bytes"] > image["decoded_bytes"]  # 10 samples in 3 chunks of 4
    said = "because the last chunk is filled with zeros"
    assert said in run("inspect", street)
    assert said not in run("inspect", cells)


def test_inspect_counts_voxels_of_volumes(tmp_path: Path) -> None:
    volumes = np.random.default_rng(0).integers(-1000, 3000, (3, 4, 8, 8, 1)).astype(np.int16)
    pairs = zip(volumes, (volumes[..., 0] > 0).astype(np.uint8), strict=True)
    convert(pairs, tmp_path / "ct.zarr", split="train", workers=1)
    text = run("inspect", tmp_path / "ct.zarr")
    assert "voxels" in text
    assert "pixels" not in text.replace("class_pixels", "")


def test_the_demonstration_takes_image_and_mask_of_a_split_with_further_fields(
    street: Path,
) -> None:
    for sequence in open_sequences(street, batch_size=2, seed=0):
        with sequence:
            assert sequence.fields == ("image", "mask")
            assert len(list(sequence)) == len(sequence)


def test_inspect_does_not_call_a_few_pixels_none(tmp_path: Path) -> None:
    mask = np.zeros((200, 200), np.uint8)
    mask[5, 7] = 1
    convert([(np.zeros((200, 200, 3), np.uint8), mask)], tmp_path / "o.zarr", split="train",
            classes=["background", "lesion", "none"], workers=1)  # fmt: skip
    rows = {words[0]: words for line in run("inspect", tmp_path / "o.zarr").splitlines()
            if (words := line.split())}  # fmt: skip
    assert [rows[name][-1] for name in ("lesion", "none")] == ["<0.01%", "0.00%"]
    [facts] = json.loads(run("inspect", tmp_path / "o.zarr", "--json"))
    assert [row["share"] for row in facts["classes"]] == [39_999 / 40_000, 1 / 40_000, 0]


def test_inspect_gives_the_same_facts_to_machines(cells: Path) -> None:
    train, val = json.loads(run("inspect", cells, "--json"))
    fields = {field["name"]: field for field in train["fields"]}
    assert fields["image"]["shape"] == [12, 32, 32, 3]
    assert fields["image"]["decoded_bytes"] == 12 * 32 * 32 * 3
    data = [p for p in (cells / "train/image").rglob("*") if p.is_file() and p.name != "zarr.json"]
    assert fields["image"]["stored_bytes"] == sum(path.stat().st_size for path in data)
    with ZarrSequence(cells / "val", 6) as seq:
        [(_, masks)] = list(seq)
    counts = np.bincount(masks.ravel(), minlength=3).tolist()
    assert [row["pixels"] for row in val["classes"]] == counts
    assert sum(row["share"] for row in val["classes"]) == pytest.approx(1)
    assert train["packed"]["settings"]["seed"] == 0


def test_inspect_reads_what_zarrfeed_did_not_write(tmp_path: Path) -> None:
    write_split(tmp_path / "s", traced_pixels(5))
    zarr.open_group(str(tmp_path / "s"), mode="a").create_array(
        "blocks", data=np.zeros((5, 4, 4)), chunks=(1, 2, 2)
    )
    text = run("inspect", tmp_path / "s")
    assert "blocks: read in a slower way (chunks (1, 2, 2) split a sample" in text


def test_wrong_stores_end_with_status_1(tmp_path: Path, cells: Path) -> None:
    done = CliRunner().invoke(app, ["inspect", str(tmp_path)])
    assert isinstance(done.exception, StoreError)  # main() turns it into a line and status 1
    assert "found no zarr.json" in str(done.exception)


def test_cells_are_drawn_the_same_again(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_cells(tmp_path / name, 3, size=48, seed=1)
    write_cells(tmp_path / "c", 3, size=48, seed=2)
    pixels = {
        name: [np.asarray(Image.open(path)) for path in sorted((tmp_path / name).rglob("*.png"))]
        for name in "abc"
    }
    assert all(np.array_equal(a, b) for a, b in zip(pixels["a"], pixels["b"], strict=True))
    assert not any(np.array_equal(a, c) for a, c in zip(pixels["a"], pixels["c"], strict=True))
    images, masks = pixels["a"][:3], pixels["a"][3:]
    assert all(image.shape == (48, 48, 3) for image in images)
    assert all(set(np.unique(mask)) == {0, 1, 2} for mask in masks)
    with Image.open(tmp_path / "a/masks/cell_0000.png") as mask:
        assert mask.mode == "P"


@pytest.mark.parametrize("size", [(32, 32), (45, 60), (8, 9)])
def test_a_unet_takes_images_of_any_size(size: tuple[int, int]) -> None:
    model = build_unet((*size, 3), 4, filters=2)
    assert model.predict(np.zeros((2, *size, 3), np.uint8), verbose=0).shape == (2, *size, 4)


def test_the_demonstration_trains_from_a_store(cells: Path, tmp_path: Path) -> None:
    result: dict[str, Any] = json.loads(
        run(
            "demo", "--data", cells, "--out", tmp_path / "out", "--epochs", 2, "--batch-size", 4,
            "--filters", 2, "--json",
        )
    )  # fmt: skip
    assert (result["train_samples"], result["validation_samples"]) == (12, 6)
    assert result["validated_on"] == "val"
    assert len(result["val_iou"]) == len(result["loss"]) == 2
    assert all(0 <= iou <= 1 for iou in result["val_iou"])
    assert result["loss"][1] < result["loss"][0]
    assert result["fed_batches_per_second"] > 0
    with Image.open(result["picture"]) as sheet:
        assert sheet.width == 3 * 32 + 4 * 6
        assert sheet.height >= 4 * (32 + 18 + 6) + 18


def test_a_dataset_without_validation_holds_every_fifth_sample_out(tmp_path: Path) -> None:
    write_split(tmp_path / "d.zarr/train", traced_pixels(22))
    zarr.open_group(str(tmp_path / "d.zarr"), mode="a")
    train, validation = open_sequences(tmp_path / "d.zarr", batch_size=4, seed=0)
    with train, validation:
        held_out = {int(i) for _, mask in validation for i in mask[:, 0, 0]}
        trained = {int(i) for _, mask in train for i in mask[:, 0, 0]}
    assert held_out == {0, 5, 10, 15, 20}
    assert held_out | trained == set(range(22))
    assert not held_out & trained


def test_the_demonstration_says_on_what_it_validates_without_a_split_for_it(
    street: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def untrained(*_: Any, shape: tuple[int, ...], classes: int, **__: Any) -> Training:
        model = keras.Sequential([keras.Input(shape), keras.layers.Conv2D(classes, 1)])
        return Training(model, {"loss": [1.0], "val_loss": [1.0], "val_iou": [0.5]})

    monkeypatch.setattr(demonstration, "train_unet", untrained)
    monkeypatch.setattr(demonstration, "measure_feed", lambda _: 1.0)
    text = run("demo", "--data", street, "--out", tmp_path, "--batch-size", 2)
    said = "every fifth sample of train, held out because there is no split val"
    assert f"Validation is on {said}: 2 samples." in text
    assert f"Validation IoU (mean over classes, on {said}) by epoch: 0.500" in text


@pytest.mark.parametrize(
    ("tile", "needed"),
    [
        ((2, 8, 8), r"2-D images, found tiles of 2×8×8; try zarrfeed demo --volumes --data "),
        (None, r"found volumes of 4×8×8; pack them by zarrfeed convert --tile auto and try zarrfe"),
    ],
)
def test_the_demonstration_with_images_refuses_volumes(
    tmp_path: Path, tile: tuple[int, int, int] | None, needed: str
) -> None:
    pair = np.zeros((4, 8, 8, 1), np.int16), np.eye(8, dtype=np.uint8)[None].repeat(4, 0)
    convert([pair], tmp_path / "ct.zarr", split="train", tile=tile, workers=1)
    done = CliRunner().invoke(app, ["demo", "--data", str(tmp_path / "ct.zarr")])
    assert isinstance(done.exception, StoreError)
    assert needed in str(done.exception)


def test_pixels_of_no_class_are_white_and_predictions_have_their_class_color() -> None:
    mask = np.full((1, 40, 50), 255, np.uint8)
    names = ["background", "cell"]
    sheet = np.asarray(
        side_by_side(
            np.zeros((1, 40, 50, 1), np.uint16), mask, mask * 0, ["a"], palette=Palette.of(names)
        )
    )
    assert (sheet[-46:-6, 6 + 50 + 6 :][:, :50] == 255).all()
    assert not sheet[-46:-6, -56:-6].any()


def test_negative_pixels_are_darker_than_zero() -> None:
    images = np.linspace(-1000, 3000, 2000).astype(np.int16).reshape(1, 40, 50, 1)
    mask = np.zeros((1, 40, 50), np.uint8)
    sheet = np.asarray(side_by_side(images, mask, mask, ["a"], palette=Palette.of(["background"])))
    shown = sheet[-46:-6, 6:56, 0].ravel().astype(int)
    assert (shown[0], shown[-1]) == (0, 255)
    assert (np.diff(shown) >= 0).all()


def test_tables_lose_nothing_on_a_narrow_terminal(cells: Path) -> None:
    from rich.console import Console

    from zarrfeed_convert import field_cells
    from zarrfeed_tools.inspection import inspect_store
    from zarrfeed_tools.tables import table_of_cells

    text = io.StringIO()
    split = inspect_store(cells)[0]
    fields = [field for field in split.fields if field.name not in split.descriptive]
    Console(width=80, file=text).print(table_of_cells(field_cells(fields)))
    for part in ("image", "mask", "12×32×32×3", "blosc-lz4hc", "uint8", "36 KiB"):
        assert part in text.getvalue()
    assert "…" not in text.getvalue()


def test_the_help_teaches(cells: Path) -> None:
    for words, part in ((["--help"], "demo"), (["inspect", "--help"], "zarrfeed inspect camvid")):
        assert part in run(*words)
    assert "zarrfeed demo --data" in run("demo", "--help")
    run("inspect", status=2)
    assert keras.backend.backend() == "tensorflow"
