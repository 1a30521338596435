"""A ``zarr.json`` is understood, or the reason why not is told."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from zarrfeed.errors import StoreError
from zarrfeed.store.array_metadata import UnfitError, parse_array
from zarrfeed.store.schema import ShardIndex

SHARDED: dict[str, Any] = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [10, 4, 5],
    "data_type": "uint8",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [6, 4, 5]}},
    "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
    "fill_value": 0,
    "codecs": [
        {
            "name": "sharding_indexed",
            "configuration": {
                "chunk_shape": [2, 4, 5],
                "codecs": [
                    "bytes",
                    {
                        "name": "blosc",
                        "configuration": {"cname": "lz4", "clevel": 5, "shuffle": "noshuffle"},
                    },
                ],
                "index_codecs": [
                    {"name": "bytes", "configuration": {"endian": "little"}},
                    {"name": "crc32c"},
                ],
                "index_location": "end",
            },
        }
    ],
}


def changed(*path: Any, to: Any) -> dict[str, Any]:
    """SHARDED with one value replaced."""
    metadata = copy.deepcopy(SHARDED)
    place: Any = metadata
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    return metadata


def test_a_sharded_array_is_described_whole() -> None:
    layout = parse_array(SHARDED, name="image")
    assert (layout.chunk_rows, layout.shard_rows, layout.chunks_per_shard) == (2, 6, 3)
    assert layout.index == ShardIndex(at_end=True, checksum=True)
    assert (layout.compressor, layout.codec, layout.indirect) == ("blosc", "blosc-lz4", None)
    assert (layout.sample_shape, layout.sample_nbytes) == ((4, 5), 20)
    assert layout.shard_name(1) == "c/1/0/0"


def test_chunk_names_follow_their_encoding() -> None:
    dots = changed(
        "chunk_key_encoding", to={"name": "default", "configuration": {"separator": "."}}
    )
    assert parse_array(dots, name="a").shard_name(3) == "c.3.0.0"
    assert parse_array(changed("chunk_key_encoding", to="v2"), name="a").shard_name(3) == "3.0.0"


@pytest.mark.parametrize(
    ("fill", "expected"),
    [(7, 7.0), (0.5, 0.5), ("NaN", np.nan), ("-Infinity", -np.inf), ("0x3fc00000", 1.5)],
)
def test_fill_values_are_numbers(fill: Any, expected: float) -> None:
    metadata = changed("data_type", to="float32") | {"fill_value": fill}
    assert np.array_equal(parse_array(metadata, name="a").fill, expected, True)


TRANSPOSE = {"name": "transpose", "configuration": {"order": [0, 2, 1]}}
INNER = ("codecs", 0, "configuration")


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        (changed(*INNER, "codecs", to=["bytes", {"name": "zfp"}]), "codec 'zfp'"),
        (
            changed(
                *INNER,
                "codecs",
                to=[{"name": "transpose", "configuration": {"order": [0, 2, 1]}}, "bytes"],
            ),
            "codec 'transpose'",
        ),
        (changed(*INNER, "chunk_shape", to=[2, 2, 5]), "split a sample"),
        (
            changed(*INNER, "codecs", to=["bytes"]) | {"chunk_key_encoding": {"name": "hilbert"}},
            "chunk key encoding 'hilbert'",
        ),
    ],
)
def test_what_the_direct_reader_does_not_cover_has_a_reason(
    metadata: dict[str, Any], reason: str
) -> None:
    assert reason in (parse_array(metadata, name="a").indirect or "")


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        (changed(*INNER, "index_codecs", to=["bytes", "gzip"]), "index codecs"),
        (changed("chunk_key_encoding", to={"name": "hilbert"}), "chunk key encoding 'hilbert'"),
        (changed("codecs", to=[*SHARDED["codecs"], "gzip"]), "around whole shards"),
        (changed("storage_transformers", to=["x"]), "storage transformers"),
        (changed(*INNER, "codecs", to=["bytes", "gzip", "zstd"]), "codec 'zstd'"),
    ],
)
def test_compressors_are_never_left_to_zarr_python(metadata: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnfitError, match=rf"a: codec '\w+' is not read together with .*{reason}"):
        parse_array(metadata, name="a")


def test_big_endian_data_is_left_to_zarr_python() -> None:
    metadata = changed(*INNER, "codecs", to=[{"name": "bytes", "configuration": {"endian": "big"}}])
    assert parse_array(metadata, name="a").indirect is None  # a byte has no order
    metadata["data_type"] = "uint16"
    assert "big-endian" in (parse_array(metadata, name="a").indirect or "")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (changed("zarr_format", to=2), "needed a Zarr v3 array"),
        (changed("node_type", to="group"), "node_type='group'"),
        (changed("data_type", to="complex64"), "found 'complex64'"),
        (changed("shape", to=[]), "a scalar"),
        (changed("chunk_grid", "name", to="rectilinear"), "regular chunk grid"),
    ],
)
def test_what_cannot_feed_batches_is_an_error(metadata: dict[str, Any], message: str) -> None:
    with pytest.raises(StoreError, match=message.replace("(", r"\(")):
        parse_array(metadata, name="image")
