"""Arrays of HDF5 files are packed as h5py reads them."""

from __future__ import annotations

import os

import numpy as np
import pytest

from source_contract import require_packed, require_source
from zarrfeed.errors import SourceError
from zarrfeed_convert import Limits, convert, verify

h5py = pytest.importorskip("h5py")

from zarrfeed_convert.sources.arrays.hdf5 import Hdf5Arrays  # noqa: E402

RNG = np.random.default_rng(5)
IMAGES = RNG.integers(0, 255, (7, 12, 10, 3), np.uint8)
MASKS = RNG.integers(0, 3, (7, 12, 10), np.uint8)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(path="f.h5", mode="w", **arrays):
    with h5py.File(path, mode) as file:
        for name, values in arrays.items():
            options = {}
            if isinstance(values, tuple):
                values, options = values
            file.create_dataset(name.replace("__", "/"), data=values, **options)


def test_stacks_are_packed_by_any_number_of_workers(tmp_path):
    write(g__images=IMAGES, masks=MASKS)
    source = Hdf5Arrays("f.h5:/g/images", "f.h5:masks")
    assert source.keys == [f"f/{row:04}" for row in range(7)]
    assert source.names(3) == ("f.h5:/g/images[3]", "f.h5:/masks[3]")
    require_source(source, IMAGES, MASKS)
    require_packed(source, tmp_path / "o", IMAGES, MASKS, workers=2, classes=3)


@pytest.mark.parametrize(
    "options",
    [
        {"chunks": True, "compression": "gzip", "shuffle": True},
        {"chunks": (5, 7, 4, 3), "compression": "lzf", "fletcher32": True},
        {"chunks": (1, 12, 10, 3)},
    ],
)
def test_chunks_and_compression_make_no_difference(options):
    write(images=(IMAGES, options), masks=MASKS)
    source = Hdf5Arrays("f.h5:images", "f.h5:masks")
    require_source(source, IMAGES, MASKS)
    with h5py.File("f.h5") as file:
        together = file["images"].chunks[0]
    assert source.describe()["facts"]["samples_per_chunk"] == [together, 1]
    assert (source.memory_nbytes > 0) == (together > 1)


def test_samples_of_one_chunk_are_decoded_once():
    """In row order; HDF5's own cache of 1 MiB would be too small for the chunks of a sample."""
    images = RNG.integers(0, 255, (16, 400, 400), np.uint8)
    chunks = (16, 200, 200)
    write(images=(images, {"chunks": chunks, "compression": "gzip"}), masks=images // 100)
    source = Hdf5Arrays("f.h5:images", "f.h5:masks")
    source.read(0)
    os.truncate("f.h5", 1000)  # nothing of the file is needed for the rest of the chunk
    for row in range(16):
        values = source._files.read(source._sides["image"].locate(row)[0], row, "name")
        np.testing.assert_array_equal(values, images[row])


def test_compressions_of_hdf5plugin_are_read():
    hdf5plugin = pytest.importorskip("hdf5plugin")
    write(images=(IMAGES, dict(hdf5plugin.Blosc2(cname="zstd"))), masks=MASKS)
    require_source(Hdf5Arrays("f.h5:images", "f.h5:masks"), IMAGES, MASKS)


def test_a_compression_that_is_not_installed_is_named():
    with h5py.File("f.h5", "w") as file:
        file["masks"] = MASKS
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((1, 12, 10, 3))
        plist.set_filter(25999, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple(IMAGES.shape)
        dataset = h5py.h5d.create(file.id, b"images", h5py.h5t.NATIVE_UINT8, space, plist)
        for row in range(7):
            dataset.write_direct_chunk((row, 0, 0, 0), IMAGES[row].tobytes(), 0)
    source = Hdf5Arrays("f.h5:images", "f.h5:masks")
    with pytest.raises(SourceError, match=r"^f\.h5:/images\[2\]: .*filter 25999.*hdf5plugin"):
        source.read(2)


def test_a_glob_is_its_files_one_after_the_other():
    for name, rows in (("b", slice(4, 7)), ("a", slice(0, 4))):
        write(f"{name}.h5", images=IMAGES[rows], masks=MASKS[rows])
    source = Hdf5Arrays("*.h5:images", "*.h5:masks")
    assert source.keys[3:5] == ["a/0003", "b/0000"]
    assert source.names(4) == ("b.h5:/images[0]", "b.h5:/masks[0]")
    require_source(source, IMAGES, MASKS)


def test_one_image_or_one_volume_per_file(tmp_path):
    for number in range(3):
        write(f"s{number}.h5", image=IMAGES[number], mask=MASKS[number], volume=MASKS[:2])
    one = Hdf5Arrays(f"{tmp_path}:image", f"{tmp_path}:mask")
    assert one.keys == ["s0", "s1", "s2"]
    assert one.names(1) == (f"{tmp_path}/s1.h5:/image", f"{tmp_path}/s1.h5:/mask")
    require_source(one, IMAGES[:3], MASKS[:3])
    slices = np.concatenate([MASKS[:2]] * 3)
    require_source(Hdf5Arrays("*.h5:volume", "*.h5:volume"), slices[..., None], slices)


def test_a_dataset_of_texts_names_the_samples():
    names = [f"cell {letter}é" for letter in "abcdefg"]
    write(images=IMAGES, masks=MASKS, names=names, few=names[:3], same=["x"] * 7)
    source = Hdf5Arrays("f.h5:images", "f.h5:masks", keys="names")
    assert source.keys == names
    require_source(source, IMAGES, MASKS)
    with pytest.raises(SourceError, match=r"^f\.h5:few: needed a name for each of 7 samples, foun"):
        Hdf5Arrays("f.h5:images", "f.h5:masks", keys="few")
    with pytest.raises(SourceError, match=r"^keys: .* found 'x' 7 times"):
        Hdf5Arrays("f.h5:images", "f.h5:masks", keys="same")
    with pytest.raises(SourceError, match=r"^f\.h5:no: no such array; there are /few"):
        Hdf5Arrays("f.h5:images", "f.h5:masks", keys="no")


def test_channels_may_come_first():
    write(images=np.moveaxis(IMAGES, 3, 1), masks=MASKS[:, None])
    source = Hdf5Arrays("f.h5:images", "f.h5:masks", channels_first=True)
    require_source(source, IMAGES, MASKS)
    with pytest.raises(SourceError, match="channels_first=yes"):
        Hdf5Arrays("f.h5:images", "f.h5:masks")


def test_one_hot_masks():
    write(
        images=IMAGES, masks=np.eye(3, dtype=np.float32)[MASKS], soft=np.full((7, 12, 10, 3), 0.5)
    )
    require_source(Hdf5Arrays("f.h5:images", "f.h5:masks", one_hot=True), IMAGES, MASKS)
    with pytest.raises(SourceError, match=r"^f\.h5:/masks: .* found 3; .* --mask-map one-hot=0"):
        Hdf5Arrays("f.h5:images", "f.h5:masks")
    source = Hdf5Arrays("f.h5:images", "f.h5:soft", one_hot=True)
    with pytest.raises(
        SourceError, match=r"^f\.h5:/soft\[1\]: .* 0 pixels of no class and 120 of several"
    ):
        source.read_mask(1)


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (IMAGES.astype(">u2") * 200, MASKS > 0),
        (IMAGES[..., 0].astype(np.int16) - 1000, MASKS.astype(np.int64)),
        (IMAGES / 255, MASKS.astype(np.float32)),
        (IMAGES[..., :2], MASKS.astype(">i4")),
    ],
)
def test_numbers_of_other_types_keep_their_values(images, masks):
    write(images=images, masks=masks)
    source = Hdf5Arrays("f.h5:images", "f.h5:masks")
    expected = images[..., None] if images.ndim == 3 else images
    require_source(source, expected, masks)
    assert source.read(0)[0].dtype == images.dtype.newbyteorder("=")


def test_color_and_mask_map_are_the_ones_of_all_sources():
    colors = np.zeros((7, 12, 10, 3), np.uint8)
    colors[..., 0] = MASKS
    write(images=IMAGES, masks=MASKS, colors=colors)
    source = Hdf5Arrays("f.h5:images", "f.h5:masks", color="rgba", mask_map="2=1,*=0")
    opaque = np.concatenate([IMAGES, np.full_like(IMAGES[..., :1], 255)], axis=-1)
    require_source(source, opaque, MASKS == 2)
    source = Hdf5Arrays("f.h5:images", "f.h5:colors", mask_map="#010000=1,#020000=2,*=0")
    require_source(source, IMAGES, MASKS)
    source = Hdf5Arrays("f.h5:images", "f.h5:colors")
    with pytest.raises(SourceError, match=r"^f\.h5:/colors\[0\]: found a colour-coded mask"):
        source.read_mask(0)
    write("g.h5", images=np.zeros((7, 12, 10, 5)), masks=MASKS)
    with pytest.raises(SourceError, match=r"^g\.h5:/images: needed 1 to 4 channels for --color"):
        Hdf5Arrays("g.h5:images", "g.h5:masks", color="grey")


def test_colors_of_0_and_1_are_taken_for_one_hot():
    write(images=IMAGES, masks=np.eye(3, dtype=np.uint8)[MASKS])
    with pytest.raises(SourceError, match=r"^f\.h5:/masks\[0\]: .*--mask-map one-hot=0"):
        Hdf5Arrays("f.h5:images", "f.h5:masks").read(0)


def test_a_missing_array_or_file_is_named():
    write(images=IMAGES, masks=MASKS)
    with pytest.raises(SourceError, match=r"^f\.h5:x: no such array; there are /images \(7, 12"):
        Hdf5Arrays("f.h5:x", "f.h5:masks")
    with pytest.raises(SourceError, match=r"^images: no such file or folder: g\.h5"):
        Hdf5Arrays("g.h5:x", "f.h5:masks")
    with pytest.raises(SourceError, match=r"^masks: found no file in \*\.hdf5"):
        Hdf5Arrays("f.h5:images", "*.hdf5:masks")
    write(images=IMAGES, masks=MASKS[:5])
    with pytest.raises(SourceError, match=r"7 images .* and 5 masks"):
        Hdf5Arrays("f.h5:images", "f.h5:masks")
    write(images=IMAGES, masks=["a"])
    with pytest.raises(SourceError, match=r"masks: needed arrays of shape|needed an array of numb"):
        Hdf5Arrays("f.h5:images", "f.h5:masks")


def test_a_damaged_file_is_left_out_or_ends_it():
    for name in "abc":
        write(f"{name}.h5", image=IMAGES[0], mask=MASKS[0])
    os.truncate("b.h5", 900)
    source = Hdf5Arrays("*.h5:image", "*.h5:mask")
    assert source.keys == ["a", "c"]
    [(name, why)] = source.left_out
    assert name == "b.h5:image"
    assert "truncated" in why
    with pytest.raises(SourceError, match=r"^b\.h5:image: cannot be read: .*truncated"):
        Hdf5Arrays("b.h5:image", "b.h5:mask")


def test_damage_inside_names_the_sample():
    write(images=(IMAGES, {"chunks": (1, 12, 10, 3), "fletcher32": True}), masks=MASKS)
    with h5py.File("f.h5") as file:
        offset = file["images"].id.get_chunk_info(2).byte_offset
    with open("f.h5", "r+b") as file:
        file.seek(offset + 5)
        file.write(b"\x01\x02\x03")
    source = Hdf5Arrays("f.h5:images", "f.h5:masks")
    source.read(1)
    with pytest.raises(SourceError, match=r"^f\.h5:/images\[2\]: cannot be read: "):
        source.read(2)
    source.read_mask(2)


def test_a_file_that_vanishes_names_the_sample():
    write(images=IMAGES, masks=MASKS)
    source = Hdf5Arrays("f.h5:images", "f.h5:masks")
    os.remove("f.h5")
    with pytest.raises(SourceError, match=r"^f\.h5:/masks\[0\]: cannot be read: .*No such file"):
        source.read_mask(0)


def test_the_file_can_be_written_again_when_the_source_is_gone():
    write(images=IMAGES, masks=MASKS)
    source = Hdf5Arrays("f.h5:images", "f.h5:masks")
    source.read(0)
    del source
    write("f.h5", "a", more=MASKS)


@pytest.fixture
def virtual():
    """Write images and masks in parts, and a file that puts them together."""
    for part, rows in enumerate((slice(0, 4), slice(4, 7))):
        write(f"part{part}.h5", x=IMAGES[rows], y=MASKS[rows])

    def put_together(path="all.h5", parts=("part0.h5", "part1.h5")):
        with h5py.File(path, "w") as file:
            for name, values in (("x", IMAGES), ("y", MASKS)):
                layout = h5py.VirtualLayout(values.shape, values.dtype)
                for part, rows in zip(parts, (slice(0, 4), slice(4, 7)), strict=False):
                    shape = values[rows].shape
                    layout[rows] = h5py.VirtualSource(part, name, shape=shape)
                file.create_virtual_dataset(name, layout)

    put_together()
    return put_together


def test_virtual_arrays_are_packed_as_their_sources_are(virtual, tmp_path):
    require_source(Hdf5Arrays("all.h5:x", "all.h5:y"), IMAGES, MASKS)


def test_what_hdf5_would_make_up_is_refused(virtual, tmp_path):
    source = Hdf5Arrays("all.h5:x", "all.h5:y")
    convert(source, "o", split="train", workers=1)
    os.rename("part1.h5", "gone.h5")
    for address in ("all.h5:x", "all.h5:y"):
        with pytest.raises(SourceError, match=r"that are in part1\.h5:., but the file is not"):
            Hdf5Arrays(address, "all.h5:y")
    assert "part1.h5" in str(verify("o/train", source=True, workers=1).problems)
    write("part1.h5", x=IMAGES[4:])
    with pytest.raises(SourceError, match=r"part1\.h5:y, but the file has no such array"):
        Hdf5Arrays("all.h5:x", "all.h5:y")
    with h5py.File("part1.h5", "a") as file:
        file.create_dataset("y", (3, 12, 10), "u1")
    with pytest.raises(SourceError, match=r"part1\.h5:y, but it was never written"):
        Hdf5Arrays("all.h5:x", "all.h5:y")
    os.replace("gone.h5", "part1.h5")
    require_source(Hdf5Arrays("all.h5:x", "all.h5:y"), IMAGES, MASKS)


def test_sources_of_sources_are_looked_for_too(virtual):
    with h5py.File("above.h5", "w") as file:
        for name, values in (("x", IMAGES), ("y", MASKS)):
            layout = h5py.VirtualLayout(values.shape, values.dtype)
            layout[:] = h5py.VirtualSource("all.h5", name, shape=values.shape)
            file.create_virtual_dataset(name, layout)
    require_source(Hdf5Arrays("above.h5:x", "above.h5:y"), IMAGES, MASKS)
    os.remove("part0.h5")
    with pytest.raises(SourceError, match=r"all\.h5:/x: needed the values that are in part0"):
        Hdf5Arrays("above.h5:x", "above.h5:y")


def test_a_virtual_array_with_holes_is_refused(virtual):
    virtual(parts=("part0.h5",))
    with pytest.raises(SourceError, match="found sources for 1,440 of 2,520"):
        Hdf5Arrays("all.h5:x", "all.h5:y")


def test_raw_storage_that_is_short_is_refused():
    write(y=MASKS)
    IMAGES.tofile("raw.bin")
    with h5py.File("f.h5", "a") as file:
        place = [("raw.bin", 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("x", IMAGES.shape, IMAGES.dtype, external=place)
    limits = Limits(external=True)
    require_same(Hdf5Arrays("f.h5:x", "f.h5:y", limits=limits))
    os.truncate("raw.bin", IMAGES.nbytes - 1)
    with pytest.raises(SourceError, match=r"in raw\.bin, but it needed 2520 bytes, and has 2519"):
        Hdf5Arrays("f.h5:x", "f.h5:y", limits=limits)


def require_same(source):
    for sample, (image, mask) in enumerate(zip(IMAGES, MASKS, strict=True)):
        found, ids = source.read(sample)
        np.testing.assert_array_equal(found, image)
        np.testing.assert_array_equal(ids, mask)


@pytest.mark.parametrize(
    ("chunks", "written", "images", "masks"),
    [
        ((1, 12, 10), [0, 2], [1, 3, 4, 5, 6], [1, 3, 4, 5, 6]),
        ((2, 12, 10), [0, 2], [4, 5, 6], [4, 5, 6]),
        ((2, 6, 10), [0, 2], [0, 1, 2, 3, 4, 5, 6], [4, 5, 6]),
    ],
)
def test_samples_that_were_never_written_are_refused_one_by_one(chunks, written, images, masks):
    write(x=IMAGES[..., 0], y=MASKS)
    with h5py.File("f.h5", "a") as file:
        for name, values in (("u", IMAGES[..., 0]), ("v", MASKS)):
            array = file.create_dataset(name, values.shape, values.dtype, chunks=chunks)
            for row in written:
                half = slice(0, 6 if chunks[1] == 6 else 12)
                array[row, half] = values[row, half]
        # What stands in its place is someone's choice.
        file.create_dataset("w", MASKS.shape, MASKS.dtype, chunks=chunks, fillvalue=255)[0] = 0
    for pair, wrong in ((("u", "y"), images), (("x", "v"), masks)):
        source = Hdf5Arrays(*(f"f.h5:{name}" for name in pair))
        for sample in range(7):
            if sample in wrong:
                with pytest.raises(SourceError, match=rf"\[{sample}\]: needed values, found none"):
                    source.read(sample)
            else:
                source.read(sample)
    assert Hdf5Arrays("f.h5:x", "f.h5:w").read_mask(6).min() == 255


@pytest.mark.parametrize("options", [{}, {"chunks": (1, 12, 10)}, {"fillvalue": 1}])
def test_arrays_of_which_nothing_was_written_are_refused(options):
    write(x=IMAGES[..., 0], y=MASKS)
    with h5py.File("f.h5", "a") as file:
        file.create_dataset("none", MASKS.shape, MASKS.dtype, **options)
    with pytest.raises(SourceError, match="needed masks, found an array of which nothing was ever"):
        Hdf5Arrays("f.h5:x", "f.h5:none")
    with pytest.raises(SourceError, match=r"\[0\]: needed values, found none"):
        Hdf5Arrays("f.h5:none", "f.h5:y").read(0)
