"""Whatever stands in a store, reading ends in right pixels or in an error that names the file."""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import subprocess
import sys
import tracemalloc
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np
import pytest
import zarr
from zarr import codecs

from stores import traced_pixels, write_split
from zarrfeed import (
    FrontEnd,
    ReadError,
    SplitReader,
    StoreError,
    class_pixels,
    list_splits,
    open_split,
    stitch,
)
from zarrfeed.store.descriptive_arrays import normalization_of, sample_names

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PIXELS = traced_pixels(8)
SHARD = "image/c/1/0/0/0"


def read_all(store: Path) -> dict[str, np.ndarray]:
    with SplitReader(open_split(store)) as reader:
        return reader.read(range(len(reader)))


# -- the index of a shard -----------------------------------------------------------------------


def put_entry(shard: Path, chunk: int, offset: int, nbytes: int) -> None:
    """Change an entry of a shard of four chunks, and make its checksum anew."""
    content = bytearray(shard.read_bytes())
    struct.pack_into("<QQ", content, len(content) - 68 + 16 * chunk, offset, nbytes)
    struct.pack_into("<I", content, len(content) - 4, google_crc32c.value(bytes(content[-68:-4])))
    shard.write_bytes(content)


EDGES = [2**31, 2**32, 2**62, 2**63 - 144, 2**63 - 1, 2**63, 2**64 - 144, 2**64 - 1]


@pytest.mark.parametrize("compressors", [None, codecs.ZstdCodec()], ids=["raw", "zstd"])
@pytest.mark.parametrize("offset", EDGES)
def test_an_entry_beyond_the_file_is_refused_however_it_adds_up(
    offset: int, compressors: Any, tmp_path: Path
) -> None:
    store = write_split(tmp_path / "train", PIXELS, compressors=compressors)
    whole = (store / SHARD).read_bytes()
    for nbytes in (144, 2**63 - 1, 2**64 - 1, 2**64 - offset):
        for pair in ((offset, nbytes), (nbytes, offset)):
            if pair == (2**64 - 1, 2**64 - 1) or max(pair) == 2**64:
                continue
            put_entry(store / SHARD, 2, *pair)
            with pytest.raises(ReadError, match=rf"{SHARD}: chunk 2 ends at byte \d+, the file"):
                read_all(store)
            (store / SHARD).write_bytes(whole)


# -- something else in the place of a shard -----------------------------------------------------


def a_folder(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    here = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(f"/proc/self/fd/{here}/{path.name}")
    os.close(here)


def a_link_out(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def a_link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_link_inside(path: Path) -> None:
    path.symlink_to(path.parents[3] / "0/0/0/0")


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path)


OTHERS = [
    a_folder, a_pipe, a_socket, a_link_out, a_link_to_a_device, a_link_inside, a_link_to_itself,
]  # fmt: skip


@pytest.mark.parametrize("compressors", [None, codecs.ZstdCodec()], ids=["raw", "zstd"])
@pytest.mark.parametrize("other", OTHERS)
def test_what_is_no_file_is_not_read_as_a_shard(
    other: Callable[[Path], None], compressors: Any, tmp_path: Path
) -> None:
    store = write_split(tmp_path / "train", PIXELS, compressors=compressors)
    (store / SHARD).unlink()
    other(store / SHARD)
    what = other.__name__.removeprefix("a_").split("_")[0]
    with pytest.raises(ReadError, match=rf"{SHARD}: needed a file, found a {what}"):
        read_all(store)


@pytest.mark.parametrize("depth", [0, 2, 4])
def test_a_folder_that_is_a_link_out_of_the_store_is_not_followed(
    depth: int, tmp_path: Path
) -> None:
    store = write_split(tmp_path / "train", PIXELS, compressors=None)
    place = store / SHARD
    for _ in range(4 - depth):
        place = place.parent
    other = tmp_path / "other"
    place.rename(other)
    place.symlink_to(other, target_is_directory=True)
    with pytest.raises(ReadError, match=r"needed a file.* found a link.* is not followed"):
        read_all(store)


def test_a_store_behind_a_link_is_read(tmp_path: Path) -> None:
    store = write_split(tmp_path / "train", PIXELS, compressors=None)
    (tmp_path / "link").symlink_to(store, target_is_directory=True)
    assert np.array_equal(read_all(tmp_path / "link")["image"], PIXELS["image"])


@pytest.mark.parametrize("place", ["image/c", "image/c/1", "image/c/1/0/0"])
def test_a_file_in_the_place_of_a_folder_is_no_missing_chunk(place: str, tmp_path: Path) -> None:
    store = write_split(tmp_path / "train", PIXELS, compressors=None)
    (store / place).rename(tmp_path / "aside")
    (store / place).write_bytes(b"")
    with pytest.raises(ReadError, match=r"image/c/\d/0/0/0: cannot be opened \(Not a directory\)"):
        read_all(store)


# -- metadata that is none ----------------------------------------------------------------------


def change(file: Path, *path: Any, to: Any) -> None:
    said = json.loads(file.read_text())
    place = said
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    file.write_text(json.dumps(said))


NO_JSON = {
    "nothing": b"",
    "a list": b"[]",
    "null": b"null",
    "deep": b'{"a":' * 100_000,
    "deep lists": b"[" * 100_000 + b"]" * 100_000,
    "UTF-16": '{"zarr_format": 3}'.encode("utf-16"),
    "no UTF-8": b'{"zarr_format": 3, "node_type": "\xff"}',
    "a byte order mark": b'\xef\xbb\xbf{"zarr_format": 3, "node_type": "group"}',
    "a name twice": b'{"zarr_format": 3, "node_type": "group", "node_type": "array"}',
    "a number of 9999 digits": b'{"zarr_format": ' + b"1" * 9999 + b"}",
    "very many values": b"[" + b"[]," * 1_500_000 + b"1]",
    "very long": b'{"a": "' + b"x" * (65 << 20) + b'"}',
    "a list of names": b'{"zarr_format": 3, "node_type": ["group"]}',
    "another format": b'{"zarr_format": 4, "node_type": "group"}',
    "what must be understood": b'{"zarr_format": 3, "node_type": "group", "x": {"a": 1}}',
    "attributes that are a list": b'{"zarr_format": 3, "node_type": "group", "attributes": [1]}',
}


@pytest.mark.parametrize("place", ["zarr.json", "image/zarr.json"])
@pytest.mark.parametrize("name", NO_JSON)
def test_metadata_that_is_none_is_named(name: str, place: str, tmp_path: Path) -> None:
    store = write_split(tmp_path / "train", PIXELS)
    (store / place).write_bytes(NO_JSON[name])
    with pytest.raises(StoreError, match=str((store / place).parent)) as raised:
        read_all(store)
    assert len(str(raised.value)) < 1000
    if place == "zarr.json" and name != "attributes that are a list":
        with pytest.raises(StoreError, match=str(store)):
            list_splits(store)


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("place", ["zarr.json", "image/zarr.json"])
def test_metadata_in_what_is_no_file_is_not_read(
    place: str, other: Callable[[Path], None], tmp_path: Path
) -> None:
    store = write_split(tmp_path / "train", PIXELS)
    (store / place).unlink()
    if other is a_link_inside:
        (store / place).symlink_to(store / "mask/zarr.json")
    else:
        other(store / place)
    with pytest.raises(StoreError, match=rf"{store / place}: needed a file, found a "):
        open_split(store)


def test_what_may_be_ignored_is_ignored(tmp_path: Path) -> None:
    store = write_split(tmp_path / "train", PIXELS)
    for file in (store / "zarr.json", store / "image/zarr.json"):
        change(file, "extra", to={"must_understand": False})
    assert np.array_equal(read_all(store)["image"], PIXELS["image"])
    change(store / "image/zarr.json", "extra", to={"must_understand": True})
    with pytest.raises(StoreError, match=r"train/image: holds 'extra', which must be understood"):
        open_split(store)


CODEC = ("codecs", 0, "configuration")
GRID = ("chunk_grid", "configuration", "chunk_shape")
KEYS = "chunk_key_encoding"
LIES: list[tuple[tuple[Any, ...], Any]] = [
    *(
        (path, to)
        for path in [("shape",), GRID, (*CODEC, "chunk_shape")]
        for to in (
            None, 8, "8", [], [8], [8, 8, 6, 3, 1], [8, 8, 6, "3"], [8, 8, 6, 3.0], [8, 8, 6, True],
            [8, 8, 6, -3], [8, 8, 6, 2**63], [2**40, 2**40, 6, 3], [1] * 99, [[8], 8, 6, 3],
        )
    ),
    (GRID, [0, 8, 6, 3]),
    (GRID, [5, 8, 6, 3]),  # no whole chunks of 2
    ((*CODEC, "chunk_shape"), [3, 8, 6, 3]),
    *((("chunk_grid",), to) for to in (None, [], "regular", {"name": 3}, {"name": "regular"})),
    *((("codecs",), to) for to in (None, [], {}, "bytes", [3], [[]], [{"name": 3}], [{}])),
    *(((*CODEC, "codecs"), to) for to in (None, [], 3, [None], [{"name": "bytes",
                                                              "configuration": 3}])),
    *(((*CODEC, "index_codecs"), to) for to in (None, [], 3, [{"name": []}])),
    ((*CODEC, "index_location"), "middle"),
    ((*CODEC, "index_location"), []),
    *(
        ((KEYS,), {"name": name, "configuration": {"separator": separator}})
        for name in ("default", "v2")
        for separator in ("/../../", "", "..", "\0", "//", None, [], 3)
    ),
    *(((KEYS,), to) for to in (3, [], {"name": 3}, {"name": "default", "configuration": []})),
    *((("fill_value",), to) for to in (256, -1, 0.5, "NaN", "x", [], {}, True, 10**30, 1e308)),
    (("storage_transformers",), [3]),
    (("data_type",), []),
    (("node_type",), "arrays"),
    (("zarr_format",), "3"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "to"), LIES, ids=str)
def test_metadata_of_wrong_types_and_sizes_is_named(
    path: tuple[Any, ...], to: Any, tmp_path: Path
) -> None:
    store = write_split(tmp_path / "train", PIXELS, chunk=2)
    change(store / "image/zarr.json", *path, to=to)
    with pytest.raises((StoreError, ReadError), match="train/image") as raised:
        read_all(store)
    assert len(str(raised.value)) < 1000


def claims(store: Path, **changes: Any) -> None:
    for path, to in changes.items():
        steps = {"shape": ("shape",), "shard": GRID, "chunk": (*CODEC, "chunk_shape")}[path]
        for field in ("image", "mask"):
            change(store / field / "zarr.json", *steps, to=to if field == "image" else to[:3])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shape": [10**15, 8, 6, 3]}, "the table of .* shards"),
        ({"shape": [8, 10**6, 10**6, 3]}, "this machine has"),
        ({"shape": [8, 10**6, 10**6, 3], "shard": [4, 10**6, 10**6, 3],
          "chunk": [1, 10**6, 10**6, 3]}, "this machine has"),
        ({"shard": [10**9, 8, 6, 3], "chunk": [10**9, 8, 6, 3]}, "chunks of at most 4 times"),
        ({"shard": [10**9, 8, 6, 3]}, "bytes for the index alone"),
        ({"shape": [8, 3000, 3000, 3], "shard": [4, 3000, 3000, 3],
          "chunk": [1, 3000, 3000, 3]}, "needed 27000000"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("workers", [0, 1])
def test_claims_are_refused_before_memory_is_taken(
    changes: dict[str, Any], said: str, workers: int, tmp_path: Path
) -> None:
    store = write_split(tmp_path / "train", PIXELS, compressors=None)
    claims(store, **changes)
    tracemalloc.start()
    try:
        with (
            pytest.raises((StoreError, ReadError), match=rf"train/(image|mask).*{said}"),
            FrontEnd(store, 2, workers=workers) as seq,
        ):
            seq[0]
        assert tracemalloc.get_traced_memory()[1] < 300 << 20
    finally:
        tracemalloc.stop()


# -- what a store says of itself ----------------------------------------------------------------


ATTRIBUTES: list[tuple[str, Any]] = [
    ("format", "1"), ("format", 2), ("format", None), ("format", []), ("fields", "image"),
    ("fields", [3]), ("fields", {}), ("fields", None), ("packed", []), ("packed", {"codecs": []}),
    ("packed", {"skipped": {}}), ("packed", {"settings": 3}), ("source", "x"), ("channels", []),
    ("channels", {"mean": 3}), ("samples", "8"), ("samples", True),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), ATTRIBUTES, ids=str)
def test_attributes_of_wrong_types_are_named(name: str, value: Any, tmp_path: Path) -> None:
    store = write_split(tmp_path / "train", PIXELS)
    change(store / "zarr.json", "attributes", to={"zarrfeed": {name: value}})
    with pytest.raises(StoreError, match=rf"{store}: (attributes|written in format)"):
        open_split(store)


@pytest.mark.parametrize(
    ("name", "value"),
    [("classes", "ab"), ("classes", [3]), ("classes", ["a"] * 70_000), ("ignore", "255"),
     ("ignore", 2**40), ("ignore", -1), ("ignore", []), ("format", 2)],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_attributes_of_a_dataset_are_checked_too(name: str, value: Any, tmp_path: Path) -> None:
    store = write_split(tmp_path / "data/train", PIXELS)
    change(store / "zarr.json", "attributes", to={"zarrfeed": {"format": 1}})
    zarr.open_group(str(tmp_path / "data"), mode="a")
    change(tmp_path / "data/zarr.json", "attributes", to={"zarrfeed": {name: value}})
    with pytest.raises(StoreError, match=rf"{tmp_path / 'data'}: (attributes|written)") as raised:
        open_split(store)
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize("values", [np.arange(8), np.zeros((8, 2, 2), np.uint8), np.zeros((8, 5))])
def test_descriptions_of_another_kind_describe_nothing(values: Any, tmp_path: Path) -> None:
    names = ("key", "class_pixels", "channel_sums", "tile", "tile_source", "tile_size")
    store = write_split(tmp_path / "train", PIXELS | dict.fromkeys(names, values))
    split = open_split(store)
    assert sample_names(split, range(2)) == ["sample 0", "sample 1"]
    if values.ndim != 2:
        assert class_pixels(split, range(2)) is None
    with pytest.raises(StoreError, match="sums of the images' channels"):
        normalization_of(split, range(2))
    with pytest.raises(StoreError, match="found arrays that are missing or damaged"):
        list(stitch(split, np.zeros((8, 8, 6))))


def test_sums_that_are_not_finite_give_no_normalization(tmp_path: Path) -> None:
    sums = np.ones((8, 3, 2))
    sums[3, 1, 0] = np.nan
    store = write_split(tmp_path / "train", PIXELS | {"channel_sums": sums})
    with pytest.raises(StoreError, match="channel_sums: needed finite sums"):
        normalization_of(open_split(store), range(8))
    assert np.isfinite(normalization_of(open_split(store), range(3)).mean).all()


@pytest.mark.parametrize("last", ["first", "far"])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
@pytest.mark.parametrize(
    "size", [[2**40, 2**40], [2**63 - 1, 2**63 - 1], [-1, 8], [0, 0], [8, 700], [9, 6], [16, 12]]
)
def test_tiles_that_do_not_cover_their_image_are_not_put_together(
    size: list[int], dtype: Any, last: str, tmp_path: Path
) -> None:
    places = np.zeros((8, 3), np.int64)
    if last == "far":  # the corner is covered, and a hole is not
        places[-1, 1:] = np.array(size) - (2, 2)
    described = {
        "tile": places,
        "tile_source": np.full((1, 4), 65, np.uint8),
        "tile_size": np.array([size]),
    }
    store = write_split(tmp_path / "train", PIXELS | described)
    with pytest.raises(StoreError, match="tile_size: needed a size that its tiles cover"):
        list(stitch(open_split(store), np.zeros((8, 8, 6), dtype)))


@pytest.mark.parametrize("count", [-1, 2**40, 8 * 6 + 1])
def test_counts_of_pixels_that_cannot_be_are_refused(count: int, tmp_path: Path) -> None:
    counts = np.full((8, 2), 24)
    store = write_split(tmp_path / "train", PIXELS | {"class_pixels": counts})
    assert class_pixels(open_split(store), range(8)).tolist() == [192, 192]
    counts[3, 1] = count
    store = write_split(tmp_path / "train", PIXELS | {"class_pixels": counts})
    with pytest.raises(StoreError, match="class_pixels: needed counts from 0 to 48"):
        class_pixels(open_split(store), [3])


LIMITED = """
import resource, sys
from zarrfeed import ReadError, SplitReader, StoreError, open_split
resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, -1))
try:
    with SplitReader(open_split(sys.argv[1]), ["image"]) as reader:
        reader.read(range(int(sys.argv[2])))
except (ReadError, StoreError) as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts mappings on Linux alone")
@pytest.mark.parametrize(
    ("samples", "read", "said"),
    [
        (1 << 29, 1, "the table of 134,217,728 shards .* for a process"),
        (130_000_000, 1, "not enough memory left for the indexes of its"),  # of 2.147 GB, 2.11
        (1 << 24, 1 << 24, "16,777,216 samples would take .* for a process"),
        (1 << 24, 13_500_000, "not enough memory left for the samples asked for"),  # 2.05
    ],
)
def test_a_claim_is_refused_where_a_process_may_have_less_than_the_machine(
    samples: int, read: int, said: str, tmp_path: Path
) -> None:
    store = write_split(tmp_path / "train", PIXELS, compressors=None)
    claims(store, shape=[samples, 8, 6, 3])
    command = [sys.executable, "-c", LIMITED, str(store), str(read)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert re.search(rf"train.*{said}", found), found
