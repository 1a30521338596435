"""Does a compressed chunk decompress to more than its array says, or end early?

An array declares the size of its chunks, but HDF5 and zarr-python decompress a chunk before they
compare its size. So the size that the compressed chunk itself claims is checked first; a stream
that claims none is decompressed in pieces, if it could be too long.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from itertools import product
from math import prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_HEAD = 32  # bytes of a chunk that hold a block's claim
_BLOSC_HEADER = 16  # bytes: sizes of the chunk and of its blocks
_PIECE = 1 << 20
_SLACK = 256 << 20  # bytes that do no harm, besides four times what the array says
_MOST_DEFLATED = 1032  # bytes that one deflated byte may become
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_BLOCK = 128 << 10


class _Stream(Protocol):
    @property
    def eof(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


_STREAMS: Mapping[str, Callable[[], _Stream]] = {
    "gzip": lambda: zlib.decompressobj(wbits=47),  # with either header
    "zlib": lambda: zlib.decompressobj(wbits=47),
    "bz2": bz2.BZ2Decompressor,
    "lzma": lambda: lzma.LZMADecompressor(memlimit=160 << 20),
}


def may_be_too_long(codec: str, stored: int, declared: int) -> bool:
    """Tell whether so many stored bytes may decompress to far more than declared."""
    if codec in ("gzip", "zlib"):
        return stored * _MOST_DEFLATED > 4 * declared + _SLACK
    return codec in _STREAMS or codec in _CLAIMS


def require_declared(codec: str, data: bytes, declared: int, name: str) -> None:
    """Refuse a chunk that decompresses to far more than its array declares.

    Parameters
    ----------
    codec
        As numcodecs calls it; of others nothing is known.
    data
        The chunk as it is stored, or as much of it as :func:`read_claim` reads.
    declared
        Bytes that the array says it has.
    name
        For errors.

    Raises
    ------
    SourceError
        It would decompress to more.
    """
    most = 4 * declared + _SLACK
    claimed = _CLAIMS[codec](data) if codec in _CLAIMS else _length(codec, data, most)
    if claimed > most:
        raise SourceError(
            f"{name}: needed a chunk of {declared} bytes, as the array says, found one that claims "
            f"at least {claimed} ({codec}); it is damaged: restore it, or take it out"
        )


def read_claim(codec: str, stream: IO[bytes], begin: int, nbytes: int) -> bytes:
    """Read as much of a chunk as says how long it becomes: its first bytes, or all of it."""
    stream.seek(begin)
    head = stream.read(min(nbytes, _HEAD))
    sized = codec in _CLAIMS
    if codec == "zstd":
        sized = len(head) > 4 and bool(head[4] >> 5)  # the flags of a size, or of a single segment
    return head if sized else head + stream.read(nbytes - len(head))


def require_whole(codec: str, claim: bytes, nbytes: int, name: str) -> None:
    """Refuse a truncated chunk whose decoder would read on in the memory behind it.

    Parameters
    ----------
    codec, claim
        As :func:`read_claim` takes and returns them.
    nbytes
        Bytes of the chunk that there are.
    name
        For errors.

    Raises
    ------
    SourceError
        There are fewer than the chunk says.
    """
    if codec != "blosc":  # others stop at the end
        return
    needed = int.from_bytes(claim[12:16], "little") if nbytes >= _BLOSC_HEADER else _BLOSC_HEADER
    if needed > nbytes:
        raise SourceError(
            f"{name}: needed a chunk of {needed} compressed bytes, found {nbytes}; it ends early: "
            "restore it, or take it out"
        )


def _length(codec: str, data: bytes, most: int) -> int:
    if codec not in _STREAMS:
        return 0
    stream, found, piece = _STREAMS[codec](), 0, b""
    rest = data
    while found <= most and not stream.eof:
        try:
            piece = stream.decompress(rest, _PIECE)
        except (OSError, ValueError, EOFError, zlib.error, lzma.LZMAError):
            return found  # the decoder reports the damage
        if not piece and not rest:
            break
        found += len(piece)
        rest = getattr(stream, "unconsumed_tail", b"")
    return found


def _zstd(data: bytes) -> int:
    """Return the bytes of a frame: by its header, or the most that its blocks may have."""
    if data[:4] != _ZSTD or len(data) < _HEAD // 2:
        return 0
    flags = data[4]
    single = flags >> 5 & 1
    at = 5 + (1 - single) + (0, 1, 2, 4)[flags & 3]
    width = (single, 2, 4, 8)[flags >> 6]
    if width:
        size = int.from_bytes(data[at : at + width], "little")
        return size + 256 if width == 2 else size
    found, last = 0, False
    while not last and at + 3 <= len(data):
        head = int.from_bytes(data[at : at + 3], "little")
        last, kind, size = bool(head & 1), head >> 1 & 3, head >> 3
        found += size if kind < 2 else _ZSTD_BLOCK
        at += 3 + (1 if kind == 1 else size)
    return found


_CLAIMS: Mapping[str, Callable[[bytes], int]] = {
    "zstd": _zstd,
    "blosc": lambda data: int.from_bytes(data[4:8], "little"),
    "lz4": lambda data: int.from_bytes(data[:4], "little"),
}


_EMPTY = 2**64 - 1
_CHECKSUM = 4  # bytes after an index


def require_declared_chunks(array: Any, path: str, part: Sequence[slice]) -> None:
    """Refuse chunks of a part of an array that decompress to far more than it declares.

    Parameters
    ----------
    array, path
        A zarr.Array, and where it is.
    part
        A slice of each axis, with start and stop.

    Raises
    ------
    SourceError
        A chunk would decompress to more.
    """
    folder = Path(path)
    if not folder.is_dir():
        return  # a zip file or a URL
    codec, chunks_in = _codec_of(array)
    if not codec:
        return
    declared = prod(array.chunks) * array.dtype.itemsize
    for place in product(*touched(part, array.shards or array.chunks)):
        file = folder / array.metadata.encode_chunk_key(place)
        if not file.is_file():
            continue
        with file.open("rb") as stream:
            for begin, nbytes in chunks_in(stream, place, part):
                if may_be_too_long(codec, nbytes, declared):
                    claim = read_claim(codec, stream, begin, nbytes)
                    require_whole(codec, claim, nbytes, str(file))
                    require_declared(codec, claim, declared, str(file))


def touched(part: Sequence[slice], chunks: Sequence[int]) -> list[range]:
    """Return the chunks that hold some of a part, along each axis.

    Examples
    --------
    >>> touched([slice(0, 5), slice(7, 9)], [4, 4])
    [range(0, 2), range(1, 3)]
    """
    return [
        range(each.start // size, -(-each.stop // size))
        for each, size in zip(part, chunks, strict=True)
    ]


def _codec_of(array: Any) -> tuple[str, Any]:
    """Return the last codec of a chunk, and a function that lists the chunks of a file."""
    metadata = array.metadata
    if metadata.zarr_format == 2:
        compressor = metadata.compressor
        return getattr(compressor, "codec_id", "") or "", _whole
    codecs, of = metadata.codecs, _whole
    if array.shards:
        [sharding] = codecs
        codecs, of = sharding.codecs, _Sharded(array, sharding)
    said = [codec.to_dict()["name"] for codec in codecs]
    return str(said[-1]).removeprefix("numcodecs."), of


def _whole(
    stream: IO[bytes], place: tuple[int, ...], part: Sequence[slice]
) -> list[tuple[int, int]]:
    del place, part
    return [(0, stream.seek(0, 2))]


class _Sharded:
    """Lists the chunks of a shard by its index: offset and length of each, uint64."""

    def __init__(self, array: Any, sharding: Any) -> None:
        self._chunks, self._shard = array.chunks, array.shards
        self._location = getattr(sharding.index_location, "value", sharding.index_location)
        self._checked = len(sharding.index_codecs) > 1

    def __call__(
        self, stream: IO[bytes], place: tuple[int, ...], part: Sequence[slice]
    ) -> list[tuple[int, int]]:
        grid = [size // chunk for size, chunk in zip(self._shard, self._chunks, strict=True)]
        count = prod(grid)
        end = stream.seek(0, 2)
        whole = 16 * count + (_CHECKSUM if self._checked else 0)
        stream.seek(0 if self._location == "start" else max(0, end - whole))
        index = np.frombuffer(stream.read(16 * count), "<u8")
        if index.size < 2 * count:
            return []
        inside = (
            slice(max(0, each.start - at * size), min(size, each.stop - at * size))
            for each, at, size in zip(part, place, self._shard, strict=True)
        )
        chunks = tuple(slice(each.start, each.stop) for each in touched([*inside], self._chunks))
        places = index.reshape(*grid, 2)[chunks].reshape(-1, 2).tolist()
        # What a truncated file has of a chunk is less than its index says.
        return [
            (begin, max(0, min(size, end - begin))) for begin, size in places if begin != _EMPTY
        ]
