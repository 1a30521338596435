"""Folders of files for further fields: which belong to an image, and what is read of them."""

from __future__ import annotations

import json
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from typer.testing import CliRunner

from stored_samples import attributes, in_order_of_keys
from zarrfeed import open_split
from zarrfeed.errors import SourceError
from zarrfeed_convert import PairedFolders, convert, repack, verify
from zarrfeed_tools.cli import app

COUNT, SIZE = 5, (12, 10)
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (COUNT, *SIZE, 3), np.uint8)
AFTER = RNG.integers(0, 256, (COUNT, *SIZE, 3), np.uint8)
MASKS = RNG.integers(0, 3, (COUNT, *SIZE), np.uint8)
DEPTHS = RNG.random((COUNT, *SIZE), np.float32) * 80
MILLIMETRES = RNG.integers(0, 60_000, (COUNT, *SIZE)).astype(np.uint16)
NORMALS = RNG.random((COUNT, *SIZE, 3), np.float32)
FLOWS = RNG.standard_normal((COUNT, *SIZE, 2)).astype(np.float32)

FIELDS = {
    "after": "image:after",
    "objects": "mask:objects",
    "depth": "target:depth",
    "mm": "target:mm/*.png",
    "normals": "target:normals",
    "flow": "target:flow",
}
STORED = {
    "image": IMAGES,
    "mask": MASKS,
    "after": AFTER,
    "objects": MILLIMETRES,
    "depth": DEPTHS,
    "mm": MILLIMETRES,
    "normals": NORMALS,
    "flow": FLOWS,
}


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(COUNT):
        save(f"images/{number}.png", IMAGES[number])
        save(f"masks/{number}.png", MASKS[number])
        save(f"after/{number}.png", AFTER[number])
        save(f"objects/{number}.png", MILLIMETRES[number])
        save(f"mm/{number}_mm.png", MILLIMETRES[number])
        save(f"depth/{number}.tif", DEPTHS[number])
        save(f"normals/{number}.tif", NORMALS[number])
        save(f"flow/{number}.npy", FLOWS[number])


def save(path, values):
    file = Path(path)
    file.parent.mkdir(exist_ok=True)
    if path.endswith(".tif"):
        rgb = values.ndim == 3
        tifffile.imwrite(file, values, photometric="rgb" if rgb else "minisblack")
    elif path.endswith(".npy"):
        np.save(file, values)
    elif path.endswith(".jpg"):
        file.write_bytes(imagecodecs.jpeg_encode(values))
    else:
        file.write_bytes(imagecodecs.png_encode(values))


def packed(fields, masks="masks", **options):
    source = PairedFolders("images", masks, fields=fields)
    return convert(source, "o.zarr", split="train", classes=3, workers=1, **options)


@pytest.mark.parametrize("masks", ["masks", "none"])
def test_every_role_is_packed_checked_and_repacked(masks):
    names = [name for name in STORED if name != "mask" or masks == "masks"]
    assert [field.name for field in packed(FIELDS, masks).fields] == names
    assert packed(FIELDS, masks).status == "already packed"
    repack("o.zarr/train", "p.zarr", split="train", codec="lz4", workers=1)
    for path in ("o.zarr/train", "p.zarr/train"):
        found = verify(path, source=True, workers=1)
        assert found.ok, found.problems
        assert found.splits[0].originals == COUNT
        arrays = in_order_of_keys(path)
        assert list(arrays) == names
        for name in names:
            assert arrays[name].dtype == STORED[name].dtype
            np.testing.assert_array_equal(arrays[name], STORED[name], err_msg=name)


def test_the_split_records_fields_in_their_order():
    packed({"mm": FIELDS["mm"], "depth": FIELDS["depth"]})
    recorded = attributes(Path("o.zarr/train"))
    assert recorded["fields"] == ["image", "mask", "mm", "depth"]
    assert recorded["source"]["fields"] == {"mm": "target:mm/*.png", "depth": "target:depth"}
    with pytest.raises(SourceError, match=r"packed otherwise .*--field: .*'mm'.* there, .*'depth'"):
        packed({"depth": FIELDS["depth"], "mm": FIELDS["mm"]})
    packed({}, overwrite=True)
    assert "fields" not in attributes(Path("o.zarr/train"))["source"]


def test_originals_that_have_moved_are_found():
    packed({"depth": "target:depth", "after": "image:after"})
    Path("depth").rename("moved")
    found = verify("o.zarr", source=True, workers=1)
    assert "with --images, --masks and --field" in found.problems[0].what
    found = verify("o.zarr", source={"fields": {"depth": "target:moved"}}, workers=1)
    assert found.ok, found.problems
    save("moved/3.tif", DEPTHS[0])
    done = CliRunner().invoke(app, ["verify", "o.zarr", "--field", "depth=target:moved", "--json"])
    assert done.exit_code == 1
    (problem,) = json.loads(done.stdout)["splits"][0]["problems"]
    assert problem["key"] == "3"
    assert "moved/3.tif" in problem["files"]


def test_a_pair_of_another_process_reads_relative_places(tmp_path, monkeypatch):
    source = PairedFolders("images", fields={"depth": "target:depth"})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    convert(source, "o.zarr", split="train", workers=2)
    np.testing.assert_array_equal(in_order_of_keys("o.zarr/train")["depth"], DEPTHS)


@pytest.mark.parametrize("masks", ["masks", ""])
def test_missing_and_surplus_files_are_named_or_skipped(masks):
    Path("depth/1.tif").unlink()
    save("depth/9.tif", DEPTHS[0])
    left_out = PairedFolders("images", masks, fields={"depth": "target:depth"}).left_out
    assert left_out == [
        ("images/1.png", "this image has no depth file"),
        ("depth/9.tif", "this depth file has no image"),
    ]
    with pytest.raises(SourceError, match=r"2 inputs make no sample: images/1\.png: this"):
        packed({"depth": "target:depth"}, masks)
    report = packed({"depth": "target:depth"}, masks, on_error="skip")
    assert (report.found, report.packed, len(report.skipped)) == (COUNT + 1, COUNT - 1, 2)
    found = verify("o.zarr", source=True, workers=1)
    assert found.ok, found.problems


def test_an_image_that_lacks_both_is_named_once():
    Path("depth/1.tif").unlink()
    Path("masks/1.png").unlink()
    left_out = PairedFolders("images", "masks", fields={"depth": "target:depth"}).left_out
    assert left_out == [("images/1.png", "this image has no mask, no depth file")]


def test_a_field_that_shares_no_name_with_the_images_is_refused():
    for number in range(COUNT):
        Path(f"depth/{number}.tif").rename(f"depth/{'abcde'[number]}.tif")
    with pytest.raises(SourceError, match=r"images and depth files have no name in .*'a' a depth"):
        PairedFolders("images", "masks", fields={"depth": "target:depth"})


def test_a_folder_may_hold_images_and_fields():
    for number in range(COUNT):
        save(f"all/{number}_rgb.png", IMAGES[number])
        save(f"all/{number}_mm.png", MILLIMETRES[number])
    by_folder = PairedFolders("all", fields={"mm": "target:all/*_mm.png"})
    by_glob = PairedFolders("all/*_rgb.png", fields={"mm": "target:all/*_mm.png"})
    assert by_folder.left_out == by_glob.left_out == []
    for source in (by_folder, by_glob):
        image, millimetres = source.read(2)
        np.testing.assert_array_equal(image, IMAGES[2])
        np.testing.assert_array_equal(millimetres, MILLIMETRES[2])
    with pytest.raises(SourceError, match="images: needed other files than those of fields"):
        PairedFolders("all", fields={"mm": "target:all"})


def save_all(folder):
    for number in range(COUNT):
        save(f"{folder}/{number}_rgb.png", IMAGES[number])
        save(f"{folder}/{number}_mm.png", MILLIMETRES[number])


@pytest.mark.parametrize("to", ["relative", "absolute", "link"])
def test_files_of_fields_are_known_by_any_path(tmp_path, to):
    save_all("all")
    if to == "link":
        Path("link").symlink_to("all")
    place = {"relative": "./all/../all", "absolute": tmp_path / "all", "link": "link"}[to]
    source = PairedFolders("all", fields={"mm": f"target:{place}/*_mm.png"})
    assert (len(source.keys), source.left_out) == (COUNT, [])
    image, millimetres = source.read(2)
    np.testing.assert_array_equal(image, IMAGES[2])
    np.testing.assert_array_equal(millimetres, MILLIMETRES[2])


def test_files_that_are_links_to_one_file_are_different_samples():
    Path("before").mkdir()
    for number in range(COUNT):
        Path(f"before/{number}.png").symlink_to(f"../images/{number}.png")
    source = PairedFolders("before", fields={"after": "image:images"})
    assert len(source.keys) == COUNT
    same = PairedFolders("images", fields={"after": "image:before"})
    np.testing.assert_array_equal(*same.read(1))


@pytest.mark.parametrize("masks", ["all", "absolute"])
@pytest.mark.parametrize(
    "suffixes",
    [
        {"image_suffix": "_rgb"},
        {"mask_suffix": "_mask"},
        {"image_suffix": "_rgb", "mask_suffix": "_mask"},
    ],
)
def test_a_folder_may_hold_images_masks_and_fields(tmp_path, masks, suffixes):
    save_all("all")
    for number in range(COUNT):
        save(f"all/{number}_mask.png", MASKS[number])
    masks = str(tmp_path / "all") if masks == "absolute" else masks
    source = PairedFolders("all", masks, fields={"mm": "target:all/*_mm.png"}, **suffixes)
    assert (len(source.keys), source.left_out) == (COUNT, [])
    for found, expected in zip(source.read(2), (IMAGES, MASKS, MILLIMETRES), strict=True):
        np.testing.assert_array_equal(found, expected[2])


def test_masks_may_share_their_folder_with_a_field_or_be_one():
    for number in range(COUNT):
        save(f"masks/{number}_mm.png", MILLIMETRES[number])
    source = PairedFolders("images", "masks", fields={"mm": "target:masks/*_mm.png"})
    assert (len(source.keys), source.left_out) == (COUNT, [])
    np.testing.assert_array_equal(source.read(1)[1], MASKS[1])
    twice = PairedFolders("images", "objects", fields={"objects": "mask:objects"})
    np.testing.assert_array_equal(*twice.read(1)[1:])


def test_sizes_that_differ_are_told_as_those_of_masks_are():
    save("depth/1.tif", DEPTHS[1, :, :5])
    save("depth/2.tif", DEPTHS[2, :5])
    with pytest.raises(
        SourceError,
        match=r"image and depth differ in size \(2 pairs differ\): images/1\.png is 12x10, "
        r"depth/1\.tif is 12x5; they must show the same pixels",
    ):
        packed({"depth": "target:depth"})
    report = packed({"depth": "target:depth"}, on_error="skip")
    assert report.packed == COUNT - 2


def test_masks_of_further_fields_are_read_by_the_rules_of_masks():
    for number in range(COUNT):
        picture = Image.fromarray(MASKS[number], "P")
        picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
        picture.save(f"objects/{number}.png")
    source = PairedFolders("images", fields={"objects": "mask:objects"})
    np.testing.assert_array_equal(source.read(1)[1], MASKS[1])
    mapped = PairedFolders("images", fields={"objects": "mask:objects"}, mask_map="#FF0000=300,*=0")
    objects = mapped.read(1)[1]
    np.testing.assert_array_equal(objects, np.where(MASKS[1] == 1, 300, 0))
    assert objects.dtype == mapped.probe(1).arrays["objects"].dtype == "uint16"


def test_a_file_that_names_classes_says_nothing_of_further_masks():
    Path("masks/labelmap.txt").write_text("# label:color_rgb:parts:actions\nsky:0,0,0::\n")
    for number in range(COUNT):
        save(f"masks/{number}.png", np.zeros((*SIZE, 3), np.uint8))
    source = PairedFolders("images", "masks", fields={"objects": "mask:objects"})
    assert source.classes == ("sky",)
    np.testing.assert_array_equal(source.read(1)[2], MILLIMETRES[1])


def test_grey_of_few_bits_is_a_target_of_the_numbers_in_the_file():
    for number in range(COUNT):
        Image.fromarray(MASKS[number] > 0).save(f"depth/{number}.png")
        Path(f"depth/{number}.tif").unlink()
    source = PairedFolders("images", fields={"depth": "target:depth"})
    assert source.probe(0).arrays["depth"] == (SIZE, "uint8")
    np.testing.assert_array_equal(source.read(0)[1], MASKS[0] > 0)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("palette", "the target depth, found the indices of a palette; use the role image"),
        ("jpeg", "found the colours of a JPEG, which its compression changes; use the role image"),
        ("alpha", "found grey and alpha"),
    ],
)
def test_what_is_no_target_is_refused(kind, said):
    for number in range(COUNT):
        Path(f"depth/{number}.tif").unlink()
        if kind == "palette":
            picture = Image.fromarray(MASKS[number], "P")
            picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
            picture.save(f"depth/{number}.png")
        elif kind == "jpeg":
            save(f"depth/{number}.jpg", IMAGES[number])
        else:
            Image.fromarray(MASKS[number]).convert("LA").save(f"depth/{number}.png")
    with pytest.raises(SourceError, match=said):
        packed({"depth": "target:depth"})


def test_further_masks_that_jpeg_has_smeared_are_refused():
    for number in range(COUNT):
        Path(f"objects/{number}.png").unlink()
        save(f"objects/{number}.jpg", np.where(MASKS[number] > 0, 200, 20).astype(np.uint8))
    fields = {"objects": "mask:objects"}
    with pytest.raises(
        SourceError,
        match=r"^objects/.\.jpg: needed ids as the mask objects, found a JPEG of \d+ values; JPEG "
        "changes mask values: save masks as PNG",
    ):
        packed(fields)
    thresholds = PairedFolders("images", fields=fields, mask_map="0..110=0,111..255=1")
    np.testing.assert_array_equal(thresholds.read(1)[1], MASKS[1] > 0)


def test_grey_jpeg_targets_are_packed_with_a_remark():
    for number in range(COUNT):
        Path(f"depth/{number}.tif").unlink()
        save(f"depth/{number}.jpg", np.full(SIZE, number, np.uint8))
    report = packed({"depth": "target:depth"})
    (about,) = [each for each in report.decisions if each.what == "JPEG targets"]
    assert about.value == f"{COUNT} files"
    assert about.reason.startswith("such as depth/0.jpg: JPEG has changed their numbers")
    assert any("JPEG targets: 5 files: such as" in said for said in report.remarks)
    assert (in_order_of_keys("o.zarr/train")["depth"][:, 0, 0] == np.arange(COUNT)).all()


@pytest.mark.parametrize("name", ["mask", "digest", "a b"])
def test_names_of_other_arrays_are_refused(name):
    with pytest.raises(SourceError, match="needed names of fields like 'depth'"):
        PairedFolders("images", "masks", fields={name: "target:depth"})


def test_the_command_packs_fields_and_shows_them():
    arguments = ["convert", "o.zarr", "--split", "train", "--images", "images", "--workers", "1"]
    arguments += ["--field", "depth=target:depth", "--field", "after=image:after"]
    for more in (["--dry-run"], []):
        done = CliRunner().invoke(app, [*arguments, *more], env={"COLUMNS": "200"})
        assert done.exit_code == 0, done.output
        assert "depth" in done.output
        assert "after" in done.output
        assert f"ack {COUNT} images" in done.output or f"Packed {COUNT} images" in done.output
        said = " ".join(done.output.split())
        assert (
            "name the fields to train on, like ZarrSequence(…, fields=('image', 'depth'))" in said
        )
        assert "predict" not in said
    assert [*open_split("o.zarr/train").default_fields] == ["image", "depth", "after"]
    shown = CliRunner().invoke(app, ["inspect", "o.zarr"], env={"COLUMNS": "200"}).output
    assert "float32" in shown
    explained = CliRunner().invoke(app, ["formats", "paired"], env={"COLUMNS": "120"}).output
    assert "--field" in explained


def test_values_that_a_target_declares_as_no_data_are_told():
    tag = (42113, "s", 0, "-9999", False)  # GDAL_NODATA
    for number in range(COUNT):
        values = np.where(MASKS[number] == 0, np.float32(-9999), DEPTHS[number])
        tifffile.imwrite(f"depth/{number}.tif", values, extratags=[tag])
    report = packed({"depth": "target:depth"}, "none")
    (about,) = [each for each in report.decisions if each.what == "no data"]
    assert about.value == "-9999"
    assert about.reason.startswith("one of images/0.png, depth/0.tif declares -9999 as no data")
    assert "targets count in a loss" in about.reason
    assert (in_order_of_keys("o.zarr/train")["depth"] == -9999).any()


@pytest.mark.parametrize("how", [{"size": (15, 15), "fit": "pad"}, {"tile": (15, 15)}], ids=str)
def test_padding_is_the_ignored_id_of_masks_and_zero_of_others(how):
    fields = {"objects": "mask:objects", "depth": "target:depth", "after": "image:after"}
    packed(fields, ignore=300, order="source", **how)
    root = zarr.open_group("o.zarr/train", mode="r")
    arrays = {name: root[name][:] for name in ("image", "mask", *fields)}
    for name, fill in {"mask": 300, "objects": 300, "depth": 0, "after": 0}.items():
        assert (arrays[name][:, SIZE[0] :] == fill).all()
        np.testing.assert_array_equal(arrays[name][:, : SIZE[0], : SIZE[1]], STORED[name])


def test_an_ignored_id_that_a_further_mask_cannot_hold_is_refused():
    for number in range(COUNT):
        save(f"objects/{number}.png", MASKS[number])
    with pytest.raises(SourceError, match="field objects: needed an ignored id that uint8 holds"):
        packed({"objects": "mask:objects"}, size=(15, 15), fit="pad", ignore=300)


def test_targets_of_negative_numbers_are_padded_as_they_are():
    for number in range(COUNT):
        Path(f"depth/{number}.tif").unlink()
        save(f"depth/{number}.npy", MASKS[number].astype(np.int8) - np.int8(1))
    packed({"depth": "target:depth"}, "none", size=(15, 15), fit="pad")
    depths = in_order_of_keys("o.zarr/train")["depth"]
    assert depths.dtype == np.int8
    np.testing.assert_array_equal(depths[:, : SIZE[0], : SIZE[1]], MASKS.astype(int) - 1)
