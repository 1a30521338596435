"""What does a Zarr v3 ``zarr.json`` say about an array, and can the direct reader read it?

Pure: a metadata dictionary in, a frozen description out. Whatever the direct reader does not
cover is not an error but an :class:`ArrayLayout` with the reason in ``indirect``; zarr-python
reads such an array instead.

Source: Zarr v3 core specification and the ``sharding_indexed`` codec 1.0
(https://zarr-specs.readthedocs.io/en/latest/v3/).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from zarrfeed.errors import StoreError

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
# (N, C, 2): the sum and the sum of squares of every channel; where some values are NaN or infinite,
# (N, C, 3): how many, too. They are left out of both sums.
CHANNEL_SUMS = "channel_sums"
# Where images were cut into tiles: (N, 3) row in TILE_SOURCE, y and x of the tile in the image;
# TILE_SOURCE (M, L) names the images as KEY does samples, TILE_SIZE (M, 2) is their height, width.
TILE = "tile"
TILE_SOURCE = "tile_source"
TILE_SIZE = "tile_size"
# An array that describes files: (shards, fields, 2) bytes and xxh3_64 of each.
SHARD_FILES = "shard_files"
DESCRIPTIVE = frozenset(
    {KEY, DIGEST, CLASS_PIXELS, CHANNEL_SUMS, TILE, TILE_SOURCE, TILE_SIZE, SHARD_FILES}
)

# The data types that a batch can hold; the rest of Zarr's (complex, strings, structs) is not
# something a segmentation model eats.
_DTYPES = frozenset(
    ["bool", "float16", "float32", "float64"]
    + [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)]
)

Compression: TypeAlias = Literal["raw", "blosc", "zstd", "gzip"]
_COMPRESSIONS: Mapping[str, Compression] = {"blosc": "blosc", "zstd": "zstd", "gzip": "gzip"}


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
    indirect
        Why the direct reader cannot read this array; None where it can. The fields about
        chunks then describe the grid as far as it is known.
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
    indirect: str | None

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.shape[1:]

    @property
    def sample_nbytes(self) -> int:
        """Bytes of one decoded sample."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def chunks_per_shard(self) -> int:
        """Chunks in one file."""
        return self.shard_rows // self.chunk_rows

    def shard_name(self, shard: int) -> str:
        """Name the file of a shard, relative to the array's folder.

        Parameters
        ----------
        shard
            Its number along axis 0.
        """
        zeros = ["0"] * (len(self.shape) - 1)
        return self.prefix + self.separator.join([str(shard), *zeros])


def parse_array(metadata: JSON, *, name: str) -> ArrayLayout:
    """Read an array's ``zarr.json``.

    Parameters
    ----------
    metadata
        The parsed file.
    name
        What to call the array in an error.

    Raises
    ------
    StoreError
        It is not a Zarr v3 array, or its data type or chunk grid cannot feed batches at all.
    """
    if metadata.get("zarr_format") != 3 or metadata.get("node_type") != "array":
        raise StoreError(
            f"{name}: needed a Zarr v3 array, found zarr_format="
            f"{metadata.get('zarr_format')!r}, node_type={metadata.get('node_type')!r}"
        )
    data_type = metadata.get("data_type")
    if data_type not in _DTYPES:
        raise StoreError(f"{name}: needed a data type of {sorted(_DTYPES)}, found {data_type!r}")
    shape = tuple(int(extent) for extent in metadata["shape"])
    if not shape:
        raise StoreError(f"{name}: needed samples along axis 0, found a scalar (shape ())")

    reasons: list[str] = []
    outer = _grid(metadata, shape, name)
    codecs = _named(metadata["codecs"])
    index: ShardIndex | None = None
    inner = outer
    if codecs and codecs[0][0] == "sharding_indexed":
        sharding = codecs[0][1]
        if len(codecs) > 1:
            reasons.append(f"codec {codecs[1][0]!r} around whole shards")
        inner = tuple(int(extent) for extent in sharding["chunk_shape"])
        index = _shard_index(sharding, reasons)
        codecs = _named(sharding["codecs"])
    for grid, what in ((inner, "chunks"), (outer, "shards")):
        if grid[1:] != shape[1:]:
            reasons.append(f"{what} {grid} split a sample of shape {shape[1:]}")
    compression, checksum = _codecs(codecs, np.dtype(data_type).itemsize, reasons)
    prefix, separator = _key_encoding(metadata.get("chunk_key_encoding", {}), reasons)
    fill = _fill_value(metadata.get("fill_value", 0), reasons)
    if metadata.get("storage_transformers"):
        reasons.append("storage transformers")
    return ArrayLayout(
        shape=shape,
        dtype=np.dtype(data_type),
        chunk_rows=max(1, inner[0]),
        shard_rows=max(1, outer[0]),
        separator=separator,
        prefix=prefix,
        index=index,
        compression=compression,
        checksum=checksum,
        fill=fill,
        codec=_describe(codecs),
        indirect="; ".join(reasons) or None,
    )


def _grid(metadata: JSON, shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    grid = metadata["chunk_grid"]
    if grid["name"] != "regular":
        raise StoreError(f"{name}: needed a regular chunk grid, found {grid['name']!r}")
    outer = tuple(int(extent) for extent in grid["configuration"]["chunk_shape"])
    if len(outer) != len(shape):
        raise StoreError(f"{name}: chunk shape {outer} does not fit shape {shape}")
    return outer


def _named(codecs: Sequence[str | JSON]) -> list[tuple[str, JSON]]:
    """Normalise codecs to (name, configuration): a bare string is a name without configuration."""
    return [
        (codec, {}) if isinstance(codec, str) else (codec["name"], codec.get("configuration", {}))
        for codec in codecs
    ]


def _shard_index(sharding: JSON, reasons: list[str]) -> ShardIndex:
    names = [name for name, _ in _named(sharding.get("index_codecs", ["bytes", "crc32c"]))]
    configurations = dict(_named(sharding.get("index_codecs", [])))
    if names not in (["bytes"], ["bytes", "crc32c"]):
        reasons.append(f"index codecs {names}")
    if configurations.get("bytes", {}).get("endian", "little") != "little":
        reasons.append("a big-endian shard index")
    return ShardIndex(
        at_end=sharding.get("index_location", "end") == "end", checksum="crc32c" in names
    )


def _codecs(
    codecs: list[tuple[str, JSON]], itemsize: int, reasons: list[str]
) -> tuple[Compression, bool]:
    """Accept ``bytes``, then at most one compressor, then at most one crc32c."""
    rest = list(codecs)
    if rest and rest[0][0] == "bytes":
        endian = rest.pop(0)[1].get("endian", sys.byteorder)
        if itemsize > 1 and endian != sys.byteorder:
            reasons.append(f"{endian}-endian data")
    compression: Compression = "raw"
    if rest and rest[0][0] in _COMPRESSIONS:
        compression = _COMPRESSIONS[rest.pop(0)[0]]
    checksum = bool(rest) and rest[0][0] == "crc32c"
    if checksum:
        rest.pop(0)
    reasons.extend(f"codec {name!r}" for name, _ in rest)
    return compression, checksum


def _key_encoding(encoding: str | JSON, reasons: list[str]) -> tuple[str, str]:
    [(name, configuration)] = _named([encoding or "default"])
    if name == "default":
        separator = configuration.get("separator", "/")
        return f"c{separator}", separator
    if name == "v2":
        return "", configuration.get("separator", ".")
    reasons.append(f"chunk key encoding {name!r}")
    return "", "/"


def _fill_value(value: Any, reasons: list[str]) -> bool | int | float:
    if isinstance(value, bool | int | float):
        return value
    if value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    reasons.append(f"fill value {value!r}")
    return 0


def _describe(codecs: list[tuple[str, JSON]]) -> str:
    words = []
    for name, configuration in codecs:
        if name == "blosc":
            shuffle = configuration.get("shuffle", "noshuffle")
            words.append(
                f"blosc-{configuration.get('cname')}"
                + ("" if shuffle == "noshuffle" else f"-{shuffle}")
            )
        elif name in ("zstd", "gzip"):
            words.append(f"{name}-{configuration.get('level')}")
        elif name != "bytes":
            words.append(name)
    return "+".join(words) or "raw"
