"""Which codecs can chunks be written with, and how is each of them made?

The one table of the packer's codecs. A new one is a name in `Codec`, a row in `SETTINGS` and a
branch in :func:`encoder` and :func:`zarr_compressors`. The names are recorded in stores: they never
change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, get_args

import numcodecs
import numcodecs.blosc
import numpy as np
from numpy.typing import NDArray

Codec: TypeAlias = Literal["raw", "blosc-lz4", "blosc-lz4hc", "zstd-1"]
CODECS: tuple[Codec, ...] = get_args(Codec)

# lz4hc gains next to nothing above level 3. A CamVid mask, ms to encode, ms to decode, ratio:
#   lz4 0.06, 0.036, 14.3; lz4hc level 1: 0.08, 0.034, 15.9; level 3: 0.47, 0.020, 25.3;
#   level 5: 0.75, 0.019, 27.2; level 9: 4.4 (longer than decoding the PNGs), 0.019, 28.8
SETTINGS: Mapping[Codec, Mapping[str, Any]] = {
    "raw": {},
    "blosc-lz4": {"cname": "lz4", "clevel": 5},
    "blosc-lz4hc": {"cname": "lz4hc", "clevel": 3},
    "zstd-1": {"level": 1},
}

# What a user may ask for; ``auto`` tries codecs on some samples.
CodecChoice: TypeAlias = Literal["auto", "raw", "lz4", "zstd"]
CODEC_CHOICES: tuple[CodecChoice, ...] = get_args(CodecChoice)
# Choice -> the codec of masks, and that of all other fields.
CHOSEN_CODECS: Mapping[CodecChoice, tuple[Codec, Codec]] = {
    "raw": ("raw", "raw"),
    "lz4": ("blosc-lz4hc", "blosc-lz4"),
    "zstd": ("zstd-1", "zstd-1"),
}

Encode: TypeAlias = Callable[[NDArray[Any]], Any]


def encoder(codec: Codec, itemsize: int) -> Encode:
    """Return the function that encodes a chunk, an array, into bytes.

    Parameters
    ----------
    codec
        Name of the codec.
    itemsize
        Bytes of one array element. Blosc shuffles the bytes of elements of more than one.
    """
    settings = SETTINGS[codec]
    if codec == "raw":
        return np.ascontiguousarray
    if codec == "zstd-1":
        compressor: Any = numcodecs.Zstd(**settings)
    else:
        compressor = numcodecs.Blosc(**settings, shuffle=int(itemsize > 1))

    def encode(chunk: NDArray[Any]) -> bytes:
        encoded: bytes = compressor.encode(np.ascontiguousarray(chunk))
        return encoded

    return encode


def zarr_compressors(codec: Codec, itemsize: int) -> tuple[Any, ...]:
    """Return the compressors that describe a codec to zarr-python.

    Parameters
    ----------
    codec, itemsize
        As for :func:`encoder`.
    """
    from zarr.codecs import BloscCodec, ZstdCodec

    settings = SETTINGS[codec]
    if codec == "raw":
        return ()
    if codec == "zstd-1":
        return (ZstdCodec(**settings, checksum=False),)
    shuffle: Literal["shuffle", "noshuffle"] = "shuffle" if itemsize > 1 else "noshuffle"
    return (BloscCodec(**settings, shuffle=shuffle, typesize=itemsize),)
