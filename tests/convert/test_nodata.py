"""Values that a file declares to be none are no class in silence, and are told of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from zarrfeed.errors import SourceError
from zarrfeed_convert import convert
from zarrfeed_convert.formats import open_source

SIZE = (16, 12)
IMAGE = np.random.default_rng(1).integers(0, 255, (*SIZE, 3), np.uint8)
IDS = np.random.default_rng(2).integers(0, 3, SIZE, np.uint8)
_GDAL = 42113


def write_tiff(image, mask, nodata, *, of_image=None):
    for name, values, declared in (("i", image, of_image), ("m", mask, nodata)):
        Path(name).mkdir()
        tags = [] if declared is None else [(_GDAL, "s", 0, f"{declared:g}", True)]
        kind = "rgb" if values.ndim == 3 else "minisblack"
        tifffile.imwrite(f"{name}/a.tif", values, photometric=kind, extratags=tags, metadata=None)
    return {"images": "i", "masks": "m"}


def write_zarr(image, mask, nodata, *, of_image=None):
    group = zarr.open_group("a.zarr", mode="w")
    for name, values, declared in (("x", image, of_image), ("y", mask, nodata)):
        array = group.create_array(name, data=values[np.newaxis])
        array.attrs.update({} if declared is None else {"_FillValue": declared})
    return {"images": "a.zarr/x", "masks": "a.zarr/y"}


def write_hdf5(image, mask, nodata, *, of_image=None):
    h5py = pytest.importorskip("h5py")
    with h5py.File("a.h5", "w") as file:
        for name, values, declared in (("x", image, of_image), ("y", mask, nodata)):
            file[name] = values[np.newaxis]
            if declared is not None:
                file[name].attrs["missing_value"] = np.array([declared], values.dtype)
    return {"images": "a.h5:x", "masks": "a.h5:y"}


WRITERS = {"paired": write_tiff, "tiff": write_tiff, "zarr": write_zarr, "hdf5": write_hdf5}
# The masks' dtype and what they declare to be none, and the map that the message advises.
DECLARED = {
    "255": ("uint8", 255, "255=255"),
    "0": ("uint8", 0, "0=255"),
    "-9999": ("int16", -9999, "-9999=255"),
    "float": ("float32", -1.5, "-1.5..-1.5=255"),
    "nan": ("float32", np.nan, "nan=255"),
}


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("kind", DECLARED)
def test_declared_nodata_of_masks_is_refused_until_it_has_an_id(form, kind):
    dtype, nodata, advised = DECLARED[kind]
    mask = IDS.astype(dtype)
    if nodata:
        mask[IDS == 2] = nodata
    where = WRITERS[form](IMAGE, mask, nodata)
    none = np.isnan(mask) if np.isnan(nodata) else mask == nodata
    count = none.sum()
    said = rf"found {count} of the value .* declares as no data; use --mask-map {advised} --ignore"
    with pytest.raises(SourceError, match=said):
        open_source(form, where).read_mask(0)
    ids = open_source(form, {**where, "mask_map": advised}).read_mask(0)
    np.testing.assert_array_equal(ids, np.where(none, 255, IDS))
    report = convert(
        open_source(form, {**where, "mask_map": advised}), "o.zarr", split="s", ignore=255,
        workers=1,
    )  # fmt: skip
    assert [each.name for each in report.classes][-1] == "(ignored)"
    assert report.classes[-1].pixels == count


@pytest.mark.parametrize("form", WRITERS)
def test_nodata_that_masks_declare_but_do_not_hold_is_no_obstacle(form):
    where = WRITERS[form](IMAGE, IDS, 255)
    np.testing.assert_array_equal(open_source(form, where).read_mask(0), IDS)


@pytest.mark.parametrize("text", ["0=0", "*=0", "0..1=0"])
def test_nodata_that_the_map_names_is_what_it_says(text):
    where = write_tiff(IMAGE, IDS, 0)
    assert (open_source("paired", {**where, "mask_map": text}).read_mask(0) == 0).any()


@pytest.mark.parametrize("form", WRITERS)
def test_declared_nodata_of_images_is_told_once(form):
    image = IMAGE.astype(np.float32)
    image[0, 0] = -9999
    where = WRITERS[form](image, IDS, None, of_image=-9999)
    source = open_source(form, where)
    report = convert(source, "o.zarr", split="s", workers=1)
    (about,) = [each for each in report.decisions if each.what == "no data"]
    assert about.value == "-9999"
    assert about.reason.startswith(f"{source.names(0)[0]} declares -9999 as no data")
    assert zarr.open_array("o.zarr/s/image")[0, 0, 0].tolist() == [-9999] * 3


def test_the_run_tells_of_it_on_the_terminal():
    from typer.testing import CliRunner

    from zarrfeed_tools.cli import app

    write_tiff(IMAGE, IDS, None, of_image=7)
    said = "no data: i/a.tif declares 7 as no data"
    for more in (["--dry-run"], []):
        arguments = ["convert", "o.zarr", "--split", "s", "--images", "i", "--masks", "m", *more]
        shown = CliRunner().invoke(app, [*arguments, "--workers", "1"]).stdout
        assert said in shown or "i/a.tif declares 7 as" in " ".join(shown.split())


def test_an_unsigned_fill_value_is_compared_as_it_is_meant():
    mask = np.where(IDS == 2, -1, IDS).astype(np.int8)
    where = write_zarr(IMAGE, mask, -1)
    zarr.open_array("a.zarr/y", mode="a").attrs["_Unsigned"] = "true"
    with pytest.raises(SourceError, match="of the value 255, which the file declares"):
        open_source("zarr", where).read_mask(0)


def test_padding_of_dicom_is_told_as_it_is_packed():
    pydicom = pytest.importorskip("pydicom")
    dicom = pytest.importorskip("dicom_writing")
    for path in dicom.write_series("i", dicom.values(), slope=1, intercept=-1024):
        data = pydicom.dcmread(path)
        data.add_new("PixelPaddingValue", "SS", -976)
        data.save_as(path)
    dicom.write_nifti("m.nii", dicom.labels())
    source = open_source("dicom", {"images": "i", "masks": "m.nii"})
    report = convert(source, "o.zarr", split="s", workers=1, dry_run=True)
    (about,) = [each for each in report.decisions if each.what == "no data"]
    assert about.value == "-2000"


def test_nodata_is_of_colors_not_of_the_alpha_channel():
    where = write_tiff(IMAGE, IDS, None)
    mask = np.stack([IDS, np.where(IDS == 1, 255, 0).astype(np.uint8)], axis=2)
    tags = [(_GDAL, "s", 0, "0", True)]
    tifffile.imwrite("m/a.tif", mask, photometric="minisblack", planarconfig="contig",
                     extrasamples=["unassalpha"], extratags=tags, metadata=None)  # fmt: skip
    source = open_source("paired", {**where, "mask_map": "alpha,255=1"})
    np.testing.assert_array_equal(source.read_mask(0), IDS == 1)
