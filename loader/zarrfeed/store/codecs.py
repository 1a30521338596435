"""Decode one chunk into a given buffer.

numcodecs' ``decompress(source, destination)`` writes into a given buffer and releases the GIL.
Exactly the expected number of bytes is decoded, without allocating more memory than that: headers
are checked before a decoder reads them, and decoding of streams stops at the expected size.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

import google_crc32c
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zarrfeed.store.schema import ArrayLayout, Compressor

CHECKSUM_NBYTES = 4
# Header of a Blosc 1 chunk: flags, decoded size, block size, encoded size (c-blosc,
# README_CHUNK_FORMAT).
_BLOSC_HEADER = struct.Struct("<2xBxIII")
_BLOSC_COPIED = 2  # the flag of a chunk that is stored without compression
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# A chunk may consist of several streams. Writers make one; decoding millions of empty ones would
# take forever.
_MOST_STREAMS = 1000


def decode_chunk(layout: ArrayLayout, encoded: memoryview, target: memoryview) -> None:
    """Verify the checksum of a stored chunk, if it has one, and decode it.

    Parameters
    ----------
    layout
        Layout of the array.
    encoded
        Bytes of the chunk as stored.
    target
        Writable buffer of exactly the decoded size.

    Raises
    ------
    ValueError
        The bytes are damaged, or decode to another size.
    """
    source = strip_checksum(encoded) if layout.checksum else encoded
    decode_into(layout.compressor, source, target)


def decode_into(compressor: Compressor, source: memoryview, target: memoryview) -> None:
    """Decode `source` into `target`, which it must fill exactly.

    Raises
    ------
    ValueError
        The bytes are damaged, or decode to another size.
    """
    try:
        if compressor in _STREAM_DECODERS:
            _decode_streams(compressor, source, target)
            return
        size = _decoded_nbytes(compressor, source)
        if size is not None and size != target.nbytes:
            raise ValueError(f"{compressor} decodes to {size} bytes, needed {target.nbytes}")
        if compressor == "raw":
            target[:] = source.cast("B")
        else:
            block_decoder(compressor)(source, target)
    # what numcodecs and the standard library raise on damaged bytes
    except (RuntimeError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{compressor} cannot decode it ({error})") from error


def import_decoders() -> None:
    """Import what decodes, before paths of users may hold modules of the same names."""
    names: tuple[Compressor, ...] = ("blosc", "zstd", "lz4")
    for name in names:
        block_decoder(name)


@cache
def block_decoder(compressor: Compressor) -> Callable[[memoryview, memoryview], object]:
    """Return the function that decodes a whole chunk into a buffer, which it must fill exactly.

    numcodecs is imported only now: that takes a tenth of a second.
    """
    if compressor == "blosc":
        import numcodecs.blosc

        numcodecs.blosc.use_threads = False  # workers already run in parallel
    decode: Callable[[memoryview, memoryview], object]
    decode = import_module(f"numcodecs.{compressor}").decompress
    return decode


class _Stream(Protocol):
    """A decoder of Python's standard library that decodes a stream piece by piece."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: memoryview | bytes, max_length: int, /) -> bytes: ...


_STREAM_DECODERS: Mapping[Compressor, Callable[[], _Stream]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "zlib": zlib.decompressobj,
    "bz2": bz2.BZ2Decompressor,
    # The header also claims a dictionary size. xz -9 uses 64 MiB.
    "lzma": lambda: lzma.LZMADecompressor(memlimit=160 << 20),
}


def _decode_streams(compressor: Compressor, source: memoryview, target: memoryview) -> None:
    """Decode one or several streams that do not state their decoded size."""
    rest: memoryview | bytes = source
    filled = 0
    for _ in range(_MOST_STREAMS):
        stream = _STREAM_DECODERS[compressor]()
        # One byte more than needed, so that a stream of the right length reaches its end.
        piece = stream.decompress(rest, target.nbytes - filled + 1)
        if filled + len(piece) > target.nbytes:
            raise ValueError(f"{compressor} decodes to more than the {target.nbytes} bytes needed")
        target[filled : filled + len(piece)] = piece
        filled += len(piece)
        if not stream.eof:
            raise ValueError(
                f"{compressor} ends too early, after {filled} of {target.nbytes} bytes"
            )
        rest = stream.unused_data
        if not rest.strip(b"\0"):  # zero padding, which the gzip command allows, too
            break
    else:
        raise ValueError(f"{compressor} holds more than {_MOST_STREAMS} streams")
    if filled != target.nbytes:
        raise ValueError(f"{compressor} decodes to {filled} bytes, needed {target.nbytes}")


def _decoded_nbytes(compressor: Compressor, source: memoryview) -> int | None:
    """Read the decoded size from a header; None if it does not state one."""
    if compressor == "blosc":
        return _blosc_nbytes(source)
    if compressor == "zstd":
        return _zstd_nbytes(source)
    if compressor == "lz4":  # numcodecs stores the size in front of the block
        return int.from_bytes(source[:4], "little", signed=True)
    return source.nbytes


def _blosc_nbytes(source: memoryview) -> int:
    """Check a Blosc header, which the library trusts, and return the decoded size."""
    if len(source) < _BLOSC_HEADER.size:
        raise ValueError(f"blosc needs {_BLOSC_HEADER.size} bytes, found {len(source)}")
    flags, size, block, own = _BLOSC_HEADER.unpack_from(source)
    if own > len(source):
        raise ValueError(f"blosc claims {own} bytes, found {len(source)}")
    blocks = -(-size // block) if block else 0
    needed = _BLOSC_HEADER.size + (size if flags & _BLOSC_COPIED else 4 * blocks)
    if own < needed or (size and not 0 < block <= size):
        raise ValueError(f"blosc claims that {own} bytes hold {size} in blocks of {block}")
    return int(size)


def _zstd_nbytes(source: memoryview) -> int | None:
    """Read the decoded size from a Zstandard frame header; None if it is not stated.

    Source: RFC 8878, section 3.1.1.1.
    """
    if len(source) < 6 or bytes(source[:4]) != _ZSTD_MAGIC:
        raise ValueError("zstd cannot decode it (it does not begin with a frame header)")
    descriptor = source[4]
    single_segment = descriptor >> 5 & 1
    start = 5 + (0 if single_segment else 1) + (0, 1, 2, 4)[descriptor & 3]
    width = (single_segment, 2, 4, 8)[descriptor >> 6]
    if width == 0:
        return None
    size = int.from_bytes(source[start : start + width], "little")
    return size + 256 if width == 2 else size


def strip_checksum(source: memoryview) -> memoryview:
    """Verify the crc32c at the end of `source` and return the bytes in front of it.

    Raises
    ------
    ValueError
        The checksum does not match, or `source` is too short to contain one.
    """
    if source.nbytes < CHECKSUM_NBYTES:
        raise ValueError(
            f"needed a crc32c of {CHECKSUM_NBYTES} bytes, found {source.nbytes} bytes in all"
        )
    body = source[:-CHECKSUM_NBYTES]
    expected = int.from_bytes(source[-CHECKSUM_NBYTES:], "little")
    found = google_crc32c.value(np.frombuffer(body, np.uint8))
    if found != expected:
        raise ValueError(f"its crc32c is {found:08x}, the store says {expected:08x}")
    return body
