"""``zarrfeed preview`` draws what a store holds, and what a sequence hands out."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from PIL import Image
from typer.testing import CliRunner

from cases import CaseArrays, pair
from ome_images import write_ome
from patch_stores import CLASSES, ct, write_classed_cases, write_classed_samples
from stores import traced_pixels, write_split
from zarrfeed.pictures.palette import class_colors
from zarrfeed_convert import convert
from zarrfeed_tools.cli import app

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def run(*words: object, status: int = 0) -> str:
    done = CliRunner().invoke(app, ["preview", *map(str, words)], env={"COLUMNS": "300"})
    told = done.output if done.exit_code != 1 else str(done.exception)
    assert done.exit_code == status, told
    return told


def sheet(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path))


def count(picture: NDArray[np.uint8], color: Any) -> int:
    return int((picture == np.array(color)).all(axis=-1).sum())


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])


def samples(n: int = 6) -> dict[str, NDArray[Any]]:
    """Grey images of which sample i has i rows of organ, and the last one a lesion."""
    image = np.full((n, 40, 50, 1), 100, np.uint8)
    mask = np.zeros((n, 40, 50), np.uint8)
    for number in range(n):
        mask[number, :number] = 1
    mask[-1, -3:] = 2
    return {"image": image, "mask": mask}


def test_a_sheet_shows_images_overlays_and_a_legend(tmp_path: Path) -> None:
    write_classed_samples(tmp_path / "o.zarr/train", samples())
    text = run("o.zarr")
    assert "o.zarr/train: 6 of 6 samples" in text
    assert "Drawn to preview.png, " in text
    picture = sheet(tmp_path / "preview.png")
    organ, lesion = class_colors(CLASSES).astype(int)[1:]
    zoom = 200 // 50
    # The areas of classes are mixed with the image, which is 100; the legend shows their colours.
    assert count(picture, (organ + 100) // 2) == (1 + 2 + 3 + 4 + 5) * 50 * zoom**2
    assert count(picture, (lesion + 100) // 2) == 3 * 50 * zoom**2
    for color in (organ, lesion):
        assert 50 < count(picture, color) < 200


def test_conditions_keys_and_numbers_choose(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_classed_samples(tmp_path / "o.zarr" / split, samples())
    assert "1 of 1 sample with lesion>0, of 6 samples" in run("o.zarr/val", "--where", "lesion>0")
    text = run("o.zarr", "--where", "organ>5% and lesion==0", "--n", 1)
    assert text.count("1 of 2 samples with organ>5% and lesion==0, of 6 samples") == 2
    assert "train" not in run("o.zarr", "--split", "val", "--n", 2, "--seed", 3)
    (tmp_path / "o.png").mkdir()
    for words, message in (
        (["--where", "leson>0"], "did you mean 'lesion'?"),
        (["--where", "lesion>50%"], "found none: ask for less"),
        (["--split", "vall"], "did you mean 'val'?"),
        (["--keys", "a"], "its samples have no names"),
        (["--patches", "9"], "needed a size like 256x256"),
        (["--patches", "4x4x4"], "needed patches of 2 axes, found 4 × 4 × 4"),
        (["--out", "a.jpg"], "needed FILE.png"),
        (["--out", "o.png"], "found the folder o.png"),
    ):
        usage = any(part in words for part in ("leson>0", "9", "a.jpg", "o.png"))
        assert message in run("o.zarr", *words, status=2 if usage else 1)
    assert "needed either a store or --sequence" in run(status=2)
    assert not (tmp_path / "preview.png.partial").exists()


def test_keys_are_looked_up_in_all_splits_and_shown_literally(tmp_path: Path) -> None:
    names = {"train": ["a/1", "b\x1b[31m<b>" + "long" * 80], "val": ["c"]}
    for split, keys in names.items():
        cases = {key: pair((9, 12), n) for n, key in enumerate(keys)}
        convert(
            CaseArrays(cases), tmp_path / "o.zarr", split=split, tile=(4, 4), workers=1,
            classes=["background", "\x1b[1mred\n<i>", "x" * 400],
        )  # fmt: skip
    text = run("o.zarr", "--keys", "a/1,c")
    assert "o.zarr/train: 1 of 2 cases" in text
    assert "o.zarr/val: 1 of 1 case" in text
    assert "did you mean 'a/1'?" in run("o.zarr", "--keys", "a/2", status=1)
    assert "\x1b[31m" not in run("o.zarr", "--keys", "a/1", "--keys", names["train"][1])


def test_volumes_are_shown_as_planes_where_the_mask_is(tmp_path: Path) -> None:
    case = ct((20, 40, 50), 0, lesions=0)
    case["mask"][:] = 0
    case["mask"][17, 5:9, 30:40] = 2
    write_classed_cases(
        tmp_path / "ct.zarr/train", {"p": case, "q": ct((10, 30, 30), 1, lesions=0)}, (8, 16, 16),
        spacing=np.array([[4.0, 1.0, 1.0]] * 2), config={"write_empty_chunks": True},
    )  # fmt: skip
    text = run("ct.zarr", "--where", "lesion>0", "--size", 64, "--patches", "4x16x16")
    assert "1 of 1 case with lesion>0, of 2 cases" in text
    picture = sheet(tmp_path / "preview.png")
    lesion = class_colors(CLASSES)[2].astype(int)
    close = np.abs(picture.astype(int) - lesion).sum(axis=-1) < 3 * 128
    assert close.sum() > 500  # in three planes, enlarged
    yellow = (picture[..., :2] > 150).all(axis=-1) & (picture[..., 2] < 80)
    assert yellow.sum() > 200  # boxes of patches
    run("ct.zarr", "--n", 2)


def test_cases_of_images_are_shrunk_with_tiles_and_patches(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = np.full((1500, 2500, 3), 50, np.uint8)
    mask = np.zeros((1500, 2500), np.uint8)
    mask[700:706, 1000:1006] = 1  # smaller than two pixels of the sheet
    source = CaseArrays({"slide": {"image": image, "mask": mask}, "small": pair((90, 30), rng)})
    convert(
        source, tmp_path / "o.zarr", split="s", tile=(500, 500), workers=1,
        classes=["background", "cell", "other"],
    )  # fmt: skip
    run("o.zarr", "--keys", "slide", "--out", "plain.png")
    text = run("o.zarr", "--keys", "slide", "--patches", "512x512", "--patch-kind", "grid")
    plain, boxes = sheet(tmp_path / "plain.png"), sheet(tmp_path / "preview.png")
    grey = 50 + (255 - 50) * 130 // 255
    white = (np.abs(plain.astype(int) - grey).max(axis=-1) <= 1).sum()
    assert white > 640 * 4 + 384 * 6 - 50  # lines between 3 × 5 tiles
    yellow = np.abs(boxes.astype(int) - [215, 180, 18]).max(axis=-1) < 12
    assert yellow.sum() > 3 * 640
    cell = (class_colors(["background", "cell"])[1].astype(int) + 50) // 2
    assert count(plain, cell) >= 2
    assert "1 of 2 cases" in text


def test_stores_of_other_writers_and_without_masks_are_shown(tmp_path: Path) -> None:
    write_split(tmp_path / "images", {"photos": traced_pixels(3)["image"]})
    assert "images: 3 of 3 samples" in run("images")
    rng = np.random.default_rng(0)
    first = rng.random((4, 3, 30, 36), np.float32)
    labels = rng.integers(0, 2000, (4, 30, 36), np.int32)
    write_split(tmp_path / "x", {"raw": first, "labels": labels, "id": np.arange(4)})
    run("x", "--out", "x.png")
    write_split(tmp_path / "v", {"image": rng.normal(size=(2, 18, 24, 30))})
    run("v", "--out", "v.png")
    write_split(tmp_path / "bad", {"number": np.arange(4.0)})
    assert "needed a field of images or masks with 2 to 4 axes" in run("bad", status=1)
    assert "needed 'class_pixels'" in run("x", "--where", "1>0", status=1)
    write_ome(tmp_path / "w.ome.zarr", rng.integers(0, 900, (2, 60, 70), np.uint16), "cyx")
    assert "w.ome.zarr: 1 of 1 case" in run("w.ome.zarr")


def test_overlapping_classes_are_shown(tmp_path: Path) -> None:
    pixels = samples(3)
    hot = (pixels["mask"][..., None] == np.arange(3)).astype(np.uint8)
    hot[2, :, :, 1] = 1
    write_classed_samples(tmp_path / "o.zarr/train", {**pixels, "mask": hot})
    run("o.zarr", "--where", "lesion>0")
    organ, lesion = class_colors(CLASSES).astype(int)[1:]
    picture = sheet(tmp_path / "preview.png")
    assert count(picture, ((organ + lesion) // 2 + 100) // 2) == 3 * 50 * 16


def test_a_damaged_shard_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    write_classed_samples(tmp_path / "o.zarr/train", samples())
    for shard in (tmp_path / "o.zarr/train/image/c").rglob("0"):
        if shard.is_file():
            shard.write_bytes(shard.read_bytes()[:-20])
    assert "o.zarr/train/image" in run("o.zarr", status=1)
    assert not (tmp_path / "preview.png").exists()


SEQUENCES = """
import numpy as np
from zarrfeed import FrontEnd, RandomPatches

def brighter(image, mask, rng):
    return np.moveaxis(image.astype(np.float32), -1, 0), np.eye(3, dtype=np.float32)[mask]

def whole():
    return FrontEnd("o.zarr/train", 4, transform=brighter, workers=2)

def patches():
    return FrontEnd("o.zarr/train", 2, patches=RandomPatches((16, 16)), inputs={"a": "image"},
                    targets=("mask",), workers=1, use_multiprocessing=True)

def fails():
    return 1 / 0

def nothing():
    return None
"""


def test_a_sequence_shows_what_it_hands_out(tmp_path: Path) -> None:
    write_classed_samples(tmp_path / "o.zarr/train", samples())
    (tmp_path / "training_of_previews.py").write_text(SEQUENCES)
    name = "training_of_previews"
    text = run("--sequence", f"{name}:whole", "--n", 6)
    assert "6 rows of batches 0 … 1 of epoch 0: FrontEnd(" in text
    assert "image float32[1, 40, 50], mask float32[40, 50, 3]" in text
    picture = sheet(tmp_path / "preview.png")
    organ = class_colors(CLASSES).astype(int)[1]
    assert count(picture, organ // 2) == 15 * 50 * 16  # the constant image is black
    assert "4 rows of batches 0 … 1" in run("--sequence", f"{name}:patches", "--n", 4)
    for words, message in (
        ([f"{name}:fails"], "raised ZeroDivisionError"),
        ([f"{name}:nothing"], "returns NoneType"),
        ([f"{name}:whle"], "no 'whle' in"),
        ([f"{name}:whole", "--where", "lesion>0"], "a sequence has its own"),
        ([f"{name}:whole", "o.zarr"], "needed either a store or --sequence"),
    ):
        assert message in run("--sequence", *words, status=2)


def test_text_of_other_scripts_and_any_length_fits(tmp_path: Path) -> None:
    write_classed_samples(tmp_path / "o.zarr/train", samples(1))
    group = zarr.open_group(str(tmp_path / "o.zarr"), mode="a")
    names = ["background", "肝臓" * 90, "\u202edrow\x00"]
    group.attrs["zarrfeed"] = {"format": 1, "classes": names, "ignore": 255}
    run("o.zarr")
    assert sheet(tmp_path / "preview.png").shape[1] == 1360
    shutil.rmtree(tmp_path / "o.zarr")
    assert "no such store" in run("o.zarr", status=1)
