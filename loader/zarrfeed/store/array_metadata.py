"""What does a Zarr v3 ``zarr.json`` say about an array, and can a mapped reader read it?

Pure: a metadata dictionary in, a frozen description out. An array that mapped readers cannot read
is no error: its :class:`ArrayLayout` gives the reason in ``indirect``. The dictionary is untrusted:
the type and the range of every value are checked before it is used.

Source: Zarr v3 core specification and the ``sharding_indexed`` codec 1.0
(https://zarr-specs.readthedocs.io/en/latest/v3/).
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import StoreError
from zarrfeed.store.json_checks import (
    MOST_BYTES,
    Damage,
    codec_list,
    extents,
    json_object,
    named_configuration,
    one_of,
    require_node,
)
from zarrfeed.store.schema import COMPRESSORS, JSON, ArrayLayout, Compressor, ShardIndex

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# The data types that a batch can hold. Zarr's others (complex, strings, structs) cannot feed a
# model.
_DTYPES = frozenset(
    ["bool", "float16", "float32", "float64"]
    + [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)]
)
_COMPRESSORS: Mapping[str, Compressor] = {v3: name for name, v3 in COMPRESSORS.items()}
# Codecs of numcodecs that neither expand a chunk nor run code.
_HARMLESS = frozenset(
    f"numcodecs.{name}"
    for name in ("delta", "fixedscaleoffset", "quantize", "bitround", "astype", "shuffle", "crc32")
)
_KNOWN = frozenset(
    [
        "zarr_format", "node_type", "shape", "data_type", "chunk_grid", "chunk_key_encoding",
        "fill_value", "codecs", "attributes", "storage_transformers", "dimension_names",
    ]
)  # fmt: skip


class UnfitError(StoreError):
    """An array is valid Zarr but cannot feed batches."""


def parse_array(metadata: JSON, *, name: str) -> ArrayLayout:
    """Read an array's ``zarr.json``.

    Parameters
    ----------
    metadata
        The parsed file.
    name
        Name of the array for error messages.

    Raises
    ------
    StoreError
        The metadata does not describe a Zarr v3 array, or is damaged.
    UnfitError
        The data type, shape or chunk grid cannot feed batches.
    """
    try:
        require_node(metadata, "array", _KNOWN)
        return _parse(metadata, name)
    except Damage as error:
        raise StoreError(f"{name}: {error}") from error
    except StoreError:
        raise
    except Exception as error:  # any other malformed JSON
        raise StoreError(f"{name}: its metadata is damaged: {error!r:.300}") from error


def _parse(metadata: JSON, name: str) -> ArrayLayout:
    data_type = metadata.get("data_type")
    if not isinstance(data_type, str) or data_type not in _DTYPES:
        raise UnfitError(
            f"{name}: needed a data type of {sorted(_DTYPES)}, found {data_type!r:.99}"
        )
    dtype = np.dtype(data_type)
    shape = extents(metadata.get("shape"), "shape", least=0)
    if not shape:
        raise UnfitError(f"{name}: needed samples along axis 0, found a scalar (shape ())")
    if 0 in shape[1:]:
        raise UnfitError(f"{name}: needed samples that are not empty, found shape {shape}")
    _require_bytes(shape, dtype, "shape")

    reasons: list[str] = []
    foreign: list[str] = []
    outer = _grid(metadata, shape, name)
    _require_bytes(outer, dtype, "chunk shape")
    codecs = codec_list(metadata.get("codecs"))
    around: list[tuple[str, JSON]] = []
    index: ShardIndex | None = None
    inner = outer
    if codecs and codecs[0][0] == "sharding_indexed":
        sharding = codecs[0][1]
        if len(codecs) > 1:
            foreign.append(f"codec {codecs[1][0]!r:.99} around whole shards")
        around = [*codecs[1:], *codec_list(sharding.get("index_codecs", ["bytes"]))]
        inner = extents(sharding.get("chunk_shape"), "chunk shape", least=1)
        if len(inner) != len(outer) or any(o % i for o, i in zip(outer, inner, strict=True)):
            raise Damage(f"shards {outer} are not made of whole chunks {inner}")
        index = _shard_index(sharding, foreign)
        codecs = codec_list(sharding.get("codecs"))
    for grid, what in ((inner, "chunks"), (outer, "shards")):
        if grid[1:] != shape[1:]:
            reasons.append(f"{what} {grid} split a sample of shape {shape[1:]}")
    description = _describe(codecs)
    order = _transposed(codecs, len(shape))
    if order is not None:
        reasons.append("codec 'transpose'")
    swapped, compressor, checksum = _codecs(codecs, dtype, foreign)
    if swapped:
        other = "big" if sys.byteorder == "little" else "little"
        reasons.append(f"{other}-endian data")
    prefix, separator = _key_encoding(metadata.get("chunk_key_encoding"), foreign)
    fill = _fill_value(metadata.get("fill_value", 0), dtype)
    if metadata.get("storage_transformers"):
        foreign.append("storage transformers")
    if foreign:
        _require_harmless([*codecs, *around], foreign, name)
    return ArrayLayout(
        shape=shape,
        dtype=dtype,
        chunk_rows=inner[0],
        shard_rows=outer[0],
        separator=separator,
        prefix=prefix,
        index=index,
        compressor=compressor,
        checksum=checksum,
        fill=fill,
        codec=description,
        chunk_shape=inner,
        shard_shape=outer,
        order=order,
        swapped=swapped,
        indirect="; ".join([*foreign, *reasons]) or None,
        foreign=bool(foreign),
    )


def _require_bytes(shape: Sequence[int], dtype: np.dtype[Any], what: str) -> None:
    if math.prod(extent or 1 for extent in shape) * dtype.itemsize > MOST_BYTES:
        raise Damage(
            f"needed a {what} of at most {MOST_BYTES:,} bytes, found {tuple(shape)!r:.99} {dtype}"
        )


def _grid(metadata: JSON, shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    grid = json_object(metadata.get("chunk_grid"), "chunk_grid")
    kind = grid.get("name")
    if kind != "regular":
        if isinstance(kind, str):
            raise UnfitError(f"{name}: needed a regular chunk grid, found {kind!r:.99}")
        raise Damage(f"needed a chunk grid with a name, found {kind!r:.99}")
    configuration = json_object(grid.get("configuration"), "the chunk grid's configuration")
    outer = extents(configuration.get("chunk_shape"), "chunk shape", least=1)
    if len(outer) != len(shape):
        raise Damage(f"chunk shape {outer} does not fit shape {shape}")
    return outer


def _endian(configuration: JSON, default: str) -> str:
    return one_of(("little", "big"), configuration.get("endian", default), "byte order")


def _shard_index(sharding: JSON, foreign: list[str]) -> ShardIndex:
    codecs = codec_list(sharding.get("index_codecs", ["bytes", "crc32c"]))
    names = [name for name, _ in codecs]
    if names not in (["bytes"], ["bytes", "crc32c"]):
        foreign.append(f"index codecs {names}")
    elif _endian(codecs[0][1], "little") != "little":
        foreign.append("a big-endian shard index")
    location = one_of(("start", "end"), sharding.get("index_location", "end"), "index location")
    return ShardIndex(at_end=location == "end", checksum="crc32c" in names)


def _require_harmless(codecs: list[tuple[str, JSON]], foreign: list[str], name: str) -> None:
    """Refuse arrays that zarr-python would decode with codecs that trust their input.

    Compressors allocate the size that a chunk claims, Blosc crashes the process if its header is
    wrong, and numcodecs has a codec that runs code.
    """
    for codec, _ in codecs:
        own = codec.startswith("numcodecs.") and codec not in _HARMLESS
        if own or codec in _COMPRESSORS:
            raise UnfitError(
                f"{name}: codec {codec!r:.99} is not read together with {'; '.join(foreign)}: "
                "write the array again with bytes, blosc, zstd, gzip and crc32c only"
            )


def _transposed(codecs: list[tuple[str, JSON]], axes: int) -> tuple[int, ...] | None:
    """Remove a leading ``transpose`` from the codecs and return the order of the stored axes."""
    if codecs[0][0] != "transpose":
        return None
    order = codecs.pop(0)[1].get("order")
    if not isinstance(order, list | tuple) or any(type(axis) is not int for axis in order):
        raise Damage(f"needed an order of axes, found {order!r:.99}")
    if sorted(order) != list(range(axes)):
        raise Damage(f"needed an order of {axes} axes, found {order!r:.99}")
    return tuple(order)


def _codecs(
    codecs: list[tuple[str, JSON]], dtype: np.dtype[Any], foreign: list[str]
) -> tuple[bool, Compressor, bool]:
    """Return (swapped, compressor, checksum) of ``bytes``, a compressor and a crc32c, in order.

    Any other codec is added to `foreign`.
    """
    rest = list(codecs)
    swapped = False
    if rest and rest[0][0] == "bytes":
        endian = _endian(rest.pop(0)[1], sys.byteorder)
        swapped = dtype.itemsize > 1 and endian != sys.byteorder
    else:
        foreign.append("codecs that do not begin with 'bytes'")
    compressor: Compressor = "raw"
    if rest and rest[0][0] in _COMPRESSORS:
        compressor = _COMPRESSORS[rest.pop(0)[0]]
    checksum = bool(rest) and rest[0][0] == "crc32c"
    if checksum:
        rest.pop(0)
    foreign.extend(f"codec {name!r:.99}" for name, _ in rest)
    return swapped, compressor, checksum


def _key_encoding(encoding: Any, foreign: list[str]) -> tuple[str, str]:
    name, configuration = named_configuration(
        "default" if encoding is None else encoding, "the chunk key encoding"
    )
    if name not in ("default", "v2"):
        foreign.append(f"chunk key encoding {name!r:.99}")
        return "", "/"
    separator = configuration.get("separator", "/" if name == "default" else ".")
    separator = one_of(("/", "."), separator, "separator")  # it becomes part of file names
    return f"c{separator}" if name == "default" else "", separator


def _fill_value(value: Any, dtype: np.dtype[Any]) -> bool | int | float:
    if dtype.kind == "b":
        if isinstance(value, bool):
            return value
    elif dtype.kind == "f":
        if value in ("NaN", "Infinity", "-Infinity"):
            return float(value)
        if isinstance(value, str) and value.startswith("0x"):  # the bits of a number
            bits = int(value, 16).to_bytes(dtype.itemsize, "big")
            return float(np.frombuffer(bits, dtype.newbyteorder(">"))[0])
        if isinstance(value, int | float) and not isinstance(value, bool):
            limit = float(np.finfo(dtype).max)
            if not math.isfinite(value) or -limit <= value <= limit:
                return value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        limits = np.iinfo(dtype)
        if limits.min <= value <= limits.max and value == int(value):
            return int(value)
    raise Damage(f"needed a fill value of {dtype}, found {value!r:.99}")


def _describe(codecs: list[tuple[str, JSON]]) -> str:
    words = []
    for name, configuration in codecs:
        if name == "blosc":
            shuffle = configuration.get("shuffle", "noshuffle")
            words.append(
                f"blosc-{configuration.get('cname')!s:.20}"
                + ("" if shuffle == "noshuffle" else f"-{shuffle!s:.20}")
            )
        elif name in ("zstd", "gzip"):
            words.append(f"{name}-{configuration.get('level')!s:.20}")
        elif name != "bytes":
            words.append(f"{name:.40}")
    return "+".join(words[:9]) or "raw"
