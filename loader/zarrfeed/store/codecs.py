"""Decode one chunk into memory that is already there.

numcodecs' ``decompress(source, destination)`` writes into a given buffer and releases the GIL.
Exactly the expected number of bytes is decoded, and no more memory is taken than these need: a
header's claim is checked before a decoder sees it, and streams are cut off.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from typing import TYPE_CHECKING, Protocol

import google_crc32c
import numcodecs.blosc
import numcodecs.lz4
import numcodecs.zstd
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zarrfeed.store.schema import ArrayLayout, Compression

CHECKSUM_NBYTES = 4
# Of a Blosc 1 chunk: flags, decoded size, size of a block, own size (c-blosc README_CHUNK_FORMAT).
_BLOSC_HEADER = struct.Struct("<2xBxIII")
_BLOSC_COPIED = 2  # a flag: not compressed at all
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# One chunk may hold several gzip streams. Writers make one; endless empty ones would take for ever.
_MOST_STREAMS = 1000


def use_one_thread_per_decode() -> None:
    """Keep Blosc from starting threads of its own: workers already run in parallel."""
    numcodecs.blosc.use_threads = False


def decode_chunk(layout: ArrayLayout, encoded: memoryview, target: memoryview) -> None:
    """Decode one stored chunk, its checksum first.

    Raises
    ------
    ValueError
        The bytes are damaged, or decode to another size.
    """
    source = strip_checksum(encoded) if layout.checksum else encoded
    decode_into(layout.compression, source, target)


def decode_into(compression: Compression, source: memoryview, target: memoryview) -> None:
    """Decode `source` into exactly `target`; no more is decoded, whatever `source` would make.

    Raises
    ------
    ValueError
        The bytes are damaged, or decode to another size.
    """
    try:
        if compression in _STREAMS:
            _inflate(compression, source, target)
            return
        size = _nbytes(compression, source)
        if size is not None and size != target.nbytes:
            raise ValueError(f"{compression} decodes to {size} bytes, needed {target.nbytes}")
        if compression == "raw":
            target[:] = source.cast("B")
        else:
            _BLOCKS[compression](source, target)
    # what numcodecs and the streams raise on damaged bytes
    except (RuntimeError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{compression} cannot decode it ({error})") from error


# Decoded in one go into a given buffer; an error where they have more or less than it holds.
_BLOCKS: Mapping[Compression, Callable[[memoryview, memoryview], object]] = {
    "blosc": numcodecs.blosc.decompress,
    "zstd": numcodecs.zstd.decompress,
    "lz4": numcodecs.lz4.decompress,
}


class _Stream(Protocol):
    """A decoder of Python's standard library that decodes a stream piece by piece."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: memoryview | bytes, max_length: int, /) -> bytes: ...


_STREAMS: Mapping[Compression, Callable[[], _Stream]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "zlib": zlib.decompressobj,
    "bz2": bz2.BZ2Decompressor,
    # The header claims a dictionary size, too; xz -9 uses 64 MB.
    "lzma": lambda: lzma.LZMADecompressor(memlimit=160 << 20),
}


def _inflate(compression: Compression, source: memoryview, target: memoryview) -> None:
    """Decode one or several streams that do not state their decoded size."""
    rest: memoryview | bytes = source
    filled = 0
    for _ in range(_MOST_STREAMS):
        stream = _STREAMS[compression]()
        # One byte more, so that a stream of the right length reaches its end.
        piece = stream.decompress(rest, target.nbytes - filled + 1)
        if filled + len(piece) > target.nbytes:
            raise ValueError(f"{compression} decodes to more than the {target.nbytes} bytes needed")
        target[filled : filled + len(piece)] = piece
        filled += len(piece)
        if not stream.eof:
            raise ValueError(f"{compression} ends too early, after {filled} of {target.nbytes}")
        rest = stream.unused_data
        if not rest.strip(b"\0"):  # padding, as the gzip command allows it
            break
    else:
        raise ValueError(f"{compression} holds more than {_MOST_STREAMS} streams")
    if filled != target.nbytes:
        raise ValueError(f"{compression} decodes to {filled} bytes, needed {target.nbytes}")


def _nbytes(compression: Compression, source: memoryview) -> int | None:
    """Read the decoded size from a block's header; None where it does not state one."""
    if compression == "blosc":
        return _blosc_nbytes(source)
    if compression == "zstd":
        return _zstd_nbytes(source)
    if compression == "lz4":  # numcodecs puts the size before it
        return int.from_bytes(source[:4], "little", signed=True)
    return source.nbytes


def _blosc_nbytes(source: memoryview) -> int:
    """Check a Blosc header. The library trusts it: it is not told where the source ends."""
    if len(source) < _BLOSC_HEADER.size:
        raise ValueError(f"blosc needs {_BLOSC_HEADER.size} bytes, found {len(source)}")
    flags, size, block, own = _BLOSC_HEADER.unpack_from(source)
    if own > len(source):
        raise ValueError(f"blosc says that it has {own} bytes, found {len(source)}")
    blocks = -(-size // block) if block else 0
    needed = _BLOSC_HEADER.size + (size if flags & _BLOSC_COPIED else 4 * blocks)
    if own < needed or (size and not 0 < block <= size):
        raise ValueError(f"blosc says that {own} bytes hold {size} in blocks of {block}")
    return int(size)


def _zstd_nbytes(source: memoryview) -> int | None:
    """Read the decoded size from a Zstandard frame header; None where it is not stated.

    Source: RFC 8878, section 3.1.1.1.
    """
    if len(source) < 6 or bytes(source[:4]) != _ZSTD_MAGIC:
        raise ValueError("zstd cannot decode it (it does not begin as a frame)")
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
