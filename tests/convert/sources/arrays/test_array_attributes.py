"""Attributes that say what values mean are believed, as netCDF and xarray do."""

from __future__ import annotations

import base64
import struct

import numpy as np
import pytest
import zarr

from zarrfeed.errors import SourceError
from zarrfeed_convert.formats import open_source

h5py = pytest.importorskip("h5py")

IMAGES = np.random.default_rng(0).integers(0, 255, (3, 8, 8), np.uint8)
MASKS = np.random.default_rng(1).integers(0, 3, (3, 8, 8), np.uint8)
KINDS = ["hdf5", "zarr"]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def opened(kind, *, x=None, y=None, dims=(None, None), role="mask"):
    """Write images and masks with attributes, and axes of some names; open them.

    With another role, the masks are instead a further field, `further`.
    """
    at = {"zarr": "f.zarr/", "hdf5": "f.h5:"}[kind]
    places = {"images": f"{at}x"}
    if role == "mask":
        places["masks"] = f"{at}y"
    else:
        places["axes"] = "NHW"  # which masks would have said
        places["fields"] = {"further": f"{role.removeprefix('further ')}:{at}y"}
    if kind == "zarr":
        group = zarr.open_group("f.zarr", mode="w")
        for name, values, attributes, axes in (("x", IMAGES, x, dims[0]), ("y", MASKS, y, dims[1])):
            array = group.create_array(name, data=values, dimension_names=axes)
            array.attrs.update(attributes or {})
        return open_source("zarr", places)
    with h5py.File("f.h5", "w") as file:
        file["palette"] = np.zeros((256, 3), np.uint8)
        for name, values, attributes, axes in (("x", IMAGES, x, dims[0]), ("y", MASKS, y, dims[1])):
            file[name] = values
            for key, value in (attributes or {}).items():
                file[name].attrs[key] = file["palette"].ref if key == "PALETTE" else value
            for number, axis in enumerate(axes or ()):
                file[name].dims[number].label = axis
    return open_source("hdf5", places)


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_scaled_and_missing_ones_are_nan(kind):
    source = opened(
        kind, x={"scale_factor": 0.5, "add_offset": -3, "_FillValue": int(IMAGES[1, 2, 3])}
    )
    image, mask = source.read(1)
    expected = np.where(IMAGES[1] == IMAGES[1, 2, 3], np.nan, IMAGES[1] * 0.5 - 3)
    np.testing.assert_array_equal(image[..., 0], expected.astype(np.float32))
    np.testing.assert_array_equal(mask, MASKS[1])
    assert source.probe(1).dtype == str(image.dtype) == "float32"


@pytest.mark.parametrize("fill", [7, 7.0, base64.b64encode(struct.pack("<d", 7)).decode()])
def test_fill_values_are_those_that_xarray_writes(fill):
    source = opened("zarr", x={"scale_factor": 2.0, "_FillValue": fill})
    assert (np.isnan(source.read(0)[0][..., 0]) == (IMAGES[0] == 7)).all()


@pytest.mark.parametrize("fill", ["AAAAAAAA+H8=", "no number", [1, 2], None])
@pytest.mark.parametrize("scale", [{}, {"scale_factor": 2.0}])
def test_fill_values_that_no_pixel_has_change_nothing(fill, scale):
    source = opened("zarr", x={"_FillValue": fill, **scale})
    expected = IMAGES[0] * scale.get("scale_factor", 1)
    np.testing.assert_array_equal(source.read(0)[0][..., 0], expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [{}, {"scale_factor": 2.0, "_FillValue": -1}])
def test_bytes_of_netcdf_have_the_sign_that_is_said(kind, scale, monkeypatch):
    bright = IMAGES | 128
    monkeypatch.setitem(globals(), "IMAGES", bright.view(np.int8))
    source = opened(kind, x={"_Unsigned": "true", **scale})
    image = source.read(0)[0][..., 0]
    expected = bright[0].astype(float) * scale.get("scale_factor", 1)
    expected[(bright[0] == 255) & bool(scale)] = np.nan
    np.testing.assert_array_equal(image, expected)
    assert source.probe(0).dtype == str(image.dtype) == ("float32" if scale else "uint8")


@pytest.mark.parametrize("kind", KINDS)
def test_scaled_masks_are_ids_if_they_are_whole(kind):
    source = opened(kind, y={"scale_factor": 2.0})
    np.testing.assert_array_equal(source.read_mask(0), MASKS[0] * 2)
    del source
    with pytest.raises(SourceError, match=r"needed a mask of class ids, found"):
        opened(kind, y={"scale_factor": 0.5}).read_mask(0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"scale_factor": 0.0}, "found 0.0 and 0.0"),
        ({"scale_factor": "x"}, "needed a number in the attribute scale_factor, found 'x'"),
    ],
)
def test_what_cannot_be_a_scale_is_refused(kind, attributes, said):
    with pytest.raises(SourceError, match=said):
        opened(kind, x=attributes)


def test_white_is_the_highest_value():
    source = opened("hdf5", x={"CLASS": np.bytes_("IMAGE"), "IMAGE_WHITE_IS_ZERO": np.uint8(1)})
    np.testing.assert_array_equal(source.read(0)[0][..., 0], 255 - IMAGES[0])


def test_indices_of_a_palette_are_no_pixels():
    indexed = {"CLASS": "IMAGE", "IMAGE_SUBCLASS": "IMAGE_INDEXED", "PALETTE": True}
    with pytest.raises(SourceError, match="found indices of a palette"):
        opened("hdf5", x=indexed)


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [("UL", "LL", "corner UL, as the images have it, found LL"), ("LL", "LL", ""), ("LL", "", "")],
)
def test_images_and_masks_are_the_same_way_up(x, y, said):
    sides = {
        name: {"CLASS": "IMAGE", "DISPLAY_ORIGIN": corner} if corner else {}
        for name, corner in (("x", x), ("y", y))
    }
    if said:
        with pytest.raises(SourceError, match=said):
            opened("hdf5", **sides)
    else:
        np.testing.assert_array_equal(opened("hdf5", **sides).read(0)[0][..., 0], IMAGES[0])


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_images_are_rows_of_masks(kind):
    with pytest.raises(SourceError, match="axes in the order yx, as the images have it, found xy"):
        opened(kind, dims=(("time", "lat", "lon"), ("n", "x", "y")))
    opened(kind, dims=(("time", "lat", "lon"), ("n", "y", "x")))
    opened(kind, dims=(("time", "lat", "lon"), None))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("role", ["image", "further mask", "target"])
def test_rows_of_images_are_rows_of_further_fields(kind, role):
    said = r"y: needed further with axes in the order yx, as the images have it, found xy"
    with pytest.raises(SourceError, match=said):
        opened(kind, role=role, dims=(("n", "y", "x"), ("n", "x", "y")))
    with pytest.raises(SourceError, match=r"needed further with the first pixel in the corner UL"):
        opened("hdf5", role=role, **{
            name: {"CLASS": "IMAGE", "DISPLAY_ORIGIN": corner}
            for name, corner in (("x", "UL"), ("y", "LL"))
        })  # fmt: skip
    image, further = opened(kind, role=role, dims=(("n", "y", "x"),) * 2).read(1)
    np.testing.assert_array_equal(image[..., 0], IMAGES[1])
    np.testing.assert_array_equal(further.reshape(8, 8), MASKS[1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("attributes", [{"scale_factor": 2.0}, {"_Unsigned": "true"}, {}])
@pytest.mark.parametrize("role", ["image", "further mask", "target"])
def test_headers_of_further_fields_say_what_is_read(kind, attributes, role):
    source = opened(kind, y=attributes, role=role)
    further = source.read(2)[1]
    assert source.probe(2).arrays["further"] == (further.shape, further.dtype)
    values = MASKS[2] * attributes.get("scale_factor", 1)
    np.testing.assert_array_equal(further.reshape(8, 8), values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("role", "nodata"), [("image", (9, 0)), ("target", (9, 0)), ("further mask", (9,))]
)
def test_values_without_data_are_those_of_all_images_and_targets(kind, role, nodata):
    source = opened(kind, x={"_FillValue": 9}, y={"_FillValue": 0}, role=role)
    assert source.probe(0).nodata == nodata
    assert opened(kind, y={"_FillValue": 0}, role=role).probe(0).nodata == nodata[1:]
