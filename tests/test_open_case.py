"""A case opened by its key is the case that was stored, whatever its size, tiles and codec."""

from __future__ import annotations

import operator
import pickle
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask.array
import numpy as np
import pytest
import tensorstore
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr import codecs

import zarrfeed
from case_stores import random_case, write_cases
from cases import CaseArrays, put_together
from zarrfeed import ReadError, StoreError, open_case, open_cases, open_split
from zarrfeed.store import case_array
from zarrfeed.store.array_index import box_index
from zarrfeed.store.chunk_reader import ChunkReader
from zarrfeed.store.decoding_reader import DecodingReader
from zarrfeed.store.field_opening import open_field
from zarrfeed.store.raw_reader import GatheringReader, RowReader
from zarrfeed.store.reader import BatchReader
from zarrfeed.store.zarr_python_reader import ZarrPythonReader
from zarrfeed_convert import convert

DTYPES = [
    "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64",
]  # fmt: skip
DELTA = {"name": "numcodecs.delta", "configuration": {"dtype": "<i2"}}  # not one of ours
CODECS = {
    "raw": {"compressors": None},
    "lz4": {"compressors": codecs.BloscCodec(cname="lz4", shuffle="noshuffle")},
    "zstd": {"compressors": codecs.ZstdCodec()},
    "raw with a checksum": {"compressors": codecs.Crc32cCodec()},
    "several tiles a chunk": {"compressors": codecs.ZstdCodec(), "chunk": 3},
    "several raw tiles a chunk": {"compressors": None, "chunk": 2},
    "no shards": {"compressors": None, "shard": None},
    "big-endian": {"compressors": None, "serializer": codecs.BytesCodec(endian="big")},
}


@st.composite
def slices(draw, extent: int) -> slice:
    ends = st.none() | st.integers(-extent - 2, extent + 2)
    step = draw(st.none() | st.integers(-extent - 1, extent + 1).filter(bool))
    return slice(draw(ends), draw(ends), step)


@st.composite
def indices(draw, shape: tuple[int, ...]) -> tuple:
    index = [draw(slices(extent) | st.integers(-extent, extent - 1)) for extent in shape]
    left_out = draw(st.none() | slices(len(shape)).filter(lambda part: part.step in (None, 1)))
    if left_out is not None:
        first, last, _ = left_out.indices(len(shape))
        index[first : max(first, last)] = [...]
    for _ in range(draw(st.integers(0, 2))):
        index.insert(draw(st.integers(0, len(index))), None)
    return tuple(index)


@st.composite
def splits(draw):
    axes = draw(st.integers(2, 3))
    most = 20 if axes == 2 else 9
    extents = st.tuples(*[st.integers(1, most)] * axes)
    sizes = draw(st.lists(extents, min_size=1, max_size=4))
    dtype, channels = draw(st.sampled_from(DTYPES)), draw(st.integers(1, 3))
    cases = {
        f"fall/ä{number}": random_case(size, dtype, channels, number)
        for number, size in enumerate(sizes)
    }
    index = {
        (key, field): draw(indices(values.shape))
        for key, case in cases.items()
        for field, values in case.items()
    }
    return cases, draw(extents), draw(st.sampled_from(sorted(CODECS))), index


@given(st.data())
@settings(deadline=None)
def test_an_index_of_the_box_is_the_index_of_the_array(data):
    shape = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple))
    array = np.arange(np.prod(shape)).reshape(shape)
    index = data.draw(indices(shape))
    found = box_index(index, shape)
    assert all(part.step > 0 for part in found.box)
    assert array[found.box].shape == found.shape
    assert np.array_equal(array[found.box][found.then], array[index])


@given(splits())
@settings(deadline=None, max_examples=15)
def test_any_box_of_any_case_is_that_of_the_source(split):
    cases, tile, codec, index = split
    with tempfile.TemporaryDirectory() as folder:
        path = write_cases(Path(folder) / "s", cases, tile, **CODECS[codec])
        opened = open_cases(path)
        assert list(opened) == list(cases)
        spec = {"driver": "zarr3", "kvstore": f"file://{path}/image/"}
        other = tensorstore.open(spec, read=True).result()
        for (key, field), wanted in index.items():
            right = cases[key][field]
            case = opened.open(key, field)
            assert (case.shape, case.dtype) == (right.shape, right.dtype)
            assert (case.ndim, case.size, len(case)) == (right.ndim, right.size, len(right))
            assert np.array_equal(case[wanted], right[wanted])
            assert np.array_equal(np.asarray(case), right)
            assert np.array_equal(put_together(path, key, field), right)
        for number, (key, size) in enumerate(zip(cases, opened.sizes, strict=True)):
            first = int(zarr.open_array(str(path / "case_first_tile"))[number])
            own = tuple(slice(0, min(both)) for both in zip(size.tolist(), tile, strict=True))
            assert np.array_equal(other[first].read().result()[own], cases[key]["image"][own])


@given(splits(), st.sampled_from(["raw", "lz4", "zstd", "auto"]))
@settings(deadline=None, max_examples=10)
def test_packed_cases_are_those_of_the_source(split, codec):
    cases, tile, _, index = split
    cases = {key: {"image": case["image"].astype("u1"), "mask": case["mask"]}
             for key, case in cases.items()}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        options = {"tile": tile, "shard_size": 2000, "workers": 1, "classes": 3}
        convert(CaseArrays(cases), Path(folder) / "o", split="s", codec=codec, **options)
        opened = open_cases(Path(folder) / "o/s")
        assert sorted(opened) == sorted(cases)
        for (key, field), wanted in index.items():
            assert np.array_equal(opened.open(key, field)[wanted], cases[key][field][wanted])


CASES = {
    "a": random_case((5, 7), "int16", 2, 0),
    "b": random_case((1, 1), "int16", 2, 1),
    "c": random_case((4, 12), "int16", 2, 2),
}
TILE = (2, 3)


@pytest.fixture
def store(tmp_path):
    return write_cases(tmp_path / "s", CASES, TILE, compressors=None)


def test_a_case_is_an_array(store):
    case, right = open_case(store, "a"), CASES["a"]["image"]
    assert repr(case) == "<image of case 'a': (5, 7, 2) int16, tiles (2, 3, 2)>"
    assert (case.nbytes, case.chunks, case.spacing, case.affine) == (140, (2, 3, 2), None, None)
    assert np.array_equal(list(case), list(right)), "iterates over its first axis"
    assert case[4, 6, 1] == right[4, 6, 1]
    assert np.ndim(case[4, 6, 1]) == 0
    assert np.asarray(case, np.float32).dtype == np.float32
    assert np.array_equal(dask.array.from_array(case)[::2, 1:5].compute(), right[::2, 1:5])
    assert dask.array.from_array(case, chunks=case.chunks).chunks[:2] == ((2, 2, 1), (3, 3, 1))
    assert case[2:2].shape == (0, 7, 2)
    assert case[...].ctypes.data % 64 == 0
    with pytest.raises(ValueError, match="case 'a' is read from its files, and cannot be a view"):
        np.array(case, copy=False)


def test_cases_are_a_mapping(store):
    cases = open_cases(open_split(store))
    assert (len(cases), list(cases), "b" in cases, "d" in cases) == (
        3,
        ["a", "b", "c"],
        True,
        False,
    )
    assert cases.get("d") is None
    assert cases.sizes.tolist() == [[5, 7], [1, 1], [4, 12]]
    assert (cases.tile_size, cases.split.tile_size, cases.split.tiles) == ((2, 3), (2, 3), 18)
    assert cases.fields == ("image", "mask")
    assert (cases.spacings, cases.affines) == (None, None)
    assert repr(cases) == f"<3 cases of {store}: a, b, c>"
    assert np.array_equal(cases["c"], CASES["c"]["image"])


def test_pixels_are_not_compared_before_they_are_read(store):
    case, same = open_case(store, "a", "mask"), open_case(store, "a", "mask")
    for other in (1, np.uint8(1), np.ones(case.shape), same):
        for compare in (operator.eq, operator.ne):
            with pytest.raises(TypeError, match=r"read them first, as in case\[\.\.\.\] == 1"):
                compare(case, other)
    assert case != "a"
    assert case in {case, same}
    assert len({case, same}) == 2
    assert np.array_equal(case[...] == 1, CASES["a"]["mask"] == 1)


def test_the_default_field_is_the_image_or_the_only_one(tmp_path, store):
    one, two = ({key: dict.fromkeys(names, case["mask"]) for key, case in CASES.items()}
                for names in (["prediction"], ["argmax", "prediction"]))  # fmt: skip
    path = write_cases(tmp_path / "p", one, TILE, compressors=None)
    assert [key for key, case in open_cases(path).items() if case.field == "prediction"] == [*one]
    assert np.array_equal(open_case(path, "c"), CASES["c"]["mask"])
    masks = open_cases(store, "mask")
    assert np.array_equal(masks["c"], CASES["c"]["mask"])
    assert masks.open("c").field == "mask"
    assert masks.open("c", "image").field == "image"
    other = write_cases(tmp_path / "q", two, TILE, compressors=None)
    with pytest.raises(StoreError, match=r"found argmax, prediction: .* \.open\(key, 'argmax'\)"):
        open_cases(other)["c"]


def test_spacing_and_affine_are_those_of_the_case(tmp_path):
    affine = np.stack([np.diag([2.0, 3, 1]), np.full((3, 3), np.nan), np.diag([4.0, 5, 1])])
    spacing = [[2.0, 3], [np.nan, np.nan], [4, 5]]
    store = write_cases(tmp_path / "s", CASES, TILE, spacing=spacing, affine=affine)
    cases = open_cases(store)
    assert [case.spacing for case in cases.values()] == [(2, 3), None, (4, 5)]
    assert np.array_equal(cases["c"].affine, np.diag([4, 5, 1]))
    assert cases["b"].affine is None
    cases["c"].affine[:] = 0
    assert np.array_equal(cases.affines, affine, equal_nan=True), "a case's affine is a copy"


def test_threads_and_processes_may_share_a_case(store):
    case, right = open_case(store, "c"), CASES["c"]["image"]
    with ThreadPoolExecutor(4) as threads:
        columns = list(threads.map(lambda x: case[:, x % 12], range(200)))
    for x, column in enumerate(columns):
        assert np.array_equal(column, right[:, x % 12])
    sent = pickle.loads(pickle.dumps(case))
    assert len(pickle.dumps(case)) < 10_000
    assert np.array_equal(sent, right)
    assert np.array_equal(pickle.loads(pickle.dumps(open_cases(store)))["c"], right)


def test_boxes_that_are_read_one_after_another_share_a_reader(store, monkeypatch):
    opened = []

    def counted(*arguments):
        opened.append(arguments)
        return BatchReader(*arguments)

    monkeypatch.setattr(case_array, "BatchReader", counted)
    cases = open_cases(store)
    for key in [*cases] * 3:
        np.asarray(cases[key])
    with pytest.raises(IndexError):
        cases["c"][10**6]
    np.asarray(cases["c"])
    assert len(opened) == 1


@pytest.mark.parametrize(
    ("kind", "options", "open_files"),
    [
        (GatheringReader, {"compressors": None}, 128),
        (RowReader, {"compressors": None}, 2),
        (DecodingReader, {"compressors": codecs.ZstdCodec()}, 128),
        (ChunkReader, {"filters": codecs.TransposeCodec(order=(2, 0, 3, 1))}, 128),
        (ChunkReader, {"serializer": codecs.BytesCodec(endian="big")}, 128),
        (ZarrPythonReader, {"filters": [DELTA], "compressors": None},
         128),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")
@pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")
@pytest.mark.parametrize("zeros", [False, True], ids=["written", "left out"])
def test_every_reader_fills_the_box_it_is_given(tmp_path, kind, options, open_files, zeros):
    from zarrfeed.store.box_plan import BoxPlan
    from zarrfeed.store.tile_grid import TileGrid

    image = CASES["a"]["image"].copy()
    if zeros:  # such tiles have no chunk, and such shards no file
        image[:4] = 0
    store = write_cases(tmp_path / "s", {"a": {"image": image}}, TILE, **options)
    split = open_split(store)
    with_room = open_field(split, "image", split.layouts["image"], open_files=open_files)
    assert type(with_room) is kind
    box, grid = (slice(1, 5), slice(2, 7)), TileGrid((5, 7), TILE)
    for plan in (BoxPlan(0, grid.parts(box)), BoxPlan.of_box(0, grid, box)):
        memory = np.full((4, 5, 2), -1, np.int16)
        turned = np.full((5, 4, 2), -1, np.int16).transpose(1, 0, 2)
        wide = np.full((8, 6, 2), -1, np.int16)[::2, 1:]
        for out in (memory, memory[::-1], memory[:, ::-1], turned[::-1, :, ::-1], wide):
            with_room.read_box_into(plan, out)
            assert np.array_equal(out, image[box])
    for empty in (BoxPlan(0, []), BoxPlan.of_box(0, grid, (slice(1, 5), slice(2, 2)))):
        with_room.read_box_into(empty, wide)
        assert np.array_equal(wide, image[box]), "an empty plan reads nothing"
    with_room.close()


def test_a_chunk_is_decoded_once_for_a_box(tmp_path, monkeypatch):
    from zarrfeed.store import decoding_reader

    decoded = []
    decode = decoding_reader.decode_chunk
    monkeypatch.setattr(decoding_reader, "decode_chunk", lambda *a: decoded.append(decode(*a)))
    for chunk, times in ((1, 4), (3, 2)):
        store = write_cases(
            tmp_path / "s", CASES, TILE, chunk=chunk, compressors=codecs.ZstdCodec()
        )
        case = open_case(store, "a")
        decoded.clear()
        case[1:3, 2:4]
        assert len(decoded) == times


@pytest.mark.parametrize(
    ("index", "said"),
    [
        (5, "index 5 is out of range for axis 0 of extent 5"),
        ((0, -8), "index -8 is out of range for axis 1 of extent 7"),
        ((0, 0, 0, 0), "needed an index of at most 3 axes with one '...', found"),
        ((..., ...), "needed an index of at most 3 axes with one '...', found"),
        ([0, 1], "needed integers, slices, '...' and None, found"),
        (True, "needed integers, slices, '...' and None, found True"),
        (np.array([1]), "needed integers, slices, '...' and None, found"),
        (1.0, "needed integers, slices, '...' and None, found 1.0"),
    ],
)
def test_other_indices_are_refused(store, index, said):
    with pytest.raises(IndexError, match=f"^{said}"):
        open_case(store, "a")[index]


def test_errors_tell_what_there_is(store, tmp_path):
    with pytest.raises(StoreError, match=r"needed the key of one of 3 .*found 'aa'; did you"):
        open_case(store, "aa")
    with pytest.raises(KeyError):
        open_cases(store)["d"]
    with pytest.raises(
        StoreError, match="needed a field 'imagee', found image, mask; did you mean"
    ):
        open_case(store, "a", "imagee")
    rewrite(store, "digest", np.zeros((3, 2)))
    with pytest.raises(StoreError, match=r"digest: needed 18 tiles of \(2, 3\), found 3 of \(2,\)"):
        open_case(store, "a", "digest")
    zarr.open_group(str(tmp_path / "t")).create_array("image", data=np.zeros((3, 4, 4, 1)))
    with pytest.raises(StoreError, match="needed a split of cases, found one of samples"):
        open_case(tmp_path / "t", "a")


def rewrite(store, name, values):
    zarr.open_group(str(store)).create_array(name, data=np.asarray(values), overwrite=True)


DAMAGE = [
    ("case_first_tile", [0, 8, 10], "case_first_tile: needed 9 for case 1, .* found 8"),
    ("case_first_tile", [-1, 9, 10], "case_first_tile: needed 0 for case 0, .* found -1"),
    ("case_size", [[5, 7], [0, 1], [4, 12]], r"at least 1 pixel .* found \[0, 1\] for case 1"),
    ("case_size", [[5, 7], [-3, 1], [4, 12]], r"found \[-3, 1\] for case 1"),
    ("case_size", np.array([[5, 7], [2**64 - 1, 1], [4, 12]], np.uint64), r"\[-1, 1\] for case 1"),
    ("case_size", [[5, 7], [1, 1], [4, 13]], "needed cases of 18 tiles together, found 20"),
    ("case_size", [[5, 7], [1, 1], [4, 6]], "needed cases of 18 tiles together, found 14"),
    ("case_size", [[5, 7], [1, 1], [2**62, 2**62]], "needed at most .* tiles, found cases of more"),
    ("case_size", [[5, 7], [1, 1], [4, 2**62]], "cases of 18 tiles together, found [0-9,]+ up"),
    ("case_size", [[5, 7], [1, 1]], "case_key of 3, case_size of 2, case_first_tile of 3"),
    ("case_size", [[5.0, 7], [1, 1], [4, 12]], "found one of samples"),
    ("case_size", [5, 1, 4], "found one of samples"),
    ("case_first_tile", [[0, 9, 10]], "found one of samples"),
    ("case_key", np.full((19, 2), 97, np.uint8), "case_key of 19"),
    ("case_key", np.full((3, 2), 97, np.uint8), "needed a different key for .*, found 'aa' twice"),
    ("case_affine", np.zeros((3, 4, 4)), r"case_affine: needed floats \(3, 3, 3\), found \(3, 4,"),
    ("case_spacing", np.zeros((2, 2)), r"case_spacing: needed floats \(3, 2\), found \(2, 2\)"),
    ("case_spacing", np.zeros((3, 2), int), r"case_spacing: needed floats \(3, 2\)"),
    ("case_spacing", np.zeros((3, 2), complex), "floats .* needed a data type"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
@pytest.mark.parametrize(("name", "values", "said"), DAMAGE)
def test_arrays_that_contradict_each_other_are_refused(store, name, values, said):
    rewrite(store, name, values)
    with pytest.raises(StoreError, match=said) as caught:
        open_case(store, "a")
    assert str(store) in str(caught.value)


@pytest.mark.parametrize("name", ["case_key", "case_size", "case_first_tile"])
def test_a_missing_array_is_told(store, name):
    del zarr.open_group(str(store))[name]
    with pytest.raises(StoreError, match=f"{name} missing|no such sizes|one of samples"):
        open_cases(store)


def test_claims_of_a_missing_array_take_no_memory(store, monkeypatch):
    group = zarr.open_group(str(store))
    for name, shape in {
        "case_key": (10**9, 9),
        "case_size": (10**9, 2),
        "case_first_tile": (10**9,),
    }.items():
        group.create_array(name, shape=shape, dtype="u1" if name == "case_key" else "i8",
                           chunks=tuple(min(n, 100) for n in shape), overwrite=True)  # fmt: skip
    with pytest.raises(StoreError, match="for each of 18 tiles, found case_key of 1,000"):
        open_cases(store)


@pytest.mark.parametrize("codec", ["raw", "zstd"])
def test_a_truncated_shard_is_named_with_its_case(tmp_path, codec):
    store = write_cases(tmp_path / "s", CASES, TILE, **CODECS[codec])
    case = open_case(store, "c")
    right = CASES["c"]["image"]
    assert np.array_equal(case[:1], right[:1])
    shard = store / "image/c/4/0/0/0"
    content = shard.read_bytes()
    shard.write_bytes(content[:30])
    with pytest.raises(ReadError, match=r"image/c/4/0/0/0: .* \(read for case 'c'\)"):
        case[3, 11]
    shard.write_bytes(content)
    assert np.array_equal(case[3, 11], right[3, 11]), "a restored file is read again"


def test_a_missing_shard_of_a_packed_split_is_an_error(tmp_path):
    store = write_cases(tmp_path / "s", CASES, TILE, attributes={"fields": ["image", "mask"]})
    (store / "image/c/0/0/0/0").unlink()
    with pytest.raises(ReadError, match=r"the shard is missing; .*read for case 'a'"):
        open_case(store, "a")[0]


def test_a_replaced_split_is_told(tmp_path):
    store = write_cases(tmp_path / "s", CASES, TILE, compressors=None)
    case = open_case(store, "a")
    write_cases(tmp_path / "s", CASES, TILE, compressors=None, shard=2)
    with pytest.raises(ReadError, match="the split was replaced or removed while it was read"):
        case[0]


def test_boxes_that_memory_cannot_hold_are_refused(tmp_path, monkeypatch):
    from zarrfeed import machine_memory
    from zarrfeed.store import case_array

    monkeypatch.setattr(case_array, "_SMALL", 60)
    case = open_case(write_cases(tmp_path / "s", CASES, TILE), "a")
    assert case[:2].nbytes == 56
    monkeypatch.setattr(machine_memory, "total_memory", lambda: 100)
    with pytest.raises(StoreError, match=r"a box \(5, 7, 2\) of case 'a' would take 140 bytes"):
        case[:]


def test_the_page_has_what_is_documented():
    for name in ("open_case", "open_cases", "Cases", "CaseArray"):
        assert name in zarrfeed.__all__
        assert getattr(zarrfeed, name).__doc__
