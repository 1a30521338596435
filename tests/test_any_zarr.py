"""Zarr v2, and arrays in any chunks, are read as zarr-python reads them."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr import codecs

from stores import traced_pixels, write_split
from zarrfeed import FrontEnd, SplitReader, StoreError, open_split, read_samples
from zarrfeed.store.chunk_reader import ChunkReader
from zarrfeed.store.field_opening import open_field

if TYPE_CHECKING:
    from pathlib import Path

PIXELS = traced_pixels(10)
IDS = np.array([9, 0, 4, 4, 7])


@settings(max_examples=30)
@given(st.data())
def test_chunks_of_any_shape_order_and_codec_are_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    shape = data.draw(st.sampled_from([(7, 5), (7, 5, 4), (6, 4, 5, 3)]))
    chunks = tuple(data.draw(st.integers(1, extent + 1)) for extent in shape)
    shards = data.draw(st.none() | st.tuples(*(st.sampled_from([c, 2 * c, 3 * c]) for c in chunks)))
    dtype = data.draw(st.sampled_from(["uint8", "int16", "float32", "float64", "bool"]))
    endian = data.draw(st.sampled_from(["little", "big"]))
    order = data.draw(st.permutations(range(len(shape))))
    compressors = data.draw(
        st.sampled_from(
            [None, codecs.BloscCodec(typesize=1), codecs.ZstdCodec(), codecs.GzipCodec(),
             codecs.Crc32cCodec(), [codecs.ZstdCodec(), codecs.Crc32cCodec()]]
        )
    )  # fmt: skip
    values = np.random.default_rng(0).integers(0, 99, shape).astype(dtype)
    path = tmp_path_factory.mktemp("grid")
    array = zarr.open_group(str(path), mode="w").create_array(
        "image", shape=shape, dtype=dtype, chunks=chunks, shards=shards, compressors=compressors,
        filters=[codecs.TransposeCodec(order=tuple(order))],
        serializer=codecs.BytesCodec(endian=None if values.itemsize == 1 else endian),
        fill_value=1,
    )  # fmt: skip
    written = data.draw(st.integers(0, shape[0]))
    array[:written] = values[:written]
    values[written:] = 1
    ids = np.array(data.draw(st.lists(st.integers(0, shape[0] - 1), min_size=1, max_size=9)))
    split = open_split(path)
    assert not split.layouts["image"].foreign
    assert np.array_equal(read_samples(split, "image", ids), values[ids])
    assert np.array_equal(values, np.asarray(array[:]))


def write_v2(path: Path, chunks: tuple[int, ...] = (1, 8, 6, 3), **options: Any) -> zarr.Array:
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    group.attrs["a"] = 1
    dtype = options.pop("dtype", "u1")
    image = group.create_array("image", shape=(10, 8, 6, 3), dtype=dtype, chunks=chunks, **options)
    image[:] = PIXELS["image"].astype(dtype)
    group.create_array("mask", data=PIXELS["mask"], chunks=(4, 8, 6))
    zarr.consolidate_metadata(str(path), zarr_format=2)
    return image


V2: dict[str, dict[str, Any]] = {
    "as zarr-python does by itself": {},
    "raw": {"compressors": None},
    "zlib": {"compressors": numcodecs.Zlib()},
    "gzip": {"compressors": numcodecs.GZip()},
    "zstd": {"compressors": numcodecs.Zstd()},
    "blosc": {"compressors": numcodecs.Blosc()},
    "bz2": {"compressors": numcodecs.BZ2()},
    "lzma": {"compressors": numcodecs.LZMA()},
    "lz4": {"compressors": numcodecs.LZ4()},
    "big-endian": {"dtype": ">i2", "compressors": numcodecs.Zlib()},
    "Fortran's order": {"order": "F", "dtype": "<u2"},
    "parts of samples": {"chunks": (3, 5, 4, 3)},
    "folders": {"chunk_key_encoding": {"name": "v2", "separator": "/"}},
    "float16": {"dtype": "<f2", "fill_value": 3.0},
    "a filter": {"filters": [numcodecs.Delta("u1")], "compressors": None},
}


@pytest.mark.parametrize("name", V2)
def test_zarr_v2_is_read(name: str, tmp_path: Path) -> None:
    image = write_v2(tmp_path / "s", **V2[name])
    split = open_split(tmp_path / "s")
    found = read_samples(split, "image", IDS)
    assert np.array_equal(found, np.asarray(image[:])[IDS])
    assert found.dtype.isnative
    assert np.array_equal(read_samples(split, "mask", IDS), PIXELS["mask"][IDS])


def test_chunks_of_v2_that_were_never_written_hold_the_fill_value(tmp_path: Path) -> None:
    group = zarr.open_group(str(tmp_path), mode="w", zarr_format=2)
    group.create_array("a", shape=(4, 2), dtype="i4", chunks=(1, 2), fill_value=-7)[1] = 5
    assert read_samples(open_split(tmp_path), "a", range(3)).tolist() == [
        [-7] * 2,
        [5] * 2,
        [-7] * 2,
    ]


def test_a_sequence_of_v2_says_once_what_is_slow(tmp_path: Path) -> None:
    write_v2(tmp_path / "s", chunks=(3, 5, 4, 3))
    with (
        pytest.warns(UserWarning, match="s/image: read chunk by chunk, which is slower") as said,
        FrontEnd(tmp_path / "s", 5, shuffle=False, workers=0) as seq,
    ):
        image, mask = seq[1]
    assert len(said) == 1
    assert np.array_equal(image, PIXELS["image"][5:])
    assert np.array_equal(mask, PIXELS["mask"][5:])


RAN: list[str] = []


class Runs:
    def __reduce__(self) -> Any:
        return RAN.append, ("ran",)


@pytest.mark.parametrize("place", ["compressor", "filters"])
def test_nothing_of_a_v2_store_is_unpickled(place: str, tmp_path: Path) -> None:
    write_v2(tmp_path / "s", compressors=None)
    file = tmp_path / "s/image/.zarray"
    said = json.loads(file.read_text())
    pickled = {"id": "pickle", "protocol": 5}
    said[place] = pickled if place == "compressor" else [pickled]
    file.write_text(json.dumps(said))
    for chunk in (tmp_path / "s/image").glob("[0-9]*"):
        chunk.write_bytes(pickle.dumps(Runs()))
    with pytest.raises(StoreError, match=r"image: codec 'numcodecs\.pickle' is not read"):
        read_samples(open_split(tmp_path / "s"), "image", IDS)
    assert not RAN
    assert np.array_equal(
        read_samples(open_split(tmp_path / "s"), "mask", IDS), PIXELS["mask"][IDS]
    )


OTHERS: dict[str, Any] = {
    "words": np.array(["a.png"] * 10),
    "time": np.array(["2020-01-01"] * 10, "datetime64[s]"),
    "text": np.array(["a"] * 10, np.dtypes.StringDType()),
    "complex": np.zeros((10, 2), np.complex64),
    "spatial_ref": np.array(0),
    "nothing": np.zeros((10, 0), np.uint8),
}


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
@pytest.mark.filterwarnings("ignore:The data type")
@pytest.mark.filterwarnings("ignore:The codec")
@pytest.mark.parametrize("name", OTHERS)
def test_an_array_that_cannot_feed_is_left_out_until_it_is_asked_for(
    name: str, tmp_path: Path
) -> None:
    store = write_split(tmp_path / "s", PIXELS)
    zarr.open_group(str(store), mode="a").create_array(name, data=OTHERS[name])
    split = open_split(store)
    assert split.default_fields == ("image", "mask")
    assert list(split.unfit) == [name]
    with SplitReader(split) as reader:
        assert np.array_equal(reader.read(IDS)["image"], PIXELS["image"][IDS])
    with pytest.raises(StoreError, match=f"s/{name}: needed"):
        split.select([name])


def test_an_image_that_cannot_feed_is_missed(tmp_path: Path) -> None:
    store = write_split(tmp_path / "s", {"mask": PIXELS["mask"]})
    image = np.zeros((10, 8, 6), np.complex64)
    zarr.open_group(str(store), mode="a").create_array("image", data=image)
    split = open_split(store)
    with pytest.raises(StoreError, match=r"s/image: needed a data type .*found 'complex64'"):
        split.select(split.default_fields)


def test_chunks_of_parts_of_samples_are_not_left_to_zarr_python(tmp_path: Path) -> None:
    write_split(tmp_path / "s", {"image": PIXELS["image"][:, :, :, :1]}, shard=None)
    group = zarr.open_group(str(tmp_path / "s"), mode="a")
    group.create_array("blocks", data=PIXELS["image"], chunks=(2, 4, 4, 3))
    split = open_split(tmp_path / "s")
    layout = split.layouts["blocks"]
    assert isinstance(open_field(split, "blocks", layout, open_files=1), ChunkReader)
