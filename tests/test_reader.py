"""Whatever zarr-python writes reads equal to zarr-python, straight from the files or through it."""

from __future__ import annotations

import shutil
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
import zarr.codecs as codecs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stores import traced_pixels, write_split
from zarrfeed.errors import ReadError, StoreError
from zarrfeed.store.descriptive_arrays import sample_names
from zarrfeed.store.reader import BatchReader, SplitReader, read_samples
from zarrfeed.store.split import warn_if_indirect
from zarrfeed.store.split_opening import list_splits, open_split

if TYPE_CHECKING:
    from pathlib import Path

ORDER = np.array([13, 2, 21, 0, 2, 7, 20, 19, 18, 5, 6])

LAYOUTS: dict[str, dict[str, Any]] = {
    "raw": {"compressors": None},
    "raw, no shards": {"compressors": None, "shard": None},
    "raw, three a chunk": {"compressors": None, "chunk": 3, "shard": 6},
    "blosc-lz4": {"compressors": codecs.BloscCodec(cname="lz4", shuffle="noshuffle")},
    "blosc-zstd bitshuffle, three a chunk": {
        "compressors": codecs.BloscCodec(cname="zstd", shuffle="bitshuffle"),
        "chunk": 3,
        "shard": 9,
    },
    "zstd": {"compressors": codecs.ZstdCodec(level=1)},
    "zstd with checksum": {"compressors": codecs.ZstdCodec(level=1, checksum=True)},
    "zstd, no shards, five a chunk": {
        "compressors": codecs.ZstdCodec(), "chunk": 5, "shard": None,
    },
    "gzip": {"compressors": codecs.GzipCodec(level=1)},
    "raw with crc32c": {"compressors": codecs.Crc32cCodec()},
    "lz4 with crc32c": {"compressors": [codecs.BloscCodec(cname="lz4"), codecs.Crc32cCodec()]},
    "index at start": {"compressors": None, "index_location": "start"},
    "dots in names": {"chunk_key_encoding": {"name": "default", "separator": "."}},
    "names as in v2": {"chunk_key_encoding": {"name": "v2", "separator": "/"}, "shard": None},
    "transposed": {"filters": [codecs.TransposeCodec(order=(0, 2, 1, 3))], "direct": False},
    "big-endian": {"serializer": codecs.BytesCodec(endian="big"), "dtype": ">u2", "direct": False},
    "uint16": {"dtype": "uint16"},
    "float32": {"dtype": "float32", "compressors": codecs.BloscCodec(typesize=4)},
    "bool": {"dtype": "bool"},
}  # fmt: skip


def write_layout(path: Path, layout: dict[str, Any], image: np.ndarray) -> None:
    """Write one array `image` as `layout` says."""
    rest = dict(layout)
    chunk, shard = rest.pop("chunk", 1), rest.pop("shard", 4)
    dtype = np.dtype(rest.pop("dtype", "uint8"))
    rest.pop("direct", None)
    location = rest.pop("index_location", None)
    shards: Any = None if shard is None else (shard, *image.shape[1:])
    if location is not None:
        shards = {"shape": shards, "index_location": location}
    zarr.open_group(str(path), mode="w").create_array(
        "image",
        data=image.astype(dtype.newbyteorder("=")),
        chunks=(chunk, *image.shape[1:]),
        shards=shards,
        **rest,
    )


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_reads_equal_to_zarr_python(name: str, tmp_path: Path) -> None:
    write_layout(tmp_path / "s", LAYOUTS[name], traced_pixels(22)["image"])
    split = open_split(tmp_path / "s")
    expected = np.asarray(zarr.open_group(str(tmp_path / "s"), mode="r")["image"][:])  # type: ignore[index]
    assert (split.layouts["image"].indirect is None) == LAYOUTS[name].get("direct", True)
    found = read_samples(split, "image", ORDER)
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected[ORDER])


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_grid_and_any_ids_read_equal_to_the_source(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chunk = data.draw(st.integers(1, 5))
    shard = data.draw(st.none() | st.integers(1, 4).map(lambda chunks: chunks * chunk))
    samples = data.draw(st.integers(1, 30))
    shape = data.draw(st.sampled_from([(), (3,), (2, 3), (3, 2, 2)]))
    dtype = data.draw(st.sampled_from(["uint8", "int16", "float32", "float64"]))
    compressor = data.draw(
        st.sampled_from(
            [None, codecs.BloscCodec(cname="lz4"), codecs.ZstdCodec(), codecs.GzipCodec()]
        )
    )
    values = np.random.default_rng(0).integers(0, 99, (samples, *shape)).astype(dtype)
    path = tmp_path_factory.mktemp("grid")
    write_split(path, {"a": values}, chunk=chunk, shard=shard, compressors=compressor)
    ids = np.array(data.draw(st.lists(st.integers(0, samples - 1), min_size=1, max_size=40)))
    assert np.array_equal(read_samples(open_split(path), "a", ids), values[ids])
    shutil.rmtree(path)


@pytest.mark.parametrize("shard", [None, 4])
def test_chunks_that_were_never_written_hold_the_fill_value(
    tmp_path: Path, shard: int | None
) -> None:
    array = zarr.open_group(str(tmp_path), mode="w").create_array(
        "image", shape=(22, 2, 2), chunks=(1, 2, 2), shards=shard and (shard, 2, 2),
        dtype="float32", fill_value=np.nan, compressors=None,
    )  # fmt: skip
    array[5] = 1.0
    found = read_samples(open_split(tmp_path), "image", np.array([4, 5, 6, 21]))
    assert np.array_equal(found, np.asarray(array[:])[[4, 5, 6, 21]], equal_nan=True)
    assert not (tmp_path / "image/c/4").exists()  # a whole chunk or shard without a file


def test_an_indirect_field_is_announced_once(tmp_path: Path) -> None:
    write_layout(tmp_path / "s", LAYOUTS["transposed"], traced_pixels(4)["image"])
    with pytest.warns(UserWarning, match=r"chunk by chunk.*codec 'transpose'"):
        warn_if_indirect(open_split(tmp_path / "s"), ["image"])


def test_a_packed_store_is_announced_by_silence(split: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_indirect(open_split(split), ["image", "mask"])


def test_fields_with_different_grids_are_read_together(tmp_path: Path) -> None:
    pixels = traced_pixels(22)
    write_split(tmp_path, {"image": pixels["image"]}, chunk=2, shard=8)
    group = zarr.open_group(str(tmp_path), mode="a")
    group.create_array("mask", data=pixels["mask"], chunks=(3, 8, 6), shards=None)
    out = [np.empty((ORDER.size, *pixels[name].shape[1:]), np.uint8) for name in pixels]
    reader = BatchReader(open_split(tmp_path), list(pixels), open_files=2)
    reader.read_into(ORDER, out)
    reader.close()
    assert all(np.array_equal(a, v[ORDER]) for a, v in zip(out, pixels.values(), strict=True))


def test_a_split_is_worked_through_by_ids(split: Path) -> None:
    pixels = traced_pixels(22)
    with SplitReader(open_split(split), open_files=1) as reader:
        assert reader.fields == ("image", "mask")
        assert len(reader) == 22
        for ids in (ORDER, range(8, 22), [3], np.arange(0)):
            found = reader.read(ids)
            assert list(found) == ["image", "mask"]
            for name, values in found.items():
                assert np.array_equal(values, pixels[name][np.asarray(ids, np.int64)])
                assert values.flags.c_contiguous
    with SplitReader(open_split(split), ["mask"]) as reader:
        first = reader.read([1])["mask"]
        assert first is not reader.read([1])["mask"]


@pytest.mark.parametrize("ids", [[22], [0, -1]])
def test_ids_of_no_sample_are_refused(split: Path, ids: list[int]) -> None:
    with (
        SplitReader(open_split(split)) as reader,
        pytest.raises(StoreError, match=rf"needed sample ids 0 … 21, found {ids[-1]}"),
    ):
        reader.read(ids)


# -- damage -------------------------------------------------------------------------------------


def damaged(split: Path, tmp_path: Path, **attributes: Any) -> Path:
    """A copy of the split to be hurt; with attributes, one that zarrfeed packed."""
    copy = tmp_path / "train"
    shutil.copytree(split, copy)
    if attributes:
        zarr.open_group(str(copy), mode="a").attrs["zarrfeed"] = attributes
    return copy


def read_all(path: Path) -> None:
    read_samples(open_split(path), "image", np.arange(22))


@pytest.mark.parametrize("keep", [0, 10, 60, 500])
def test_a_truncated_shard_is_named(split: Path, tmp_path: Path, keep: int) -> None:
    path = damaged(split, tmp_path)
    shard = path / "image/c/2/0/0/0"
    shard.write_bytes(shard.read_bytes()[:keep])
    with pytest.raises(ReadError, match=r"image/c/2/0/0/0: .*(truncated|damaged)"):
        read_all(path)


def test_a_shard_truncated_under_way_is_named(split: Path, tmp_path: Path) -> None:
    path = damaged(split, tmp_path)
    reader = BatchReader(open_split(path), ["image"])
    out = np.empty((1, 8, 6, 3), np.uint8)
    reader.read_into(np.array([0]), [out])
    shard = path / "image/c/0/0/0/0"
    with shard.open("r+b") as file:
        file.truncate(3)
    with pytest.raises(ReadError, match=r"image/c/0/0/0/0: .*truncated"):
        reader.read_into(np.array([1]), [out])
    reader.close()


def test_a_flipped_bit_in_the_index_is_found(split: Path, tmp_path: Path) -> None:
    path = damaged(split, tmp_path)
    shard = path / "image/c/1/0/0/0"
    data = bytearray(shard.read_bytes())
    data[-20] ^= 1
    shard.write_bytes(data)
    with pytest.raises(ReadError, match="index is damaged"):
        read_all(path)


@pytest.mark.parametrize("name", ["blosc-lz4", "zstd", "gzip", "raw with crc32c"])
def test_damaged_chunks_are_named_with_their_sample(name: str, tmp_path: Path) -> None:
    write_layout(tmp_path / "s", LAYOUTS[name], traced_pixels(22)["image"])
    shard = tmp_path / "s/image/c/1/0/0/0"
    data = bytearray(shard.read_bytes())
    data[0:12] = b"\xff" * 12
    shard.write_bytes(data)
    with pytest.raises(ReadError, match=r"c/1/0/0/0: chunk 0 \(sample 4 of 'image'\) is damaged"):
        read_all(tmp_path / "s")


def test_a_missing_shard_is_an_error_in_a_packed_store_only(split: Path, tmp_path: Path) -> None:
    path = damaged(split, tmp_path)
    (path / "image/c/1/0/0/0").unlink()
    assert not read_samples(open_split(path), "image", np.array([4])).any()
    zarr.open_group(str(path), mode="a").attrs["zarrfeed"] = {"format": 1}
    with pytest.raises(ReadError, match="the shard is missing"):
        read_all(path)


# -- opening ------------------------------------------------------------------------------------


def test_wrong_paths_say_what_is_there(split: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such store"):
        open_split(tmp_path / "nothing")
    with pytest.raises(StoreError, match=r"found no zarr\.json"):
        open_split(tmp_path)
    with pytest.raises(StoreError, match="node_type='array'"):
        open_split(split / "image")
    zarr.open_group(str(tmp_path / "set"), mode="w").create_group("train")
    with pytest.raises(StoreError, match=r"name one of its splits, such as .*set/train"):
        open_split(tmp_path / "set")
    with pytest.raises(StoreError, match="unfinished conversion"):
        open_split(tmp_path / "set" / "train.partial")
    assert list_splits(tmp_path / "set") == ("train",)
    with pytest.raises(StoreError, match=r"no such split; .*set has train"):
        open_split(tmp_path / "set/trian")
    with pytest.raises(StoreError, match=r"did you mean .*/set\?"):
        open_split(tmp_path / "sett")
    with pytest.raises(StoreError, match=r"did you mean 'train'\?"):
        open_split(tmp_path / "set/Trian")
    with pytest.raises(StoreError, match=r"set has train \("):
        open_split(tmp_path / "set/other")
    with pytest.raises(StoreError, match=r"no such store; did you mean .*/set/train\?"):
        open_split(tmp_path / "Sett/train")
    with pytest.raises(StoreError, match=r"no such store; did you mean .*/set\?"):
        open_split(tmp_path / "sett/val")
    with pytest.raises(StoreError, match="convert` packs one"):
        open_split(tmp_path / "elsewhere/val")
    for name in ("pred.zarr", "new.zarr", "camvid", "camvid.zarr"):
        (tmp_path / name).mkdir()
    for near in ("camvid.zar", "camvd.zarr", "Camvid.Zarr", "camvid2"):
        with pytest.raises(StoreError, match=r"did you mean .*/camvid\.zarr\?"):
            open_split(tmp_path / near)
    with pytest.raises(StoreError, match="convert` packs one"):
        open_split(tmp_path / "nope.zarr")  # the extension alone is no likeness
    (tmp_path / "set/zarr.json").write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        open_split(tmp_path / "set")


def test_a_newer_format_is_refused(split: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="upgrade zarrfeed"):
        open_split(damaged(split, tmp_path, format=99))


def test_fields_must_exist_and_agree(split: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"needed a field 'edges', found image, mask"):
        open_split(split).select(["edges"])
    pixels = traced_pixels(6)
    write_split(tmp_path, {"image": pixels["image"], "mask": pixels["mask"][:5]})
    with pytest.raises(StoreError, match=r"\{'image': 6, 'mask': 5\}"):
        open_split(tmp_path).select(["image", "mask"])


def test_samples_are_named_by_their_keys(tmp_path: Path) -> None:
    keys = np.zeros((3, 6), np.uint8)
    for row, key in enumerate(["a", "söhne", "c/d"]):
        encoded = key.encode()
        keys[row, : len(encoded)] = list(encoded)
    write_split(tmp_path, {"image": traced_pixels(3)["image"], "key": keys}, shard=None)
    assert sample_names(open_split(tmp_path), np.array([2, 1])) == ["c/d", "söhne"]
    assert open_split(tmp_path).default_fields == ("image",)
