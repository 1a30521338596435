"""Any box of an image that is read where it is, is that box of the array that was written."""

from __future__ import annotations

import json
import os
import pickle
from typing import TYPE_CHECKING, Any

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr import codecs

from case_stores import random_case, write_cases
from ome_images import write_ome
from stores import traced_pixels, write_split
from zarrfeed import (
    CoverPatches,
    FrontEnd,
    GridPatches,
    RandomPatches,
    ReadError,
    SplitReader,
    StoreError,
    open_case,
    open_cases,
)
from zarrfeed.store.box_plan import BoxPlan
from zarrfeed.store.case_reading import read_case_keys, read_case_table
from zarrfeed.store.in_place import opening
from zarrfeed.store.located import locate
from zarrfeed.store.mirror.origin import Remote
from zarrfeed.store.reader import BatchReader

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed import Split

RNG = np.random.default_rng(5)
V2 = [None, numcodecs.Blosc(), numcodecs.Zstd(), numcodecs.GZip(), numcodecs.Zlib(),
      numcodecs.LZ4(), numcodecs.BZ2(), numcodecs.LZMA()]  # fmt: skip
V3 = [None, codecs.BloscCodec(), codecs.ZstdCodec(), codecs.GzipCodec(), codecs.Crc32cCodec(),
      [codecs.ZstdCodec(), codecs.Crc32cCodec()]]  # fmt: skip
DTYPES = ["bool", "uint8", "int16", "uint16", "float32", "int64"]


def read_box(split: Split, case: int, box: tuple[slice, ...], **fields: NDArray[Any]) -> None:
    """Read a box into arrays of any strides."""
    table = read_case_table(split)
    reader = BatchReader(split, list(fields))
    plan = BoxPlan(int(table.first_tile[case]), table.grid(case).parts(box))
    reader.read_box_into(plan, list(fields.values()))
    reader.close()


def whole(split: Split, case: int, field: str) -> NDArray[Any]:
    size = read_case_table(split).sizes[case].tolist()
    layout = split.layouts[field]
    out = np.empty((*size, *layout.sample_shape[len(size) :]), layout.dtype)
    read_box(split, case, tuple(slice(0, extent) for extent in size), **{field: out})
    return out


def open_in_place(path: Path, axes: int | None, fields: Any = None) -> Split | None:
    return opening.open_in_place(locate(path, Remote.of()), axes, fields)


def opened(path: Path, axes: int, fields: Any = None) -> Split:
    split = open_in_place(path, axes, fields)
    assert split is not None
    return split


@st.composite
def arrays(draw: Any, shape: tuple[int, ...], zarr_format: int) -> dict[str, Any]:
    """Return how an array is stored: chunked on any axes, sharded or not, in any order."""
    chunks = tuple(draw(st.integers(1, extent + 1)) for extent in shape)
    options: dict[str, Any] = {"chunks": chunks, "fill_value": 1}
    if zarr_format == 2:
        options["compressors"] = draw(st.sampled_from(V2))
        options["order"] = draw(st.sampled_from("CF"))
        separator = draw(st.sampled_from("./"))
        options["chunk_key_encoding"] = {"name": "v2", "separator": separator}
        return options
    options["compressors"] = draw(st.sampled_from(V3))
    if draw(st.booleans()):
        options["filters"] = [codecs.TransposeCodec(order=draw(st.permutations(range(len(shape)))))]
    if draw(st.booleans()):
        options["shards"] = tuple(draw(st.sampled_from([1, 2, 3])) * chunk for chunk in chunks)
    return options


@settings(max_examples=30)
@given(st.data())
def test_a_box_of_any_array_is_that_of_numpy(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    axes: int = data.draw(st.integers(2, 3))
    zarr_format: Any = data.draw(st.sampled_from([2, 3]))
    size = tuple(data.draw(st.integers(1, 30 if axes == 2 else 10)) for _ in range(axes))
    channels = data.draw(st.sampled_from(["", "first", "last"]))
    shape = {"": size, "first": (4, *size), "last": (*size, 4)}[channels]
    swapped = data.draw(st.booleans())
    dtype = np.dtype(data.draw(st.sampled_from(DTYPES)))
    image = RNG.integers(0, 99, shape).astype(dtype)
    mask = RNG.integers(0, 3, size, np.uint8)
    path = tmp_path_factory.mktemp("grid") / "scan.zarr"
    group = zarr.open_group(str(path), mode="w", zarr_format=zarr_format)
    options = data.draw(arrays(shape, zarr_format))
    if zarr_format == 3 and dtype.itemsize > 1:
        options["serializer"] = codecs.BytesCodec(endian="big" if swapped else "little")
    stored = group.create_array(
        "image", shape=shape, dtype=dtype.newbyteorder(">" if swapped else "<"), **options
    )
    written = data.draw(st.integers(0, shape[0]))  # chunks that are left out hold the fill value
    stored[:written] = image[:written]
    image[written:] = 1
    group.create_array("mask", data=mask, **data.draw(arrays(size, zarr_format)))
    if channels == "first" and shape[:-1] != size:  # where both fit, the last axis has them
        image = np.moveaxis(image, 0, -1)
    elif not channels:
        image = image[..., None]

    split = pickle.loads(pickle.dumps(opened(path, axes)))
    starts = [data.draw(st.integers(0, extent - 1)) for extent in size]
    box = tuple(
        slice(start, data.draw(st.integers(start + 1, extent)), data.draw(st.integers(1, 3)))
        for start, extent in zip(starts, size, strict=True)
    )
    assert split.layouts["image"].dtype == dtype
    assert split.layouts["image"].dtype.isnative
    flips = tuple(slice(None, None, data.draw(st.sampled_from([1, -1]))) for _ in range(axes))
    outs = {"image": np.empty_like(image[box]), "mask": np.empty_like(mask[box])}
    read_box(split, 0, box, **{name: out[flips] for name, out in outs.items()})
    assert np.array_equal(outs["image"][flips], image[box])
    assert np.array_equal(outs["mask"][flips], mask[box])
    [key] = open_cases(split)
    assert np.array_equal(open_cases(split)[key], image)


@settings(max_examples=25)
@given(st.data())
def test_axes_of_ome_zarr_may_have_any_order(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Other orders than tczyx are outside of the specification, and in use."""
    letters = data.draw(st.sampled_from(["yx", "zyx", "cyx", "czyx", "tczyx", "tyx"]))
    letters = "".join(data.draw(st.permutations(letters)))
    axes = 3 if "z" in letters else 2
    extents = {axis: data.draw(st.integers(2, 7)) for axis in letters}
    pixels = RNG.integers(0, 999, list(extents.values()), np.uint16)
    labelled = "".join(axis for axis in letters if axis != "c")
    labels = RNG.integers(0, 3, [extents[axis] for axis in labelled], np.uint8)
    path = write_ome(
        tmp_path_factory.mktemp("ome") / "a.ome.zarr", pixels, letters,
        {"cells": (labels, labelled)}, zarr_format=data.draw(st.sampled_from([2, 3])),
        chunks=tuple(data.draw(st.integers(1, extent)) for extent in pixels.shape),
    )  # fmt: skip
    image = np.einsum(f"{letters}->{''.join(a for a in 'tzyxc' if a in letters)}", pixels)
    mask = np.einsum(f"{labelled}->{''.join(a for a in 'tzyx' if a in letters)}", labels)
    split = opened(path, axes)
    if "t" not in letters:
        image, mask = image[None], mask[None]
    if "c" not in letters:
        image = image[..., None]
    assert len(read_case_table(split)) == len(image)
    for time in range(len(image)):
        assert np.array_equal(whole(split, time, "image"), image[time])
        assert np.array_equal(whole(split, time, "mask"), mask[time])


VOLUME = RNG.integers(0, 999, (2, 4, 12, 10), np.uint16)  # c, z, y, x
CELLS = RNG.integers(0, 3, (4, 12, 10), np.uint8)


@pytest.fixture
def ome(tmp_path: Path) -> Path:
    return write_ome(
        tmp_path / "scan.ome.zarr", VOLUME, "czyx", {"cells": (CELLS, "zyx")},
        scale=2.0, unit="micrometer", chunks=(1, 2, 5, 5),
    )  # fmt: skip


def test_a_case_has_the_name_of_its_image_and_its_spacing(ome: Path) -> None:
    assert list(open_cases(ome)) == ["scan"]
    case = open_case(ome, "scan")
    assert (case.shape, case.dtype, case.spacing) == ((4, 12, 10, 2), np.uint16, (0.002,) * 3)
    assert np.array_equal(case[1:3, ::-2, 4, 1], VOLUME[1, 1:3, ::-2, 4])
    assert np.array_equal(open_case(ome, "scan", "mask"), CELLS)
    assert np.array_equal(pickle.loads(pickle.dumps(case)), np.moveaxis(VOLUME, 0, -1))


def test_tiles_are_samples(ome: Path) -> None:
    with SplitReader(opened(ome, 3)) as reader:
        assert np.array_equal(reader.read([0])["mask"][0], CELLS)
    wide = np.arange(600 * 300, dtype=np.int32).reshape(600, 300)
    zarr.open_group(str(ome.parent / "wide")).create_array("image", data=wide, chunks=(100, 90))
    split = opened(ome.parent / "wide", 2)
    assert (split.tile_size, split.tiles) == ((200, 180), 6)
    with SplitReader(split) as reader:
        assert np.array_equal(reader.read([3])["image"][0, :, :120, 0], wide[200:400, 180:])
        assert not reader.read([3])["image"][0, :, 120:].any(), "padding"


def test_statistics_that_only_packed_splits_have_are_missing(ome: Path) -> None:
    split = opened(ome, 3)
    assert split.describing("class_pixels") is None
    assert not split.packed
    assert split.batch_fields == ("image", "mask")


def test_normalization_needs_a_conversion(ome: Path) -> None:
    sequence = FrontEnd(ome, 2, patches=GridPatches((2, 5, 5)), workers=0)
    with pytest.raises(StoreError, match="zarrfeed did not pack the images; `zarrfeed convert`"):
        _ = sequence.normalization


def test_an_image_is_no_split_of_samples(ome: Path) -> None:
    with pytest.raises(StoreError, match="an OME-Zarr image is a case, and needs patches"):
        FrontEnd(ome, 2)
    with pytest.warns(UserWarning, match="0: read chunk by chunk, which is slower") as found:
        slices = FrontEnd(ome, 2, fields="0", shuffle=False, workers=0)
    assert found[0].filename == __file__
    with slices:
        assert np.array_equal(slices[0][0], VOLUME)


def test_subset_chooses_images_by_their_names(tmp_path: Path) -> None:
    for name in "abc":
        write_ome(tmp_path / f"all/{name}.ome.zarr", CELLS, "zyx")
    patches = GridPatches((4, 12, 10))
    with FrontEnd(tmp_path / "all", 2, patches=patches, subset=["c", "a"], workers=0) as images:
        assert sorted(images.batch_keys(0)) == ["a", "c"]
    with pytest.raises(ValueError, match="names case 'd', which is none of the 3 cases of"):
        FrontEnd(tmp_path / "all", 2, patches=patches, subset=["d"])


def require_patches(
    sequence: FrontEnd, size: tuple[int, ...], *wholes: dict[str, NDArray[Any]]
) -> None:
    """Check patches that are inside their cases, of one epoch, against slices of whole cases."""
    count = 0
    with sequence:
        places = [sequence.batch_places(n) for n in range(len(sequence))]
        for arrays, rows in zip(sequence, places, strict=True):
            for row, place in enumerate(rows):
                box = tuple(
                    slice(first, first + n) for first, n in zip(place.origin, size, strict=True)
                )
                for array, whole in zip(arrays, wholes, strict=True):
                    expected = np.flip(whole[place.key][box], np.flatnonzero(place.flips))
                    assert np.array_equal(array[row], expected)
                    count += 1
    assert count == len(wholes) * sequence.samples > 0


@pytest.mark.parametrize(
    "workers", [{"workers": 0}, {"workers": 2}, {"workers": 1, "use_multiprocessing": True}]
)
def test_patches_are_slices_whoever_reads_them(tmp_path: Path, workers: dict[str, Any]) -> None:
    times = RNG.integers(0, 999, (2, 3, 9, 40, 37), np.uint16)
    cells = RNG.integers(0, 3, (2, 9, 40, 37), np.uint8)
    path = write_ome(tmp_path / "image.ome.zarr", times, "tczyx", {"cells": (cells, "tzyx")},
                     chunks=(1, 2, 4, 16, 16))  # fmt: skip
    keys = ["image/t000", "image/t001"]
    images = dict(zip(keys, np.moveaxis(times, 1, -1), strict=True))
    masks = dict(zip(keys, cells, strict=True))
    size = (5, 16, 24)
    patches = RandomPatches(size, per_epoch=20, flips=True)
    require_patches(FrontEnd(path, 3, patches=patches, **workers), size, images, masks)


def test_patches_of_planes_and_of_chosen_fields(tmp_path: Path) -> None:
    image = RNG.integers(0, 99, (3, 30, 41), np.uint8)
    labels = {name: (image[0] // number, "yx") for name, number in {"a": 20, "b": 30}.items()}
    path = write_ome(tmp_path / "i.ome.zarr", image, "cyx", labels, zarr_format=2)
    moved = {"i": np.moveaxis(image, 0, -1)}
    b = {"i": image[0] // 30}
    size = (8, 9)
    for patches in (RandomPatches(size), GridPatches(size, overlap=0.5)):
        require_patches(FrontEnd(path, 4, patches=patches, fields=("image", "b")), size, moved, b)
        inputs = {"inputs": "image", "targets": "b"}
        require_patches(FrontEnd(path, 4, patches=patches, **inputs), size, moved, b)
    group = group_of(tmp_path / "g.zarr", em__raw=image, em__seg=image[0])
    fields = ("em/raw", "em/seg")
    whole = FrontEnd(group, 1, patches=RandomPatches((30, 41), per_epoch=2), fields=fields)
    require_patches(whole, (30, 41), {"g": moved["i"]}, {"g": image[0]})
    with FrontEnd(group, 1, patches=CoverPatches((16, 16)), fields="em/seg") as cover:
        assert sum((seg > 0).sum() for (seg,) in cover) == (image[0] > 0).sum()
    with pytest.raises(StoreError, match="needed one label, found a, b"):
        FrontEnd(path, 4, patches=RandomPatches(size))
    with pytest.raises(StoreError, match="shares need 'mask' and 'class_pixels'"):
        FrontEnd(path, 4, patches=RandomPatches(size, shares={1: 0.5}), fields=("image", "b"))


def test_times_are_cases(tmp_path: Path) -> None:
    times = RNG.integers(0, 99, (3, 8, 6), np.uint8)
    path = write_ome(tmp_path / "a.zarr", times, "tyx", {"x": (times // 50, "tyx")})
    cases = open_cases(path)
    assert list(cases) == ["a/t000", "a/t001", "a/t002"]
    assert np.array_equal(cases["a/t002"], times[2, ..., None])
    assert np.array_equal(cases.open("a/t001", "mask"), times[1] // 50)


@pytest.mark.parametrize("kind", ["bioformats2raw", "plate", "folder"])
def test_every_image_is_a_case(tmp_path: Path, kind: str) -> None:
    places = {
        "bioformats2raw": ["0", "1", "2", "10"],
        "plate": ["A/1/0", "A/1/1", "B/12/0"],
        "folder": ["a.ome.zarr", "b2.zarr", "b10.zarr"],
    }[kind]
    keys = ["a", "b2", "b10"] if kind == "folder" else places
    root = tmp_path / "many"
    if kind != "folder":
        group = zarr.open_group(str(root), mode="w", zarr_format=2)
        group.attrs["bioformats2raw.layout"] = 3
        group.create_group("OME")
    images = {}
    for number, place in enumerate(places):
        size = (1, 1, 3 + number, 7 - number)
        images[place] = RNG.integers(0, 99, size, np.uint8)
        for above in range(1, place.count("/") + 1):
            zarr.open_group(str(root / place.rsplit("/", above)[0]), zarr_format=2)
        write_ome(root / place, images[place], "czyx", {"x": (images[place] // 50, "czyx")},
                  zarr_format=2)  # fmt: skip
    split = opened(root, 2)
    assert read_case_keys(split, range(len(keys))) == keys
    for number, image in enumerate(images.values()):
        assert np.array_equal(whole(split, number, "image"), image[0, 0, :, :, None])
        assert np.array_equal(whole(split, number, "mask"), image[0, 0] // 50)


def test_labels_are_fields_by_their_names(tmp_path: Path) -> None:
    labels = {name: (CELLS * factor, "zyx") for name, factor in {"cells": 1, "nuclei": 2}.items()}
    path = write_ome(tmp_path / "a.ome.zarr", VOLUME, "czyx", labels)
    with pytest.raises(StoreError, match=r"needed one label, found cells, nuclei: name .*'cells'"):
        open_in_place(path, 3)
    for name in ("nuclei", "labels/nuclei"):
        split = opened(path, 3, ("image", name))
        assert np.array_equal(whole(split, 0, name), CELLS * 2)
    assert sorted(opened(path, 3, ["image"]).field_names) == ["image"]
    assert open_cases(path).fields == ("cells", "image", "nuclei")
    for wanted, said in {
        "nucleii": "needed a label 'nucleii', found cells, nuclei; did you mean 'nuclei'",
        "mask": "needed a label 'mask', found cells, nuclei",
    }.items():
        with pytest.raises(StoreError, match=said):
            open_in_place(path, 3, ("image", wanted))


def group_of(path: Path, **arrays: NDArray[Any]) -> Path:
    group = zarr.open_group(str(path), mode="w")
    for name, values in arrays.items():
        group.create_array(name.replace("__", "/"), data=values)
    return path


@pytest.mark.parametrize(
    ("image", "mask", "axes", "found"),
    [
        ((5, 6), (5, 6), 2, (5, 6, 1)),
        ((5, 6, 3), (5, 6), 2, (5, 6, 3)),
        ((3, 5, 6), (5, 6), 2, (5, 6, 3)),
        ((5, 5, 5), (5, 5), 2, (5, 5, 5)),
        ((4, 5, 6), (4, 5, 6), 3, (4, 5, 6, 1)),
        ((4, 5, 6, 2), (4, 5, 6), 3, (4, 5, 6, 2)),
        ((2, 4, 5, 6), (4, 5, 6), 3, (4, 5, 6, 2)),
        ((4, 5, 6, 2), (4, 5, 6), 2, None),
        ((4, 5, 6), (4, 5, 6), 2, None),
        ((7, 4, 5, 6, 2), (7, 4, 5, 6), 3, None),
        ((5, 6), None, 2, (5, 6, 1)),
        ((4, 5, 6), None, 3, (4, 5, 6, 1)),
        ((4, 5, 6), None, 2, None),
    ],
)
def test_numbers_of_axes_tell_cases_from_samples(
    tmp_path: Path, image: tuple[int, ...], mask: Any, axes: int, found: Any
) -> None:
    arrays = {"image": np.arange(np.prod(image)).reshape(image)}
    if mask:
        arrays["mask"] = np.zeros(mask, np.uint8)
    split = open_in_place(group_of(tmp_path / "s", **arrays), axes)
    assert (split and whole(split, 0, "image").shape) == found
    if split and found == (*image, 1):
        assert np.array_equal(whole(split, 0, "image")[..., 0], arrays["image"])
    elif split and found != image:
        assert np.array_equal(whole(split, 0, "image"), np.moveaxis(arrays["image"], 0, -1))


def test_fields_are_paths_of_arrays(tmp_path: Path) -> None:
    path = group_of(tmp_path / "em.zarr", volumes__raw=VOLUME[0], volumes__seg=CELLS)
    split = opened(path, 3, ("volumes/raw", "volumes/seg"))
    assert np.array_equal(whole(split, 0, "volumes/raw"), VOLUME[0, ..., None])
    assert np.array_equal(whole(split, 0, "volumes/seg"), CELLS)
    assert read_case_keys(split, range(1)) == ["em"]
    assert open_in_place(path, 3) is None
    assert open_in_place(path, 3, ("volumes/raw", "other")) is None


def test_groups_in_a_group_are_cases(tmp_path: Path) -> None:
    zarr.open_group(str(tmp_path / "all"), mode="w")
    for key in ("patient_2", "patient_10"):
        group_of(tmp_path / "all" / key, image=VOLUME[0], mask=CELLS)
    split = opened(tmp_path / "all", 3)
    assert read_case_keys(split, range(2)) == ["patient_2", "patient_10"]
    group_of(tmp_path / "all/patient_11", image=VOLUME, mask=VOLUME)
    with pytest.raises(StoreError, match=r"patient_11: needed a case .*, found samples: open each"):
        open_in_place(tmp_path / "all", 3)


def test_an_array_alone_is_an_image(tmp_path: Path) -> None:
    group_of(tmp_path / "a.zarr", raw=VOLUME[0])
    assert np.array_equal(
        whole(opened(tmp_path / "a.zarr/raw", 3), 0, "image"), VOLUME[0, ..., None]
    )
    with pytest.raises(StoreError, match=r"an array of 2 axes .*, found image and \(4, 12, 10\)"):
        open_in_place(tmp_path / "a.zarr/raw", 2)


def test_what_zarrfeed_packed_is_opened_as_before(tmp_path: Path) -> None:
    samples = write_split(tmp_path / "s", traced_pixels(3))
    cases = write_cases(tmp_path / "c", {"a": random_case((9, 9), "uint8", 1, 0)}, (4, 4))
    attributes = {"fields": ["image", "mask"]}
    packed = write_cases(
        tmp_path / "d/train", {"a": random_case((9, 9), "uint8", 1, 0)}, (4, 4),
        attributes=attributes,
    )  # fmt: skip
    zarr.open_group(str(tmp_path / "d")).attrs["zarrfeed"] = {"classes": ["a"]}
    for path in (cases, packed, tmp_path / "d", tmp_path / "none"):
        assert open_in_place(path, 3) is None
        assert open_in_place(path, 2, ("image",)) is None
    assert open_in_place(samples, 2) is None
    assert open_in_place(tmp_path, 2) is None, "there are samples in it, and no case"


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")
@pytest.mark.parametrize("kind", ["ours", "zarr-python"])
def test_only_the_chunks_of_a_box_are_read(tmp_path: Path, kind: str) -> None:
    options: dict[str, Any] = {"compressors": None, "zarr_format": 2}
    if kind == "zarr-python":
        options["filters"] = [numcodecs.Delta("<u2")]
    path = write_ome(tmp_path / "a.zarr", VOLUME, "czyx", chunks=(2, 2, 6, 5), **options)
    split = opened(path, 3)
    assert split.layouts["image"].foreign == (kind == "zarr-python")
    kept = {"0.0.0.0", "0.0.0.1", "0.1.0.0", "0.1.0.1"}
    for file in (path / "0").glob("0.*"):
        if file.name not in kept:
            file.write_bytes(b"damaged")
    out = np.empty((4, 5, 10, 2), np.uint16)
    read_box(split, 0, (slice(0, 4), slice(1, 6), slice(0, 10)), image=out)
    assert np.array_equal(out, np.moveaxis(VOLUME, 0, -1)[:, 1:6])
    with pytest.raises(ReadError, match=r"a.zarr/0"):
        whole(split, 0, "image")


def test_a_replaced_array_is_told(ome: Path) -> None:
    split = opened(ome, 3)
    other = {"cells": (CELLS, "zyx")}
    write_ome(ome, VOLUME[:1], "czyx", other, chunks=(1, 4, 5, 5), compressors=None)
    with pytest.raises(
        ReadError, match=r"scan.ome.zarr/0: the split was replaced or removed while"
    ):
        whole(split, 0, "image")


@pytest.mark.parametrize("codec", [None, numcodecs.Zstd()])
def test_a_chunk_that_is_truncated_while_in_use_is_told(tmp_path: Path, codec: Any) -> None:
    path = write_ome(tmp_path / "a.zarr", VOLUME[0], "zyx", chunks=(4, 12, 5), compressors=codec,
                     zarr_format=2)  # fmt: skip
    case = open_case(path, "a")
    assert np.array_equal(case[..., 0], VOLUME[0])
    chunk = path / "0/0.0.1"
    content = chunk.read_bytes()
    os.truncate(chunk, 10)
    with pytest.raises(ReadError, match=r"0/0\.0\.1: .* truncated while in use.*for case 'a'"):
        case[:, :, 6]
    chunk.write_bytes(content)
    assert np.array_equal(case[..., 0], VOLUME[0]), "a restored file is read again"


def test_a_pipe_is_not_read(ome: Path) -> None:
    split = opened(ome, 3)
    chunk = ome / "0/c/0/0/0/0"
    chunk.unlink()
    os.mkfifo(chunk)
    with pytest.raises(ReadError, match="needed a file, found a pipe"):
        whole(split, 0, "image")


def edit(path: Path, **changes: Any) -> None:
    said = json.loads(path.read_text())
    for key, value in changes.items():
        *above, last = key.split("__")
        at = said
        for step in above:
            at = at[int(step) if step.isdecimal() else step]
        at[last] = value
    path.write_text(json.dumps(said))


SCALES = "attributes__ome__multiscales"
HOSTILE: dict[str, tuple[str, dict[str, Any], str]] = {
    "a path that leads out": ("", {f"{SCALES}__0__datasets": [{"path": "../other"}]}, "'../other'"),
    "an absolute path": ("", {f"{SCALES}__0__datasets": [{"path": "/etc"}]}, "'/etc', which"),
    "no datasets": ("", {f"{SCALES}__0__datasets": []}, "found none"),
    "datasets that are numbers": ("", {f"{SCALES}__0__datasets": [3]}, "metadata is damaged"),
    "multiscales that are text": ("", {SCALES: "abc"}, "metadata is damaged"),
    "axes twice": ("", {f"{SCALES}__0__axes": list("zzyx")}, "needed axes y and x"),
    "another number of axes": ("", {f"{SCALES}__0__axes": list("zyx")}, "the axes zyx, found"),
    "a scale of text": (
        "", {f"{SCALES}__0__coordinateTransformations": [{"type": "scale", "scale": list("abcd")}]},
        "metadata is damaged",
    ),
    "a label that leads out": ("labels", {"attributes__ome__labels": ["../../x"]}, r"\.\./x'"),
    "a label that is not there": ("labels", {"attributes__ome__labels": ["x"]}, "found none"),
    "a huge chunk": ("0", {"chunk_grid__configuration__chunk_shape": [1, 1, 1, 1 << 40]}, "chunks"),
    "an unknown dtype": ("0", {"data_type": "r64"}, "needed a data type of"),
    "an empty array": ("0", {"shape": [2, 0, 12, 10]}, "not empty|empty array"),
    "no shape": ("0", {"shape": None}, "needed a shape"),
    "more pixels than there are": ("0", {"shape": [2, 1 << 40, 1 << 40, 10]}, "needed a shape"),
    "a file that is not JSON": ("0", {}, "is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_metadata_is_refused(ome: Path, what: str) -> None:
    inside, changes, said = HOSTILE[what]
    (ome.parent / "other").mkdir()
    file = ome / inside / "zarr.json"
    if changes:
        edit(file, **changes)
    else:
        file.write_text("{")
    with pytest.raises(StoreError, match=said):
        open_in_place(ome, 3)


@pytest.mark.parametrize("place", ["0", "labels", "labels/cells"])
def test_links_that_lead_out_are_not_followed(ome: Path, place: str) -> None:
    (ome / place).rename(ome.parent / "elsewhere")
    (ome / place).symlink_to(ome.parent / "elsewhere")
    with pytest.raises(StoreError, match=r"inside this folder, found .*, which is not followed"):
        open_in_place(ome, 3)


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    path = write_ome(tmp_path / "a.zarr", VOLUME, "czyx", zarr_format=2)
    edit(path / "0/.zarray", dtype="|O", filters=[{"id": "pickle"}])
    with pytest.raises(StoreError, match=r"needed a data type of .*found '\|O'"):
        open_in_place(path, 3)
    edit(path / "0/.zarray", dtype="<u2", filters=[{"id": "pickle"}])
    with pytest.raises(StoreError, match=r"codec 'numcodecs\.pickle' is not read"):
        open_in_place(path, 3)


def test_claims_of_many_chunks_or_times_take_no_memory(tmp_path: Path) -> None:
    path = write_ome(tmp_path / "a.zarr", VOLUME[0], "zyx", chunks=(4, 12, 10), fill_value=7)
    edit(path / "0/zarr.json", shape=[1 << 18, 1 << 18, 1 << 18])
    split = opened(path, 3)
    assert read_case_table(split).sizes.tolist() == [[1 << 18] * 3]
    out = np.zeros((2, 3, 4, 1), np.uint16)
    read_box(split, 0, (slice(9, 11), slice(1 << 17, (1 << 17) + 3), slice(0, 4)), image=out)
    assert (out == 7).all(), "chunks that are not there"
    edit(path / "zarr.json", **{f"{SCALES}__0__axes": list("tyx")})
    with pytest.raises(StoreError, match="needed at most 100,000 points in time, found 262,144"):
        open_in_place(path, 2)


MISFITS: dict[str, tuple[str, tuple[int, ...], str, tuple[int, ...], int, str]] = {
    "a label of another size": (
        "yx", (6, 8), "yx", (3, 4), 2, r"needed the size \(6, 8\) of 'image', found \(3, 4\)"),
    "a label of several channels": (
        "yx", (6, 8), "cyx", (2, 6, 8), 2, "needed a label of one channel, found 2"),
    "a volume in 2-D": (
        "zyx", (3, 6, 8), "zyx", (3, 6, 8), 2, "needed one plane for patches of 2 axes, found 3"),
    "a plane in 3-D": ("yx", (6, 8), "yx", (6, 8), 3, "needed the axes zyx for .* found yx: use"),
    "fewer times": (
        "tyx", (3, 6, 8), "yx", (6, 8), 2, "needed 3 points in time, as the image has, found 1"),
}  # fmt: skip


@pytest.mark.parametrize("what", MISFITS)
def test_images_and_labels_that_do_not_fit_are_told(tmp_path: Path, what: str) -> None:
    letters, shape, label_letters, label_shape, axes, said = MISFITS[what]
    labels = {"x": (np.zeros(label_shape, np.uint8), label_letters)}
    path = write_ome(tmp_path / "a.zarr", np.zeros(shape, np.uint8), letters, labels)
    with pytest.raises(StoreError, match=said):
        open_in_place(path, axes)


def test_cases_that_are_not_alike_are_told(tmp_path: Path) -> None:
    label = {"x": (np.zeros((6, 8), np.uint8), "yx")}
    one = np.zeros((6, 8), np.uint8)
    write_ome(tmp_path / "all/a.zarr", one, "yx", label)
    write_ome(tmp_path / "all/b.zarr", one.astype(np.int16), "yx", label)
    with pytest.raises(StoreError, match=r"b.zarr/0: needed uint8 .* case 'a' .*, found int16"):
        open_in_place(tmp_path / "all", 2)
    write_ome(tmp_path / "all/b.zarr", one, "yx")
    with pytest.raises(StoreError, match=r"needed the same fields .* image, mask in 'a' and image"):
        open_in_place(tmp_path / "all", 2)
    assert len(open_cases(opened(tmp_path / "all", 2, ("image",)))) == 2
    wrong = group_of(tmp_path / "g", image=np.zeros((9, 9, 3)), mask=np.zeros((6, 8), np.uint8))
    with pytest.raises(StoreError, match=r"needed the shape \(6, 8\) of the mask, or \(6, 8, C\)"):
        open_in_place(wrong, 2)
