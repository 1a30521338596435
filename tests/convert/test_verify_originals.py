"""Originals that are others, gone or new are named."""

from __future__ import annotations

import shutil

import imagecodecs
import numpy as np
import pytest

from packed import change_attributes, kinds, make_older, pack, write_originals
from zarrfeed_convert import PairedFolders, convert, repack, verify

# -- originals ----------------------------------------------------------------------------------


def repaint(path):
    values = imagecodecs.png_decode(path.read_bytes())
    path.write_bytes(imagecodecs.png_encode((values + 1) % 3))


def problems_of(found):
    return sorted((problem.kind, problem.key or "") for problem in found.problems)


def test_originals_that_changed_are_named(packed):
    repaint(packed.images / "s03.png")
    repaint(packed.masks / "s05.png")
    (packed.masks / "s07.png").write_bytes(b"no picture")
    (packed.images / "s08.png").write_bytes(imagecodecs.png_encode(np.zeros((3, 3, 3), np.uint8)))
    (packed.masks / "s09.png").write_bytes(imagecodecs.png_encode(np.full((7, 6), 77, np.uint8)))
    found = packed.verify(source=True)
    assert problems_of(found) == [
        ("original-changed", f"s{sample:02}") for sample in (3, 5, 7, 8, 9)
    ]
    by_key = {problem.key: problem for problem in found.problems}
    assert by_key["s03"].files == (str(packed.images / "s03.png"), str(packed.masks / "s03.png"))
    assert by_key["s07"].files == (str(packed.masks / "s07.png"),)
    assert "found the value 77" in by_key["s09"].what
    assert found.splits[0].originals == 11
    assert not found.splits[0].bad


def test_originals_that_are_gone_and_new_ones_are_named(packed):
    for folder in (packed.images, packed.masks):
        (folder / "s04.png").unlink()
        (folder / "new.png").write_bytes((folder / "s00.png").read_bytes())
    (packed.masks / "s06.png").unlink()
    found = packed.verify(source=True)
    assert problems_of(found) == [
        ("original-missing", "s04"),
        ("original-missing", "s06"),
        ("original-new", ""),  # an image without its mask
        ("original-new", "new"),
    ]
    assert found.splits[0].originals == 9


def test_originals_that_have_moved_are_found_again(packed, tmp_path):
    packed.images.rename(tmp_path / "elsewhere")
    [problem] = packed.verify(source=True).problems
    assert problem.kind == "source"
    assert "--images and --masks" in problem.what
    found = packed.verify(source={"images": str(tmp_path / "elsewhere")})
    assert found.problems == ()
    assert found.splits[0].originals == 11


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("pattern", ["", "/*.png"])
def test_what_was_skipped_is_not_new(tmp_path, moved, pattern):
    write_originals(tmp_path)
    (tmp_path / "images/s02.png").write_bytes(b"no picture")
    (tmp_path / "masks/s03.png").unlink()
    images, masks = f"{tmp_path / 'images'}{pattern}", f"{tmp_path / 'masks'}{pattern}"
    pairs = PairedFolders(images, masks)
    convert(pairs, tmp_path / "o", split="s", classes=3, on_error="skip", workers=1)
    source = True
    if moved:
        (tmp_path / "images").rename(tmp_path / "other")
        source = {"images": f"{tmp_path / 'other'}{pattern}"}
    found = verify(tmp_path / "o", source=source, workers=1)
    assert found.problems == ()
    assert found.splits[0].originals == 9


def test_a_source_can_be_given(packed):
    change_attributes(packed.split, lambda attributes: attributes.update(source={"kind": "mine"}))
    [problem] = packed.verify(source=True).problems
    assert "found 'mine', which cannot be opened again" in problem.what
    assert packed.verify(source=PairedFolders(packed.images, packed.masks)).problems == ()


def test_a_source_whose_decoder_breaks_down_is_a_problem(packed, monkeypatch):
    def read(self, sample):
        raise ZeroDivisionError("boom")

    monkeypatch.setattr(PairedFolders, "read", read)
    found = packed.verify(source=True)
    assert len(found.problems) == 11
    assert "ZeroDivisionError: boom" in found.problems[0].what


def test_without_digests_there_is_nothing_to_compare_originals_with(packed):
    shutil.rmtree(packed.split / "digest")
    found = packed.verify(source=True)
    assert found.splits[0].originals == 0
    assert "originals were not compared" in found.splits[0].notes[0]


# -- tiles --------------------------------------------------------------------------------------


@pytest.fixture
def tiled(tmp_path):
    return pack(tmp_path, former_tiles=(4, 4), shard_size=8 * 48)


@pytest.mark.parametrize("older", [False, True])
def test_tiles_of_changed_originals_are_named(tiled, older):
    if older:
        make_older(tiled)
        for name in ("tile", "tile_source", "tile_size"):
            shutil.rmtree(tiled.split / name)
    path = tiled.images / "s03.png"
    values = imagecodecs.png_decode(path.read_bytes())
    values[6, 5] ^= 1  # in the last tile alone
    path.write_bytes(imagecodecs.png_encode(values))
    for folder, shape in ((tiled.images, (7, 9, 3)), (tiled.masks, (7, 9))):
        (folder / "s04.png").write_bytes(imagecodecs.png_encode(np.zeros(shape, np.uint8)))
    (tiled.masks / "s05.png").unlink()
    found = tiled.verify(source=True)
    assert problems_of(found) == [
        ("original-changed", "s03#3,2"),
        ("original-changed", "s04"),
        ("original-missing", "s05"),
        ("original-new", ""),
    ]
    assert "needed an image that gives the 4 tiles" in next(
        problem.what for problem in found.problems if problem.key == "s04"
    )


def test_tiles_in_the_wrong_place_are_found(tiled):
    tile = tiled.array("tile")
    tile[3, 1] += 1
    found = tiled.verify()
    assert kinds(found) == {"tiles"}
    assert found.problems[0].key == tiled.keys[3]
    assert "needed tiles that cover" in found.problems[-1].what


def test_images_of_damaged_sizes_are_not_cut_into_so_many_tiles(tiled):
    size = tiled.array("tile_size")
    size[2] = 2**40
    [problem] = tiled.verify().problems
    assert problem.kind == "tiles"
    assert "needed tiles that cover" in problem.what


@pytest.mark.parametrize("name", ["tile", "tile_source", "tile_size"])
def test_missing_places_of_tiles_are_a_problem(tiled, name):
    shutil.rmtree(tiled.split / name)
    [problem] = tiled.verify(source=True).problems
    assert problem.files == (str(tiled.split / name),)


# -- repacked splits ------------------------------------------------------------------------------


def test_a_part_of_a_split_is_verified_by_itself(packed):
    repack(packed.split, packed.store, split="part", subset=slice(2, 7), workers=1)
    repack(packed.store / "part", packed.store, split="again", codec="zstd", workers=1)
    repaint(packed.images / f"{packed.keys[4]}.png")
    repaint(packed.images / f"{packed.keys[9]}.png")
    for split in ("part", "again"):
        found = verify(packed.store / split, source=True, workers=1)
        assert problems_of(found) == [("original-changed", packed.keys[4])]
        assert found.splits[0].originals == 5
        assert "repacked with only some samples" in found.splits[0].notes[0]


@pytest.mark.parametrize("tile", [None, (4, 4)])
def test_a_split_of_several_sources_is_verified_with_all_of_them(tmp_path, tile):
    parts = [pack(tmp_path / name, former_tiles=tile) for name in ("one", "two")]
    parts[1].split.rename(parts[1].store / "val")
    splits = [parts[0].split, parts[1].store / "val"]
    repack(splits, tmp_path / "o", split="all", prefix_keys=True, workers=1)
    found = verify(tmp_path / "o", source=True, workers=1)
    assert found.problems == ()
    assert found.splits[0].originals == found.splits[0].samples == 22 * (1 if tile is None else 4)
    repaint(parts[0].masks / "s01.png")
    (parts[1].images / "s02.png").unlink()
    (parts[1].masks / "s02.png").unlink()
    found = verify(tmp_path / "o", source=True, workers=1)
    keys = {problem.key.partition("#")[0] for problem in found.problems}
    assert kinds(found) == {"original-changed", "original-missing"}
    assert keys == {"train/s01", "val/s02"}
    shutil.rmtree(parts[0].images)
    found = verify(tmp_path / "o", source=True, workers=1)
    assert kinds(found) == {"source"}  # what else is missing may be of the source that is gone
    found = verify(tmp_path / "o", source={"images": "x"}, workers=1)
    assert "found one repacked from splits of 2 sources" in found.problems[0].what
