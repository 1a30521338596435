"""Does a chunk of a Zarr array in a folder become more than the array says?"""

from __future__ import annotations

from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed_convert.decoding.chunk_claims import may_be_too_long, require_declared

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_EMPTY = 2**64 - 1
_CHECKSUM = 4  # bytes after an index


def require_declared_chunks(array: Any, path: str, picks: Mapping[int, int]) -> None:
    """Refuse chunks that are needed for a part of an array, and become far more than it says.

    Parameters
    ----------
    array, path
        A zarr.Array, and where it is.
    picks
        Axis → place; all of the other axes is read.

    Raises
    ------
    SourceError
        There is one.
    """
    folder = Path(path)
    if not folder.is_dir():
        return  # a zip file or a URL
    codec, inner = _codec(array)
    if not codec:
        return
    outer: Sequence[int] = array.shards or array.chunks
    declared = prod(array.chunks) * array.dtype.itemsize
    ranges = [
        [picks[axis] // size] if axis in picks else range(-(-length // size))
        for axis, (size, length) in enumerate(zip(outer, array.shape, strict=True))
    ]
    for place in product(*ranges):
        file = folder / array.metadata.encode_chunk_key(place)
        if not file.is_file():
            continue
        name = str(file)
        with file.open("rb") as stream:
            for begin, nbytes in inner(stream, outer):
                if may_be_too_long(codec, nbytes, declared):
                    stream.seek(begin)
                    require_declared(codec, stream.read(nbytes), declared, name)


def _codec(array: Any) -> tuple[str, Any]:
    """Name the last codec of a chunk, and give what lists the chunks of a file."""
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


def _whole(stream: Any, outer: Sequence[int]) -> list[tuple[int, int]]:
    del outer
    return [(0, stream.seek(0, 2))]


class _Sharded:
    """Lists the chunks of a shard by its index: offset and length of each, uint64."""

    def __init__(self, array: Any, sharding: Any) -> None:
        self._chunks = array.chunks
        self._location = getattr(sharding.index_location, "value", sharding.index_location)
        self._checked = len(sharding.index_codecs) > 1

    def __call__(self, stream: Any, outer: Sequence[int]) -> list[tuple[int, int]]:
        count = prod(size // chunk for size, chunk in zip(outer, self._chunks, strict=True))
        end = stream.seek(0, 2)
        whole = 16 * count + (_CHECKSUM if self._checked else 0)
        stream.seek(0 if self._location == "start" else max(0, end - whole))
        index = np.frombuffer(stream.read(16 * count), "<u8")
        if index.size < 2 * count:
            return []
        places = index.reshape(-1, 2).tolist()
        return [(begin, size) for begin, size in places if begin != _EMPTY and size <= end]
