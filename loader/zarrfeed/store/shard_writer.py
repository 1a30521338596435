"""Write arrays and groups: the rows of an array in order, shard by shard.

A file is put in place by renaming it, so that after a kill it is either whole or missing.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from zarrfeed.errors import StoreError
from zarrfeed.store.schema import ATTRIBUTES, METADATA
from zarrfeed.store.shard_file import CLEVEL, CNAME, ShardFile, aside, shuffle_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from zarr import Array
    from zarr.core.buffer import Buffer

    from zarrfeed.store.schema import JSON

# Decoded bytes of a shard. What a killed run has written of one is lost.
SHARD_NBYTES = 32 << 20
_ROWS = 65536  # per chunk of an array that describes samples or cases


class ShardWriter:
    """Writes the rows of a new array in order. Shards that exist are kept.

    zarr-python writes the metadata. Use it as a context manager, which writes the last rows.

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
        self._chunk_rows = chunk_rows
        nbytes = chunk_rows * math.prod(shape[1:]) * dtype.itemsize
        self._chunks = max(1, min(SHARD_NBYTES // nbytes, -(-shape[0] // chunk_rows)))
        files: dict[str, Buffer] = {}
        array = zarr.create_array(
            MemoryStore(files),
            shape=shape,
            dtype=dtype,
            chunks=(chunk_rows, *shape[1:]),
            shards=(self._chunks * chunk_rows, *shape[1:]),
            compressors=BloscCodec(
                cname=CNAME, clevel=CLEVEL, shuffle=shuffle_of(dtype), typesize=dtype.itemsize
            ),
            fill_value=0,
            dimension_names=dimensions,
        )
        if (folder / METADATA).exists():
            _require_same(folder, array)
        else:
            folder.mkdir(exist_ok=True)
            _put(folder / METADATA, files[METADATA].to_bytes())
        self._shard = self._chunk = -1
        self._file: ShardFile | None = None
        self._failed = False
        self._rows = np.zeros((chunk_rows, *self.sample_shape), dtype)

    def row(self, row: int) -> NDArray[Any] | None:
        """Return the memory of a row, zeros, to fill it; None if its shard exists already.

        Rows must be asked for in order. A chunk is written when the first row of the next one is
        asked for. After an error no further row can be written, because the shard lacks a chunk.
        """
        if self._failed:
            raise ValueError(f"{self._folder}: writing a row has failed before")
        chunk, at = divmod(row, self._chunk_rows)
        if chunk != self._chunk:
            with self._abandoned_on_error():
                self._go_to(chunk)
        return None if self._file is None else self._rows[at]

    def _go_to(self, chunk: int) -> None:
        self._end_chunk()
        self._chunk = chunk
        if chunk // self._chunks != self._shard:
            self._end_shard()
            self._shard = chunk // self._chunks
            path = _shard_path(self._folder, self._shard, 1 + len(self.sample_shape))
            if not path.exists():
                self._file = ShardFile(path, chunks=self._chunks)

    def _end_chunk(self) -> None:
        if self._file is not None:
            self._file.append(self._rows)
            self._rows[:] = 0

    def _end_shard(self) -> None:
        if self._file is not None:
            self._file.finish()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._abandoned_on_error():
            if kind is None and not self._failed:
                self._end_chunk()
                self._end_shard()
        self._abandon()

    @contextmanager
    def _abandoned_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._failed = True
            self._abandon()
            raise

    def _abandon(self) -> None:
        """Remove the file of a shard that is not complete, if there is one."""
        file, self._file = self._file, None
        if file is not None:
            file.abandon()


def _require_same(folder: Path, array: Array[Any]) -> None:
    import zarr

    found = zarr.open_array(str(folder), mode="r")
    if (found.shape, found.dtype, found.shards) != (array.shape, array.dtype, array.shards):
        raise StoreError(
            f"{folder}: needed an array {array.shape} {array.dtype}, found {found.shape} "
            f"{found.dtype}, begun by another run: remove {folder.parent}"
        )


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


def write_group(folder: Path, description: JSON, *, through: Path | None = None) -> None:
    """Make a folder a group, at once.

    Parameters
    ----------
    folder
        An existing folder.
    description
        The group's ``attributes.zarrfeed``.
    through
        The file that is renamed to the metadata; None for one in the folder.
    """
    import zarr
    from zarr.storage import MemoryStore

    files: dict[str, Buffer] = {}
    zarr.create_group(MemoryStore(files), attributes={ATTRIBUTES: dict(description)})
    _put(folder / METADATA, files[METADATA].to_bytes(), through)


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


def _put(path: Path, content: bytes, through: Path | None = None) -> None:
    """Write a file that is either whole or not there."""
    through = through or aside(path)
    through.write_bytes(content)
    through.replace(path)
