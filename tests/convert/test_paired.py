"""Files pair up by name, or the error says which do not."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from zarrfeed.errors import SourceError
from zarrfeed_convert import PairedFolders


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
    assert pairs.describe()["left_aside"] == {"images": 0, "masks": 1}


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
    with pytest.raises(SourceError) as error:
        PairedFolders("i", "m")
    message = str(error.value)
    assert "12 images have no mask: u00.png" in message
    assert "u09.png and 2 more" in message
    assert "u10" not in message
    assert "1 mask has no image: lone.png" in message


def test_names_that_share_nothing_get_a_hint():
    touch("i/x_rgb.png", "m/x_mask.png")
    with pytest.raises(
        SourceError, match=r"'x_rgb' is an image and 'x_mask' a mask.*--mask-suffix"
    ):
        PairedFolders("i", "m")


def test_two_files_of_one_name_are_refused():
    touch("i/x.png", "i/x.jpg", "m/x.png")
    with pytest.raises(SourceError, match=r"i/x\.jpg and i/x\.png are both named 'x'"):
        PairedFolders("i", "m")


def test_nothing_to_pack_is_an_error_that_names_the_place():
    touch("m/x.png")
    Path("empty").mkdir()
    with pytest.raises(SourceError, match="found no image in empty"):
        PairedFolders("empty", "m")
    with pytest.raises(SourceError, match="no such folder: nowhere"):
        PairedFolders("nowhere", "m")
    with pytest.raises(SourceError, match=r"found no image in m/\*\.jpg"):
        PairedFolders("m/*.jpg", "m")
    with pytest.raises(SourceError, match="none of 1 files has the suffix '_gt'"):
        PairedFolders("m", "m", mask_suffix="_gt")


def test_the_source_travels():
    touch("i/x.png", "m/x.png")
    pairs = PairedFolders("i", "m", mask_map="255=1,#FF0000=2,*=0")
    again = pickle.loads(pickle.dumps(pairs))
    assert again.keys == pairs.keys
    assert again.describe() == pairs.describe()
    assert pairs.describe()["mask_map"] == {"255": 1, "#FF0000": 2, "*": 0}
