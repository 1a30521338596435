"""Files pair up by name, or the error says which do not."""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zarrfeed.errors import SourceError
from zarrfeed_convert import PairedFolders, convert


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def touch(*names):
    for name in names:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_pairs_share_the_path_below_their_folders_in_any_format():
    touch("i/b/x.JPG", "i/a.png", "m/a.tif", "m/b/x.png", "m/.hidden.png", "m/notes.txt")
    pairs = PairedFolders("i", "m")
    assert pairs.keys == ["a", "b/x"]
    assert pairs.names(1) == ("i/b/x.JPG", "m/b/x.png")


def test_suffixes_are_cut_off_and_other_files_left_aside_and_counted():
    touch("i/u/x_left.png", "m/u/x_ids.png", "m/u/x_color.png")
    pairs = PairedFolders("i", "m", image_suffix="_left", mask_suffix="_ids")
    assert pairs.keys == ["u/x"]
    assert pairs.describe()["facts"]["left_aside"] == {"images": 0, "masks": 1}


def test_one_folder_may_hold_both():
    touch("d/x.png", "d/x_mask.png", "d/y.png", "d/y_mask.png")
    assert PairedFolders("d", "d", mask_suffix="_mask").keys == ["x", "y"]
    with pytest.raises(SourceError, match="--mask-suffix"):
        PairedFolders("d", "d")


def test_globs_pair_below_their_fixed_part():
    touch("d/1/images/x.png", "d/2/images/x.png", "m/1/images/x.png", "m/2/images/x.png")
    assert PairedFolders("d/**/*.png", "m/*/images/*").keys == ["1/images/x", "2/images/x"]


def test_unpaired_files_of_both_sides_are_named_ten_at_most_and_counted():
    touch("i/x.png", "m/x.png", "m/lone.png", *(f"i/u{number:02}.png" for number in range(12)))
    pairs = PairedFolders("i", "m")
    assert len(pairs.left_out) == 13
    assert pairs.left_out[-1] == ("m/lone.png", "this mask has no image")
    with pytest.raises(SourceError) as error:
        convert(pairs, "o", split="s")
    message = str(error.value)
    assert message.startswith("13 inputs make no sample: i/u00.png: this image has no mask; i/u01")
    assert "i/u09.png: this image has no mask and 3 more" in message
    assert "u10" not in message
    assert not Path("o").exists()


@pytest.mark.parametrize(
    ("images", "masks", "given", "advice"),
    [
        ("{}", "{}_mask", {}, "masks end in '_mask': add --mask-suffix _mask; 3 images"),
        ("{}_rgb", "{}", {}, "images end in '_rgb': add --image-suffix _rgb; 3 images"),
        (
            "{}_rgb",
            "{}_gt",
            {},
            "images end in '_rgb', masks end in '_gt': add --image-suffix _rgb --mask-suffix _gt;",
        ),
        ("{}", "{}_gt_m", {"mask_suffix": "_m"}, "masks end in '_gt_m': add --mask-suffix _gt_m;"),
    ],
)
def test_suffixes_that_would_pair_the_files_are_advised_first(images, masks, given, advice):
    for name in ("u/x1", "u/x_1", "v/y1"):  # of the same words: these alone do not tell
        touch(f"i/{images.format(name)}.png", f"m/{masks.format(name)}.png")
    with pytest.raises(SourceError) as error:
        PairedFolders("i", "m", **given)
    assert str(error.value).startswith(advice)
    options = dict(re.findall(r"--(\w+)-suffix (\w+)", str(error.value)))
    suffixes = {f"{what}_suffix": suffix for what, suffix in options.items()}
    assert PairedFolders("i", "m", **suffixes).keys == ["u/x1", "u/x_1", "v/y1"]


def test_words_that_all_names_of_a_side_have_need_no_option():
    for number in (1, 2, 10):
        touch(f"i/image_{number}.png", f"m/gt_{number:03}.png")
    pairs = PairedFolders("i", "m")
    assert pairs.keys == ["image_1", "image_10", "image_2"]
    assert [Path(pairs.names(sample)[1]).name for sample in range(3)] == [
        "gt_001.png", "gt_010.png", "gt_002.png",
    ]  # fmt: skip


def test_several_kinds_of_masks_are_all_named():
    for name in ("a_1", "a_2"):
        touch(f"i/{name}_left.png", f"m/{name}_color.png", f"m/{name}_ids.png")
    with pytest.raises(SourceError, match=r"masks end in '_color' or '_ids': .*another of these"):
        PairedFolders("i", "m")


def test_folders_of_different_sets_get_no_advice_on_suffixes():
    touch(*(f"i/{n}.png" for n in "abc"), *(f"m/{n}.png" for n in "xyz"))
    with pytest.raises(
        SourceError, match=r"^images and masks have no name in common, 'a'"
    ) as error:
        PairedFolders("i", "m")
    assert "check that both folders are of one set, i and m, or rename" in str(error.value)
    assert "3 images have no mask: a.png, b.png, c.png" in str(error.value)
    assert "suffix" not in str(error.value)


def test_a_lone_mask_beside_many_pairs_is_no_matter_of_suffixes():
    touch(*(f"{side}/{n}.png" for n in "abc" for side in "im"), "m/a_old.png")
    pairs = PairedFolders("i", "m")
    assert pairs.left_out == [("m/a_old.png", "this mask has no image")]
    with pytest.raises(SourceError, match=r"^1 input makes no sample: m/a_old\.png: this mask"):
        convert(pairs, "o", split="s")


def test_two_files_of_one_name_are_refused():
    touch("i/x.png", "i/x.jpg", "m/x.png")
    with pytest.raises(SourceError, match=r"found 'x' for both i/x\.jpg and i/x\.png"):
        PairedFolders("i", "m")


def test_nothing_to_pack_is_an_error_that_names_the_place():
    touch("m/x.png")
    Path("empty").mkdir()
    with pytest.raises(SourceError, match="found no image in empty"):
        PairedFolders("empty", "m")
    with pytest.raises(SourceError, match="no such folder or file: nowhere"):
        PairedFolders("nowhere", "m")
    with pytest.raises(SourceError, match=r"found no image in m/\*\.jpg"):
        PairedFolders("m/*.jpg", "m")
    with pytest.raises(SourceError, match="needed files with the suffix '_gt', found none"):
        PairedFolders("m", "m", mask_suffix="_gt")


def test_a_file_is_an_image_and_a_mask(tmp_path):
    touch("i/x.png", "i/y.png", "m/x.png")
    source = PairedFolders("i/x.png", "m/x.png")
    assert source.keys == ["x"]
    assert source.names(0) == (str(Path("i/x.png")), str(Path("m/x.png")))
    assert PairedFolders("i/y.png").keys == ["y"]
    assert PairedFolders("i/x.png", "m", fields={"weight": "target:m/x.png"}).keys == ["x"]
    touch("notes.txt")
    with pytest.raises(SourceError, match=r"found no image in notes\.txt"):
        PairedFolders("notes.txt")


def test_the_source_travels():
    touch("i/x.png", "m/x.png")
    pairs = PairedFolders("i", "m", mask_map="255=1,#FF0000=2,*=0")
    again = pickle.loads(pickle.dumps(pairs))
    assert again.keys == pairs.keys
    assert again.describe() == pairs.describe()
    assert pairs.describe()["mask_map"] == "255=1,#FF0000=2,*=0"


def test_links_are_followed_but_not_in_circles():
    touch("elsewhere/u/b.png", "i/a.png", "m/a.png")
    for side in ("i", "m"):
        Path(side, "far").symlink_to(Path("elsewhere").absolute())
        Path(side, "up").symlink_to(Path(side).absolute())
        Path(side, "out").symlink_to("..")
    Path("elsewhere/u/back").symlink_to(Path("elsewhere").absolute())
    assert PairedFolders("i", "m").keys == ["a", "far/u/b"]


def test_folders_that_are_hidden_are_passed_over():
    touch("i/a.png", "m/a.png", "i/.checkpoints/a-old.png", "m/.checkpoints/a-old.png")
    assert PairedFolders("i", "m").keys == ["a"]


def test_a_folder_that_cannot_be_read_is_an_error(monkeypatch):
    touch("i/a.png", "m/a.png", "i/closed/b.png", "m/closed/b.png")
    scan = os.scandir

    def refusing(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr("os.scandir", refusing)
    with pytest.raises(SourceError, match=r"^i/closed: cannot be read: Permission denied"):
        PairedFolders("i", "m")


@pytest.mark.parametrize(("orientation", "shape"), [(6, (8, 8)), (3, (6, 8))])
def test_images_that_are_turned_while_their_masks_are_not_are_told_of(tmp_path, orientation, shape):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for folder in ("i", "m"):
        (tmp_path / folder).mkdir()
    values = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    for name, options in (("a", {"exif": exif}), ("b", {})):
        Image.fromarray(values).save(tmp_path / "i" / f"{name}.webp", lossless=True, **options)
        Image.fromarray(values[..., 0] % 3).save(tmp_path / "m" / f"{name}.png")
    source = PairedFolders(tmp_path / "i", tmp_path / "m")
    report = convert(source, tmp_path / "o", split="s", workers=1, dry_run=True)
    about = [decision.value for decision in report.decisions if decision.what == "orientation"]
    assert about == ["1 image turned"]


def test_a_mask_of_the_stored_pixels_of_a_turned_image_is_refused_with_the_way_out(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for folder in ("i", "m"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (8, 6)).save(tmp_path / "i/a.jpg", exif=exif)
    Image.new("L", (8, 6)).save(tmp_path / "m/a.png")
    source = PairedFolders(tmp_path / "i", tmp_path / "m")
    with pytest.raises(SourceError, match=r"as its EXIF orientation says; .* without EXIF"):
        convert(source, tmp_path / "o", split="s", workers=1)
    Image.open(tmp_path / "i/a.jpg").save(tmp_path / "i/a.jpg")
    convert(source, tmp_path / "o", split="s", workers=1)
