"""Whatever stands in a store, reading ends in right pixels or in an error that names the file."""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np
import pytest
from zarr import codecs

from stores import traced_pixels, write_split
from zarrfeed import ReadError, SplitReader, open_split

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
