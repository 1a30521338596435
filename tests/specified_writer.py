"""A writer of fields as the page on the store says it, with nothing but NumPy and a checksum."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def write_field(folder: Path, values: NDArray[Any], *, chunk_rows: int, shard_rows: int) -> None:
    """Write a field as the page says it, raw, with nothing but NumPy."""
    codecs = [{"name": "bytes", "configuration": {"endian": "little"}}]
    inner = {
        "chunk_shape": [chunk_rows, *values.shape[1:]],
        "codecs": codecs,
        "index_codecs": [*codecs, {"name": "crc32c"}],
        "index_location": "end",
    }
    grid = {"chunk_shape": [shard_rows, *values.shape[1:]]}
    known = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": values.shape,
        "data_type": values.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": grid},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "sharding_indexed", "configuration": inner}],
    }
    for shard in range(-(-len(values) // shard_rows)):
        rows = values[shard * shard_rows : (shard + 1) * shard_rows]
        index = np.full((shard_rows // chunk_rows, 2), 2**64 - 1, "<u8")
        content = b""
        for chunk in range(-(-len(rows) // chunk_rows)):
            held = rows[chunk * chunk_rows : (chunk + 1) * chunk_rows]
            whole = np.zeros((chunk_rows, *values.shape[1:]), values.dtype.newbyteorder("<"))
            whole[: len(held)] = held
            index[chunk] = len(content), whole.nbytes
            content += whole.tobytes()
        table = index.tobytes()
        path = folder.joinpath("c", str(shard), *"0" * (values.ndim - 1))
        path.parent.mkdir(parents=True)
        path.write_bytes(content + table + google_crc32c.value(table).to_bytes(4, "little"))
    (folder / "zarr.json").write_text(json.dumps(known))
