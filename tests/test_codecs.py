"""A chunk decodes to exactly the bytes that its array declares, or is damaged."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING

import numcodecs
import numpy as np
import pytest

from fuzzing import forget_peak, peak
from zarrfeed.store.codecs import decode_into

if TYPE_CHECKING:
    from zarrfeed.store.schema import Compressor

CONTENT = np.random.default_rng(0).integers(0, 9, 10_000, np.uint8).tobytes()
# numcodecs writes the size; the streaming interface of zstd does not.
ZSTD_HEADER = b"\x28\xb5\x2f\xfd"
ENCODED: dict[Compressor, bytes] = {
    "raw": CONTENT,
    "blosc": numcodecs.Blosc("lz4").encode(CONTENT),
    "zstd": numcodecs.Zstd().encode(CONTENT),
    "gzip": gzip.compress(CONTENT),
    "zlib": zlib.compress(CONTENT),
    "bz2": bz2.compress(CONTENT),
    "lzma": lzma.compress(CONTENT),
    "lz4": numcodecs.LZ4().encode(CONTENT),
}


def zstd_of_unknown_size(blocks: list[tuple[int, bytes, int]]) -> bytes:
    """Write a frame by hand: (type, content, size) of each block; type 1 repeats one byte."""
    frame = ZSTD_HEADER + bytes([0, 0x58])  # no size; a window of 2 MB
    for number, (kind, content, size) in enumerate(blocks):
        last = number == len(blocks) - 1
        frame += struct.pack("<I", size << 3 | kind << 1 | last)[:3] + content
    return frame


def decode(compressor: Compressor, source: bytes, nbytes: int = len(CONTENT)) -> bytes:
    target = bytearray(nbytes)
    decode_into(compressor, memoryview(source), memoryview(target))
    return bytes(target)


@pytest.mark.parametrize("compressor", ENCODED)
def test_a_chunk_is_decoded_whole(compressor: Compressor) -> None:
    assert decode(compressor, ENCODED[compressor]) == CONTENT


@pytest.mark.parametrize("compressor", ENCODED)
@pytest.mark.parametrize("nbytes", [0, len(CONTENT) - 1, len(CONTENT) + 1])
def test_another_size_is_damage(nbytes: int, compressor: Compressor) -> None:
    with pytest.raises(ValueError, match=f"{compressor} (decodes to|ends)"):
        decode(compressor, ENCODED[compressor], nbytes)


@pytest.mark.parametrize("compressor", ENCODED)
def test_a_chunk_cut_short_is_damage(compressor: Compressor) -> None:
    source = ENCODED[compressor]
    for length in (0, 1, 5, 15, 17, len(source) // 2, len(source) - 1):
        with pytest.raises(ValueError, match=compressor):
            decode(compressor, source[:length])


@pytest.mark.parametrize("compressor", ["gzip", "bz2", "lzma"])
def test_a_chunk_of_several_streams_is_read_as_zarr_python_reads_it(
    compressor: Compressor,
) -> None:
    pack = {"gzip": gzip.compress, "bz2": bz2.compress, "lzma": lzma.compress}[compressor]
    parts = [b"", CONTENT[:3000], CONTENT[3000:], b""]
    source = b"".join(pack(part) for part in parts)
    codec = {"gzip": numcodecs.GZip(), "bz2": numcodecs.BZ2(), "lzma": numcodecs.LZMA()}
    assert decode(compressor, source) == CONTENT == codec[compressor].decode(source)
    with pytest.raises(ValueError, match=compressor):
        decode(compressor, source + b"something else")
    with pytest.raises(ValueError, match="streams"):
        decode(compressor, source + 2000 * pack(b""))


def test_zstd_without_a_declared_size_is_read() -> None:
    source = zstd_of_unknown_size([(0, CONTENT[:6000], 6000), (0, CONTENT[6000:], 4000)])
    assert decode("zstd", source) == CONTENT
    for nbytes in (9999, 10_001):
        with pytest.raises(ValueError, match="zstd"):
            decode("zstd", source, nbytes)


def bombs() -> dict[Compressor, bytes]:
    """What decodes to one to two gigabytes; making them takes seconds."""
    zeros = bytes(1 << 24)
    return {
        "zstd": zstd_of_unknown_size([(1, b"\0", 100_000)] * 20_000),
        "gzip": gzip.compress(zeros) * 128,
        "zlib": zlib.compress(bytes(1 << 30), 1),
        "bz2": bz2.compress(zeros) * 128,
        "lzma": lzma.compress(zeros) * 128,
        "lz4": struct.pack("<i", 2**31 - 1) + ENCODED["lz4"][4:],
        "blosc": ENCODED["blosc"][:4] + struct.pack("<I", 2**31 - 17) + ENCODED["blosc"][8:],
    }


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not say what was taken")
def test_bombs_take_no_memory() -> None:
    sources = bombs()
    before = forget_peak()
    for compressor, bomb in sources.items():
        with pytest.raises(ValueError, match=compressor):
            decode(compressor, bomb, 192)
    assert peak() - before < 200 << 20


def test_a_blosc_header_that_lies_is_damage_and_no_crash() -> None:
    script = """
import itertools, struct, sys
import numpy as np
from numcodecs import Blosc
from zarrfeed.store.codecs import decode_into

content = np.arange(4000, dtype=np.uint8).tobytes()
edges = [0, 1, 15, 16, 17, 1999, 2000, 2001, 4000, 4016, 65535, 2**31 - 1, 2**31, 2**32 - 1]
for codec in (Blosc("lz4"), Blosc("zstd", shuffle=2), Blosc("lz4", clevel=0), Blosc("blosclz")):
    whole = codec.encode(content)
    for size, block, own in itertools.product(edges, edges, edges):
        bad = whole[:4] + struct.pack("<III", size, block, own) + whole[16:]
        for source in (bad, bad[: len(bad) // 2]):
            try:
                decode_into("blosc", memoryview(source), memoryview(bytearray(4000)))
            except ValueError:
                pass
    for place in range(16):
        for value in range(256):
            bad = bytearray(whole)
            bad[place] = value
            try:
                decode_into("blosc", memoryview(bad), memoryview(bytearray(4000)))
            except ValueError:
                pass
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], timeout=100, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
