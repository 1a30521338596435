"""Planes of OME-Zarr images with labels are packed, as their metadata says what is what."""

from __future__ import annotations

import json
import shutil
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr

from source_contract import require_packed, require_source
from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.arrays.ome_classes import classes_of_names, label_names
from zarrfeed_convert.sources.arrays.ome_metadata import multiscale_of
from zarrfeed_convert.sources.arrays.ome_zarr import OmeZarr

RNG = np.random.default_rng(8)
TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
# (t, c, z, y, x), and its labels (t, z, y, x)
PIXELS = RNG.integers(0, 60000, (2, 3, 4, 12, 10), np.uint16)
LABELS = RNG.integers(0, 3, (2, 4, 12, 10), np.uint8)
NAMED = [
    {"label-value": 1, "class": "cell", "area": 3.5},
    {"label-value": 2, "class": "nucleus"},
]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def put(group, values, axes, version, chunks=None, **more):
    """Write a multiscale image of two levels, as the specification of that version shows it."""
    scales = []
    for number in range(2):
        step = tuple(slice(None, None, 2**number if axis in "yx" else 1) for axis in axes)
        level = values[step]
        group.create_array(
            str(number), data=level, chunks=chunks or (*(1 for _ in axes[2:]), *level.shape[-2:])
        )
        scale = [2.0**number if axis in "yx" else 1.0 for axis in axes]
        scales.append(
            {
                "path": str(number),
                "coordinateTransformations": [{"type": "scale", "scale": scale}],
            }
        )
    named = [{"name": axis, "type": TYPES[axis]} for axis in axes]
    scales = {"axes": named, "datasets": scales, "name": "x"}
    if version == "0.5":
        group.attrs["ome"] = {"version": "0.5", "multiscales": [scales], **more}
    else:
        group.attrs.update({"multiscales": [{"version": "0.4", **scales}], **more})


def write(
    path="a.zarr",
    pixels=PIXELS,
    axes="tczyx",
    *,
    version="0.5",
    label_axes="tzyx",
    labels=(("cells", LABELS),),
    properties=NAMED,
    chunks=None,
    **more,
):
    image = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    put(image, pixels, axes, version, chunks, **more)
    if labels:
        group = image.create_group("labels")
        listed = {"labels": [name for name, _ in labels]}
        group.attrs.update({"ome": {"version": "0.5", **listed}} if version == "0.5" else listed)
    for name, values in labels:
        about = {"image-label": {"colors": [{"label-value": 1, "rgba": [255, 0, 0, 255]}]}}
        if properties:
            about["image-label"]["properties"] = properties
        put(group.create_group(name), values, label_axes, version, **about)


def planes(pixels=PIXELS, labels=LABELS):
    """Give the samples of a (t, c, z, y, x) image and of its labels."""
    images = np.moveaxis(pixels, 1, -1)
    return images.reshape(-1, *images.shape[2:]), labels.reshape(-1, *labels.shape[2:])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("chunks", [None, (1, 1, 1, 5, 10), (2, 3, 3, 12, 10)])
def test_planes_over_time_and_depth_are_samples(version, chunks):
    write(version=version, chunks=chunks)
    source = OmeZarr("a.zarr")
    assert source.keys[4:6] == ["a/t001/z000", "a/t001/z001"]
    assert source.names(5) == ("a.zarr/0[t=1,z=1]", "a.zarr/labels/cells/0[t=1,z=1]")
    assert source.classes == ("background", "cell", "nucleus")
    assert source.ignore is None
    assert source.left_out == ()
    assert (source.memory_nbytes > 0) == (chunks == (2, 3, 3, 12, 10))
    require_source(source, *planes())


def test_a_store_is_packed_with_the_labels_class_names(tmp_path):
    write()
    source = OmeZarr(tmp_path / "a.zarr", "cells")
    require_packed(source, tmp_path / "o", *planes(), workers=2)
    root = zarr.open_group(str(tmp_path / "o"), mode="r")
    assert root.attrs["zarrfeed"]["classes"] == ["background", "cell", "nucleus"]


def test_every_level_has_its_own_labels():
    write()
    source = OmeZarr("a.zarr", level=1)
    assert source.names(0)[1] == "a.zarr/labels/cells/1[t=0,z=0]"
    require_source(source, *planes(PIXELS[..., ::2, ::2], LABELS[..., ::2, ::2]))
    with pytest.raises(SourceError, match=r"^a\.zarr: needed the resolution level 2, found .* … 1"):
        OmeZarr("a.zarr", level=2)


@pytest.mark.parametrize(
    ("axes", "pixels", "label_axes", "labels", "keys"),
    [
        ("yx", PIXELS[0, 0, 0], "yx", LABELS[0, 0], ["a"]),
        ("cyx", PIXELS[0, :, 0], "yx", LABELS[0, 0], ["a"]),
        ("cyx", PIXELS[0, :, 0], "cyx", LABELS[0, :1], ["a"]),
        ("zyx", PIXELS[0, 0], "zyx", LABELS[0], [f"a/z00{z}" for z in range(4)]),
        ("tczyx", PIXELS[:, :, :1], "tyx", LABELS[:, 0], ["a/t000", "a/t001"]),
        ("xy", PIXELS[0, 0, 0].T, "yx", LABELS[0, 0], ["a"]),
        ("zcyx", PIXELS[0].swapaxes(0, 1), "zyx", LABELS[0], [f"a/z00{z}" for z in range(4)]),
    ],
)
def test_axes_are_found_by_their_names(axes, pixels, label_axes, labels, keys):
    write(pixels=pixels, axes=axes, label_axes=label_axes, labels=[("only", labels)])
    source = OmeZarr("a.zarr")
    assert source.keys == keys
    picked = {"z": 4 if "z" in keys[0] else 1, "t": 2 if "t0" in keys[0] else 1}
    count = picked["t"], 3 if "c" in axes else 1, picked["z"]
    images, masks = planes(
        PIXELS[: count[0], : count[1], : count[2]], LABELS[: count[0], : count[2]]
    )
    require_source(source, images, masks)


def test_channels_are_picked_by_number_or_name():
    two = PIXELS[:, :2]
    write(pixels=two, omero={"channels": [{"label": "DAPI"}, {"label": "GFP"}]})
    images, masks = planes(two)
    require_source(OmeZarr("a.zarr"), images, masks)
    for channel, order in (("1", [1]), ("GFP,DAPI", [1, 0]), ("0, GFP", [0, 1])):
        require_source(OmeZarr("a.zarr", channel=channel), images[..., order], masks)
    for channel in ("2", "Cy5", "-1"):
        with pytest.raises(SourceError, match=r"has no channel '.*'; there are 0 DAPI, 1 GFP$"):
            OmeZarr("a.zarr", channel=channel)
    rgb = OmeZarr("a.zarr", channel="0", color="rgb")
    require_source(rgb, np.repeat(images[..., :1], 3, axis=-1), masks)


def test_a_label_is_chosen_by_its_name():
    write(labels=[("cells", LABELS), ("other", LABELS[::-1])])
    with pytest.raises(SourceError, match=r"^a\.zarr: needed one label, found cells, other; say"):
        OmeZarr("a.zarr")
    with pytest.raises(SourceError, match=r"needed the label 'x', found cells, other$"):
        OmeZarr("a.zarr", "x")
    require_source(OmeZarr("a.zarr", "other"), *planes(labels=LABELS[::-1]))


def test_images_without_labels_are_packed_alone_unless_a_label_is_asked_for():
    write(labels=())
    require_source(OmeZarr("a.zarr"), planes()[0])
    with pytest.raises(SourceError, match=r"^a\.zarr: needed the label 'x', found none in it$"):
        OmeZarr("a.zarr", "x")
    with pytest.raises(SourceError, match=r"^--masks: is needed with the option binary"):
        OmeZarr("a.zarr", binary=True)


def test_many_images_and_those_without_labels_left_out():
    for name in ("d/b.ome.zarr", "d/a.ome.zarr", "d/c.ome.zarr"):
        write(name, labels=() if "b" in name else (("cells", LABELS),))
    source = OmeZarr("d/*.zarr")
    assert source.keys[7:9] == ["a/t001/z003", "c/t000/z000"]
    assert source.left_out == (("d/b.ome.zarr", "needed one label, found none in it"),)
    require_source(source, *(np.concatenate([part, part]) for part in planes()))


def test_labels_may_be_images_of_their_own():
    for name in "ab":
        write(f"i/{name}_img.zarr", labels=())
        put(zarr.open_group(f"m/{name}_seg.zarr", zarr_format=3), LABELS, "tzyx", "0.5")
    source = OmeZarr("i/*.zarr", "m/*.zarr")
    assert source.names(8)[1] == "m/b_seg.zarr/0[t=0,z=0]"
    require_source(source, *(np.concatenate([part, part]) for part in planes()))
    shutil.rmtree("m/b_seg.zarr")
    with pytest.raises(SourceError, match=r"as many masks as images, found 2 .* and 1 in"):
        OmeZarr("i/*.zarr", "m/*.zarr")


def test_instances_become_foreground_or_are_refused():
    cells = LABELS.astype(np.int32) * 70000
    write(labels=[("cells", cells)], properties=None)
    require_source(OmeZarr("a.zarr", binary=True), *planes(labels=np.minimum(LABELS, 1)))
    source = OmeZarr("a.zarr")
    assert source.classes is None
    with pytest.raises(SourceError, match=r"^a\.zarr/labels/cells/0\[t=0,z=0\]: .*binary=yes"):
        source.read(0)
    write(labels=[("cells", LABELS * np.uint16(150))], properties=None)
    with pytest.raises(SourceError, match="found values up to 300: they number instances"):
        OmeZarr("a.zarr").read_mask(0)
    mapped = OmeZarr("a.zarr", mask_map="150=1,300=2")
    require_source(mapped, *planes())
    assert mapped.classes is None


def test_labels_without_a_class_for_every_value_name_none():
    assert label_names({}) == {}
    assert label_names({"image-label": {"properties": [{"label-value": 1, "area": 3}]}}) == {}
    many = [{"label-value": value, "class": f"cell {value}"} for value in range(1, 400)]
    assert label_names({"image-label": {"properties": many}}) == {}
    assert classes_of_names([("a", {}), ("b", {})]) is None
    assert classes_of_names([("a", {0: "sky", 2: "sea"})]) == ("sky", "1", "sea")


def test_labels_must_agree_on_class_names():
    write("a.zarr")
    write("b.zarr", properties=[{"label-value": 1, "class": "nucleus"}])
    with pytest.raises(SourceError, match=r"^b\.zarr/labels/cells/0: .* found 1 for 'nucleus'"):
        OmeZarr("*.zarr")
    assert OmeZarr("*.zarr", binary=True).classes is None


def test_planes_must_agree():
    write(labels=[("cells", LABELS[:1])])
    with pytest.raises(SourceError, match=r"^a\.zarr/labels/cells/0: needed a label plane for ev"):
        OmeZarr("a.zarr")
    write(pixels=PIXELS[0, :, 0], axes="cyx", labels=[("cells", LABELS[0])], label_axes="cyx")
    with pytest.raises(SourceError, match=r"needed a label of one channel, found 4$"):
        OmeZarr("a.zarr")


def test_what_is_no_image_is_named_for_what_it_is():
    with pytest.raises(SourceError, match=r"^a\.zarr: .* no Zarr group: no such folder or file$"):
        OmeZarr("a.zarr")
    with pytest.raises(SourceError, match=r"^images: nothing is at \*\.zarr"):
        OmeZarr("*.zarr")
    group = zarr.open_group("p.zarr", mode="w")
    group.create_array("x", data=LABELS)
    for path, found in (("p.zarr", "without multiscales"), ("p.zarr/x", "a plain array; --format")):
        with pytest.raises(SourceError, match=found):
            OmeZarr(path)
    write("p.zarr/series")
    with pytest.raises(SourceError, match=r"^p\.zarr: .* a group of 1 images: p.zarr/series$"):
        OmeZarr("p.zarr")
    group.attrs["ome"] = {"plate": {}}
    with pytest.raises(
        SourceError, match=r"a plate; give its fields in quotes, 'p\.zarr/\*/\*/\*'"
    ):
        OmeZarr("p.zarr")
    with pytest.raises(SourceError, match=r"^a: needed axes y and x, and none but .*, found q, x$"):
        multiscale_of({"multiscales": [{"axes": ["q", "x"], "datasets": []}]}, "a")
    assert multiscale_of({"multiscales": [{"datasets": []}]}, "a").axes == "tczyx"


def test_the_fields_of_a_plate_are_images():
    for field in ("A/1/0", "B/2/0"):
        write(f"plate.zarr/{field}", pixels=PIXELS[0, :, 0], axes="cyx", labels=[])
        group = zarr.open_group(f"plate.zarr/{field}").create_group("labels/cells")
        put(group, LABELS[0, 0], "yx", "0.5")
    source = OmeZarr("plate.zarr/*/*/*")
    assert source.keys == ["A/1/0", "B/2/0"]
    one = planes(PIXELS[:1, :, :1], LABELS[:1, :1])
    require_source(source, *(np.concatenate([part, part]) for part in one))


def test_zip_files_are_images():
    write()
    with zipfile.ZipFile("b.ome.zarr.zip", "w") as archive:
        for path in sorted(Path("a.zarr").rglob("*")):
            archive.write(path, path.relative_to("a.zarr"))
    source = OmeZarr("b.ome.zarr.zip")
    assert source.keys[0] == "b/t000/z000"
    require_source(source, *planes())


def test_damage_names_the_plane_or_the_image():
    write(properties=None)
    source = OmeZarr("a.zarr")
    Path("a.zarr/0/c/1/0/2/0/0").write_bytes(b"no zstd")
    source.read(5)
    source.read_mask(6)
    with pytest.raises(SourceError, match=r"^a\.zarr/0\[t=1,z=2\]: cannot be read: "):
        source.read(6)
    shutil.rmtree("a.zarr/labels/cells/0")
    with pytest.raises(SourceError, match=r"^a\.zarr/labels/cells: needed the array 0 of its meta"):
        OmeZarr("a.zarr")
    meta = Path("a.zarr/zarr.json")
    broken = json.loads(meta.read_text())
    del broken["attributes"]["ome"]["multiscales"][0]["datasets"]
    meta.write_text(json.dumps(broken))
    with pytest.raises(SourceError, match=r"^a\.zarr: cannot be read: KeyError: 'datasets'"):
        OmeZarr("a.zarr")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_what_ome_zarr_py_wrote_is_packed(version):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        writer = pytest.importorskip("ome_zarr.writer")
        formats = pytest.importorskip("ome_zarr.format")
        form = formats.FormatV05() if version == "0.5" else formats.FormatV04()
        group = zarr.open_group("a.zarr", mode="w", zarr_format=3 if version == "0.5" else 2)
        options = {"fmt": form, "scale_factors": (2,)}
        writer.write_image(PIXELS, group, axes="tczyx", **options)
        about = {"properties": NAMED}
        writer.write_labels(LABELS, group, "nuclei", axes="tzyx", label_metadata=about, **options)
    source = OmeZarr("a.zarr", "nuclei")
    assert source.classes == ("background", "cell", "nucleus")
    require_source(source, *planes())
    masks = zarr.open_array(source.names(0)[1].partition("[")[0], mode="r")
    np.testing.assert_array_equal(masks[:], LABELS)


def put_label_at(transformations, image=None, axes=None, unit=None):
    """Rewrite where the label's finest level lies, and the image's."""
    for path, wanted, units in (
        ("a.zarr/labels/cells", transformations, unit),
        ("a.zarr", image, axes),
    ):
        group = zarr.open_group(path, mode="a")
        ome = dict(group.attrs["ome"])
        [scales] = ome["multiscales"]
        if wanted is not None:
            scales["datasets"][0]["coordinateTransformations"] = wanted
        for axis in scales["axes"]:
            if units and axis["type"] == "space":
                axis["unit"] = units
        group.attrs["ome"] = ome


def scaled(factor, shift=0.0, axes=4):
    return [
        {"type": "scale", "scale": [1.0] * (axes - 2) + [factor] * 2},
        {"type": "translation", "translation": [0.0] * (axes - 2) + [shift] * 2},
    ]


IN_NANOMETRES = [
    {"type": "scale", "scale": [1, 1000, 500, 500]},
    {"type": "translation", "translation": [0, 0, 8000, 8000]},
]


@pytest.mark.parametrize(
    ("label", "image", "units"),
    [
        (scaled(1.0), None, (None, None)),
        (scaled(1.0001, 0.01), None, (None, None)),
        (IN_NANOMETRES, scaled(0.5, 8.0, 5), ("nanometer", "micrometer")),
        (scaled(0.5), scaled(0.5, 0, 5), ("nanometer", None)),
        ([{"type": "rotation", "path": "r"}], [{"type": "rotation", "path": "r"}], (None, None)),
        ([], scaled(0.5, 3.0, 5), (None, None)),
    ],
)
def test_labels_at_the_places_of_pixels_are_theirs(label, image, units):
    write()
    put_label_at(label, image, axes=units[1], unit=units[0])
    np.testing.assert_array_equal(OmeZarr("a.zarr").read_mask(0), LABELS[0, 0])


@pytest.mark.parametrize(
    ("label", "image", "units"),
    [
        (scaled(2.0), None, (None, None)),
        (scaled(1.0, 100.0), None, (None, None)),
        (scaled(1.05), None, (None, None)),
        (scaled(0.5), scaled(0.5, 0, 5), ("nanometer", "micrometer")),
        (scaled(0.5), scaled(0.5, 0, 5), ("parsec", "micrometer")),
        (scaled(float("nan")), None, (None, None)),
        ([{"type": "rotation", "path": "r"}], None, (None, None)),
    ],
)
def test_labels_at_other_places_are_refused_unless_asked_for(label, image, units):
    write()
    put_label_at(label, image, axes=units[1], unit=units[0])
    with pytest.raises(SourceError, match=r"labels/cells/0: .*--geometry warn"):
        OmeZarr("a.zarr")
    source = OmeZarr("a.zarr", ignore_transformations=True)
    np.testing.assert_array_equal(source.read_mask(0), LABELS[0, 0])


def test_what_moves_all_levels_moves_each():
    write()
    group = zarr.open_group("a.zarr/labels/cells", mode="a")
    ome = dict(group.attrs["ome"])
    ome["multiscales"][0]["coordinateTransformations"] = scaled(3.0)[:1]
    group.attrs["ome"] = ome
    for level in (0, 1):
        with pytest.raises(SourceError, match="found them from 0 in steps of"):
            OmeZarr("a.zarr", level=level)


def test_arrays_of_which_no_chunk_is_there_are_refused():
    for pixels, labels, said in (
        (np.zeros_like(PIXELS), LABELS, "needed an image, found an array of which no chunk"),
        (PIXELS, np.zeros_like(LABELS), "needed labels, found an array of which no chunk"),
    ):
        write(pixels=pixels, labels=[("cells", labels)])
        with pytest.raises(SourceError, match=said):
            OmeZarr("a.zarr")
    write("b.zarr")
    assert not OmeZarr("*.zarr").read_mask(0).any()
