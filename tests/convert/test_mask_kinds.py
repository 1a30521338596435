"""Masks of every kind of numbers mean the same in every format."""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from zarrfeed.errors import SourceError
from zarrfeed_convert.formats import open_source

SIZE = (16, 12)
IMAGE = np.random.default_rng(1).integers(0, 255, (*SIZE, 3), np.uint8)
IDS = np.random.default_rng(2).integers(0, 3, SIZE)
TWO = (IDS == 1).astype(np.uint8)
NINE = np.where(IDS == 2, 9, IDS)
IGNORED = np.where(IDS == 2, 255, IDS)
HOT = np.eye(3, dtype=np.uint8)[IDS]

# Kind -> the mask, the map that it needs, the ids that it means.
KINDS = {
    "bool": (TWO.astype(bool), "", TWO),
    "int8": (IDS.astype(np.int8), "", IDS),
    "int64": (IDS.astype(np.int64), "", IDS),
    "-1": (np.where(IDS == 2, -1, IDS).astype(np.int16), "-1=255", IGNORED),
    "nodata": (np.where(IDS == 2, -9999, IDS).astype(np.int32), "-9999=9", NINE),
    "uint16": (TWO * np.uint16(65535), "65535=1", TWO),
    "float32": (IDS.astype(np.float32), "", IDS),
    "float64, mapped": (IDS.astype(np.float64), "2=1,1=2", np.array([0, 2, 1])[IDS]),
    "nan": (np.where(IDS == 2, np.nan, IDS).astype(np.float32), "nan=255", IGNORED),
    "probabilities": (np.where(TWO, 0.7, 0.2).astype(np.float32), "0.5..1=1,*=0", TWO),
    "soft": (np.where(TWO, 200, 30).astype(np.uint8), "128..255=1,*=0", TWO),
    "one-hot": (HOT, "one-hot=0", IDS),
    "one-hot, no background": (HOT[..., 1:], "one-hot=1,*=0", IDS),
    "one-hot, bool": (HOT.astype(bool), "one-hot=0", IDS),
    "one-hot, 255": (HOT * np.uint8(255), "one-hot=0", IDS),
    "colours": (HOT * np.uint8(255), "#FF0000=0,#00FF00=1,#0000FF=2", IDS),
}  # fmt: skip
# Without their map, the others are refused when all masks were seen.
REFUSED = KINDS.keys() - {"bool", "int8", "int64", "uint16", "float32", "float64, mapped", "soft"}
# What a format cannot store.
LACKS = {
    "nifti": {"bool", "one-hot, bool", "colours"},
}


def write_tiff(mask, form):
    for name, values in (("i", IMAGE), ("m", mask)):
        values = values.astype(np.uint8) if values.dtype == bool else values
        Path(name).mkdir()
        planar = {"planarconfig": "contig"} if values.ndim == 3 else {}
        tifffile.imwrite(f"{name}/a.tif", values, photometric="minisblack", metadata=None, **planar)
    return open_source, {"images": "i", "masks": "m"}


def write_npz(mask, form):
    np.savez("a.npz", x=IMAGE[np.newaxis], y=mask[np.newaxis])
    return open_source, {"images": "a.npz:x", "masks": "a.npz:y"}


def write_hdf5(mask, form):
    h5py = pytest.importorskip("h5py")
    with h5py.File("a.h5", "w") as file:
        file["x"], file["y"] = IMAGE[np.newaxis], mask[np.newaxis]
    return open_source, {"images": "a.h5:x", "masks": "a.h5:y"}


def write_zarr(mask, form):
    import zarr

    group = zarr.open_group("a.zarr", mode="w")
    group.create_array("x", data=IMAGE[np.newaxis])
    group.create_array("y", data=mask[np.newaxis])
    return open_source, {"images": "a.zarr/x", "masks": "a.zarr/y"}


def write_parquet(mask, form):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    kinds = [pa.array([values.tolist()], _lists(pa, values)) for values in (IMAGE, mask)]
    pq.write_table(pa.table(kinds, ["image", "annotation"]), "a.parquet")
    return open_source, {"images": "a.parquet"}


def _lists(pa, values):
    kind = pa.from_numpy_dtype(values.dtype)
    for _ in range(values.ndim):
        kind = pa.list_(kind)
    return kind


def write_tfrecord(mask, form):
    tf = pytest.importorskip("tensorflow")
    features = {
        name: tf.train.Feature(
            bytes_list=tf.train.BytesList(value=[tf.io.serialize_tensor(values).numpy()])
        )
        for name, values in (("image", IMAGE), ("mask", mask))
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    with tf.io.TFRecordWriter("a.tfrecord") as writer:
        writer.write(example.SerializeToString())
    return open_source, {"images": "a.tfrecord"}


def write_webdataset(mask, form):
    with tarfile.open("a.tar", "w") as tar:
        for name, values in (("a.image.npy", IMAGE), ("a.mask.npy", mask)):
            file = io.BytesIO()
            np.save(file, values)
            info = tarfile.TarInfo(name)
            info.size = file.tell()
            file.seek(0)
            tar.addfile(info, file)
    return open_source, {"images": "a.tar"}


def write_nifti(mask, form):
    nib = pytest.importorskip("nibabel")
    for name, values in (("i", IMAGE[:, :, 0]), ("m", mask)):
        volume = values[:, :, np.newaxis]
        nib.save(nib.Nifti1Image(volume, np.eye(4), dtype=values.dtype), f"{name}.nii")
    return open_source, {"images": "i.nii", "masks": "m.nii"}


WRITERS = {
    "paired": write_tiff, "tiff": write_tiff, "npz": write_npz, "hdf5": write_hdf5,
    "zarr": write_zarr, "parquet": write_parquet, "tfrecord": write_tfrecord,
    "webdataset": write_webdataset, "nifti": write_nifti,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", WRITERS)
def test_a_mask_means_the_same_in_every_format(form, kind, tmp_path, monkeypatch):
    if kind in LACKS.get(form, ()):
        pytest.skip("the format has no such numbers")
    monkeypatch.chdir(tmp_path)
    mask, text, ids = KINDS[kind]
    opened, where = WRITERS[form](mask, form)
    source = opened(form, {**where, "mask_map": text})
    header = source.probe(0)
    assert header.mask.shape == SIZE
    np.testing.assert_array_equal(source.read_mask(0), ids)
    if kind in REFUSED:
        with pytest.raises(SourceError, match="--mask-map"):
            opened(form, where).read_mask(0)


OVERLAPPING = (np.random.default_rng(3).random((*SIZE, 5)) < 0.4).astype(np.uint8)
# Masks of which a pixel may have several classes, or none.
MULTI_HOT = {
    "uint8": OVERLAPPING[..., :3],
    "5 of bool": OVERLAPPING.astype(bool),
    "4 of 255": OVERLAPPING[..., :4] * np.uint8(255),
    "2 of 65535": OVERLAPPING[..., :2] * np.uint16(65535),
    "float32": OVERLAPPING[..., :3].astype(np.float32),
    "1": OVERLAPPING[..., :1],
    "empty": np.zeros((*SIZE, 3), np.uint8),
}
LACKS_MULTI_HOT = {
    "nifti": {"5 of bool"},
    "paired": {"1"},  # tifffile would write pages of one column
    "tiff": {"1"},
    "zarr": {"empty"},  # zeros are not written
}


@pytest.mark.parametrize("kind", MULTI_HOT)
@pytest.mark.parametrize("form", WRITERS)
def test_a_multi_hot_mask_means_the_same_in_every_format(form, kind, tmp_path, monkeypatch):
    if kind in LACKS_MULTI_HOT.get(form, ()):
        pytest.skip("the format has no such arrays")
    monkeypatch.chdir(tmp_path)
    mask = MULTI_HOT[kind]
    opened, where = WRITERS[form](mask, form)
    source = opened(form, {**where, "mask_map": "multi-hot"})
    assert source.probe(0).mask.shape == mask.shape
    found = source.read_mask(0)
    np.testing.assert_array_equal(found, mask > 0)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(source.read(0)[1], found)
    assert source.probe(0).mask_colors == ()
    assert source.describe()["mask_map"] == "multi-hot"
    reopened = open_source(form, {**where, "mask_map": source.describe()["mask_map"]})
    np.testing.assert_array_equal(reopened.read_mask(0), found)


@pytest.mark.parametrize("form", WRITERS)
def test_other_values_than_two_are_no_multi_hot_mask(form, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mask = OVERLAPPING[..., :3].copy()
    mask[0, 0, 0] = 7
    opened, where = WRITERS[form](mask, form)
    with pytest.raises(SourceError, match=r"needed a multi-hot mask, .*found values like 7"):
        opened(form, {**where, "mask_map": "multi-hot"}).read_mask(0)
    with pytest.raises(SourceError, match=r"--mask-map multi-hot \(|colour|--mask-map '#"):
        opened(form, {**where, "mask_map": ""}).read_mask(0)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1"])
def test_channels_of_image_files_are_classes(mode, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    count = len(mode) if mode != "1" else 1
    mask = OVERLAPPING[..., :count] * np.uint8(255)
    for name, values, kind in (("i", IMAGE, "RGB"), ("m", mask, mode)):
        Path(name).mkdir()
        picture = PillowImage.fromarray(values[..., 0] if values.shape[2] == 1 else values)
        (picture.convert("1", dither=0) if kind == "1" else picture).save(f"{name}/a.png")
    source = open_source("paired", {"images": "i", "masks": "m", "mask_map": "multi-hot"})
    assert source.probe(0).mask.shape == (*SIZE, count)
    np.testing.assert_array_equal(source.read_mask(0), OVERLAPPING[..., :count])


@pytest.mark.parametrize(
    ("name", "mode", "said"),
    [
        ("a.png", "P", r"a channel for each class, found indices of a palette; leave out --mask"),
        ("a.png", "LA", r"a channel for each class, found grey with an alpha channel; .* RGB"),
        ("a.jpg", "RGB", "found values like"),
    ],
)
def test_other_image_files_are_no_multi_hot_masks(name, mode, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in "im":
        Path(folder).mkdir()
    PillowImage.fromarray(IMAGE).save("i/a.png")
    PillowImage.fromarray(OVERLAPPING[..., :3] * np.uint8(255)).convert(mode).save(f"m/{name}")
    source = open_source("paired", {"images": "i", "masks": "m", "mask_map": "multi-hot"})
    with pytest.raises(SourceError, match=said):
        source.read_mask(0)


@pytest.mark.parametrize("form", ["coco", "dicom", "ome-zarr"])
def test_formats_of_ids_refuse_multi_hot_before_they_look_for_files(form):
    for package in {"dicom": ["pydicom"], "coco": ["pycocotools"]}.get(form, []):
        pytest.importorskip(package)
    with pytest.raises(
        SourceError, match=r"multi-hot: needed masks with a channel .* leave it out"
    ):
        open_source(form, {"images": "i", "masks": "nowhere", "mask_map": "multi-hot"})


def test_planes_of_a_stack_are_classes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    masks = (np.random.default_rng(4).random((6, 3, *SIZE)) < 0.3).astype(np.uint8)
    images = np.random.default_rng(5).integers(0, 255, (6, *SIZE), np.uint8)
    tifffile.imwrite("i.tif", images, imagej=True, metadata={"axes": "ZYX"})
    tifffile.imwrite("m.tif", masks * np.uint8(255), imagej=True, metadata={"axes": "ZCYX"})
    source = open_source("tiff", {"images": "i.tif", "masks": "m.tif", "mask_map": "multi-hot"})
    for page in range(6):
        assert source.probe(page).mask.shape == (*SIZE, 3)
        np.testing.assert_array_equal(source.read_mask(page), np.moveaxis(masks[page], 0, -1))


def test_no_data_in_a_multi_hot_mask_is_no_class(tmp_path, monkeypatch):
    import zarr

    monkeypatch.chdir(tmp_path)
    group = zarr.open_group("a.zarr", mode="w")
    group.create_array("x", data=IMAGE[np.newaxis])
    mask = group.create_array("y", data=OVERLAPPING[np.newaxis, ..., :3] * np.uint8(255))
    mask.attrs["_FillValue"] = 255
    where = {"images": "a.zarr/x", "masks": "a.zarr/y", "mask_map": "multi-hot"}
    with pytest.raises(SourceError, match=r"of the value 255, which the file declares as no data"):
        open_source("zarr", where).read_mask(0)
    mask.attrs["_FillValue"] = 0
    np.testing.assert_array_equal(open_source("zarr", where).read_mask(0), OVERLAPPING[..., :3])


@pytest.mark.parametrize(
    "text", ["multi-hot,1=1", "multi-hot=0", "one-hot=0,multi-hot", "multihot"]
)
def test_multi_hot_stands_alone(text):
    with pytest.raises(SourceError, match=r"mask map: needed .*multi-hot alone"):
        open_source("npz", {"images": "a.npz:x", "masks": "a.npz:y", "mask_map": text})


def test_arrays_are_one_hot_or_multi_hot():
    where = {"images": "a.npz:x", "masks": "a.npz:y", "one_hot": True, "mask_map": "multi-hot"}
    with pytest.raises(SourceError, match=r"one_hot: .*leave out one of both"):
        open_source("npz", where)


def grey_png(values, bits):
    """Write grey PNG of fewer bits than 8, which no library here does."""
    rows = np.unpackbits(values[..., np.newaxis], axis=2)[:, :, 8 - bits :].reshape(len(values), -1)
    scans = b"".join(b"\0" + row.tobytes() for row in np.packbits(rows, axis=1))
    header = struct.pack(">2I5B", values.shape[1], values.shape[0], bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(scans)), (b"IEND", b""))
    )


def write_png_files(image, mask):
    for name, data in (("i", image), ("m", mask)):
        Path(name).mkdir()
        Path(name, "a.png").write_bytes(data)
    return "paired", {"images": "i", "masks": "m"}


def write_png_parquet(image, mask):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"image": [image], "annotation": [mask]}), "a.parquet")
    return "parquet", {"images": "a.parquet"}


def write_png_tfrecord(image, mask):
    tf = pytest.importorskip("tensorflow")
    features = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[data]))
        for name, data in (("image", image), ("mask", mask))
    }
    with tf.io.TFRecordWriter("a.tfrecord") as writer:
        example = tf.train.Example(features=tf.train.Features(feature=features))
        writer.write(example.SerializeToString())
    return "tfrecord", {"images": "a.tfrecord"}


def write_png_webdataset(image, mask):
    with tarfile.open("a.tar", "w") as tar:
        for name, data in (("a.image.png", image), ("a.mask.png", mask)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return "webdataset", {"images": "a.tar"}


# Bits, the map, and the ids that 0, 1, 2, … mean.
FEW_BITS = [
    (1, "", [0, 1]),
    (1, "255=1,*=0", [0, 1]),
    (1, "128..255=3,*=0", [0, 3]),
    (2, "", [0, 1, 2, 3]),
    (2, "1=7", [0, 7, 2, 3]),
    (2, "0..1=0,*=1", [0, 0, 1, 1]),
    (2, "85=1,170=2,255=9", [0, 1, 2, 9]),
    (2, "#000000=4,#555555=3,#AAAAAA=2,#FFFFFF=1", [4, 3, 2, 1]),
    (4, "", list(range(16))),
    (4, "15=255", [*range(15), 255]),
]


@pytest.mark.parametrize(("bits", "text", "ids"), FEW_BITS)
@pytest.mark.parametrize(
    "write", [write_png_files, write_png_parquet, write_png_tfrecord, write_png_webdataset]
)
def test_grey_of_few_bits_is_ids_in_masks_and_shades_in_images(
    write, bits, text, ids, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    stored = (np.arange(30, dtype=np.uint8) % (1 << bits)).reshape(5, 6)
    data = grey_png(stored, bits)
    form, where = write(data, data)
    source = open_source(form, {**where, "mask_map": text})
    image, mask = source.read(0)
    np.testing.assert_array_equal(mask, np.array(ids)[stored])
    np.testing.assert_array_equal(image[:, :, 0], stored * (255 // ((1 << bits) - 1)))


@pytest.mark.parametrize("form", ["paired", "tiff"])
@pytest.mark.parametrize(("photometric", "ids"), [("minisblack", [0, 1]), ("miniswhite", [1, 0])])
def test_tiff_masks_of_one_bit_are_ids(form, photometric, ids, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bits = IDS > 0
    for name, values, said in (("i", IMAGE[..., 0], "minisblack"), ("m", bits, photometric)):
        Path(name).mkdir()
        tifffile.imwrite(f"{name}/a.tif", values, photometric=said)
    source = open_source(form, {"images": "i", "masks": "m"})
    np.testing.assert_array_equal(source.read_mask(0), np.array(ids)[bits.astype(int)])
