"""OME-Zarr images are volumes at points in time: where their metadata says, and part by part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorstore
import zarr

from source_contract import require_source, require_windows
from zarrfeed.errors import SourceError
from zarrfeed_convert import Limits, open_source
from zarrfeed_convert.sources.arrays.ome_zarr import OmeZarr

RNG = np.random.default_rng(3)
# (t, c, z, y, x), and labels (t, z, y, x)
PIXELS = RNG.integers(0, 60000, (2, 3, 5, 14, 11), np.uint16)
LABELS = RNG.integers(0, 3, (2, 5, 14, 11), np.uint8)
MICROMETRES = dict.fromkeys("zyx", "micrometer")
SCALE = {"z": 2000.0, "y": 500.0, "x": 250.0}
SHIFT = {"z": -1000.0, "y": 0.0, "x": 30_000.0}


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def put(group, values, axes, *, units, scale, shift, **storage):
    """Write a multiscale image of one level."""
    group.create_array("0", data=values, **storage)
    transformations = [{"type": "scale", "scale": [scale.get(axis, 1.0) for axis in axes]}]
    if shift:
        said = [shift.get(axis, 0.0) for axis in axes]
        transformations.append({"type": "translation", "translation": said})
    kinds = {"t": "time", "c": "channel"}
    named = [
        {"name": axis, "type": kinds.get(axis, "space")}
        | ({"unit": units[axis]} if axis in units else {})
        for axis in axes
    ]
    level = {"path": "0", "coordinateTransformations": transformations}
    said = {"multiscales": [{"axes": named, "datasets": [level]}]}
    version = group.metadata.zarr_format
    group.attrs.update(said if version == 2 else {"ome": {"version": "0.5", **said}})


def write(path="a.zarr", pixels=PIXELS, axes="tczyx", labels=LABELS, label_axes="tzyx",
          units=MICROMETRES, scale=SCALE, shift=SHIFT, label_scale=None, label_shift=None,
          version=3, storage=None, label_storage=None):  # fmt: skip
    group = zarr.open_group(path, mode="w", zarr_format=version)
    put(group, pixels, axes, units=units, scale=scale, shift=shift, **(storage or {}))
    if labels is None:
        return
    inside = group.create_group("labels")
    listed = {"labels": ["cells"]}
    inside.attrs.update(listed if version == 2 else {"ome": {"version": "0.5", **listed}})
    put(inside.create_group("cells"), labels, label_axes, units=units, scale=label_scale or scale,
        shift=shift if label_shift is None else label_shift, **(label_storage or {}))  # fmt: skip


def volumes(pixels=PIXELS, labels=LABELS):
    return np.moveaxis(pixels, 1, -1), labels


STORED = {
    "one chunk": (3, {"chunks": (1, 3, 5, 14, 11)}, {}),
    "tiles": (3, {"chunks": (1, 1, 2, 5, 4)}, {"chunks": (1, 2, 5, 4)}),
    "planes": (2, {"chunks": (1, 1, 1, 14, 11)}, {"chunks": (1, 1, 14, 11)}),
    "shared": (2, {"chunks": (2, 3, 2, 7, 11)}, {"chunks": (2, 5, 14, 4)}),
    "sharded": (3, {"chunks": (1, 3, 2, 4, 4), "shards": (1, 3, 4, 8, 12)},
                {"chunks": (1, 1, 7, 11), "shards": (1, 5, 14, 11)}),
    "raw": (3, {"chunks": (1, 1, 2, 5, 4), "compressors": None}, {"chunks": (1, 2, 5, 4)}),
}  # fmt: skip


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_an_image_is_a_volume_at_each_time(stored, dtype):
    version, storage, label_storage = STORED[stored]
    write(pixels=PIXELS.astype(dtype), version=version, storage=storage,
          label_storage=label_storage)  # fmt: skip
    source = OmeZarr("a.zarr", as_="volumes")
    assert source.keys == ["a/t000", "a/t001"]
    assert source.names(1) == ("a.zarr/0[t=1]", "a.zarr/labels/cells/0[t=1]")
    assert source.reads_windows(0) == (stored != "one chunk")
    require_source(source, *volumes())
    one = OmeZarr("a.zarr", as_="volumes", channel="2,0")
    np.testing.assert_array_equal(one.read(1)[0], volumes()[0][1][..., [2, 0]])
    require_windows(one, 1)
    slices = OmeZarr("a.zarr")
    for sample in (0, 7):
        require_windows(slices, sample)


@pytest.mark.parametrize(
    ("pixels", "axes", "labels", "label_axes"),
    [
        (PIXELS[0, 0], "zyx", LABELS[0], "zyx"),
        (PIXELS[0, 0, :1], "zyx", LABELS[0, :1], "zyx"),
        (PIXELS[:1, :1, :1], "tczyx", LABELS[0, 0], "yx"),
        (PIXELS[0, :, :, :1, :1], "czyx", LABELS[:1, :, :1, :1], "tzyx"),
    ],
)
def test_axes_may_be_missing_and_volumes_thin(pixels, axes, labels, label_axes):
    write(pixels=pixels, axes=axes, labels=labels, label_axes=label_axes)
    source = OmeZarr("a.zarr", as_="volumes")
    shape = (*pixels.shape[-3:], 3 if axes == "czyx" else 1)
    image = np.moveaxis(pixels.reshape(shape[-1], *shape[:-1]), 0, -1)
    require_source(source, [image], [labels.reshape(shape[:-1])])


def test_tensorstore_reads_the_same_voxels():
    write(labels=None, storage=STORED["sharded"][1])
    source = OmeZarr("a.zarr", as_="volumes")
    assert [field.name for field in source.fields] == ["image"]
    kvstore = {"driver": "file", "path": str(Path("a.zarr/0").absolute())}
    stored = tensorstore.open({"driver": "zarr3", "kvstore": kvstore}).result()
    part = stored[1, :, 1:4, 3:13, 2:9].read().result()
    [found] = source.read_window(1, (slice(1, 4), slice(3, 13), slice(2, 9)))
    np.testing.assert_array_equal(found, np.moveaxis(part, 0, -1))


def test_an_affine_is_in_millimetres_and_says_no_direction():
    write()
    affine = np.array(OmeZarr("a.zarr", as_="volumes").probe(0).affine)
    np.testing.assert_allclose(affine @ [0, 0, 0, 1], [30, 0, -1, 1])
    np.testing.assert_allclose(affine @ [3, 4, 8, 1], [30 + 8 * 0.25, 4 * 0.5, -1 + 3 * 2, 1])
    assert OmeZarr("a.zarr").probe(0).affine is None


@pytest.mark.parametrize(
    ("units", "scale"),
    [
        ({}, SCALE),
        (MICROMETRES | {"z": "parsec"}, SCALE),
        ({"z": "micrometer", "y": "micrometer"}, SCALE),
        (MICROMETRES, SCALE | {"y": 0.0}),
        (MICROMETRES, SCALE | {"x": float("inf")}),
    ],
)
def test_no_affine_is_made_up(units, scale):
    write(labels=None, units=units, scale=scale)
    assert OmeZarr("a.zarr", as_="volumes").probe(0).affine is None


@pytest.mark.parametrize("as_", ["slices", "volumes"])
@pytest.mark.parametrize(
    ("scale", "shift", "far"),
    [
        (SCALE | {"y": 1000.0}, SHIFT, "13"),
        (SCALE, SHIFT | {"z": 0.0}, "0.5"),
        (SCALE | {"x": 253.0}, SHIFT, "0.12"),
    ],
)
def test_labels_elsewhere_are_refused_by_how_far_and_paired_with_a_remark(as_, scale, shift, far):
    write(label_scale=scale, label_shift=shift)
    with pytest.raises(
        SourceError, match=rf"cells/0: .* up to {far} pixels apart; .*--geometry warn"
    ):
        OmeZarr("a.zarr", as_=as_)
    source = OmeZarr("a.zarr", as_=as_, geometry="warn")
    [(what, found, why)] = source.remarks
    assert (what, found) == ("geometry", "1 label elsewhere")
    assert f"{far} pixels apart; pixels were paired by index" in why
    np.testing.assert_array_equal(
        source.read_mask(0), LABELS[0] if as_ == "volumes" else LABELS[0, 0]
    )
    assert source.describe()["geometry"] == "warn"


def test_labels_a_hundredth_of_a_pixel_away_are_at_their_place():
    write(label_shift={axis: at + SCALE[axis] / 100 for axis, at in SHIFT.items()})
    assert OmeZarr("a.zarr", as_="volumes").remarks == ()


def test_defaults_are_not_recorded():
    write()
    recorded = OmeZarr("a.zarr").describe().keys() & {"as_", "geometry"}
    assert not recorded
    assert OmeZarr("a.zarr", as_="volumes").describe()["as_"] == "volumes"


def test_images_without_planes_are_images_and_read_by_their_chunks():
    pixels = RNG.integers(0, 255, (300, 500), np.uint8)
    write(pixels=pixels, axes="yx", labels=None, storage={"chunks": (64, 64)})
    for as_ in ("slices", "volumes"):
        source = OmeZarr("a.zarr", as_=as_)
        assert source.reads_windows(0)
        require_source(source, [pixels[..., None]])


def test_windows_read_only_the_chunks_that_hold_some_of_them():
    for version, storage in ((2, {"chunks": (1, 3, 5, 7, 11)}), (3, {"chunks": (1, 3, 5, 7, 11)})):
        write(version=version, storage=storage, labels=None)
        [damaged] = Path("a.zarr/0").rglob("0.0.0.1.0" if version == 2 else "c/0/0/0/1/0")
        damaged.write_bytes(b"damaged")
        source = OmeZarr("a.zarr", as_="volumes")
        upper = slice(0, 5), slice(2, 7), slice(0, 11)
        np.testing.assert_array_equal(source.read_window(0, upper)[0], volumes()[0][0][upper])
        with pytest.raises(SourceError, match=r"^a\.zarr/0.*: "):
            source.read_window(0, (slice(0, 5), slice(2, 8), slice(0, 11)))


def test_chunks_much_larger_than_windows_are_decoded_once():
    write(labels=None, storage={"chunks": (1, 3, 5, 7, 11)})
    source = OmeZarr("a.zarr", as_="volumes")
    at = [tuple(slice(n, n + 1) for n in place) for place in ((0, 0, 0), (4, 6, 10), (2, 3, 4))]
    source.read_window(0, at[0])
    next(Path("a.zarr/0").rglob("c/0/0/0/0/0")).unlink()  # a missing chunk would be zeros
    for window in at:
        found = source.read_window(0, window)[0]
        np.testing.assert_array_equal(found, volumes()[0][0][window])
        found[:] = 0  # what was given away is a copy


def test_claims_are_checked_before_memory_is_taken():
    def claim(shape, chunks):
        group = zarr.open_group("b.zarr", mode="w")
        put(group, PIXELS[0, 0], "zyx", units={}, scale={}, shift={}, chunks=(5, 14, 11))
        del group["0"]
        array = group.create_array("0", shape=shape, chunks=chunks, dtype="u2")
        array[:1, :1, :1] = 1

    small = Limits(sample_nbytes=1 << 20)
    arguments = {"images": "b.zarr", "as_": "volumes"}
    claim((10**6, 10**6, 10**6), (64, 64, 64))
    with pytest.raises(SourceError, match=r"b\.zarr/0: needed at most 8192 chunks, found a claim"):
        open_source("ome-zarr", arguments, limits=small)
    claim((1024, 1024, 1024), (64, 64, 64))
    source = open_source("ome-zarr", arguments, limits=small)
    with pytest.raises(SourceError, match=r"a volume without --tile of at most 1 MiB.*2048 MiB"):
        source.read(0)
    [part] = source.read_window(0, (slice(0, 64), slice(0, 64), slice(0, 64)))
    assert part.sum() == 1
    claim((1024, 1024, 1024), (128, 128, 128))  # of 4 MiB
    with pytest.raises(SourceError, match="needed a chunk of at most 1 MiB"):
        open_source("ome-zarr", arguments, limits=small)
