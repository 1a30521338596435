"""Bad input is named with a way out, and OUT is afterwards what it was before."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from PIL import Image

from zarrfeed.errors import SourceError
from zarrfeed_convert import PairedFolders, convert


@pytest.fixture
def refuse(tmp_path):
    """Convert, expect an error that says something, and see that nothing was written."""

    def refuse(folders, said, *, pairs=None, **options):
        out = tmp_path / "deep" / "out.zarr"
        with pytest.raises(SourceError, match=said) as error:
            convert(
                PairedFolders(*folders, **(pairs or {})),
                out,
                **{"split": "train", "workers": 1, **options},
            )
        assert not out.parent.exists()
        return str(error.value)

    return refuse


def replace_image(folders, save, values, *, name="s001.png", also_mask=True):
    save(folders[0] / name, values)
    if also_mask:
        save(folders[1] / name, np.zeros(values.shape[:2], np.uint8))


def test_different_sizes_without_fit_are_counted(write_pairs, save, refuse):
    folders = write_pairs(3)
    replace_image(folders, save, np.zeros((4, 5, 3), np.uint8))
    refuse(
        folders,
        r"found 2 of 12x10, 1 of 4x5; use --size HxW --fit resize, crop or pad, "
        "or --tile HxW, which keeps all sizes ",
    )
    refuse(
        folders,
        r"one size 4x5, found 2 of 12x10.*use --fit.*--tile HxW instead of --size",
        size=(4, 5),
    )


def test_a_size_that_no_sample_has_needs_a_fit(write_pairs, refuse):
    refuse(write_pairs(3), r"one size 6x6, found 3 of 12x10; use --fit", size=(6, 6))


def test_a_fit_needs_a_size(write_pairs, refuse):
    refuse(write_pairs(3), "--fit crop needs a --size", fit="crop")


def test_an_image_and_a_mask_of_other_sizes_are_both_named(write_pairs, save, refuse):
    folders = write_pairs(3)
    save(folders[1] / "s001.png", np.zeros((10, 12), np.uint8))
    refuse(folders, r"images/s001\.png is 12x10, .*masks/s001\.png is 10x12")


def test_an_image_turned_by_exif_is_compared_with_its_mask_as_it_is_seen(
    tmp_path, write_pairs, refuse
):
    images, masks = write_pairs(1)
    exif = Image.Exif()
    exif[0x0112] = 6
    (images / "s000.png").unlink()
    Image.new("RGB", (10, 12)).save(images / "s000.jpg", exif=exif)
    refuse((images, masks), r"s000\.jpg is 10x12, .*s000\.png is 12x10")
    Image.new("RGB", (12, 10)).save(images / "s000.jpg", exif=exif)
    assert convert(PairedFolders(images, masks), tmp_path / "o", split="s", workers=1).packed == 1


def test_values_outside_the_classes_are_named_with_their_file(write_pairs, refuse):
    folders = write_pairs(3, ids=(0, 1, 7))
    refuse(folders, r"masks/s00\d\.png: needed class ids 0 … 1, found the value 7", classes="a,b")
    binary = write_pairs(3, ids=(0, 255), name="binary")
    refuse(binary, "--mask-map 255=1 if it is a binary mask", classes="a,b")
    mixed = write_pairs(3, ids=(0, 1, 255), name="mixed")
    refuse(mixed, "--ignore 255 if it marks unlabelled pixels")


def test_color_masks_without_a_map_are_refused_with_their_colors(write_pairs, save, refuse):
    folders = write_pairs(1)
    save(folders[1] / "s000.png", np.full((12, 10, 3), (1, 2, 3), np.uint8))
    refuse(folders, r"masks/s000\.png.*#010203.*--mask-map '#010203=0,…'", classes=2)
    refuse(folders, r"masks/s000\.png.*#010203")


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_truncated_file_is_named(write_pairs, refuse, side, workers):
    folders = write_pairs(30)
    path = folders[side] / "s017.png"
    path.write_bytes(path.read_bytes()[:-40])
    refuse(folders, r"s017\.png: cannot be decoded", classes=3, workers=workers, shard_size=1000)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("keep", [0, 60, -40])  # probing, and packing find them
def test_damaged_files_are_named_together(write_pairs, refuse, workers, keep):
    folders = write_pairs(30)
    damaged = [folders[side] / f"s{sample:03}.png" for side in (0, 1) for sample in (3, 17)]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:keep])
    said = refuse(
        folders,
        r"; \d samples failed",
        classes=3,
        workers=workers,
        codec="raw",
        shard_size=10**6,
    )
    assert sum(str(path) in said for path in damaged) >= 2
    assert "_io." not in said


def test_at_most_ten_damaged_files_are_named_and_all_are_counted(write_pairs, refuse):
    folders = write_pairs(14)
    for path in folders[0].iterdir():
        path.write_bytes(b"")
    said = refuse(folders, r"s000\.png: cannot be decoded: it is empty; .*14 samples failed: ")
    assert "s009.png …" in said
    assert "s010.png" not in said


def notes_of(folders, tmp_path):
    with pytest.raises(SourceError) as found:
        convert(PairedFolders(*folders), tmp_path / "o", split="s", classes=3, workers=1)
    return getattr(found.value, "__notes__", [])


def test_skipping_is_advised_unless_no_sample_would_be_left(tmp_path, write_pairs):
    folders = write_pairs(3)
    files = sorted(folders[0].iterdir())
    for path in files[:2]:
        path.write_bytes(b"")
    assert any("--on-error skip" in note for note in notes_of(folders, tmp_path))
    files[2].write_bytes(b"")
    assert not any("--on-error skip" in note for note in notes_of(folders, tmp_path))


def test_the_value_that_many_masks_hold_is_said_once(write_pairs, refuse):
    said = refuse(write_pairs(5, ids=(0, 1, 7)), "; 5 samples failed: ", classes="a,b")
    assert said.count("found the value 7") == 1


def test_kinds_of_images_do_not_mix_unless_converted(tmp_path, write_pairs, save, refuse):
    folders = write_pairs(3)
    save(folders[0] / "s001.png", np.zeros((12, 10), np.uint8))
    refuse(
        folders, r"found 2 of RGB, such as .*s000\.png, 1 of grey, such as .*s001\.png; use --color"
    )
    pairs = PairedFolders(*folders, color="grey")
    report = convert(pairs, tmp_path / "o", split="s", workers=1)
    assert report.fields[0].shape == (3, 12, 10, 1)
    save(folders[0] / "s001.png", np.zeros((12, 10, 3), np.uint16))
    said = r"one number type, found 2 of uint8, such as .*s000\.png, 1 of uint16, such as .*s001"
    refuse(folders, said)


@pytest.mark.parametrize("axes", [2, 3])
def test_color_is_not_advised_for_volumes_and_two_channels(tmp_path, axes):
    size = (4, 12, 10)[-axes:]
    samples = [("a", np.zeros((*size, 2), np.uint8)), ("b", np.zeros((*size, 1), np.uint8))]
    images = [{"key": key, "image": image} for key, image in samples]
    with pytest.raises(SourceError, match="; pack those of each kind into a dataset") as error:
        convert(images, tmp_path / "o", split="s", tile=(4, 4, 4)[-axes:], workers=1)
    assert "1 of 2 channels, such as samples[0] (a)" in str(error.value)
    assert f"1 of {'grey' if axes == 2 else '1 channel'}, such as samples[1] (b)" in str(
        error.value
    )
    assert "--color" not in str(error.value)


def test_padding_needs_an_id_to_ignore(write_pairs, refuse):
    folders = write_pairs(2)
    refuse(folders, r"s000\.png: is 12x10.*--ignore", size=(16, 16), fit="pad")
    refuse(folders, r"too large to pad to 8x8", size=(8, 8), fit="pad", ignore=9)
    refuse(folders, r"too small to crop 16x8", size=(16, 8), fit="crop")


@pytest.mark.parametrize(
    "options",
    [
        {"split": "a/b"},
        {"split": ".."},
        {"split": "x.partial"},
        {"split": ""},
        {"codec": "gzip"},
        {"order": "random"},
        {"size": (0, 4), "fit": "crop"},
        {"chunk_samples": 0},
        {"shard_size": 0},
        {"seed": -1},
        {"workers": 0},
        {"ignore": 70000},
        {"classes": "a,a"},
    ],
)
def test_options_out_of_range_are_refused(write_pairs, refuse, options):
    refuse(write_pairs(1), "needed", **options)


@pytest.mark.parametrize("what", ["file", "folder", "array", "group"])
def test_an_out_that_holds_something_else_is_left_as_it_is(tmp_path, write_pairs, what):
    out = tmp_path / "precious"
    if what == "file":
        out.write_text("thesis")
    elif what == "folder":
        out.mkdir()
        (out / "thesis.txt").write_text("thesis")
    elif what == "array":
        zarr.create_array(str(out), shape=(3,), dtype="u1")
    else:
        zarr.create_group(str(out))
    before = sorted(path.name for path in out.rglob("*"))
    with pytest.raises(SourceError, match="precious: needed a zarrfeed dataset or a new path"):
        convert(PairedFolders(*write_pairs(2)), out, split="train", workers=1)
    assert sorted(path.name for path in out.rglob("*")) == before


@pytest.mark.parametrize("there", [False, True])
def test_a_split_is_no_dataset_to_pack_into(tmp_path, write_pairs, there):
    pairs = PairedFolders(*write_pairs(2))
    if there:
        convert(pairs, tmp_path / "o.zarr", split="train", workers=1)
    with pytest.raises(SourceError, match=r"found a path inside one; give .*o\.zarr, and the name"):
        convert(pairs, tmp_path / "o.zarr/train", split="train", workers=1)
    convert(pairs, tmp_path / "o.zarr", split="train", workers=1)


def test_an_empty_folder_may_become_the_dataset(tmp_path, write_pairs):
    (tmp_path / "o").mkdir()
    convert(PairedFolders(*write_pairs(2)), tmp_path / "o", split="train", workers=1)
    assert (tmp_path / "o/train/zarr.json").exists()
