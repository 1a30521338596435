"""Folders of ``.npy`` files may hold volumes, and arrays of any size are read by windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from source_contract import require_source, require_windows
from zarrfeed.errors import SourceError
from zarrfeed_convert import Limits, PairedFolders

RNG = np.random.default_rng(2)
SIZES = {"a": (5, 9, 7), "b/c": (1, 20, 3), "d": (4, 4, 4)}
SMALL = Limits(sample_nbytes=1 << 20)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def save(folder, arrays):
    for key, values in arrays.items():
        path = Path(folder, f"{key}.npy")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, values)


def labels(sizes=SIZES):
    return {key: RNG.integers(0, 3, size, np.uint8) for key, size in sizes.items()}


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("dtype", ["uint8", ">i2", "<f4", ">u8"])
@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_files_are_volumes_of_any_size(order, dtype, channels):
    volumes = {
        key: np.asarray(RNG.integers(0, 200, (*size, *channels)), dtype, order=order)
        for key, size in SIZES.items()
    }
    masks = labels()
    save("i", volumes)
    save("m", {key: np.asarray(mask, order=order) for key, mask in masks.items()})
    source = PairedFolders("i", "m", axes="dhwc" if channels else "DHW")
    assert source.keys == ["a", "b/c", "d"]
    assert source.reads_windows(0)
    images = [each.reshape(*each.shape[:3], -1) for each in volumes.values()]
    wide = [image.astype(np.uint32) if dtype == ">u8" else image for image in images]
    require_source(source, wide, list(masks.values()))
    require_source(PairedFolders("i", axes="DHWC" if channels else "DHW"), wide)


def test_masks_have_channels_of_classes_and_further_fields_have_planes():
    ids, depth = labels(), {key: RNG.random(size, np.float32) for key, size in SIZES.items()}
    save("i", {key: RNG.integers(0, 9, size, np.uint8) for key, size in SIZES.items()})
    save("m", {key: each[..., None] == np.arange(3) for key, each in ids.items()})
    save("depth", depth)
    fields = {"depth": "target:depth"}
    for said, expected in (
        ("one-hot=0", ids),
        ("multi-hot", {key: each[..., None] == np.arange(3) for key, each in ids.items()}),
    ):
        source = PairedFolders("i", "m", axes="DHW", mask_map=said, fields=fields)
        for sample, key in enumerate(source.keys):
            header = source.probe(sample)
            arrays = source.read(sample)
            np.testing.assert_array_equal(arrays[1], expected[key])
            np.testing.assert_array_equal(arrays[2], depth[key])
            assert [each.shape for each in header.arrays.values()] == [a.shape for a in arrays]
            require_windows(source, sample)


def test_what_is_no_file_of_a_volume_is_named():
    save("i", {"a": np.zeros((3, 4, 5, 2)), "b": np.zeros((4, 5))})
    source = PairedFolders("i", axes="DHW")
    with pytest.raises(SourceError, match=r"i/a\.npy: needed an array of 3 axes, as -o axes says"):
        source.probe(0)
    with pytest.raises(SourceError, match=r"i/b\.npy: needed an array \(D, H, W\) or .*\(4, 5\)"):
        source.probe(1)
    with pytest.raises(SourceError, match=r"option axes: needed DHW or DHWC .* found 'CDHW'"):
        PairedFolders("i", axes="CDHW")
    Path("p").mkdir()
    Image.new("L", (4, 5)).save("p/a.png")
    with pytest.raises(SourceError, match=r"p/a\.png: needed a \.npy file of a volume"):
        PairedFolders("p", axes="DHW").probe(0)


def test_large_images_are_read_by_windows_alone():
    image, mask = (
        RNG.integers(0, 255, (1500, 1200, 2), np.uint8),
        np.eye(1500, 1200, dtype=np.uint8),
    )
    save("i", {"a": image})
    save("m", {"a": mask})
    source = PairedFolders("i", "m", limits=SMALL)
    assert source.probe(0).size == (1500, 1200)
    assert source.reads_windows(0)
    for read in (source.read, source.read_mask):
        with pytest.raises(SourceError, match="needed an image without --tile of at most 1 MiB"):
            read(0)
    window = slice(700, 900), slice(650, 1200)
    for found, values in zip(source.read_window(0, window), (image, mask), strict=True):
        np.testing.assert_array_equal(found, values[window])
    np.testing.assert_array_equal(source.read_mask_window(0, window), mask[window])


def test_a_mask_of_another_kind_is_decoded_as_a_whole():
    save("i", {"a": RNG.integers(0, 255, (15, 12), np.uint8)})
    Path("m").mkdir()
    Image.fromarray(np.eye(15, 12, dtype=np.uint8)).save("m/a.png")
    source = PairedFolders("i", "m")
    assert not source.reads_windows(0)
    require_windows(source, 0)


def test_a_claim_of_more_than_there_is_is_refused_before_memory_is_taken():
    save("i", {"a": np.zeros((8, 8, 8), np.uint8)})
    path = Path("i/a.npy")
    path.write_bytes(
        path.read_bytes().replace(b"(8, 8, 8), }" + b" " * 12, b"(99999, 99999, 99999), }")
    )
    source = PairedFolders("i", axes="DHW")
    for look in (source.probe, source.read, lambda n: source.read_window(n, (slice(0, 1),) * 3)):
        with pytest.raises(SourceError, match=r"^i/a\.npy: needed \d{15} bytes .* ends early"):
            look(0)


def test_axes_are_recorded_only_where_they_are_given():
    save("i", {"a": np.zeros((8, 8, 8), np.uint8)})
    assert "axes" not in PairedFolders("i").describe()
    assert PairedFolders("i", axes="DHW").describe()["axes"] == "DHW"
