"""Volumes of TIFF stacks are what tifffile reads, with the distances that their metadata say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

import zarrfeed
from source_contract import require_source
from zarrfeed.errors import SourceError
from zarrfeed_convert import convert, verify
from zarrfeed_convert.formats import open_source
from zarrfeed_convert.sources.stacks.tiff_pages import TiffPages
from zarrfeed_convert.sources.stacks.tiff_spacing import millimetres
from zarrfeed_convert.sources.stacks.tiff_stack import TiffStacks
from zarrfeed_convert.sources.stacks.tiff_volumes import PageVolumes

DEPTH, HEIGHT, WIDTH = 5, 12, 10


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def values(*shape, dtype="uint8", seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.random(shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def labels(*shape, ids=3):
    return np.random.default_rng(7).integers(0, ids, shape, "uint8")


def write(path, array, **options):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, array, photometric=options.pop("photometric", "minisblack"), **options)
    return path


def volumes(images="a.tif", masks="", **options):
    return TiffStacks(images, masks, as_="volumes", **options)


def spacing(source, sample=0):
    affine = source.probe(sample).affine
    return None if affine is None else np.linalg.norm(np.array(affine)[:3, :3], axis=0)


KINDS = {
    "plain": {"metadata": None},
    "shaped": {},
    "deflate": {"compression": "zlib", "predictor": True, "metadata": None},
    "big": {"bigtiff": True},
    "big-endian": {"byteorder": ">", "compression": "lzw"},
    "big big-endian": {"bigtiff": True, "byteorder": ">"},
    "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}},
    "imagej compressed": {"imagej": True, "compression": "zlib", "metadata": {"axes": "ZYX"}},
    "ome": {"ome": True, "metadata": {"axes": "ZYX"}},
    "ome tiles": {"ome": True, "metadata": {"axes": "ZYX"}, "tile": (16, 16), "compression": "lzw"},
    "strips": {"rowsperstrip": 5, "compression": "zlib"},
    "volumetric": {"volumetric": True, "tile": (2, 16, 16), "compression": "zlib"},
    "one ifd": {"contiguous": True, "metadata": None},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_a_stack_is_the_volume_that_tifffile_reads(kind, dtype):
    write("i/a.tif", values(DEPTH, HEIGHT, WIDTH, dtype=dtype), **KINDS[kind])
    write("m/a.tif", labels(DEPTH, HEIGHT, WIDTH), compression="lzw")
    source = volumes("i", "m")
    assert source.keys == ["a"]
    assert source.names(0) == ("i/a.tif", "m/a.tif")
    stack = tifffile.imread("i/a.tif").astype(dtype)
    require_source(source, [stack[..., None]], [tifffile.imread("m/a.tif")])
    require_source(volumes("i"), [stack[..., None]])
    assert source.reads_windows(0) == (kind != "volumetric")
    assert spacing(source) is None
    assert source.describe()["as_"] == "volumes"
    assert "as_" not in TiffStacks("i", "m").describe()


def test_one_page_is_a_volume_of_one_plane():
    write("a.tif", values(HEIGHT, WIDTH))
    write("m.tif", labels(HEIGHT, WIDTH))
    require_source(volumes(masks="m.tif"), [values(1, HEIGHT, WIDTH)[..., None]],
                   [labels(1, HEIGHT, WIDTH)])  # fmt: skip


@pytest.mark.parametrize("how", [{"imagej": True}, {"ome": True}])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_times_are_volumes_planes_the_depth_and_channels_are_channels(how, compression):
    stack = values(2, 4, 3, HEIGHT, WIDTH, dtype="uint16")
    write("a.tif", stack, metadata={"axes": "TZCYX"}, compression=compression, **how)
    write("m.tif", labels(8, HEIGHT, WIDTH))
    source = volumes(masks="m.tif")
    assert source.keys == ["a/0000", "a/0001"]
    assert source.names(1) == ("a.tif[t=1]", "m.tif[t=1]")
    masks = labels(8, HEIGHT, WIDTH).reshape(2, 4, HEIGHT, WIDTH)
    require_source(source, list(np.moveaxis(stack, 2, -1)), list(masks))
    one = volumes(channel=1)
    np.testing.assert_array_equal(one.read(1)[0][..., 0], stack[1, :, 1])
    times = volumes(axis="t")
    np.testing.assert_array_equal(times.read(3)[0], np.moveaxis(stack[:, 3], 1, -1))
    assert times.names(3) == ("a.tif[z=3]",)


def test_masks_follow_axes_of_the_same_letters_in_any_order():
    write("a.tif", values(2, 3, HEIGHT, WIDTH), ome=True, metadata={"axes": "TZYX"})
    masks = labels(3, 2, HEIGHT, WIDTH)
    write("m.tif", masks, ome=True, metadata={"axes": "ZTYX"})
    np.testing.assert_array_equal(volumes(masks="m.tif").read_mask(1), masks[:, 1])


def test_a_time_series_is_no_volume_unless_the_user_says_so():
    write("a.tif", values(DEPTH, HEIGHT, WIDTH), imagej=True, metadata={"axes": "TYX"})
    with pytest.raises(SourceError, match=r"^a\.tif: needed an axis Z, .*found .*T.*axis=T$"):
        volumes()
    np.testing.assert_array_equal(volumes(axis="T").read(0)[0][..., 0],
                                  values(DEPTH, HEIGHT, WIDTH))  # fmt: skip
    with pytest.raises(SourceError, match=r"^a\.tif: needed one axis of planes, .*axis=R, found"):
        volumes(axis="R")
    write("b.tif", values(2, 3, 4, HEIGHT, WIDTH), metadata={"axes": "RHZYX"})
    assert len(volumes("b.tif").keys) == 6


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_pages_that_were_saved_as_channels_are_the_depth_if_they_have_masks_or_the_user_says(
    compression,
):
    stack = values(9, HEIGHT, WIDTH)
    write("a.tif", stack, imagej=True, metadata={"axes": "CYX"}, compression=compression)
    write("m.tif", labels(9, HEIGHT, WIDTH))
    require_source(volumes(masks="m.tif"), [stack[..., None]], [labels(9, HEIGHT, WIDTH)])
    require_source(volumes(axis="C"), [stack[..., None]])
    assert volumes().probe(0).image.shape == (1, HEIGHT, WIDTH, 9)
    write("s.tif", stack, planarconfig="separate", compression=compression)
    require_source(volumes("s.tif", axis="S"), [stack[..., None]])


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_colours_are_channels(planar):
    stack = values(DEPTH, HEIGHT, WIDTH, 3)
    stored = stack if planar == "contig" else np.moveaxis(stack, 3, 1)
    write("a.tif", stored, photometric="rgb", planarconfig=planar, compression="zlib")
    require_source(volumes(), [stack])
    assert volumes(color="grey").read(0)[0].shape == (DEPTH, HEIGHT, WIDTH, 1)


def test_masks_may_have_a_channel_per_class():
    masks = labels(DEPTH, 4, HEIGHT, WIDTH, ids=2)
    write("a.tif", values(DEPTH, HEIGHT, WIDTH))
    write("m.tif", masks, imagej=True, metadata={"axes": "ZCYX"})
    source = volumes(masks="m.tif", mask_map="multi-hot")
    np.testing.assert_array_equal(source.read_mask(0), np.moveaxis(masks, 1, -1))
    assert source.probe(0).mask.shape == (DEPTH, HEIGHT, WIDTH, 4)


UNITS = {"micron": 1e-3, "\\u00B5m": 1e-3, "um": 1e-3, "mm": 1, "cm": 10, "nm": 1e-6, "inch": 25.4}


@pytest.mark.parametrize("unit", UNITS)
def test_imagej_says_spacing_in_a_unit(unit):
    write("a.tif", values(DEPTH, HEIGHT, WIDTH), imagej=True, resolution=(2, 5),
          metadata={"spacing": 3.5, "unit": unit, "axes": "ZYX"})  # fmt: skip
    source = volumes()
    np.testing.assert_allclose(spacing(source), np.array([3.5, 0.2, 0.5]) * UNITS[unit])
    assert TiffStacks("a.tif").probe(0).affine is None
    (x, y, z, _) = np.array(source.probe(0).affine) @ [1, 2, 3, 1]
    np.testing.assert_allclose((x, y, z), np.array([1.5, 0.4, 3.5]) * UNITS[unit])


def test_ome_says_a_size_and_a_unit_for_each_axis():
    said = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 250, "PhysicalSizeYUnit": "nm",
            "PhysicalSizeZ": 2, "PhysicalSizeZUnit": "mm", "axes": "ZYX"}  # fmt: skip
    write("a.ome.tif", values(DEPTH, HEIGHT, WIDTH), ome=True, metadata=said)
    np.testing.assert_allclose(spacing(volumes("a.ome.tif")), [2, 0.25e-3, 0.5e-3])


@pytest.mark.parametrize(
    "options",
    [
        {"resolution": (72, 72), "resolutionunit": "INCH"},
        {"imagej": True, "resolution": (2, 2), "metadata": {"unit": "pixel", "spacing": 2}},
        {"imagej": True, "resolution": (2, 2), "metadata": {"unit": "um", "axes": "ZYX"}},
        {"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 1, "PhysicalSizeY": 1}},
        {"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 0, "PhysicalSizeY": 1,
                                   "PhysicalSizeZ": 1}},
    ],
)  # fmt: skip
def test_a_distance_that_is_not_said_is_unknown(options):
    write("a.tif", values(DEPTH, HEIGHT, WIDTH), **options)
    assert volumes().probe(0).affine is None


def test_a_unit_of_another_kind_is_unknown():
    assert [millimetres(unit) for unit in ("pixel", "", "reference frame", "s")] == [None] * 4


def test_masks_with_other_distances_are_left_out_unless_the_images_are_to_be_taken():
    for name, spacings in {"a": (2, 2), "b": (2, 2.5)}.items():
        for folder, distance in zip("im", spacings, strict=True):
            said = {"spacing": distance, "unit": "mm", "axes": "ZYX"}
            stack = values(DEPTH, HEIGHT, WIDTH) % 3
            write(f"{folder}/{name}.tif", stack, imagej=True, resolution=(2, 2), metadata=said)
    source = volumes("i", "m")
    assert source.keys == ["a"]
    ((path, why),) = source.left_out
    assert path == "i/b.tif"
    assert "needed voxels at the same distances in images and masks" in why
    assert "spacings are 2×0.5×0.5 and 2.5×0.5×0.5 mm, by i/b.tif and m/b.tif" in why
    assert "--geometry warn" in why
    warned = volumes("i", "m", geometry="warn")
    assert warned.keys == ["a", "b"]
    np.testing.assert_allclose(spacing(warned, 1), [2, 0.5, 0.5])
    ((subject, value, reason),) = warned.remarks
    assert (subject, value) == ("geometry", "1 mask elsewhere")
    assert "m/b.tif" in reason


def test_masks_of_another_size_are_left_out():
    write("a.tif", values(DEPTH, HEIGHT, WIDTH))
    write("m.tif", labels(DEPTH, HEIGHT, WIDTH + 2))
    with pytest.raises(
        SourceError, match=r"^a\.tif: needed masks .* found 12x10 and 12x12 in m\.tif"
    ):
        volumes(masks="m.tif")


@pytest.mark.parametrize("kind", ["imagej", "deflate", "ome tiles"])
def test_a_window_decodes_its_pages_alone(kind, monkeypatch):
    write("a.tif", values(DEPTH, HEIGHT, WIDTH), **KINDS[kind])
    source = volumes()
    read, read_page = [], TiffPages._read_page
    monkeypatch.setattr(
        TiffPages, "_read_page", lambda self, number: read.append(number) or read_page(self, number)
    )
    (part,) = source.read_window(0, (slice(1, 3), slice(2, 7), slice(0, 4)))
    np.testing.assert_array_equal(part[..., 0], values(DEPTH, HEIGHT, WIDTH)[1:3, 2:7, :4])
    assert read == ([] if kind == "imagej" else [1, 2])


def test_a_page_of_several_planes_is_decoded_once(monkeypatch):
    write("a.tif", values(DEPTH, HEIGHT, WIDTH), **KINDS["volumetric"])
    read, read_page = [], TiffPages._read_page
    monkeypatch.setattr(
        TiffPages, "_read_page", lambda self, number: read.append(number) or read_page(self, number)
    )
    volumes().read(0)
    assert read == [0]


def test_what_goes_wrong_names_the_page():
    write("a.tif", values(DEPTH, HEIGHT, WIDTH), compression="zlib", metadata=None)
    with tifffile.TiffFile("a.tif") as tiff:
        at, size = tiff.pages[3].dataoffsets[0], tiff.pages[3].databytecounts[0]
    data = bytearray(Path("a.tif").read_bytes())
    data[at : at + size] = b"\xff" * size
    Path("a.tif").write_bytes(data)
    source = volumes()
    source.read_window(0, (slice(0, 3), slice(0, 2), slice(0, 2)))
    with pytest.raises(SourceError, match=r"^a\.tif\[page=3\]: cannot be read: "):
        source.read(0)
    with pytest.raises(SourceError, match=r"^--as: needed slices or volumes, found 'pages'"):
        open_source("tiff", {"images": "a.tif", "as_": "pages"})


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_law_every_page_is_in_one_volume_at_its_place(counts, data):
    letters = "RTHZ"[: len(counts)]
    axis = data.draw(st.sampled_from([None, *range(len(counts))]))
    found = PageVolumes(letters, tuple(counts), axis)
    pages = np.arange(np.prod(counts)).reshape(counts)
    every = [page for volume in range(found.count) for page in found.pages(volume)]
    assert sorted(every) == list(range(pages.size))
    assert len({found.label(volume) for volume in range(found.count)}) == found.count
    for volume in range(found.count):
        places = [np.argwhere(pages == page)[0] for page in found.pages(volume)]
        moved = np.ptp(places, axis=0)
        assert [int(at) for at in np.flatnonzero(moved)] in ([axis], [])


@pytest.mark.parametrize("kind", ["imagej", "deflate", "volumetric"])
def test_cases_in_a_store_are_the_stacks(kind, tmp_path):
    sizes = {"a": (7, 20, 11), "b": (3, 5, 30)}
    about = {"spacing": 3, "unit": "mm", "axes": "ZYX"}
    said = {"imagej": True, "resolution": (2, 4), "metadata": about}
    for seed, (name, size) in enumerate(sizes.items()):
        write(f"i/{name}.tif", values(*size, dtype="uint16", seed=seed),
              **(said if kind == "imagej" else KINDS[kind]))  # fmt: skip
        write(f"m/{name}.tif", labels(*size), compression="zlib")
    out, source = tmp_path / "o.zarr", volumes("i", "m")
    convert(source, out, split="train", tile=(4, 8, 8), workers=2, shard_size=4096)
    for seed, (name, size) in enumerate(sizes.items()):
        case = zarrfeed.open_case(out / "train", name)
        np.testing.assert_array_equal(case[:][..., 0], values(*size, dtype="uint16", seed=seed))
        mask = zarrfeed.open_case(out / "train", name, "mask")
        np.testing.assert_array_equal(mask[:], labels(*size))
        assert case.spacing == ((3, 0.25, 0.5) if kind == "imagej" else None)
    assert verify(out, source=source, workers=1).ok
