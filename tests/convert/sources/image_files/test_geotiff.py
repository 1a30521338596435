"""GeoTIFFs become images of all their bands, and masks that know where there are no data."""

from __future__ import annotations

import json
import shutil
import warnings

import numpy as np
import pytest
import rasterio
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp, Resampling
from rasterio.transform import Affine

from source_contract import require_source, require_windows
from source_seeds import write_raster
from zarrfeed import open_cases
from zarrfeed.errors import SourceError
from zarrfeed_convert import convert, open_source, repack
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.sources.image_files.geotiff import GeoTiffs

SIZE = (70, 90)
RNG = np.random.default_rng(2)
BANDS = RNG.integers(1, 4000, (12, *SIZE), np.uint16)
IDS = (np.add.outer(np.arange(70), np.arange(90)) // 40).astype(np.uint8)
PLACE = {"crs": "EPSG:32633", "transform": Affine(10, 0, 500_000, 0, -10, 4_000_000)}
TILED = {"tiled": True, "blockxsize": 32, "blockysize": 32, "compress": "deflate"}


def with_hole(bands, value=0):
    """Give bands without data in a corner; one of them has the value of no data elsewhere, too."""
    found = bands.copy()
    found[:, :10, :7] = value
    found[0, 50] = value
    return found


@pytest.fixture
def pair(tmp_path):
    """Write an image and its mask, each with its options; give the arguments of a source."""

    def write(bands, ids=None, of_image=None, of_mask=None, **options):
        sides = [("i", bands, of_image)] + ([] if ids is None else [("m", ids, of_mask)])
        for folder, values, more in sides:
            (tmp_path / folder).mkdir(exist_ok=True)
            values = values if values.ndim == 3 else values[np.newaxis]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of rasters without a place
                write_raster(tmp_path / folder / "a.tif", values, **(more or {}))
        arguments = {"images": str(tmp_path / "i"), **options}
        return arguments if ids is None else {"masks": str(tmp_path / "m"), **arguments}

    return write


@pytest.mark.parametrize("stored", [TILED, {}, {"interleave": "pixel", **TILED}])
def test_twelve_bands_and_a_mask_with_gaps_are_read_as_rasterio_does(pair, stored):
    bands = with_hole(BANDS)
    ids = IDS.copy()
    ids[60:, 80:] = 9
    arguments = pair(bands, ids, {**PLACE, **stored, "nodata": 0},
                     {**PLACE, **stored, "nodata": 9})  # fmt: skip
    expected = ids.copy()
    expected[60:, 80:] = expected[:10, :7] = 255
    source = GeoTiffs(**arguments)
    require_source(source, [np.moveaxis(bands, 0, 2)], [expected])
    require_windows(source, 0)
    with rasterio.open(arguments["images"] + "/a.tif") as file:
        np.testing.assert_array_equal(expected[:10, :7] == 255, file.dataset_mask()[:10, :7] == 0)
    header = source.probe(0)
    assert (header.channels, header.dtype) == (12, "uint16")
    row_column = np.array(header.affine) @ [3, 5, 1]
    assert tuple(row_column[:2]) == PLACE["transform"] @ (5, 3)
    assert "32633" in header.crs
    assert source.filled == 255
    assert source.reads_windows(0)


@settings(max_examples=40, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(
    dtype=st.sampled_from(["uint8", "uint16", "int16", "int32", "float32", "float64"]),
    bands=st.integers(1, 5),
    nodata=st.sampled_from([None, 0, 1, 3]),
    mask_dtype=st.sampled_from(["uint8", "int16", "float32"]),
    data=st.data(),
)
def test_a_window_is_that_part_of_the_sample(pair, dtype, bands, nodata, mask_dtype, data):
    height, width = data.draw(st.tuples(*[st.integers(1, 60)] * 2))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    image = rng.integers(0, 4, (bands, height, width)).astype(dtype)
    ids = rng.integers(0, 4, (height, width)).astype(mask_dtype)
    stored = data.draw(st.sampled_from([TILED | {"blockxsize": 16, "blockysize": 16}, {}]))
    of_mask = data.draw(st.sampled_from([None, 2]))
    source = GeoTiffs(**pair(image, ids, {**stored, "nodata": nodata},
                             {**stored, "nodata": of_mask}))  # fmt: skip
    whole = source.read(0)
    gaps = np.zeros((height, width), bool) if nodata is None else (image == nodata).all(axis=0)
    if of_mask is not None:
        gaps |= ids == of_mask
    np.testing.assert_array_equal(whole[0], np.moveaxis(image, 0, 2))
    np.testing.assert_array_equal(whole[1], np.where(gaps, 255, ids))
    top, left = data.draw(st.tuples(st.integers(0, height - 1), st.integers(0, width - 1)))
    window = (slice(top, data.draw(st.integers(top + 1, height))),
              slice(left, data.draw(st.integers(left + 1, width))))  # fmt: skip
    for part, values in zip(source.read_window(0, window), whole, strict=True):
        np.testing.assert_array_equal(part, values[window])
    np.testing.assert_array_equal(source.read_mask(0), whole[1])
    np.testing.assert_array_equal(source.read_mask_window(0, window), whole[1][window])


@pytest.mark.parametrize("value", [float("nan"), -9999.0, -3.4028234663852886e38])
def test_no_data_of_floats_is_found(pair, value):
    bands = with_hole(BANDS[:2].astype("float32"), value)
    source = GeoTiffs(**pair(bands, IDS, {"nodata": value}, {}))
    assert (source.read_mask(0)[:10, :7] == 255).all()
    np.testing.assert_array_equal(source.read_mask(0)[10:], IDS[10:])


def test_a_value_of_no_data_that_the_dtype_cannot_hold_is_in_no_pixel(pair, tmp_path):
    source = GeoTiffs(**pair(BANDS[:1].astype("float32"), IDS.astype("float32"), {}, {}))
    np.testing.assert_array_equal(source.read_mask(0), IDS)
    from zarrfeed_convert.decoding.raster import _equals

    for value in (-1.0, 300.0, 0.5, None, float("inf")):
        assert not _equals(np.zeros((2, 2), np.uint8), value).any()


def test_masks_inside_the_file_say_where_there_are_no_data(pair, tmp_path):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        arguments = pair(BANDS[:3], IDS, PLACE, PLACE)
        with rasterio.open(tmp_path / "i/a.tif", "r+") as file:
            file.write_mask(np.where(np.arange(SIZE[0])[:, np.newaxis] < 5, 0, 255).repeat(90, 1))
    source = GeoTiffs(**arguments)
    assert (source.read_mask(0)[:5] == 255).all()
    np.testing.assert_array_equal(source.read_mask(0)[5:], IDS[5:])
    require_windows(source, 0)


def test_alpha_is_a_band_since_near_infrared_is_often_called_so(pair, tmp_path):
    rgbn = RNG.integers(0, 2, (4, *SIZE), np.uint8)
    arguments = pair(rgbn, IDS, PLACE, PLACE)
    with rasterio.open(tmp_path / "i/a.tif") as file:
        assert file.colorinterp[3] == ColorInterp.alpha  # nobody has said so
    image, ids = GeoTiffs(**arguments).read(0)
    np.testing.assert_array_equal(image, np.moveaxis(rgbn, 0, 2))
    np.testing.assert_array_equal(ids, IDS)
    assert GeoTiffs(**arguments, color="rgb").read(0)[0].shape == (*SIZE, 3)


def test_the_user_chooses_the_id_and_the_meaning_of_no_data(pair):
    of_mask = {"nodata": 3}
    wide = IDS.astype("int32")
    source = GeoTiffs(**pair(BANDS, wide, {}, of_mask, nodata=300))
    assert source.filled == 300
    np.testing.assert_array_equal(source.read_mask(0), np.where(wide == 3, 300, wide))
    mapped = GeoTiffs(**pair(BANDS, wide, {}, of_mask, mask_map="3=1"))
    np.testing.assert_array_equal(mapped.read_mask(0), np.where(IDS == 3, 1, IDS))
    with pytest.raises(SourceError, match=r"option nodata: needed an id, 0 to 65535, found -1"):
        GeoTiffs(**pair(BANDS, wide, {}, of_mask, nodata=-1))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_class_with_the_id_of_no_data_is_refused_with_the_ways_out(pair, dtype):
    ids = IDS.astype(dtype)
    ids[20, 4] = 255
    arguments = pair(with_hole(BANDS), ids, {"nodata": 0}, {})
    ways = r"--mask-map 255=1, .*-o nodata=65535; .*--mask-map 255=255$"
    with pytest.raises(SourceError, match=rf"m/a\.tif: needed 255 .* in 1 others; .*{ways}"):
        GeoTiffs(**arguments).read(0)
    filled = ids.astype("uint16")
    filled[:10, :7] = 65535
    np.testing.assert_array_equal(GeoTiffs(**arguments, nodata=65535).read_mask(0), filled)
    filled[:10, :7] = 255
    np.testing.assert_array_equal(GeoTiffs(**arguments, mask_map="255=255").read_mask(0), filled)
    filled[20, 4] = 1
    np.testing.assert_array_equal(GeoTiffs(**arguments, mask_map="255=1").read_mask(0), filled)


def test_binary_masks_of_images_that_all_have_data_are_those_of_other_formats(pair, tmp_path):
    binary = ((IDS % 2) * 255).astype("uint8")
    arguments = pair(BANDS[:3].astype("uint8"), binary, PLACE, PLACE)
    for kind in ("paired", "geotiff"):
        source = open_source(kind, arguments)
        convert(source, tmp_path / kind, split="t", tile=(32, 32), workers=1)
    assert source.filled is None
    stored, expected = (zarr.open_group(tmp_path / kind, mode="r")["t"] for kind in
                        ("geotiff", "paired"))  # fmt: skip
    np.testing.assert_array_equal(stored["mask"][:], expected["mask"][:])
    np.testing.assert_array_equal(stored["class_pixels"][:], expected["class_pixels"][:])
    assert set(np.unique(stored["mask"][:])) == {0, 1}
    with pytest.raises(SourceError, match=r"needed 255 .*--mask-map 255=1"):
        GeoTiffs(**pair(BANDS, binary, {"nodata": 0}, {})).read_mask(0)


def test_a_class_that_masks_declare_as_no_data_is_told_and_kept_by_the_map(pair, tmp_path):
    arguments = pair(BANDS, IDS, PLACE, {**PLACE, "nodata": 0})
    source = GeoTiffs(**arguments)
    [(what, count, why)] = source.remarks
    assert (what, count) == ("no data in masks", "0 in 1 file")
    assert why.endswith("--mask-map 0=0 keeps it as a class")
    np.testing.assert_array_equal(source.read_mask(0), np.where(IDS == 0, 255, IDS))
    kept = GeoTiffs(**arguments, mask_map="0=0")
    assert (kept.remarks, kept.filled) == ((), None)
    np.testing.assert_array_equal(kept.read_mask(0), IDS)
    convert(kept, tmp_path / "o", split="t", tile=(32, 32), workers=1)
    said = zarr.open_group(tmp_path / "o", mode="r").attrs["zarrfeed"]
    assert (said["classes"], said["ignore"]) == (["0", "1", "2", "3"], None)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["LITTLE", "BIG"])
def test_gaps_are_found_in_every_form_of_tiff(pair, tmp_path, big, order):
    form = {**PLACE, "BIGTIFF": "YES" if big else "NO", "ENDIANNESS": order}
    assert GeoTiffs(**pair(BANDS, IDS, form, form)).filled is None
    assert GeoTiffs(**pair(BANDS, IDS, form, {**form, "nodata": 9})).filled == 255
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        arguments = pair(BANDS, IDS, form, form)
        with rasterio.open(tmp_path / "i/a.tif", "r+") as file:
            file.write_mask(np.zeros(SIZE, np.uint8))
    source = GeoTiffs(**arguments)
    assert source.filled == 255
    assert (source.read_mask(0) == 255).all()


def moved(by, step=10.0):
    return {"crs": "EPSG:32633", "transform": Affine(step, 0, 500_000 + by, 0, -step, 4_000_000)}


@pytest.mark.parametrize(
    ("of_mask", "said"),
    [
        (moved(5), r"up to 0\.5 pixels away: its transform is \(500005, 10, 0, 4000000, 0, -10\)"),
        (moved(0, 10.1), "pixels away"),
        (PLACE | {"crs": "EPSG:32632"}, "EPSG:32632 where the image has EPSG:32633"),
    ],
)
def test_masks_elsewhere_are_refused_or_counted(pair, of_mask, said):
    arguments = pair(BANDS, IDS, PLACE, of_mask)
    with pytest.raises(SourceError, match=rf"i/a\.tif: .*{said}.*--geometry warn"):
        GeoTiffs(**arguments).probe(0)
    source = GeoTiffs(**arguments, geometry="warn")
    source.probe(0)
    [(what, count, why)] = source.remarks
    assert (what, count) == ("geometry", "1 file elsewhere")
    assert "m/a.tif" in why
    np.testing.assert_array_equal(source.read_mask(0), IDS)


@pytest.mark.parametrize("of_mask", [moved(0.9), {}, {"transform": PLACE["transform"]}])
def test_masks_at_the_place_or_without_one_are_paired(pair, of_mask):
    source = GeoTiffs(**pair(BANDS, IDS, PLACE, of_mask))
    source.probe(0)
    assert source.remarks == ()


def test_turned_transforms_are_kept(pair):
    turned = Affine.translation(10, 20) @ Affine.rotation(30) @ Affine.scale(2, -3)
    affine = np.array(GeoTiffs(**pair(BANDS, None, {"transform": turned})).probe(0).affine)
    np.testing.assert_allclose((affine @ [4, 7, 1])[:2], turned @ (7, 4))
    assert GeoTiffs(**pair(BANDS, None, {})).probe(0).affine is None


def test_palettes_are_colours_of_images_and_ids_of_masks(pair, tmp_path):
    table = {0: (0, 0, 0, 255), 1: (200, 10, 10, 255), 2: (9, 200, 9, 255), 3: (9, 9, 200, 255)}
    arguments = pair(IDS, IDS, PLACE, PLACE)
    for folder in "im":
        with rasterio.open(tmp_path / folder / "a.tif", "r+") as file:
            file.write_colormap(1, table)
    source = GeoTiffs(**arguments)
    image, ids = source.read(0)
    assert source.probe(0).channels == 3
    np.testing.assert_array_equal(image, np.array([table[n][:3] for n in range(4)], "u1")[IDS])
    np.testing.assert_array_equal(ids, IDS)
    assert source.shown_colors(0)[2] == 0x09C809


def test_files_beside_a_raster_are_not_read(pair, tmp_path):
    arguments = pair(BANDS, IDS, PLACE, PLACE)
    path = tmp_path / "i/a.tif"
    before = GeoTiffs(**arguments).probe(0)
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(path, "r+") as file:
        file.build_overviews([2], Resampling.nearest)
    assert (tmp_path / "i/a.tif.ovr").exists()
    (tmp_path / "i/a.tfw").write_text("1\n0\n0\n-1\n7\n7\n")
    (tmp_path / "i/a.tif.aux.xml").write_text(
        "<PAMDataset><PAMRasterBand band='1'><NoDataValue>7</NoDataValue></PAMRasterBand>"
        "<GeoTransform>1,2,3,4,5,6</GeoTransform></PAMDataset>"
    )
    shutil.copy(tmp_path / "m/a.tif", tmp_path / "i/a.tif.msk")
    source = GeoTiffs(**arguments)
    header = source.probe(0)
    assert (header.affine, header.nodata) == (before.affine, ())
    np.testing.assert_array_equal(source.read_mask(0), IDS)


@pytest.mark.parametrize(
    "text",
    [
        "<VRTDataset rasterXSize='90' rasterYSize='70'><VRTRasterBand dataType='Byte' band='1'>"
        "<SimpleSource><SourceFilename>SECRET</SourceFilename></SimpleSource></VRTRasterBand>"
        "</VRTDataset>",
        "/vsicurl/http://127.0.0.1:9/a.tif",
    ],
)
def test_virtual_rasters_are_not_opened(tmp_path, text):
    (tmp_path / "i").mkdir()
    write_raster(tmp_path / "secret.tif", IDS[np.newaxis], **PLACE)
    (tmp_path / "i/a.tif").write_text(text.replace("SECRET", str(tmp_path / "secret.tif")))
    with pytest.raises(SourceError, match=r"a\.tif: needed a GeoTIFF, found another file"):
        GeoTiffs(tmp_path / "i").probe(0)


def test_what_is_decoded_at_once_is_limited(pair):
    limits = Limits(sample_nbytes=1 << 20)
    large = np.zeros((1, 2000, 1000), np.uint8)
    source = GeoTiffs(**pair(large, large[0], TILED, TILED), limits=limits)
    assert source.probe(0).size == (2000, 1000)
    assert source.read_window(0, (slice(0, 100), slice(0, 1000)))[0].shape == (100, 1000, 1)
    with pytest.raises(SourceError, match=r"a\.tif: needed an image of at most 1 MiB.*--tile"):
        source.read(0)


def test_the_error_of_a_damaged_raster_is_that_of_gdal(pair, tmp_path):
    source = GeoTiffs(**pair(BANDS, IDS, {**PLACE, **TILED}, PLACE))
    path = tmp_path / "i/a.tif"
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = b"x" * (len(data) - len(data) // 2)
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"i/a\.tif: cannot be decoded: .*Decod") as raised:
        source.read(0)
    assert "previous exception" not in str(raised.value)


def test_a_system_without_a_transform_is_no_place(pair):
    header = GeoTiffs(**pair(BANDS, IDS, {"crs": "EPSG:32633"}, {"crs": "EPSG:32633"})).probe(0)
    assert header.affine is None
    assert "32633" in header.crs


def test_a_truncated_raster_is_refused(pair, tmp_path):
    source = GeoTiffs(**pair(BANDS, IDS, TILED, {}))
    path = tmp_path / "i/a.tif"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError, match=r"i/a\.tif: "):
        source.read(0)


def test_tiles_of_a_raster_have_its_place_and_an_ignored_id(pair, tmp_path):
    bands = with_hole(BANDS)
    arguments = pair(bands, IDS, {**PLACE, **TILED, "nodata": 0}, {**PLACE, **TILED})
    out = tmp_path / "o.zarr"
    convert(open_source("geotiff", arguments), out, split="train", tile=(32, 32), workers=1)
    root = zarr.open_group(out, mode="r")
    split = root["train"]
    said = json.loads((out / "zarr.json").read_text())["attributes"]["zarrfeed"]
    assert said["ignore"] == 255
    assert said["classes"] == ["0", "1", "2", "3"]
    with rasterio.open(arguments["images"] + "/a.tif") as file:
        assert split.attrs["zarrfeed"]["crs"] == {"wkt": [file.crs.to_wkt()]}
    again = tmp_path / "again.zarr"
    repack(out / "train", again, split="train", codec="zstd", workers=1)
    repacked = zarr.open_group(again, mode="r")["train"]
    assert repacked.attrs["zarrfeed"]["crs"] == split.attrs["zarrfeed"]["crs"]
    np.testing.assert_array_equal(repacked["case_affine"][:], split["case_affine"][:])
    np.testing.assert_array_equal(split["case_size"][:], [SIZE])
    transform = PLACE["transform"]
    np.testing.assert_array_equal(
        split["case_affine"][0],
        [[transform.b, transform.a, transform.c], [transform.e, transform.d, transform.f],
         [0, 0, 1]],
    )  # fmt: skip
    np.testing.assert_array_equal(split["image"][4], np.moveaxis(bands[:, 32:64, 32:64], 0, 2))
    expected = IDS[:32, :32].copy()
    expected[:10, :7] = 255
    np.testing.assert_array_equal(split["mask"][0], expected)


def test_cases_of_several_systems_each_have_theirs(tmp_path):
    (tmp_path / "i").mkdir()
    systems = {"a": "EPSG:32633", "b": "EPSG:32632", "c": None, "d": "EPSG:32633"}
    for name, system in systems.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            write_raster(tmp_path / f"i/{name}.tif", BANDS[:2], crs=system)
    out = tmp_path / "o.zarr"
    convert(GeoTiffs(tmp_path / "i"), out, split="train", tile=(64, 64), workers=1)
    split = zarr.open_group(out, mode="r")["train"]
    said = split.attrs["zarrfeed"]["crs"]
    keys = [bytes(key).rstrip(b"\0").decode() for key in split["case_key"][:]]
    found = {key: said["wkt"][at] if at >= 0 else None
             for key, at in zip(keys, said["case"], strict=True)}  # fmt: skip
    assert len(said["wkt"]) == 2
    assert {key: case.crs for key, case in open_cases(out / "train").items()} == found
    for key, system in systems.items():
        assert (found[key] is None) == (system is None)
        assert system is None or rasterio.CRS.from_wkt(found[key]) == rasterio.CRS.from_string(
            system
        )


def test_another_ignored_id_must_be_the_format_s_too(pair, tmp_path):
    arguments = pair(with_hole(BANDS), IDS, {"nodata": 0}, {})
    with pytest.raises(SourceError, match=r"--ignore: needed 255, .*found 7; use -o nodata=7, too"):
        convert(GeoTiffs(**arguments), tmp_path / "o", split="train", ignore=7)
    convert(GeoTiffs(**arguments, nodata=7), tmp_path / "o", split="train", ignore=7, workers=1)


def test_images_alone_have_no_ignored_id(pair):
    source = open_source("geotiff", pair(BANDS))
    assert source.filled is None
    require_source(source, [np.moveaxis(BANDS, 0, 2)])


def test_nan_as_no_data_is_told_with_the_number_of_files_and_a_way_out(pair, tmp_path):
    bands = with_hole(BANDS[:2].astype("float32"), np.nan)
    arguments = pair(bands, IDS, PLACE | {"nodata": np.nan}, PLACE)
    for name in ("b", "c"):
        nodata = {"nodata": np.nan} if name == "b" else {}
        write_raster(tmp_path / f"i/{name}.tif", BANDS[:2].astype("float32"), **PLACE, **nodata)
        shutil.copy(tmp_path / "m/a.tif", tmp_path / f"m/{name}.tif")
    report = convert(GeoTiffs(**arguments), tmp_path / "o.zarr", split="s", workers=1)
    [told] = [line for line in report.remarks if line.startswith("no data: ")]
    assert "a.tif declares nan as no data, as 2 of 3 samples" in told
    assert "NaN in images make a loss NaN; to replace them, use -o fill=0" in told
    [counted] = [line for line in report.remarks if line.startswith("not finite: ")]
    assert "230 values" in counted  # 2 bands of 10 x 7, and a row of 90 in one band


@pytest.mark.parametrize("value", [np.nan, -9999.0])
def test_fill_replaces_pixels_of_images_without_data(pair, tmp_path, value):
    bands = with_hole(BANDS[:3].astype("float32"), value)
    expected = np.moveaxis(bands, 0, 2).copy()
    expected[:10, :7] = -1
    expected[np.isnan(expected)] = -1
    source = GeoTiffs(**pair(bands, IDS, PLACE | {"nodata": value}, PLACE, fill=-1))
    ids = IDS.copy()
    ids[:10, :7] = 255
    require_source(source, [expected], [ids])
    require_windows(source, 0)
    report = convert(source, tmp_path / "o.zarr", split="s", workers=1)
    assert not [line for line in report.remarks if line.startswith(("no data", "not finite"))]
    packed = json.loads((tmp_path / "o.zarr/s/zarr.json").read_text())["attributes"]["zarrfeed"]
    assert packed["source"]["fill"] == -1


def test_without_fill_values_are_kept_and_no_option_is_recorded(pair):
    bands = with_hole(BANDS[:2].astype("float32"), np.nan)
    source = GeoTiffs(**pair(bands, IDS, PLACE | {"nodata": np.nan}, PLACE))
    np.testing.assert_array_equal(source.read(0)[0], np.moveaxis(bands, 0, 2))
    assert "fill" not in source.describe()


@pytest.mark.parametrize(
    ("fill", "said"),
    [
        ("nan", "option fill: needed a number such as 0, found 'nan'"),
        ("x", "option fill: needed a number"),
        (-1, r"i/a\.tif: needed a whole number, 0 to 65535 as the option fill .*found -1"),
        ("0.5", r"i/a\.tif: needed a whole number"),
    ],
)
def test_a_fill_that_images_cannot_hold_is_refused(pair, fill, said):
    arguments = pair(BANDS, IDS, PLACE | {"nodata": 0}, PLACE)
    with pytest.raises(SourceError, match=said):
        open_source("geotiff", {**arguments, "fill": fill}).probe(0)
