"""How is a dataset laid out on disk? The names of its parts, and the layout of an array."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np

JSON: TypeAlias = Mapping[str, Any]

# A dataset is a root group with one group per split, which has one array per field. The root and
# the splits have attributes under the name ATTRIBUTES.
FORMAT_VERSION = 1
ATTRIBUTES = "zarrfeed"
METADATA = "zarr.json"
PARTIAL = ".partial"  # suffix of a split that is still being packed or predicted
MIRROR = ".mirror"  # suffix of the folder beside a mirrored split that says what is here
PREDICTED = "prediction"  # in the attributes of a split: the settings of predictions
INSTANCES = "instances"  # in a split's ``packed``: true if its masks number instances
JOURNAL = f"~journal{PARTIAL}"  # suffix of what its packing has recorded

# The fields that a packed split feeds by default.
IMAGE = "image"
MASK = "mask"

# Arrays of a split that describe its samples rather than feed a model.
KEY = "key"
DIGEST = "digest"
CLASS_PIXELS = "class_pixels"
# (N, C, 2): the sum and the sum of squares of every channel of the image, then of the other fields
# whose role is `image`. (N, C, 3) if some values are NaN or infinite: their number comes third, and
# both sums exclude them.
CHANNEL_SUMS = "channel_sums"
# (N,): the difference hash of the image, by which near duplicates are found. Splits of before have
# none.
DHASH = "dhash"
# Only in splits of cases, whose samples are tiles. Case m is an image or volume of any size, cut by
# a regular grid into tiles of the image array's shape, padded at the far borders. Its tiles are
# rows CASE_FIRST_TILE[m] and following, in C order of their place in the grid. CASE_KEY (M, L)
# names the cases as KEY names samples; there is no KEY. CASE_SIZE (M, 2 or 3): without padding.
# CASE_AFFINE (M, 3, 3), of volumes (M, 4, 4): from the index of a stored pixel, (y, x, 1) or
# (z, y, x, 1), to (x, y, 1) or (x, y, z, 1) in the world. CASE_SPACING (M, 2 or 3): the length of a
# step along each axis. Both are NaN where the source does not say them, and missing if it never
# does.
CASE_KEY = "case_key"
CASE_SIZE = "case_size"
CASE_FIRST_TILE = "case_first_tile"
CASE_SPACING = "case_spacing"
CASE_AFFINE = "case_affine"
# Only in splits of before, whose samples are overlapping tiles of images. TILE is (N, 3): row in
# TILE_SOURCE, y and x of the tile in the image; for volumes (N, 4): row, z, y, x. TILE_SOURCE
# (M, L) names the images as KEY names samples; TILE_SIZE (M, 2 or 3) is their size.
TILE = "tile"
TILE_SOURCE = "tile_source"
TILE_SIZE = "tile_size"
# (shards, fields, 2): size in bytes and xxh3_64 of each shard's file.
SHARD_FILES = "shard_files"
# The kinds of numbers (as in ``numpy.dtype.kind``), and the allowed extents of each axis after the
# first; () allows any.
DESCRIPTIONS: Mapping[str, tuple[str, tuple[tuple[int, ...], ...]]] = {
    KEY: ("u", ((),)),
    DIGEST: ("u", ()),
    CLASS_PIXELS: ("iu", ((),)),
    CHANNEL_SUMS: ("f", ((), (2, 3))),
    DHASH: ("u", ()),
    TILE: ("iu", ((3, 4),)),
    TILE_SOURCE: ("u", ((),)),
    TILE_SIZE: ("iu", ((2, 3),)),
    CASE_KEY: ("u", ((),)),
    CASE_SIZE: ("iu", ((2, 3),)),
    CASE_FIRST_TILE: ("iu", ()),
    CASE_SPACING: ("f", ((2, 3),)),
    CASE_AFFINE: ("f", ((3, 4), (3, 4))),
    SHARD_FILES: ("u", ((), (2,))),
}
DESCRIPTIVE = frozenset(DESCRIPTIONS)

Compressor: TypeAlias = Literal["raw", "blosc", "zstd", "gzip", "zlib", "bz2", "lzma", "lz4"]
# The compressors that zarrfeed decodes, by their id in numcodecs and Zarr v2: their name in Zarr
# v3. numcodecs has others, which could run code (``pickle``) or hold no numbers.
COMPRESSORS: Mapping[Compressor, str] = {
    "blosc": "blosc",
    "zstd": "zstd",
    "gzip": "gzip",
    "zlib": "numcodecs.zlib",
    "bz2": "numcodecs.bz2",
    "lzma": "numcodecs.lzma",
    "lz4": "numcodecs.lz4",
}


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """Where a shard stores the table of its chunks.

    The table is ``uint64[chunks, 2]`` of (offset, nbytes), little-endian, in C order, followed by
    a crc32c of 4 bytes if `checksum`.

    Attributes
    ----------
    at_end
        Whether the table is at the end of the file rather than at its beginning.
    checksum
        Whether a crc32c of the table follows it.
    """

    at_end: bool
    checksum: bool


@dataclass(frozen=True, slots=True)
class ArrayLayout:
    """How one array is laid out on disk.

    Attributes
    ----------
    shape
        Shape of the whole array. Axis 0 is the sample axis.
    dtype
        Data type in memory, in native byte order.
    chunk_rows
        Samples per chunk, the unit of decoding.
    shard_rows
        Samples per file; equal to `chunk_rows` if the array is not sharded.
    separator, prefix
        Parts of chunk file names: ``c/4/0/0/0`` has prefix ``c/`` and separator ``/``.
    index
        Where a shard stores the table of its chunks; None if the array is not sharded.
    compressor
        The bytes-to-bytes codec of a chunk; ``raw`` for none.
    checksum
        Whether a crc32c of 4 bytes follows every chunk.
    fill
        Value of chunks that were never written.
    codec
        The inner codecs as a short text for people, such as ``blosc-lz4`` or ``raw``.
    chunk_shape, shard_shape
        Full shapes of a chunk and of a file; equal if the array is not sharded.
    order
        Order of the axes in a stored chunk; None if it is that of `shape`.
    swapped
        Whether numbers are stored in the byte order that is not this machine's.
    indirect
        Why samples cannot be read straight from the files; None if they can.
    foreign
        Whether only zarr-python may be able to read the array.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk_rows: int
    shard_rows: int
    separator: str
    prefix: str
    index: ShardIndex | None
    compressor: Compressor
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
    def raw(self) -> bool:
        """Whether chunks are stored as they are in memory, without a codec and a checksum."""
        return self.compressor == "raw" and not self.checksum

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.shape[1:]

    @property
    def sample_nbytes(self) -> int:
        """Size of one decoded sample in bytes."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def shards(self) -> int:
        """Number of files along axis 0."""
        return -(-self.shape[0] // self.shard_rows)

    @property
    def chunks_per_shard(self) -> int:
        """Number of chunks that fit in one file."""
        return self.shard_rows // self.chunk_rows

    @property
    def chunks_in_use(self) -> int:
        """Number of chunks of a file that can hold samples of this array, which may be shorter."""
        return min(self.chunks_per_shard, -(-self.shape[0] // self.chunk_rows))

    def shard_name(self, shard: int) -> str:
        """Return the file name of a shard, relative to the array's folder.

        Parameters
        ----------
        shard
            Number of the shard along axis 0.
        """
        return self.file_name((shard, *(0 for _ in self.shape[1:])))

    def file_name(self, place: Sequence[int]) -> str:
        """Return the name of a file, relative to the array's folder, by its place in the grid."""
        return self.prefix + self.separator.join(map(str, place))
