"""The demonstration with volumes, and what it is made of."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from zarrfeed import StoreError, evaluate, open_cases
from zarrfeed.pictures.palette import Palette, class_colors
from zarrfeed_convert import PairedFolders, convert
from zarrfeed_tools.abdomens import SIZES, VOLUME_CLASSES, draw_abdomen, write_abdomens
from zarrfeed_tools.cli import app
from zarrfeed_tools.intensities import Intensities, measure_intensities
from zarrfeed_tools.pictures import side_by_side
from zarrfeed_tools.segmentation_loss import dice_and_crossentropy
from zarrfeed_tools.unet import build_unet

if TYPE_CHECKING:
    from pathlib import Path

SMALL = ((16, 24, 24), (20, 28, 32))


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of small volumes: 3 to train, 2 to validate."""
    folder = tmp_path_factory.mktemp("scans")
    for split, count in (("train", 3), ("val", 2)):
        write_abdomens(folder / split, count, seed=count, sizes=SMALL)
        source = PairedFolders(folder / split / "images", folder / split / "masks", axes="DHW")
        convert(
            source, folder / "ct.zarr", split=split, classes=VOLUME_CLASSES, tile=(8, 16, 16),
            workers=1,
        )  # fmt: skip
    return folder / "ct.zarr"


def run(*words: object, status: int = 0) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == status, done.output
    return done.output


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras saves
def test_the_demonstration_trains_on_patches_and_scores_whole_volumes(
    scans: Path, tmp_path: Path
) -> None:
    text = run(
        "demo", "--volumes", "--data", scans, "--out", tmp_path, "--epochs", 2, "--filters", 2,
        "--patch", "8x16x16", "--per-epoch", 12, "--json",
    )  # fmt: skip
    result: dict[str, Any] = json.loads(text)
    assert (result["train_cases"], result["validation_cases"]) == (3, 2)
    assert result["forced"] == "lesion"
    first, last = result["scores"]
    assert (first["epoch"], last["epoch"]) == (1, 2)
    assert last["loss"] < first["loss"]
    assert result["fed_patches_per_second"] > result["trained_patches_per_second"] > 0
    # The predictions, the model and the picture are there to be used.
    found = evaluate(scans / "val", result["predictions"])
    assert list(last["dice"]) == ["organ", "lesion"]
    assert list(last["dice"].values()) == pytest.approx(found.class_dice[1:].tolist())
    run("predict", scans / "val", result["model"], tmp_path / "again.zarr")
    cases, again = open_cases(scans / "val"), open_cases(tmp_path / "again.zarr/val")
    predicted = open_cases(result["predictions"])
    for key in cases:
        same = again.open(key, "prediction")[...] == predicted.open(key, "prediction")[...]
        assert same.mean() > 0.999  # floats may be added in another order
    with Image.open(result["picture"]) as sheet:
        _, heights, widths = cases.sizes.T
        assert sheet.width == 3 * 2 * widths.max() + 4 * 6
        legend = sheet.height - 2 * heights.sum() - 2 * (18 + 6) - 2 * 6
        assert legend in (18, 36)  # lines of 18 pixels


def test_wrong_data_and_options_are_named(scans: Path, tmp_path: Path) -> None:
    assert "--volumes" in run("demo", "--patch", "8x8x8", status=2)
    assert "needs --volumes" in run("demo", "--share", 0.5, status=2)
    for size in ("16x16", "0x8x8"):
        assert "--patch" in run("demo", "--volumes", "--data", scans, "--patch", size, status=2)
    image, mask = np.zeros((30, 20, 3), np.uint8), np.eye(30, 20, dtype=np.uint8)
    convert([(image, mask)], tmp_path / "flat.zarr", split="train", tile=(16, 16), workers=1)
    for needed in ("needed a split 'val'", "needed volumes, found images in tiles (16, 16)"):
        done = CliRunner().invoke(app, ["demo", "--volumes", "--data", f"{tmp_path / 'flat.zarr'}"])
        assert isinstance(done.exception, StoreError)
        assert needed in str(done.exception)
        convert([(image, mask)], tmp_path / "flat.zarr", split="val", tile=(16, 16), workers=1)


def test_the_help_explains_volumes() -> None:
    text = run("demo", "--help")
    assert "zarrfeed demo --volumes --data ct.zarr" in text
    assert "draws all patches freely" in " ".join(text.split())


def test_abdomens_are_drawn_the_same_again(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_abdomens(tmp_path / name, 2, seed=seed, sizes=SMALL)
    files = {
        name: [path.read_bytes() for path in sorted((tmp_path / name).rglob("*.npy"))]
        for name in "abc"
    }
    assert len(files["a"]) == 4
    assert files["a"] == files["b"]
    assert not set(files["a"]) & set(files["c"])


@settings(max_examples=20, deadline=None)
@given(
    size=st.tuples(st.integers(16, 24), st.integers(24, 40), st.integers(24, 40)),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_abdomen_has_an_organ_with_darker_lesions(
    size: tuple[int, int, int], seed: int
) -> None:
    image, mask = draw_abdomen(size, np.random.default_rng(seed))
    assert image.shape == mask.shape == size
    assert (str(image.dtype), str(mask.dtype)) == ("int16", "uint8")
    background, organ, lesion = np.bincount(mask.ravel(), minlength=3)
    assert background > organ > 0
    assert lesion > 0
    assert image[mask == 2].mean() < image[mask == 1].mean() - 20


def test_lesions_of_the_demonstration_are_rare() -> None:
    _, mask = draw_abdomen(SIZES[1], np.random.default_rng(0))
    assert 0 < np.count_nonzero(mask == 2) < mask.size / 100


@pytest.mark.parametrize("size", [(8, 16, 16), (5, 9, 12)])
def test_a_unet_takes_volumes_of_any_size(size: tuple[int, ...]) -> None:
    window = Intensities(np.array([-100.0]), np.array([200.0]))
    model = build_unet((*size, 1), 3, filters=2, depth=2, intensities=window)
    volume = np.random.default_rng(0).integers(-90, 190, (2, *size, 1)).astype(np.int16)
    logits = model.predict_on_batch(volume)
    assert logits.shape == (2, *size, 3)
    beyond = np.where(volume < 0, volume - 5000, volume)
    clipped = np.where(volume < 0, -100, volume).astype(np.int16)
    assert np.array_equal(model.predict_on_batch(beyond), model.predict_on_batch(clipped))
    assert not np.array_equal(logits, model.predict_on_batch(clipped))


def test_intensities_are_those_of_labelled_voxels() -> None:
    mask = np.zeros((1, 4, 20, 20), np.uint8)
    mask[:, :2] = 1
    mask[:, 2] = 255
    channels = np.stack([mask * 100.0, mask * -7.0], axis=-1)
    low, high = measure_intensities([(channels, mask)] * 2, ignore=255)
    assert (low.tolist(), high.tolist()) == ([100, -7], [100 + 1e-6, -7 + 1e-6])
    with pytest.raises(StoreError, match="needed pixels of a class but the background"):
        measure_intensities([(channels[:, 2:], mask[:, 2:])], ignore=255)


def test_the_loss_is_low_for_the_truth_and_counts_a_small_class_by_its_own_size() -> None:
    true = np.zeros((1, 4, 10, 10), np.uint8)
    true[0, 1, :2, :5] = 1
    logits = 20 * np.eye(2, dtype=np.float32)[true]
    loss = dice_and_crossentropy(2)
    assert float(loss(true, logits)) == pytest.approx(0, abs=1e-6)
    # All background: Dice (2·390 + 1) / (390 + 400 + 1) and 1 / (10 + 1); 10 of 400 logits are
    # wrong by 20.
    missed = 20 * np.eye(2, dtype=np.float32)[true * 0]
    expected = 1 - (781 / 791 + 1 / 11) / 2 + 10 * 20 / 400
    assert float(loss(true, missed)) == pytest.approx(expected, rel=1e-5)


def test_the_loss_leaves_ignored_voxels_out() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, (2, 4, 4, 4)).astype(np.uint8)
    true[:, 0] = 255
    logits = rng.normal(size=(2, 4, 4, 4, 3)).astype(np.float32)
    loss = dice_and_crossentropy(3, ignore=255)
    other = logits.copy()
    other[:, 0] += rng.normal(size=(2, 4, 4, 3))
    assert float(loss(true, other)) == pytest.approx(float(loss(true, logits)))
    assert float(loss(true[:, 1:], logits[:, 1:])) == pytest.approx(float(loss(true, logits)))


def test_images_of_different_sizes_share_a_sheet_and_show_through_the_background() -> None:
    images = [np.full((10, 90, 1), 200, np.uint8), np.full((30, 84, 1), 100, np.uint8)]
    masks = [np.zeros((10, 90), np.uint8), np.ones((30, 84), np.uint8)]
    names = ["background", "cell"]
    sheet = np.asarray(
        side_by_side(images, masks, masks, ["a", "b"], palette=Palette.of(names), overlay=True)
    ).astype(int)
    assert sheet.shape == (2 * 6 + 18 + 10 + 30 + 2 * (18 + 6), 3 * 90 + 4 * 6, 3)
    first, second = sheet[48:58], sheet[-36:-6]
    assert (first[:, 102:192] == 200).all()
    mixed = 100 // 2 + class_colors(names)[1] // 2
    assert (second[:, 102 : 102 + 84] == mixed).all()
    assert (second[:, 102 + 84 : 192] == 255).all()
