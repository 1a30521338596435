"""A chunk that becomes far more than its array says is refused before it does."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib

import h5py
import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

from zarrfeed.errors import SourceError
from zarrfeed_convert import open_source
from zarrfeed_convert.sources.arrays import chunk_claims

VALUES = np.arange(4 * 8 * 6, dtype=np.uint8).reshape(4, 8, 6)
BOMB = bytes(8 << 20)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(chunk_claims, "_SLACK", 1 << 20)


def refused(kind, arguments):
    source = open_source(kind, arguments)
    np.testing.assert_array_equal(source.read(3)[0][..., 0], VALUES[3])
    for read in (source.read, source.read_mask):
        with pytest.raises(SourceError, match=r"needed a chunk of \d+ bytes, as the array says"):
            read(0)


def unsized_zstd(data):
    """Compress to a frame that does not say how long it is: 128 KiB blocks of one byte each."""
    assert not any(data)
    count = len(data) >> 17
    blocks = [
        ((1 << 17) << 3 | 2 | (number == count - 1)).to_bytes(3, "little") + b"\0"
        for number in range(count)
    ]
    return b"\x28\xb5\x2f\xfd\x00\x58" + b"".join(blocks)


COMPRESS = {
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "bz2": bz2.compress,
    "lzma": lzma.compress,
    "zstd": lambda data: bytes(numcodecs.Zstd().encode(data)),
    "unsized zstd": unsized_zstd,
    "blosc": lambda data: bytes(numcodecs.Blosc().encode(data)),
    "lz4": lambda data: bytes(numcodecs.LZ4().encode(data)),
}
VERSION_2 = {
    "gzip": numcodecs.GZip(),
    "zlib": numcodecs.Zlib(),
    "bz2": numcodecs.BZ2(),
    "lzma": numcodecs.LZMA(),
    "zstd": numcodecs.Zstd(),
    "unsized zstd": numcodecs.Zstd(),
    "blosc": numcodecs.Blosc(),
    "lz4": numcodecs.LZ4(),
}
VERSION_3 = {
    "gzip": GzipCodec(),
    "zstd": ZstdCodec(),
    "unsized zstd": ZstdCodec(),
    "blosc": BloscCodec(),
}


@pytest.mark.parametrize("codec", VERSION_2)
def test_bombs_in_zarr_2(tmp_path, codec):
    group = zarr.open_group("a.zarr", mode="w", zarr_format=2)
    for name, values in (("x", VALUES), ("y", VALUES % 3)):
        group.create_array(name, data=values, chunks=(2, 8, 6), compressors=VERSION_2[codec])
        (tmp_path / "a.zarr" / name / "0.0.0").write_bytes(COMPRESS[codec](BOMB))
    refused("zarr", {"images": "a.zarr/x", "masks": "a.zarr/y"})


@pytest.mark.parametrize("codec", VERSION_3)
@pytest.mark.parametrize("sharded", [False, True])
def test_bombs_in_zarr_3(tmp_path, codec, sharded):
    group = zarr.open_group("a.zarr", mode="w")
    for name, values in (("x", VALUES), ("y", VALUES % 3)):
        more = {"shards": (2, 8, 6), "chunks": (1, 8, 6)} if sharded else {"chunks": (2, 8, 6)}
        group.create_array(name, data=values, compressors=VERSION_3[codec], **more)
        file = tmp_path / "a.zarr" / name / "c/0/0/0"
        bomb = COMPRESS[codec](BOMB)
        if sharded:  # the first chunk becomes the bomb, at the beginning; no checksum is read first
            index = np.array([[0, len(bomb)], [0, len(bomb)]], "<u8").tobytes()
            bomb += index + bytes(4)
        file.write_bytes(bomb)
    refused("zarr", {"images": "a.zarr/x", "masks": "a.zarr/y"})


@pytest.mark.parametrize("level", [0, 5])
@pytest.mark.parametrize("left", [8, 20, -1])
@pytest.mark.parametrize("version", [2, 3])
def test_truncated_blosc_is_refused_where_its_decoder_reads_what_lies_behind(
    tmp_path, version, level, left
):
    group = zarr.open_group("a.zarr", mode="w", zarr_format=version)
    codec = numcodecs.Blosc(clevel=level) if version == 2 else BloscCodec(clevel=level)
    for name, values in (("x", VALUES), ("y", VALUES % 3)):
        group.create_array(name, data=values, chunks=(2, 8, 6), compressors=codec)
        file = tmp_path / "a.zarr" / name / ("0.0.0" if version == 2 else "c/0/0/0")
        file.write_bytes(file.read_bytes()[:left])
    source = open_source("zarr", {"images": "a.zarr/x", "masks": "a.zarr/y"})
    for read in (source.read, source.read_mask):
        with pytest.raises(SourceError, match=r"0: needed a chunk of \d+ compressed bytes, found"):
            read(1)


def test_bombs_in_hdf5(tmp_path):
    with h5py.File("a.h5", "w") as file:
        for name, values in (("x", VALUES), ("y", VALUES % 3)):
            array = file.create_dataset(name, VALUES.shape, "u1", chunks=(2, 8, 6),
                                        compression="gzip", shuffle=True)  # fmt: skip
            array[:] = values
            array.id.write_direct_chunk((0, 0, 0), zlib.compress(BOMB))
    refused("hdf5", {"images": "a.h5:x", "masks": "a.h5:y"})


@pytest.mark.parametrize("codec", COMPRESS)
def test_honest_chunks_are_as_long_as_they_say(codec):
    data = bytes(1 << 17)
    stored = COMPRESS[codec](data)
    chunk_claims.require_declared(codec.split()[-1], stored, len(data), "a")
    with pytest.raises(SourceError, match="a: needed a chunk of 1 bytes"):
        chunk_claims.require_declared(codec.split()[-1], COMPRESS[codec](BOMB), 1, "a")
