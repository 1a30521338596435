"""Bad input is named with a way out, and OUT is afterwards what it was before."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

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
    refuse(folders, r"found 2 of 12x10, 1 of 4x5; use --size HxW --fit resize, crop, pad or tile")
    refuse(folders, r"one size 4x5, found 2 of 12x10.*use --fit", size=(4, 5))


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
        r"; \d files failed so far, there may be more",
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
    said = refuse(folders, r"s000\.png: cannot be decoded: it is empty; .*14 files failed so far")
    assert "s009.png …" in said
    assert "s010.png" not in said


def test_the_value_that_many_masks_hold_is_said_once(write_pairs, refuse):
    said = refuse(write_pairs(5, ids=(0, 1, 7)), "5 files failed so far", classes="a,b")
    assert said.count("found the value 7") == 1


def test_kinds_of_images_do_not_mix_unless_converted(tmp_path, write_pairs, save, refuse):
    folders = write_pairs(3)
    save(folders[0] / "s001.png", np.zeros((12, 10), np.uint8))
    refuse(folders, r"found 2 of RGB, 1 of grey; use --color")
    pairs = PairedFolders(*folders, color="grey")
    report = convert(pairs, tmp_path / "o", split="s", workers=1)
    assert report.fields[0].shape == (3, 12, 10, 1)
    save(folders[0] / "s001.png", np.zeros((12, 10, 3), np.uint16))
    refuse(folders, r"one number type, found 2 of uint8, 1 of uint16")


def test_padding_needs_an_id_to_ignore(write_pairs, refuse):
    folders = write_pairs(2)
    refuse(folders, r"s000\.png: is 12x10.*--ignore", size=(16, 16), fit="pad")
    refuse(folders, r"s000\.png: is 12x10.*--ignore", size=(16, 8), fit="tile")
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
    with pytest.raises(SourceError, match="precious: exists and is not a zarrfeed dataset"):
        convert(PairedFolders(*write_pairs(2)), out, split="train", workers=1)
    assert sorted(path.name for path in out.rglob("*")) == before


def test_an_empty_folder_may_become_the_dataset(tmp_path, write_pairs):
    (tmp_path / "o").mkdir()
    convert(PairedFolders(*write_pairs(2)), tmp_path / "o", split="train", workers=1)
    assert (tmp_path / "o/train/zarr.json").exists()


# -- A dataset that is there already --------------------------------------------------------------


def snapshot(folder):
    return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def dataset(tmp_path, write_pairs):
    out = tmp_path / "o.zarr"
    convert(PairedFolders(*write_pairs(4)), out, split="train", classes="a,b,c", workers=1)
    return out


def test_a_second_split_joins_and_takes_the_classes_over(dataset, write_pairs):
    folders = write_pairs(2, name="val", ids=(0, 1), shape=(5, 5, 1))
    report = convert(PairedFolders(*folders), dataset, split="val", workers=1)
    assert [row.name for row in report.classes] == ["a", "b", "c"]
    assert sorted(name for name, _ in zarr.open_group(str(dataset)).groups()) == ["train", "val"]


def test_a_second_split_of_other_classes_is_refused(dataset, write_pairs):
    pairs = PairedFolders(*write_pairs(2, name="val"))
    before = snapshot(dataset)
    with pytest.raises(
        SourceError,
        match=r"same in all splits: needed those of train, 3 \(a, b, c\); found 2 \(x, y\)",
    ):
        convert(pairs, dataset, split="val", classes="x,y", workers=1)
    with pytest.raises(SourceError, match=r"needed that of train, none; found 255; leave --ig"):
        convert(pairs, dataset, split="val", ignore=255, workers=1)
    assert snapshot(dataset) == before


def test_a_second_split_that_fails_leaves_the_first(dataset, write_pairs):
    folders = write_pairs(2, name="val", ids=(0, 9))
    before = snapshot(dataset)
    with pytest.raises(SourceError, match="found the value 9"):
        convert(PairedFolders(*folders), dataset, split="val", workers=1)
    assert snapshot(dataset) == before
    assert not (dataset / "val.partial").exists()


def test_a_binary_second_split_of_a_binary_dataset_is_read_alike(tmp_path, write_pairs):
    for split in ("train", "val"):
        pairs = PairedFolders(*write_pairs(2, name=split, ids=(0, 255)))
        report = convert(pairs, tmp_path / "o", split=split, workers=1)
        assert [row.name for row in report.classes] == ["background", "foreground"]
        assert "255 means 1" in report.decisions[0].reason
        assert set(np.unique(zarr.open_array(str(tmp_path / "o" / split / "mask"))[:])) == {0, 1}


def test_packing_again_changes_nothing_and_says_so(dataset, write_pairs):
    before = snapshot(dataset)
    report = convert(PairedFolders(*write_pairs(4)), dataset, split="train", workers=1)
    assert report.status == "already packed"
    assert report.packed == 4
    assert sum(row.share for row in report.classes) == pytest.approx(1)
    assert snapshot(dataset) == before


def test_packing_again_otherwise_is_refused(dataset, write_pairs):
    pairs = PairedFolders(*write_pairs(4))
    with pytest.raises(
        SourceError,
        match=r"train: is there already, .*\(codec: auto there, raw asked for; seed: 0 there",
    ):
        convert(pairs, dataset, split="train", codec="raw", seed=3, workers=1)
    more = PairedFolders(*write_pairs(5))
    with pytest.raises(SourceError, match=r"number of samples: 4 there, 5 asked for.*--overwrite"):
        convert(more, dataset, split="train", workers=1)


def test_a_half_written_split_is_replaced(dataset, write_pairs):
    (dataset / "val.partial" / "image").mkdir(parents=True)
    (dataset / "val.partial" / "image" / "junk").touch()
    convert(PairedFolders(*write_pairs(2, name="val")), dataset, split="val", workers=1)
    assert not (dataset / "val.partial").exists()
    assert not list((dataset / "val").rglob("junk"))


def test_what_a_killed_first_run_left_is_no_obstacle(tmp_path, write_pairs):
    (tmp_path / "o" / "train.partial").mkdir(parents=True)
    convert(PairedFolders(*write_pairs(2)), tmp_path / "o", split="train", workers=1)
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["train", "zarr.json"]


def test_a_dry_run_decides_and_writes_nothing(tmp_path, write_pairs):
    report = convert(
        PairedFolders(*write_pairs(3)), tmp_path / "o", split="s", workers=1, dry_run=True
    )
    assert report.status == "dry run"
    assert all(decision.reason for decision in report.decisions)
    assert not (tmp_path / "o").exists()


# -- Processes ------------------------------------------------------------------------------------


def run_script(tmp_path, text):
    (tmp_path / "script.py").write_text(textwrap.dedent(text))
    command = [sys.executable, "script.py"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    return done.stdout + done.stderr


def test_a_process_that_dies_is_an_error_not_a_hang(tmp_path, write_pairs):
    write_pairs(3)
    said = run_script(
        tmp_path,
        """
        import os, signal
        from zarrfeed.errors import WorkerError
        from zarrfeed_convert import PairedFolders, convert

        class Dying(PairedFolders):
            def probe(self, sample):
                os.kill(os.getpid(), signal.SIGKILL)

        if __name__ == "__main__":
            try:
                convert(Dying("data/images", "data/masks"), "o", split="s", workers=2)
            except WorkerError as error:
                print(error, os.path.exists("o"))
        """,
    )
    assert "fewer workers (--workers) False" in said


def test_processes_do_not_run_the_users_script_again(tmp_path, write_pairs):
    write_pairs(3)
    said = run_script(
        tmp_path,
        """
        from zarrfeed_convert import PairedFolders, convert
        print("begin")
        print(convert(PairedFolders("data/images", "data/masks"), "o", split="s", workers=2).status)
        """,
    )
    assert said.split() == ["begin", "packed"]


def test_a_source_that_vanishes_under_way_is_an_error_and_leaves_nothing(tmp_path, write_pairs):
    folders = write_pairs(20)

    def vanish(what, done, total):
        if what == "packing" and done == 3:
            shutil.rmtree(folders[0])

    with pytest.raises(SourceError, match="No such file"):
        convert(PairedFolders(*folders), tmp_path / "o", split="s", workers=1, progress=vanish)
    assert not (tmp_path / "o").exists()


def test_a_process_that_is_only_starting_says_nothing_on_ctrl_c(tmp_path, write_pairs):
    write_pairs(3)
    said = run_script(
        tmp_path,
        """
        import multiprocessing, os, signal, time
        from zarrfeed_convert import PairedFolders, convert

        def interrupt(what, done, total):
            for child in multiprocessing.active_children():
                os.kill(child.pid, signal.SIGINT)
            raise KeyboardInterrupt

        try:
            convert(
                PairedFolders("data/images", "data/masks"), "o", split="s", workers=3,
                progress=interrupt,
            )
        except KeyboardInterrupt:
            print("interrupted", os.path.exists("o"))
        """,
    )
    assert said.split() == ["interrupted", "False"]


def test_an_interrupt_leaves_nothing(tmp_path, write_pairs):
    def interrupt(what, done, total):
        if what == "packing":
            raise KeyboardInterrupt

    for workers in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            convert(
                PairedFolders(*write_pairs(20)),
                tmp_path / "o",
                split="s",
                workers=workers,
                progress=interrupt,
            )
        assert not (tmp_path / "o").exists()


def test_camvid_pixels_are_what_pillow_decodes(tmp_path):
    camvid = Path(__file__).resolve().parents[2].parent / "shared/data/camvid"
    if not camvid.is_dir():
        pytest.skip("CamVid is not here")
    pairs = PairedFolders(camvid / "val" / "0016E5_079*.png", camvid / "valannot" / "0016E5_079*")
    report = convert(pairs, tmp_path / "o", split="val", classes=11, ignore=11, workers=2)
    assert report.found >= 15
    split = zarr.open_group(str(tmp_path / "o/val"), mode="r")
    keys = [bytes(row).rstrip(b"\0").decode() for row in split["key"][:]]
    assert sorted(keys) == pairs.keys
    for place, key in enumerate(keys):
        for field, folder in (("image", "val"), ("mask", "valannot")):
            expected = np.array(Image.open(camvid / folder / f"{key}.png"))
            np.testing.assert_array_equal(split[field][place], expected)
