"""Write arrays and groups by zarr-python: the rows of an array in order, shard by shard.

A shard is encoded in memory and put in place by renaming it, so that after a kill every file is
either whole or missing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import StoreError
from zarrfeed.store.schema import ATTRIBUTES, METADATA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from zarr.core.buffer import Buffer

    from zarrfeed.store.schema import JSON

# Decoded bytes of a shard, which is filled in memory before it is written.
SHARD_NBYTES = 16 << 20
_ROWS = 65536  # per chunk of an array that describes samples or cases


class ShardWriter:
    """Writes the rows of a new array in order. Shards that exist are kept.

    Parameters
    ----------
    folder
        Folder of the array.
    shape, dtype
        Of the array; rows are on axis 0.
    chunk_rows
        Rows per chunk.
    dimensions
        Names of the axes.

    Raises
    ------
    StoreError
        The folder has an array of another shape or dtype.
    """

    def __init__(
        self,
        folder: Path,
        *,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        chunk_rows: int,
        dimensions: Sequence[str],
    ) -> None:
        import zarr
        from zarr.codecs import BloscCodec
        from zarr.storage import MemoryStore

        self.sample_shape = shape[1:]
        self.dtype = dtype
        self._folder = folder
        self._length = shape[0]
        nbytes = chunk_rows * math.prod(shape[1:]) * dtype.itemsize
        chunks = max(1, min(SHARD_NBYTES // nbytes, -(-shape[0] // chunk_rows)))
        self._shard_rows = chunks * chunk_rows
        self._files: dict[str, Buffer] = {}
        self._array = zarr.create_array(
            MemoryStore(self._files),
            shape=shape,
            dtype=dtype,
            chunks=(chunk_rows, *shape[1:]),
            shards=(self._shard_rows, *shape[1:]),
            compressors=BloscCodec(
                cname="lz4",
                clevel=5,
                shuffle="shuffle" if dtype.itemsize > 1 else "noshuffle",
                typesize=dtype.itemsize,
            ),
            fill_value=0,
            dimension_names=dimensions,
            config={"write_empty_chunks": True},  # so that a missing file is always an error
        )
        metadata = self._files.pop(METADATA).to_bytes()
        if (folder / METADATA).exists():
            self._require_same()
        else:
            folder.mkdir(exist_ok=True)
            _put(folder / METADATA, metadata)
        self._shard = -1
        self._kept = False
        self._rows = np.zeros((self._shard_rows, *self.sample_shape), dtype)

    def _require_same(self) -> None:
        import zarr

        found = zarr.open_array(str(self._folder), mode="r")
        if (found.shape, found.dtype, found.shards) != (
            self._array.shape, self._array.dtype, self._array.shards
        ):  # fmt: skip
            raise StoreError(
                f"{self._folder}: needed an array {self._array.shape} {self._array.dtype}, found "
                f"{found.shape} {found.dtype}, begun by another run: remove {self._folder.parent}"
            )

    def row(self, row: int) -> NDArray[Any] | None:
        """Return the memory of a row, zeros, to fill it; None if its shard exists already.

        Rows must be asked for in order. When the first row of the next shard is, a shard is
        written.
        """
        shard, at = divmod(row, self._shard_rows)
        if shard != self._shard:
            self.flush()
            self._shard = shard
            self._kept = self._path(shard).exists()
            self._rows[:] = 0
        return None if self._kept else self._rows[at]

    def flush(self) -> None:
        """Write the shard whose rows have been filled."""
        if self._shard < 0 or self._kept:
            return
        start = self._shard * self._shard_rows
        stop = min(start + self._shard_rows, self._length)
        self._array[start:stop] = self._rows[: stop - start]
        [(_, encoded)] = self._files.items()
        self._files.clear()
        path = self._path(self._shard)
        path.parent.mkdir(parents=True, exist_ok=True)
        _put(path, encoded.to_bytes())
        self._shard = -1

    def _path(self, shard: int) -> Path:
        return _shard_path(self._folder, shard, 1 + len(self.sample_shape))


def _shard_path(folder: Path, shard: int, axes: int) -> Path:
    return folder.joinpath("c", str(shard), *"0" * (axes - 1))


def rows_written(folder: Path) -> int:
    """Count the rows of an array before its first missing shard; 0 if there is no array."""
    import zarr

    if not (folder / METADATA).exists():
        return 0
    array = zarr.open_array(str(folder), mode="r")
    rows = (array.shards or array.chunks)[0]
    shard = 0
    while shard * rows < array.shape[0] and _shard_path(folder, shard, array.ndim).exists():
        shard += 1
    return min(shard * rows, array.shape[0])


def write_group(folder: Path, description: JSON) -> None:
    """Make a folder a group, at once.

    Parameters
    ----------
    folder
        An existing folder.
    description
        The group's ``attributes.zarrfeed``.
    """
    import zarr
    from zarr.storage import MemoryStore

    files: dict[str, Buffer] = {}
    zarr.create_group(MemoryStore(files), attributes={ATTRIBUTES: dict(description)})
    _put(folder / METADATA, files[METADATA].to_bytes())


def write_arrays(folder: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays, (n, …), that describe samples or cases."""
    import zarr
    from zarr.codecs import Crc32cCodec, ZstdCodec

    for name, values in arrays.items():
        array = zarr.create_array(
            str(folder / name),
            shape=values.shape,
            dtype=values.dtype,
            chunks=(min(len(values), _ROWS), *values.shape[1:]),
            compressors=(ZstdCodec(level=1, checksum=False), Crc32cCodec()),
            fill_value=0,
            config={"write_empty_chunks": True},
            overwrite=True,  # left by a killed run
        )
        array[:] = values


def _put(path: Path, content: bytes) -> None:
    """Write a file that is either whole or not there."""
    aside = path.with_name(path.name + ".tmp")
    aside.write_bytes(content)
    aside.replace(path)
