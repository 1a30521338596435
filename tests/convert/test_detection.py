"""A folder is taken for the format that it has, for a reason that is said, or for none."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import h5py
import nibabel as nib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from dicom_writing import values, write_series
from ome_images import write_ome
from source_seeds import seeds
from zarrfeed.errors import SourceError
from zarrfeed_convert import choose_format, detect_formats, open_source
from zarrfeed_convert.detection.listing import look
from zarrfeed_convert.detection.split_names import is_of, is_of_another
from zarrfeed_tools.cli import app

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SHAPE = (8, 9)


def picture(path: Path, kind: str = "PNG", bands: int = 3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.arange(SHAPE[0] * SHAPE[1] * bands, dtype=np.uint8).reshape(*SHAPE, bands) % 3
    Image.fromarray(pixels.squeeze()).save(path, kind)


def pictures(folder: Path, *names: str, bands: int = 3) -> None:
    for name in names:
        picture(folder / name, bands=bands)


def volume(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.ones((4, 5, 6), np.uint8), np.eye(4)), path)


def two_folders(images: str, masks: str) -> Callable[[Path], None]:
    def write(at: Path) -> None:
        pictures(at / images, "a.png", "b.png")
        pictures(at / masks, "a.png", "b.png", bands=1)

    return write


def coco(at: Path) -> None:
    pictures(at / "train2017", "a.png")
    pictures(at / "val2017", "b.png")
    for split, name in (("train", "a.png"), ("val", "b.png")):
        path = at / "annotations" / f"instances_{split}2017.json"
        path.parent.mkdir(exist_ok=True)
        image = {"id": 1, "file_name": name, "height": SHAPE[0], "width": SHAPE[1]}
        shape = {
            "id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 9,
            "bbox": [1, 1, 3, 3], "segmentation": [[1, 1, 4, 1, 4, 4, 1, 4]],
        }  # fmt: skip
        said = {"images": [image], "annotations": [shape], "categories": [{"id": 1, "name": "c"}]}
        path.write_text(json.dumps(said), "utf-8")


def roboflow(at: Path) -> None:
    coco(at)
    for split, name in (("train", "a.png"), ("valid", "b.png")):
        (at / split).mkdir()
        (at / f"{split[:5].removesuffix('id')}2017" / name).rename(at / split / name)
        old = at / "annotations" / f"instances_{split[:5].removesuffix('id')}2017.json"
        old.rename(at / split / "_annotations.coco.json")


def voc(at: Path) -> None:
    pictures(at / "VOC2012/JPEGImages", "a.jpg")
    pictures(at / "VOC2012/SegmentationClass", "a.png", bands=1)
    lists = at / "VOC2012/ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n", "utf-8")


def suffixes(at: Path) -> None:
    pictures(at / "train", "a.png", "b.png")
    pictures(at / "train", "a_mask.png", "b_mask.png", bands=1)


def geotiffs(at: Path) -> None:
    place = rasterio.Affine(1, 0, 0, 0, -1, 16)
    for folder in ("images", "labels"):
        (at / folder).mkdir()
        with rasterio.open(
            at / folder / "a.tif", "w", driver="GTiff", width=16, height=16, count=1,
            dtype="uint8", crs="EPSG:32632", transform=place,
        ) as file:  # fmt: skip
            file.write(np.ones((1, 16, 16), np.uint8))


def stacks(at: Path) -> None:
    for folder in ("images", "masks"):
        (at / folder).mkdir()
        tifffile.imwrite(
            at / folder / "a.tif", np.ones((3, 16, 16), np.uint8), photometric="minisblack"
        )


def decathlon(at: Path) -> None:
    volume(at / "imagesTr/a.nii.gz")
    volume(at / "labelsTr/a.nii.gz")
    said: dict[str, Any] = {"numTraining": 1, "numTest": 0, "test": []}
    said |= {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver"}}
    said["training"] = [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}]
    (at / "dataset.json").write_text(json.dumps(said), "utf-8")


def nnunet(at: Path) -> None:
    volume(at / "imagesTr/a_0000.nii.gz")
    volume(at / "labelsTr/a.nii.gz")
    said: dict[str, Any] = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}}
    said |= {"numTraining": 1, "file_ending": ".nii.gz"}
    (at / "dataset.json").write_text(json.dumps(said), "utf-8")


def niftis(at: Path) -> None:
    volume(at / "images/a.nii.gz")
    volume(at / "labels/a.nii.gz")


def nrrds(at: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    for path in ("images/a.nrrd", "labels/a.nrrd"):
        (at / path).parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(sitk.GetImageFromArray(np.ones((4, 5, 6), np.uint8)), str(at / path))


def dicom(at: Path) -> None:
    write_series(at / "train/CT", values(3))


def hdf5(at: Path) -> None:
    with h5py.File(at / "train.h5", "w") as file:
        file["images"] = np.ones((3, *SHAPE, 3), np.uint8)
        file["masks"] = np.ones((3, *SHAPE), np.uint8)


def npz(at: Path) -> None:
    for split in ("train", "val"):
        np.savez(at / f"{split}.npz", x=np.ones((3, *SHAPE, 3), np.uint8), y=np.ones((3, *SHAPE)))


def parquet(at: Path) -> None:
    encoded = at / "a.png"
    picture(encoded, bands=1)
    rows = {
        name: [{"bytes": encoded.read_bytes(), "path": None}] for name in ("image", "annotation")
    }
    encoded.unlink()
    (at / "data").mkdir()
    for split in ("train", "test"):
        pq.write_table(pa.table(rows), at / f"data/{split}-00000-of-00001.parquet")


def npy_volumes(at: Path) -> None:
    for folder in ("images", "masks"):
        (at / folder).mkdir()
        np.save(at / folder / "a.npy", np.ones(SHAPE, np.uint8))


def ome(at: Path) -> None:
    write_ome(at / "train.ome.zarr", np.ones((3, *SHAPE), np.uint8), "zyx")


def mask_folders(at: Path) -> None:
    for split in ("train", "test"):
        for name in ("id1", "id2"):
            folder = at / f"stage1_{split}" / name
            pictures(folder / "images", f"{name}.png")
            pictures(folder / "masks", "1.png", "2.png", bands=1)


def class_masks(at: Path) -> None:
    pictures(at / "images", "a.png", "b.png")
    pictures(at / "masks/car", "a.png", bands=1)
    pictures(at / "masks/road", "a.png", "b.png", bands=1)


def run_lengths(at: Path) -> None:
    pictures(at / "train_images", "a.png")
    pictures(at / "test_images", "b.png")
    (at / "train.csv").write_text("ImageId,EncodedPixels\na.png,1 5\n", "utf-8")


def inside_one_folder(at: Path) -> None:
    two_folders("dataset/train/images", "dataset/train/masks")(at)


# A way of storing a dataset -> its format, and how many samples the split `train` has.
LAYOUTS: dict[str, tuple[Callable[[Path], None], str, int]] = {
    "train/images, train/masks": (two_folders("train/images", "train/masks"), "paired", 2),
    "images/train, masks/train": (two_folders("images/train", "masks/train"), "paired", 2),
    "images, labels": (two_folders("images", "labels"), "paired", 2),
    "train, train_masks": (two_folders("train", "train_masks"), "paired", 2),
    "imgs_train, masks_train": (two_folders("imgs_train", "masks_train"), "paired", 2),
    "Training/Image, Training/GT": (two_folders("Training/Image", "Training/GT"), "paired", 2),
    "inside of one folder": (inside_one_folder, "paired", 2),
    "x.png, x_mask.png": (suffixes, "paired", 2),
    "images alone": (lambda at: pictures(at / "train", "a.png"), "paired", 1),
    ".npy": (npy_volumes, "paired", 1),
    "CamVid": (two_folders("train", "trainannot"), "camvid", 2),
    "COCO": (coco, "coco", 1),
    "Roboflow": (roboflow, "coco", 1),
    "a folder per image": (mask_folders, "mask-folders", 2),
    "masks/CLASS": (class_masks, "class-masks", 2),
    "Kaggle": (run_lengths, "rle-csv", 1),
    "VOC": (voc, "voc", 1),
    "GeoTIFF": (geotiffs, "geotiff", 1),
    "TIFF stacks": (stacks, "tiff", 3),
    "Decathlon": (decathlon, "msd", 1),
    "nnU-Net": (nnunet, "nnunet", 1),
    "NIfTI": (niftis, "nifti", 6),
    "NRRD": (nrrds, "itk", 4),
    "DICOM": (dicom, "dicom", 3),
    "HDF5": (hdf5, "hdf5", 3),
    "NPZ": (npz, "npz", 3),
    "Parquet": (parquet, "parquet", 1),
    "OME-Zarr": (ome, "ome-zarr", 3),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_found_and_opens(layout: str, tmp_path: Path) -> None:
    write, kind, samples = LAYOUTS[layout]
    write(tmp_path)
    [found] = detect_formats(tmp_path, "train")
    assert found.format == kind
    assert found.reason
    subset = {"subset": "train"} if kind == "voc" else {}
    source = open_source(found.format, {**found.arguments, **subset})
    assert len(source.keys) == samples
    assert len(source.fields) == (1 if layout in ("images alone", "DICOM", "OME-Zarr") else 2)


def test_the_seeds_of_known_layouts_are_found(tmp_path: Path) -> None:
    known = set()
    for number, seed in enumerate(seeds(tmp_path / "seeds")):
        if seed.arguments.get("images") == "." and seed.kind not in ("dicom", "ome-zarr"):
            found = detect_formats(tmp_path / "seeds" / str(number), "train")
            assert [one.format for one in found] == [seed.kind], (number, found)
            known.add(seed.kind)
        elif seed.kind in ("coco-panoptic", "label-studio", "rle-csv"):
            [one] = detect_formats(tmp_path / "seeds" / str(number), "train")
            assert one.format == seed.kind
            assert len(open_source(one.format, one.arguments).keys) == 2
    assert known >= {
        "camvid", "cityscapes", "voc", "yolo", "labelme", "cvat", "datumaro", "kitti", "mapillary",
        "supervisely", "ade20k", "mask-folders",
    }  # fmt: skip


def test_the_files_of_another_split_are_not_taken(tmp_path: Path) -> None:
    for split in ("train", "val"):
        two_folders(f"{split}/images", f"{split}/masks")(tmp_path)
    [val] = detect_formats(tmp_path, "val")
    assert val.arguments["images"] == str(tmp_path / "val/images")
    assert detect_formats(tmp_path, "test") == []


def test_splits_of_images_and_masks_are_no_mask_folders(tmp_path: Path) -> None:
    for name in ("train", "test", "c1"):
        for folder in ("images", "masks"):
            (tmp_path / name / folder).mkdir(parents=True)
            (tmp_path / name / folder / "a.png").write_bytes(b"")
    [found] = detect_formats(tmp_path, "train")
    assert found.format == "mask-folders"  # by c1
    shutil.rmtree(tmp_path / "c1")
    assert "mask-folders" not in {one.format for one in detect_formats(tmp_path, "train")}


@pytest.mark.parametrize(
    "text", ["", "id,mask\na,masks/a.png\n", "id,rle\nb,1 2\n", 'id,rle\n"a,1 2', "x,y\n1,2\n"]
)
def test_other_csv_files_are_no_runs(text: str, tmp_path: Path) -> None:
    (tmp_path / "i").mkdir()
    (tmp_path / "i/a.png").write_bytes(b"")
    (tmp_path / "t.csv").write_text(text)
    assert "rle-csv" not in {one.format for one in detect_formats(tmp_path, "train")}
    (tmp_path / "t.csv").write_text("id,rle\na.png,3 4 9 1\n")
    assert [one.format for one in detect_formats(tmp_path, "train")] == ["rle-csv"]


def test_where_two_fit_the_user_is_asked(tmp_path: Path) -> None:
    coco(tmp_path)
    two_folders("images", "masks")(tmp_path)
    with pytest.raises(SourceError, match=r"found 2: coco .*; paired .*; choose by --format"):
        choose_format(tmp_path, "train", None)
    assert choose_format(tmp_path, "train", "coco").format == "coco"
    with pytest.raises(SourceError, match=r"needed the layout of nifti .*looks like coco, paired"):
        choose_format(tmp_path, "train", "nifti")


def test_images_beside_unknown_annotations_are_not_taken_for_images_alone(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    (tmp_path / "notes.ann").write_text("", "utf-8")
    (tmp_path / "README.txt").write_text("", "utf-8")
    assert detect_formats(tmp_path, "train") == []
    (tmp_path / "notes.ann").unlink()
    (tmp_path / "README.txt").unlink()
    assert len(detect_formats(tmp_path, "train")) == 1
    (tmp_path / "boxes.csv").write_text("image,x,y\n", "utf-8")
    assert detect_formats(tmp_path, "train") == []


def test_two_folders_of_masks_are_named(tmp_path: Path) -> None:
    two_folders("images", "masks")(tmp_path)
    pictures(tmp_path / "labels", "a.png", bands=1)
    with pytest.raises(SourceError, match=r"below labels/.*below masks/.*--images and --masks"):
        choose_format(tmp_path, "train", None)


@pytest.mark.parametrize("place", ["nothing", "file.png"])
def test_what_is_no_folder_is_said(place: str, tmp_path: Path) -> None:
    picture(tmp_path / "file.png")
    with pytest.raises(SourceError, match=r"needed a folder, found (nothing|a file)"):
        detect_formats(tmp_path / place, "train")


def test_a_folder_that_says_nothing_is_described(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("", "utf-8")
    with pytest.raises(SourceError, match=r"found 0 folders and files 1 \.txt; give --images"):
        choose_format(tmp_path, "train", None)


def test_links_that_lead_back_and_damaged_files_do_no_harm(tmp_path: Path) -> None:
    two_folders("images", "masks")(tmp_path)
    (tmp_path / "images/again").symlink_to(tmp_path)
    for name in ("x.json", "x.h5", "x.npz", "x.csv", "x.parquet", "x.tar"):
        (tmp_path / "masks" / name).write_bytes(b"{\0")
    (tmp_path / "x.json").mkdir()
    assert "paired" in [one.format for one in detect_formats(tmp_path, "train")]


@given(st.sampled_from(["train", "val", "test", "fold1"]), st.sampled_from(["", "x_", "2017-"]))
def test_a_name_belongs_to_one_split(split: str, start: str) -> None:
    name = f"{start}{split}"
    assert is_of(name, split)
    assert not is_of_another(name, split)
    for other in {"train", "val", "test"} - {split}:
        assert not is_of(name, other)
        assert is_of_another(name, other) == (split != "fold1")


def test_the_command_says_what_it_took_the_folder_for(tmp_path: Path) -> None:
    two_folders("train/images", "train/masks")(tmp_path / "data")
    out, data = str(tmp_path / "o.zarr"), str(tmp_path / "data")
    run = CliRunner().invoke(app, ["convert", out, "--split", "train", "--from", data])
    assert run.exit_code == 0, run.output
    assert "taken for paired, because 2 files below train/images/" in run.stderr
    assert "2 pairs" in run.stdout
    again = CliRunner().invoke(
        app, ["convert", out, "--split", "x", "--from", data, "--images", data]
    )
    assert again.exit_code == 2
    assert "either this or --from" in again.output
    neither = CliRunner().invoke(app, ["convert", out, "--split", "x"])
    assert neither.exit_code == 2
    assert "--from DIR" in neither.output


def empty(*names: str) -> Callable[[Path], None]:
    def write(at: Path) -> None:
        for name in names:
            (at / name).parent.mkdir(parents=True, exist_ok=True)
            (at / name).write_bytes(b"")

    return write


@pytest.mark.parametrize(
    "names",
    [
        ("images/a.png", "maskpng/a.png"),
        ("train/a.png", "train_maskpng/a.png"),
        ("rgb/a.png", "depth/a.png"),
        ("a.png", "a_anno.png"),
        ("a.png", "b.png", "mask_a.png"),
        ("a.png", "a_mask.png", "a_mask_1.png"),
        ("images/a.nii.gz", "manual/a.nii.gz"),
        ("c/c_t1.nii.gz", "c/c_t2.nii.gz", "c/c_seg.nii.gz"),
        ("images/a.nii.gz", "images/b.nii.gz", "images/c.nii.gz", "labels/a.nrrd"),
        *(("a.png", "b.png", "c.png", name) for name in ("x.mat", "x.jsonl", "x.yml", "masks.zip")),
        ("train_1.png", "val_1.png"),
        ("images/train_1.png", "images/val_1.png", "masks/train_1.png", "masks/val_1.png"),
        ("images/a.png", "images/b.png", "masks/train/a.png", "masks/val/b.png"),
        ("CT/a.dcm", "CT/b.dcm", "labels/a.nii.gz"),
        ("CT/a.dcm", "CT/b.dcm", "a.xml"),
        ("a-train.parquet", "b-train.parquet", "a-val.parquet"),
    ],
)
def test_masks_and_other_splits_are_not_taken_for_images(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    empty(*names)(tmp_path)
    assert detect_formats(tmp_path, "train") == []


@pytest.mark.parametrize(
    ("names", "suffix"),
    [
        (("a.nii.gz", "a_seg.nii.gz"), "_seg"),
        (("a.nrrd", "a-label.nrrd"), "-label"),
        (("a.nrrd", "a.seg.nrrd"), ".seg"),
    ],
)
def test_labels_beside_volumes_are_found_by_their_suffix(
    names: tuple[str, ...], suffix: str, tmp_path: Path
) -> None:
    empty(*names)(tmp_path)
    [found] = detect_formats(tmp_path, "train")
    assert found.arguments["images"] == found.arguments["masks"]
    assert found.arguments["mask_suffix"] == suffix


def test_images_alone_of_a_split_are_taken_without_those_of_others(tmp_path: Path) -> None:
    empty("photos/train/a.png", "photos/val/a.png", "photos/val/b.png")(tmp_path)
    [found] = detect_formats(tmp_path, "train")
    assert found.arguments == {"images": str(tmp_path / "photos/train")}
    assert "nothing that can be masks" in found.reason


@pytest.mark.parametrize("split", ["train", "val"])
def test_images_of_the_same_names_are_those_of_the_split(split: str, tmp_path: Path) -> None:
    empty("test/1.png", "train/1.png", "val/1.png")(tmp_path)
    for name in ("train", "val"):
        said = {"images": [{"file_name": "1.png"}], "annotations": [], "categories": []}
        (tmp_path / f"{name}.json").write_text(json.dumps(said), "utf-8")
    [found] = detect_formats(tmp_path, split)
    assert found.arguments["images"] == str(tmp_path / split)
    for name in ("train", "val"):
        (tmp_path / f"{name}.json").unlink()
        (tmp_path / f"{name}.csv").write_text("ImageId,EncodedPixels\n1.png,1 5\n", "utf-8")
    [found] = detect_formats(tmp_path, split)
    assert (found.format, found.arguments["images"]) == ("rle-csv", str(tmp_path / split))


def test_images_of_the_same_names_in_two_folders_are_asked_for(tmp_path: Path) -> None:
    empty("left/1.png", "right/1.png")(tmp_path)
    said = {"images": [{"file_name": "1.png"}], "annotations": [], "categories": []}
    (tmp_path / "a.json").write_text(json.dumps(said), "utf-8")
    with pytest.raises(SourceError, match=r"found 2: coco .*left/.*right/.*--images and --masks"):
        choose_format(tmp_path, "train", None)


def test_of_annotated_folders_that_of_the_split_is_taken(tmp_path: Path) -> None:
    for split in ("train", "val"):
        empty(f"{split}/images/a.png")(tmp_path)
        (tmp_path / split / "annotations.xml").write_text('<annotations><image id="0"/>', "utf-8")
    for split in ("train", "val"):
        [found] = detect_formats(tmp_path, split)
        assert found.arguments["images"] == str(tmp_path / split)
    assert detect_formats(tmp_path, "test") == []


def test_arrays_of_images_without_masks_are_taken_only_if_alone(tmp_path: Path) -> None:
    images = np.ones((3, *SHAPE, 3), np.uint8)
    for name in ("train1", "train2", "val"):
        np.savez(tmp_path / f"{name}.npz", x=images, y=images)
    [found] = detect_formats(tmp_path, "train")
    assert found.arguments["images"] == f"{tmp_path}/train*.npz:x"
    np.savez(tmp_path / "train2.npz", y=images)
    assert detect_formats(tmp_path, "train") == []
    for path in tmp_path.iterdir():
        path.unlink()
    np.savez(tmp_path / "train_images.npz", data=images)
    assert [one.format for one in detect_formats(tmp_path, "train")] == ["npz"]
    np.savez(tmp_path / "train_masks.npz", data=images)
    assert detect_formats(tmp_path, "train") == []


def test_many_folders_are_looked_at_once_each(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number}").mkdir()
    looks = 0

    class Counted(dict[str, Any]):
        def __contains__(self, key: object) -> bool:
            nonlocal looks
            looks += 1
            return super().__contains__(key)

    listing = look(tmp_path)
    counted = replace(listing, folders=Counted(listing.folders))
    assert sum(1 for path in counted.folders for _ in counted.below(path)) == 601
    assert looks < 5 * 300
