"""What is a dataset on disk? The names of its parts, and how an array is laid out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np

JSON: TypeAlias = Mapping[str, Any]

# The store contract. A dataset is a root group, one group per split, one array per field; the
# root's and the split's ``attributes.zarrfeed`` carry what follows.
FORMAT_VERSION = 1
ATTRIBUTES = "zarrfeed"
METADATA = "zarr.json"
PARTIAL = ".partial"  # ends the name of a split that is still being packed

# The fields that a packed split feeds by default.
IMAGE = "image"
MASK = "mask"

# Arrays of a split that describe its samples rather than feed a model.
KEY = "key"
DIGEST = "digest"
CLASS_PIXELS = "class_pixels"
# (N, C, 2): the sum and the sum of squares of every channel of the image, then of the other fields
# whose role is `image`; where some values are NaN or infinite, (N, C, 3): how many, too. They are
# left out of both sums.
CHANNEL_SUMS = "channel_sums"
# Where images were cut into tiles: (N, 3) row in TILE_SOURCE, y and x of the tile in the image (of
# volumes, (N, 4): z, y, x); TILE_SOURCE (M, L) names the images as KEY does samples, TILE_SIZE
# (M, 2 or 3) is their size.
TILE = "tile"
TILE_SOURCE = "tile_source"
TILE_SIZE = "tile_size"
# An array that describes files: (shards, fields, 2) bytes and xxh3_64 of each.
SHARD_FILES = "shard_files"
# The kind of number, and what extents the axes after the first may have: none given, any.
DESCRIPTIONS: Mapping[str, tuple[str, tuple[tuple[int, ...], ...]]] = {
    KEY: ("u", ((),)),
    DIGEST: ("u", ()),
    CLASS_PIXELS: ("iu", ((),)),
    CHANNEL_SUMS: ("f", ((), (2, 3))),
    TILE: ("iu", ((3, 4),)),
    TILE_SOURCE: ("u", ((),)),
    TILE_SIZE: ("iu", ((2, 3),)),
    SHARD_FILES: ("u", ((), (2,))),
}
DESCRIPTIVE = frozenset(DESCRIPTIONS)

# The last four are numcodecs' own: of Zarr v2, and of v3 as ``numcodecs.NAME``.
Compression: TypeAlias = Literal["raw", "blosc", "zstd", "gzip", "zlib", "bz2", "lzma", "lz4"]


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """Where a shard keeps the table of its chunks.

    The table is ``uint64[chunks, 2]`` of (offset, nbytes), little-endian, in C order, followed by
    a crc32c of 4 bytes if `checksum`.

    Attributes
    ----------
    at_end
        The table is the last thing in the file; otherwise the first.
    checksum
        A crc32c of the table follows it.
    """

    at_end: bool
    checksum: bool


@dataclass(frozen=True, slots=True)
class ArrayLayout:
    """How one array is laid out on disk.

    Attributes
    ----------
    shape
        Of the whole array; axis 0 counts samples.
    dtype
        In memory, native byte order.
    chunk_rows
        Samples per chunk, the unit of decoding.
    shard_rows
        Samples per file; `chunk_rows` where the array is not sharded.
    separator, prefix
        Of chunk file names: ``c/4/0/0/0`` has prefix ``c/`` and separator ``/``.
    index
        The shard's table of chunks; None where the array is not sharded.
    compression
        The bytes-to-bytes codec of a chunk; ``raw`` for none.
    checksum
        A crc32c of 4 bytes follows every chunk.
    fill
        The value of chunks that were never written.
    codec
        The inner codecs as a short text for people, ``blosc-lz4`` or ``raw``.
    chunk_shape, shard_shape
        Of one chunk and of one file, whole; the same where the array is not sharded.
    order
        Of the axes in a stored chunk; None as in `shape`.
    swapped
        Numbers have the other byte order than this machine's.
    indirect
        Why samples are not read straight from the files; None where they are.
    foreign
        Only zarr-python may know how to read it.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk_rows: int
    shard_rows: int
    separator: str
    prefix: str
    index: ShardIndex | None
    compression: Compression
    checksum: bool
    fill: bool | int | float
    codec: str
    chunk_shape: tuple[int, ...]
    shard_shape: tuple[int, ...]
    order: tuple[int, ...] | None
    swapped: bool
    indirect: str | None
    foreign: bool

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.shape[1:]

    @property
    def sample_nbytes(self) -> int:
        """Bytes of one decoded sample."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def shards(self) -> int:
        """Files along axis 0."""
        return -(-self.shape[0] // self.shard_rows)

    @property
    def chunks_per_shard(self) -> int:
        """Chunks that fit in one file."""
        return self.shard_rows // self.chunk_rows

    @property
    def chunks_in_use(self) -> int:
        """Chunks of a file that can hold samples: it may have room for more than the array."""
        return min(self.chunks_per_shard, -(-self.shape[0] // self.chunk_rows))

    def shard_name(self, shard: int) -> str:
        """Name the file of a shard, relative to the array's folder.

        Parameters
        ----------
        shard
            Its number along axis 0.
        """
        return self.file_name((shard, *(0 for _ in self.shape[1:])))

    def file_name(self, place: Sequence[int]) -> str:
        """Name a file by its place in the grid of files, relative to the array's folder."""
        return self.prefix + self.separator.join(map(str, place))
