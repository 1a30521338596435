"""Arrays of NumPy's files are packed as NumPy loads them."""

from __future__ import annotations

import os
import zipfile

import numpy as np
import pytest

from source_contract import require_packed, require_source
from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.arrays.npz import NpzArrays

RNG = np.random.default_rng(6)
IMAGES = RNG.integers(0, 255, (7, 12, 10, 3), np.uint8)
MASKS = RNG.integers(0, 3, (7, 12, 10), np.uint8)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_members_are_packed_compressed_or_not(tmp_path, save):
    save("f.npz", x=IMAGES, y=MASKS)
    source = NpzArrays("f.npz:x", "f.npz:y")
    assert source.keys == [f"f/{row:04}" for row in range(7)]
    assert source.names(3) == ("f.npz:x[3]", "f.npz:y[3]")
    require_source(source, IMAGES, MASKS)
    require_packed(source, tmp_path / "o", IMAGES, MASKS, classes=3)
    compressed = save is np.savez_compressed
    assert source.memory_nbytes == (IMAGES.nbytes + MASKS.nbytes if compressed else 0)


def test_several_processes_pack_the_same(tmp_path):
    np.savez_compressed("f.npz", x=IMAGES, y=MASKS)
    require_packed(NpzArrays("f.npz:x", "f.npz:y"), tmp_path / "o", IMAGES, MASKS, workers=2)


def test_plain_arrays_are_packed():
    np.save("x.npy", IMAGES)
    np.save("10:30.npy", MASKS)
    source = NpzArrays("x.npy", "10:30.npy")
    assert source.names(1) == ("x.npy[1]", "10:30.npy[1]")
    require_source(source, IMAGES, MASKS)
    np.savez("y.npz", MASKS)
    require_source(NpzArrays("x.npy", "y.npz"), IMAGES, MASKS)
    with pytest.raises(SourceError, match=r"^x\.npy:a: a \.npy file is one array"):
        NpzArrays("x.npy:a", "y.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_the_order_in_memory_makes_no_difference(save):
    save("f.npz", x=np.asfortranarray(IMAGES), y=np.asfortranarray(MASKS).astype(">i4"))
    require_source(NpzArrays("f.npz:x", "f.npz:y"), IMAGES, MASKS)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_file_per_sample(save):
    os.makedirs("cells/u")
    names = ["cells/a", "cells/b", "cells/u/a"]
    for name, image, mask in zip(names, IMAGES, MASKS):  # noqa: B905
        save(f"{name}.npz", image=image, mask=mask > 0, note="a text")
    for address in ("cells/**/*.npz", "cells"):
        source = NpzArrays(f"{address}:image", f"{address}:mask")
        assert source.keys == ["a", "b", "u/a"]
        assert source.names(2) == ("cells/u/a.npz:image", "cells/u/a.npz:mask")
        assert source.memory_nbytes == 0
        require_source(source, IMAGES[:3], MASKS[:3] > 0)


def test_images_and_masks_in_files_of_their_own_pair_by_name():
    for number in (1, 9, 10):
        np.save(f"{number}_img.npy", IMAGES[number % 7, ..., 0])
        np.save(f"{number}_seg.npy", MASKS[number % 7])
    order = [3, 1, 2]  # 10, 1, 9: as files are sorted
    source = NpzArrays("*_img.npy", "*_seg.npy")
    assert source.keys == ["10_img", "1_img", "9_img"]
    assert source.names(0) == ("10_img.npy", "10_seg.npy")
    for sample, row in enumerate(order):
        np.testing.assert_array_equal(source.read(sample)[0][..., 0], IMAGES[row, ..., 0])
        np.testing.assert_array_equal(source.read_mask(sample), MASKS[row])
    os.remove("9_seg.npy")
    np.save("8_seg.npy", MASKS[0])
    with pytest.raises(SourceError, match="1 image without mask: 9_img, 1 mask without image: 8_s"):
        NpzArrays("*_img.npy", "*_seg.npy")
    os.remove("8_seg.npy")
    with pytest.raises(SourceError, match="1 image without mask: 9_img, 0 masks without image;"):
        NpzArrays("*_img.npy", "*_seg.npy")


def test_single_images_may_have_their_masks_in_one_array():
    for row, image in enumerate(IMAGES):
        np.save(f"s{row}.npy", image)
    np.savez("masks.npz", MASKS)
    source = NpzArrays("s*.npy", "masks.npz")
    assert source.names(4) == ("s4.npy", "masks.npz:arr_0[4]")
    require_source(source, IMAGES, MASKS)


def test_a_member_of_texts_names_the_samples():
    names = [f"cell {letter}" for letter in "abcdefg"]
    np.savez("f.npz", x=IMAGES, y=MASKS, names=names, raw=[name.encode() for name in names])
    for member in ("names", "raw"):
        source = NpzArrays("f.npz:x", "f.npz:y", keys=member)
        assert source.keys == names
        require_source(source, IMAGES, MASKS)


def test_channels_first_and_one_hot():
    np.savez("f.npz", x=np.moveaxis(IMAGES, 3, 1), y=np.moveaxis(np.eye(3)[MASKS], 3, 1))
    source = NpzArrays("f.npz:x", "f.npz:y", channels_first=True, one_hot=True)
    require_source(source, IMAGES, MASKS)


def test_a_missing_member_is_named_among_those_that_there_are():
    np.savez("f.npz", x=IMAGES, y=MASKS)
    with pytest.raises(SourceError, match=r"^f\.npz:z: no such array; there are x, y$"):
        NpzArrays("f.npz:x", "f.npz:z")
    with pytest.raises(SourceError, match=r"^f\.npz: needed the name of one array, found 2: x, y;"):
        NpzArrays("f.npz", "f.npz:y")


def test_pickled_objects_are_never_loaded():
    class Trap:
        def __reduce__(self):
            return os.mkdir, ("trapped",)

    np.savez("f.npz", x=np.array([Trap()] * 7, object), y=MASKS)
    np.save("f.npy", np.full((7, 12, 10), Trap(), object))
    for images in ("f.npz:x", "f.npy"):
        with pytest.raises(SourceError, match=r"never unpickled|needed arrays of shape"):
            NpzArrays(images, "f.npz:y")
    assert not os.path.exists("trapped")


@pytest.mark.parametrize("size", [0, 4, 60, 2000])
def test_a_file_that_ends_early_is_refused_at_once(size):
    np.save("x.npy", IMAGES)
    np.savez("f.npz", y=MASKS)
    os.truncate("x.npy", size)
    with pytest.raises(SourceError, match=r"^x\.npy: "):
        NpzArrays("x.npy", "f.npz:y")
    os.truncate("f.npz", 700)
    with pytest.raises(SourceError, match=r"^f\.npz:y: cannot be read: File is not a zip"):
        NpzArrays("f.npz:y", "f.npz:y")


def test_damaged_files_are_left_out():
    for row in range(3):
        np.savez(f"s{row}.npz", image=IMAGES[row], mask=MASKS[row])
    np.savez("s1.npz", image=IMAGES[1])
    source = NpzArrays("s*.npz:image", "s*.npz:mask")
    assert source.keys == ["s0", "s2"]
    assert source.left_out == (("s1.npz:mask", "no such array; there are image"),)
    require_source(source, IMAGES[::2][:2], MASKS[::2][:2])


def test_damage_inside_a_compressed_member_names_the_sample():
    many = RNG.integers(0, 255, (7, 120, 100, 3), np.uint8)
    np.savez_compressed("f.npz", x=many, y=many[..., 0] // 100)
    with zipfile.ZipFile("f.npz") as archive:
        offset = archive.getinfo("x.npy").header_offset
    with open("f.npz", "r+b") as file:
        file.seek(offset + 200_000)
        file.write(b"\x00" * 50)
    source = NpzArrays("f.npz:x", "f.npz:y")
    source.read_mask(2)
    with pytest.raises(SourceError, match=r"^f\.npz:x\[2\]: cannot be read: "):
        source.read(2)


def test_a_file_that_is_written_anew_is_not_read_by_its_old_places():
    np.savez("f.npz", x=IMAGES, y=MASKS)
    source = NpzArrays("f.npz:x", "f.npz:y")
    np.savez("f.npz", z=IMAGES[:, 1:], x=IMAGES, y=MASKS)
    with pytest.raises(SourceError, match=r"^f\.npz:x\[0\]: the file has changed"):
        source.read(0)
    os.remove("f.npz")
    with pytest.raises(SourceError, match=r"^f\.npz:y\[0\]: cannot be read: .*No such file"):
        source.read_mask(0)
