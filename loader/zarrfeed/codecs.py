"""Decode one chunk into memory that is already there.

numcodecs' ``decompress(source, destination)`` writes into a given buffer and releases the GIL.
Every function checks that exactly the expected number of bytes came out.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import google_crc32c
import numcodecs.blosc
import numcodecs.zstd
import numpy as np

if TYPE_CHECKING:
    from zarrfeed.schema import Compression

CHECKSUM_NBYTES = 4
# Bytes 4..8 and 12..16 of a Blosc 1 chunk: its decoded and its own size (c-blosc
# README_CHUNK_FORMAT).
_BLOSC_SIZES = struct.Struct("<4xI4xI")
_BLOSC_HEADER = 16


def use_one_thread_per_decode() -> None:
    """Keep Blosc from starting threads of its own: the workers are the parallelism."""
    numcodecs.blosc.use_threads = False


def decode_into(compression: Compression, source: memoryview, target: memoryview) -> None:
    """Decode `source` into exactly `target`.

    Raises
    ------
    ValueError
        The bytes are damaged, or decode to another size.
    """
    try:
        size = _decode(compression, source, target)
    except (RuntimeError, zlib.error) as error:  # what numcodecs and zlib raise on damaged bytes
        raise ValueError(f"{compression} cannot decode it ({error})") from error
    if size != target.nbytes:
        raise ValueError(f"{compression} decodes to {size} bytes, needed {target.nbytes}")


def _decode(compression: Compression, source: memoryview, target: memoryview) -> int:
    if compression == "blosc":
        if len(source) < _BLOSC_HEADER:
            return -1
        size, own = _BLOSC_SIZES.unpack_from(source)
        if own > len(source):  # Blosc is not told where the source ends, and would read on
            raise ValueError(f"blosc says that it has {own} bytes, found {len(source)}")
        if size == target.nbytes:
            numcodecs.blosc.decompress(source, target)
        return int(size)
    if compression == "zstd":
        size = _zstd_nbytes(source)
        if size is None:
            return _copy(memoryview(numcodecs.zstd.decompress(source)), target)
        if size == target.nbytes:
            numcodecs.zstd.decompress(source, target)
        return size
    if compression == "gzip":
        return _copy(memoryview(zlib.decompress(source, wbits=31)), target)
    return _copy(source, target)


def _copy(decoded: memoryview, target: memoryview) -> int:
    if decoded.nbytes == target.nbytes:
        target[:] = decoded.cast("B")
    return decoded.nbytes


def _zstd_nbytes(source: memoryview) -> int | None:
    """Read the decoded size from a Zstandard frame header; None where it does not say.

    numcodecs leaves the rest of a larger target untouched without a word, so it must be known.
    Source: RFC 8878, section 3.1.1.1.
    """
    if len(source) < 5:
        return -1
    descriptor = source[4]
    single_segment = descriptor >> 5 & 1
    start = 5 + (0 if single_segment else 1) + (0, 1, 2, 4)[descriptor & 3]
    width = (single_segment, 2, 4, 8)[descriptor >> 6]
    if width == 0:
        return None
    size = int.from_bytes(source[start : start + width], "little")
    return size + 256 if width == 2 else size


def strip_checksum(source: memoryview) -> memoryview:
    """Check the crc32c at the end of `source` and return what stands before it.

    Raises
    ------
    ValueError
        The checksum does not match, or there is none.
    """
    if source.nbytes < CHECKSUM_NBYTES:
        raise ValueError(f"it has {source.nbytes} bytes")
    body = source[:-CHECKSUM_NBYTES]
    expected = int.from_bytes(source[-CHECKSUM_NBYTES:], "little")
    found = google_crc32c.value(np.frombuffer(body, np.uint8))
    if found != expected:
        raise ValueError(f"its crc32c is {found:08x}, the store says {expected:08x}")
    return body
