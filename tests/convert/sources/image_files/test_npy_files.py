"""Folders of ``.npy`` files are images and masks as any others; their headers are claims."""

from __future__ import annotations

import imagecodecs
import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from source_contract import require_packed, require_source
from zarrfeed import ZarrSequence
from zarrfeed.errors import SourceError
from zarrfeed_convert import Limits, PairedFolders, convert, open_source, repack, verify

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (3, 12, 10, 3), np.uint8)
MASKS = RNG.integers(0, 3, (3, 12, 10), np.uint8)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in "im":
        (tmp_path / folder).mkdir()


def save(images, masks=()):
    for folder, values in (("i", images), ("m", masks)):
        for number, array in enumerate(values):
            np.save(f"{folder}/{number}.npy", array, allow_pickle=True)


def header(shape, dtype="<f4", fortran="False"):
    text = f"{{'descr': {dtype!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\0" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", ">f4"])
@pytest.mark.parametrize("channels", [(), (1,), (2,), (5,)])
def test_arrays_of_any_order_are_images_and_masks(order, dtype, channels):
    images = RNG.integers(0, 256, (3, 12, 10, *channels)).astype(dtype)
    save([np.array(image, order=order) for image in images], np.array(MASKS, order=order))
    require_source(PairedFolders("i", "m"), images.reshape(3, 12, 10, -1), MASKS)


def test_arrays_are_packed_checked_and_repacked(tmp_path):
    save(IMAGES.astype(">u2"), map(np.asfortranarray, MASKS))
    source = PairedFolders("i", "m")
    require_packed(source, tmp_path / "o.zarr", IMAGES, MASKS, classes=3)
    repack("o.zarr/train", "p.zarr", split="train", codec="zstd", workers=1)
    for path in ("o.zarr/train", "p.zarr/train"):
        found = verify(path, source=True, workers=1)
        assert found.ok, found.problems


def test_arrays_go_with_masks_in_image_files(tmp_path):
    save(IMAGES)
    for number, mask in enumerate(MASKS):
        (tmp_path / "m" / f"{number}.png").write_bytes(imagecodecs.png_encode(mask))
    require_source(PairedFolders("i", "m"), IMAGES, MASKS)


def test_arrays_alone_feed_predict(tmp_path):
    save(IMAGES.astype(np.float32))
    convert(PairedFolders("i"), "o.zarr", split="test", order="source", workers=1)
    model = keras.Sequential([keras.Input((12, 10, 3)), keras.layers.Conv2D(1, 1)])
    with ZarrSequence("o.zarr/test", 2, shuffle=False) as seq:
        found = model.predict(seq, verbose=0)
    np.testing.assert_allclose(found, model.predict(IMAGES, verbose=0), atol=1e-2)
    assert verify("o.zarr/test", source=True, workers=1).ok


def test_arrays_beside_image_files_are_passed_over_unless_a_glob_names_them(tmp_path):
    save(IMAGES)
    (tmp_path / "i" / "0.png").write_bytes(imagecodecs.png_encode(IMAGES[1]))
    np.testing.assert_array_equal(PairedFolders("i").read(0)[0], IMAGES[1])
    np.testing.assert_array_equal(PairedFolders("i/*.npy").read(0)[0], IMAGES[0])


def test_arrays_that_are_passed_over_are_counted(tmp_path):
    save(IMAGES)
    for number, image in enumerate(IMAGES):
        (tmp_path / "i" / f"{number}.png").write_bytes(imagecodecs.png_encode(image))
    report = convert(PairedFolders("i"), "o.zarr", split="test", workers=1)
    (about,) = [each for each in report.decisions if each.what == ".npy files"]
    assert about.value == "3 passed over"
    assert about.reason == (
        "such as i/0.npy, beside image files; to pack arrays, name them by a glob like 'i/*.npy'"
    )
    assert any(".npy files: 3 passed over" in said for said in report.remarks)
    as_field = {"depth": f"target:{tmp_path}/i/*.npy"}
    for source in (PairedFolders("i", fields=as_field), PairedFolders("i/*.png")):
        assert source.remarks == ()


def test_masks_of_truth_values_whole_floats_and_a_channel_per_class_mean_ids():
    hot = MASKS[0][..., None] == np.arange(3)
    for mask, options in ((MASKS[0] > 1, {}), (MASKS[0].astype(float), {}),
                          (hot, {"mask_map": "one-hot=0"})):  # fmt: skip
        save(IMAGES[:1], [mask])
        ids = PairedFolders("i", "m", **options).read_mask(0)
        np.testing.assert_array_equal(ids, MASKS[0] > 1 if mask.dtype == bool and mask.ndim == 2
                                      else MASKS[0])  # fmt: skip


@pytest.mark.parametrize("image", [np.zeros((3, 12, 10)), np.zeros((13, 12, 10))])
def test_channels_in_front_are_refused_with_the_way_out(image):
    save([image], MASKS[:1])
    with pytest.raises(SourceError, match=r"^i/0\.npy: needed an image \(H, W, C\).*moveaxis"):
        PairedFolders("i", "m").probe(0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (header((1 << 20, 1 << 20)), r"needed \d{13} bytes for 1048576×1048576 float32, found 128"),
        (header((12, 10)) + bytes(479), r"needed 608 bytes for 12×10 float32, found 607"),
        (header((12, 10)), "the file ends early"),
        (header((-12, -10)) + bytes(480), "needed pixels"),
        (header((12, 0)), "needed pixels"),
        (header((12, 10), "|O") + bytes(480), "found Python objects, which are never unpickled"),
        (header((12, 10), "<c8") + bytes(960), "needed an array of numbers, found complex64"),
        (header((12, 10), "<M8[s]") + bytes(960), "needed an array of numbers, found datetime64"),
        (header((12, 10), [("a", "<f4"), ("b", "|O")]) + bytes(960), "needed an array of numbers"),
        (header((1,) * 900), "found 900 axes"),
        (header((4, 12, 10, 3), "|u1") + bytes(1440), r"found shape \(4, 12, 10, 3\).* npz"),
        (header(()) + bytes(4), r"found shape \(\)"),
        (header("__import__('os')"), "cannot be decoded"),
        (header((12, 10))[:40], "cannot be decoded"),
        (b"\x93NUMPY\x02\0\xff\xff\xff\xff", "needed an NPY header of at most 65536 bytes"),
        (b"\x93NUMPY\x09\0" + bytes(200), r"needed NPY format 1 or 2, found \(9, 0\)"),
        (b"no array", "cannot be decoded"),
        (b"", "cannot be decoded: it is empty"),
    ],
)  # fmt: skip
def test_headers_that_claim_what_is_not_there_are_named(tmp_path, content, said):
    (tmp_path / "i" / "0.npy").write_bytes(content)
    source = PairedFolders("i", limits=Limits(sample_nbytes=1 << 30))
    for look in (source.probe, source.read):
        with pytest.raises(SourceError, match=rf"^i/0\.npy: .*{said}"):
            look(0)


def test_volumes_are_refused_with_the_option_that_reads_them():
    volume = RNG.random((4, 12, 10, 1), np.float32)
    save([volume], [MASKS[:1].repeat(4, axis=0)])
    with pytest.raises(SourceError, match=r"shape \(4, 12, 10, 1\); of volumes, say -o axes="):
        PairedFolders("i", "m").probe(0)
    for kind in ("paired", "npz"):
        source = open_source(kind, {"images": "i", "masks": "m", "axes": "DHWC"})
        np.testing.assert_array_equal(source.read(0)[0], volume)


def test_objects_are_never_unpickled():
    save(np.array([[[print]]], object))
    with pytest.raises(SourceError, match="never unpickled"):
        convert(PairedFolders("i"), "o.zarr", split="test", workers=1)


@given(
    arrays.arrays(
        st.sampled_from(["u1", "<u2", ">u2", "<f4", ">f4", "?"]),
        st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4)),
    ),
    st.booleans(),
)
def test_what_numpy_saves_is_what_is_read(tmp_path_factory, values, fortran):
    folder = tmp_path_factory.mktemp("npy")
    np.save(folder / "a.npy", np.asfortranarray(values) if fortran else values)
    source = PairedFolders(folder)
    (found,) = source.read(0)
    np.testing.assert_array_equal(found, values)
    assert (found.shape, str(found.dtype)) == source.probe(0).image
