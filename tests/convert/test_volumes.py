"""Splits of volumes: three spatial axes go through everything that two do."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from former_tiles import pack_former_tiles
from stored_samples import require_verified
from zarrfeed import SplitReader, ZarrSequence, open_split, read_samples, stitch
from zarrfeed.errors import SourceError
from zarrfeed_convert import Header, Source, convert, repack, verify

MASK_SIZE = {"mask_height": 48, "mask_width": 64}
SIZES = [(5, 8, 6), (4, 9, 7), (6, 6, 6)]


class Scans(Source):
    """Volumes of several sizes, and labels."""

    def __init__(self, sizes, channels=2):
        rng = np.random.default_rng(0)
        self.images = [
            rng.integers(0, 60_000, (*size, channels)).astype(np.uint16) for size in sizes
        ]
        self.masks = [rng.integers(0, 3, size, np.uint8) for size in sizes]

    @property
    def keys(self):
        return [f"scan{number}" for number in range(len(self.images))]

    def describe(self):
        return {"kind": "scans"}

    def probe(self, sample):
        return Header.of_pair(self.images[sample].shape, "uint16", self.masks[sample].shape)

    def read(self, sample):
        return self.images[sample], self.masks[sample]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_equal_volumes_are_stored_as_they_are_and_feed_keras():
    scans = Scans([(5, 8, 6)] * 4)
    report = convert(scans, "o.zarr", split="train", order="source", workers=1, classes=3)
    assert {what.what: what.value for what in report.decisions}["size"] == "5x8x6"
    root = zarr.open_group("o.zarr/train")
    np.testing.assert_array_equal(root["image"][:], scans.images)
    np.testing.assert_array_equal(root["mask"][:], scans.masks)
    assert root["image"].metadata.dimension_names == ("sample", "z", "y", "x", "channel")
    assert root["mask"].metadata.dimension_names == ("sample", "z", "y", "x")
    counts = [np.bincount(mask.ravel(), minlength=3) for mask in scans.masks]
    np.testing.assert_array_equal(root["class_pixels"][:], counts)
    channels = root.attrs["zarrfeed"]["channels"]
    values = np.reshape(scans.images, (-1, 2)).astype(float)
    np.testing.assert_allclose(channels["mean"], values.mean(axis=0))
    np.testing.assert_allclose(channels["std"], values.std(axis=0))
    require_verified("o.zarr", source=scans)
    with ZarrSequence("o.zarr/train", 2, shuffle=False) as seq:
        image, mask = seq[1]
        np.testing.assert_array_equal(image, scans.images[2:])
        np.testing.assert_array_equal(mask, scans.masks[2:])


@pytest.mark.parametrize("fit", ["resize", "crop", "pad"])
def test_volumes_of_several_sizes_get_one(fit):
    scans = Scans(SIZES)
    size = {"resize": (3, 10, 5), "crop": (4, 6, 5), "pad": (6, 9, 7)}[fit]
    convert(
        scans,
        "o.zarr",
        split="t",
        size=size,
        fit=fit,
        order="source",
        workers=1,
        classes=3,
        ignore=9,
    )
    root = zarr.open_group("o.zarr/t")
    assert root["image"].shape == (3, *size, 2)
    assert root["mask"].shape == (3, *size)
    if fit == "crop":
        np.testing.assert_array_equal(root["mask"][1], scans.masks[1][0:4, 1:7, 1:6])
    if fit == "pad":
        np.testing.assert_array_equal(root["image"][0, :5, :8, :6], scans.images[0])
        assert (root["mask"][0, 5:] == 9).all()
    require_verified("o.zarr", source=scans)


@pytest.mark.parametrize("overlap", [0, 1])
def test_tiles_of_volumes_of_before_are_put_together_again_and_repacked(overlap):
    scans = Scans(SIZES)
    options = {"size": (3, 4, 4), "overlap": overlap, "classes": 3, "ignore": 9}
    pack_former_tiles(scans, "o.zarr", split="t", **options)
    repack("o.zarr/t", "p.zarr", split="t", order="shuffled", codec="zstd", workers=1)
    for path in ("o.zarr/t", "p.zarr/t"):
        require_verified(path, source=scans)
        split = open_split(path)
        count = split.layouts["image"].shape[0]
        images = dict(stitch(split, read_samples(split, "image", range(count))))
        masks = dict(stitch(split, read_samples(split, "mask", range(count))))
        for number, key in enumerate(scans.keys):
            np.testing.assert_array_equal(images[key], scans.images[number])
            np.testing.assert_array_equal(masks[key], scans.masks[number])
    with SplitReader(open_split("o.zarr/t"), ["key"]) as reader:
        names = {row.tobytes().rstrip(b"\0").decode() for row in reader.read([0])["key"]}
    assert all(name.count(",") == 2 for name in names)


def test_a_changed_voxel_of_an_original_is_found():
    scans = Scans([(5, 8, 6)] * 2)
    convert(scans, "o.zarr", split="train", workers=1, classes=3)
    scans.images[1][4, 7, 5, 1] ^= 1
    found = verify("o.zarr", source=scans, workers=1)
    assert [problem.key for problem in found.problems] == ["scan1"]


def test_a_size_of_two_axes_is_no_size_of_volumes():
    with pytest.raises(
        SourceError, match=r"scan0: needed as many axes as 4x4 has, found 5x8x6; .*DxHxW"
    ):
        convert(Scans(SIZES), "o.zarr", split="t", size=(4, 4), fit="crop", workers=1)


def test_volumes_and_images_do_not_mix():
    scans = Scans([(5, 8, 6), (5, 8, 6)])
    scans.images[1], scans.masks[1] = scans.images[1][0], scans.masks[1][0]
    with pytest.raises(SourceError, match="needed samples of one size, found 1 of 5x8x6, 1 of 8x6"):
        convert(scans, "o.zarr", split="t", workers=1)


def test_headers_as_they_were_written_before_say_what_to_write():
    with pytest.warns(DeprecationWarning, match=r"'image': \(\(48, 64, 3\), 'uint8'"):
        header = Header(48, 64, 3, "uint8", 48, 64)
    assert header == Header.of_pair((48, 64, 3), "uint8", (48, 64))
    with pytest.warns(DeprecationWarning, match=r"write Header\.mask\.shape\[1\]"):
        assert header.mask_width == 64


@pytest.mark.parametrize(
    ("numbers", "named"),
    [
        ((48, 64, 3, "uint8"), MASK_SIZE),
        ((), {"height": 48, "width": 64, "channels": 3, "dtype": "uint8", **MASK_SIZE}),
        ((np.int64(48), 64, 3, "uint8", 48, 64, (7,)), {}),
    ],
)
def test_headers_of_before_are_read_however_they_are_written(numbers, named):
    with pytest.warns(DeprecationWarning, match=r"'mask': \(\(48, 64\), None\)"):
        assert Header(*numbers, **named) == Header.of_pair((48, 64, 3), "uint8", (48, 64))
    with pytest.warns(DeprecationWarning, match="write Header"):
        assert Header(48, 64, 3, "uint8", None, None).mask is None
