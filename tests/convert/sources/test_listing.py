"""Files are found by what their names end in, and called as they are."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zarrfeed import open_split
from zarrfeed.errors import SourceError
from zarrfeed_convert import PairedFolders, convert
from zarrfeed_convert.formats import open_source
from zarrfeed_convert.sources.annotations.named_images import locate
from zarrfeed_convert.sources.file_discovery import list_files, list_stacks, stem_of

BESIDE = [
    "._a.tif", ".DS_Store", "Thumbs.db", "desktop.ini", "a.tif.aux.xml", "a.tif.ovr", "a.tif.md5",
    "a.tfw", "a.tif.json", "@eaDir/a.tif", "@eaDir/a.tif/THUMB.tif", "__MACOSX/._a.tif",
    "__MACOSX/a.tif", ".ipynb_checkpoints/a-checkpoint.tif", "$RECYCLE.BIN/b.tif",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def touch(*paths):
    for path in paths:
        if not Path(path).parent.is_file():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(b"")


def picture(path, channels=3):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4, 3)[: 3 if channels == 3 else 2], np.uint8)).save(path)


@pytest.mark.parametrize("where", ["d", "d/**/*.tif"])
def test_what_lies_beside_the_data_is_no_data(where):
    touch("d/a.tif", "d/u/B.tif", *(f"d/{name}" for name in BESIDE if "THUMB" not in name))
    touch("d/u/@eaDir/B.tif/THUMB.tif")
    assert list_files(where, what="images", extensions=(".tif",)) == {
        "d/a.tif": "a",
        "d/u/B.tif": "u/B",
    }


def test_hidden_files_that_may_be_data_are_counted(tmp_path):
    for name in ("a", "b"):
        picture(f"i/{name}.png")
        picture(f"m/{name}.png", 1)
    source = PairedFolders("i", "m")
    assert getattr(source, "remarks", ()) == ()
    packed = convert(source, tmp_path / "o.zarr", split="s", workers=1)
    touch("i/.c.png", "i/._a.png", "m/u/._b.png", "m/.DS_Store", "m/.gitignore")
    source = PairedFolders("i", "m")
    report = convert(source, tmp_path / "n.zarr", split="s", workers=1)
    assert report.packed == packed.packed == 2
    about = {each.what: each for each in report.decisions}["hidden files"]
    assert about.value == "3 passed over"
    assert about.reason.startswith("such as i/._a.png: names that begin with a dot")
    again = convert(source, tmp_path / "o.zarr", split="s", workers=1)  # they change nothing
    assert again.status == "already packed"


def test_extensions_count_in_any_case_and_of_two_parts():
    touch("d/a.TIF", "d/b.ome.tif", "d/c.1.tiff", "d/d.nii.gz.tif")
    found = list_stacks(
        "d", what="images", extensions=(".tif", ".tiff"), endings=(".tif", ".tiff", ".ome")
    )
    assert [*found.values()] == ["a", "b", "c.1", "d.nii.gz"]
    assert stem_of("x.NII.GZ", (".nii", ".nii.gz")) == "x"
    assert stem_of("x.png.png", (".png",)) == "x.png"


def test_names_that_macos_took_apart_are_the_same():
    apart = unicodedata.normalize("NFD", "Zürich")
    picture(f"i/{apart}.png")
    picture("m/Zürich.png", 1)
    assert PairedFolders("i", "m").keys == ["Zürich"]
    picture("i/Zürich.png")
    if len([*Path("i").iterdir()]) == 2:  # not on macOS
        with pytest.raises(SourceError, match=r"found 'Zürich' for both .*; keep one"):
            PairedFolders("i", "m")


@pytest.mark.parametrize(
    "name",
    ["a b", "a.1", "a#1", "100%", "it's", "a:b", "[1]", "a\nb", "x" * 200, "\udc80", "C:\\a"],
)
def test_odd_names_are_kept_as_keys(name):
    picture(f"i/{name}.png")
    picture(f"m/{name}.png", 1)
    assert PairedFolders("i", "m").keys == [name]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("frame", "frame"), ("frame.1", "frame.1"), ("my frame", "my frame"), ("frame 1", "frame"),
        ("frame  -1", "frame"), ("b 1", "b 1"), ("b 1 0", "b 1"), ("frame.1.jpg", "frame.1"),
        ("/JPEGImages/my frame.jpg /SegmentationClass/my frame.png", "my frame"),
        ("Zu\u0308rich", "Zürich"),
    ],
)  # fmt: skip
def test_a_line_of_a_list_is_a_name_with_a_flag_or_paths(line, name):
    Path("ImageSets/Segmentation").mkdir(parents=True)
    Path("ImageSets/Segmentation/train.txt").write_text(f"{line}\r\n\n", encoding="utf-8")
    for known in ("frame", "frame.1", "my frame", "b 1", "Zürich"):
        picture(f"JPEGImages/{known}.jpg")
        picture(f"SegmentationClass/{known}.png", 1)
    assert open_source("voc", {"images": "."}).keys == [name]


def test_images_of_a_list_may_have_another_extension():
    Path("ImageSets/Segmentation").mkdir(parents=True)
    Path("ImageSets/Segmentation/train.txt").write_text("a\nb\n", encoding="utf-8")
    for path in ("a.JPG", "b.jpeg", "b.jpg"):
        picture(f"JPEGImages/{path}")
    for name in "ab":
        picture(f"SegmentationClass/{name}.PNG", 1)
    source = open_source("voc", {"images": "."})
    assert [Path(source.names(number)[0]).name for number in range(2)] == ["a.JPG", "b.jpg"]


@pytest.mark.parametrize("kind", [str, Path, lambda path: str(path).encode()])
def test_paths_may_begin_at_home_and_be_of_any_kind(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("HOME", str(tmp_path))
    picture("i/a.png")
    picture("m/a.png", 1)
    np.savez("a.npz", x=np.zeros((2, 8, 8), np.uint8))
    assert PairedFolders(kind("~/i"), kind("~/m")).keys == ["a"]
    arrays = open_source("npz", {"images": kind("~/a.npz:x"), "masks": kind("~/a.npz:x")})
    assert len(arrays.keys) == 2
    convert(PairedFolders("~/i", "~/m"), kind("~/o.zarr"), split="t", workers=1)
    assert (tmp_path / "o.zarr" / "t").is_dir()
    assert open_split("~/o.zarr/t").layouts["image"].shape == (1, 4, 4, 3)


def test_relative_paths_are_those_of_the_folder_in_which_a_source_was_opened(tmp_path, monkeypatch):
    picture("i/a.png")
    picture("m/a.png", 1)
    source = PairedFolders("i", "m")
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert convert(source, "o.zarr", split="t", workers=1).packed == 1
    assert (tmp_path / "elsewhere" / "o.zarr" / "t").is_dir()


def test_a_folder_that_is_there_is_no_pattern():
    for folder in ("set[1]", "set1", "a*"):
        picture(f"{folder}/i/x.png")
        picture(f"{folder}/m/x.png", 1)
    for folder in ("set[1]", "a*"):
        pairs = PairedFolders(f"{folder}/i/*.png", f"{folder}/m")
        assert pairs.names(0) == (f"{folder}/i/x.png", f"{folder}/m/x.png")
        assert pairs.keys == ["x"]
    assert len(list_files("set[12]/i/*.png", what="images", extensions=())) == 1


@pytest.mark.parametrize("name", ["C:\\set\\val\\a.jpg", "val/a.jpg", "/x/val/a.jpg"])
def test_coco_names_may_have_the_slashes_of_windows(name):
    assert locate(name, {"val/a.jpg": "val/a.jpg"}) == "val/a.jpg"
    assert locate("Zu\u0308.jpg", {"Zü.jpg": "here"}) == "here"
