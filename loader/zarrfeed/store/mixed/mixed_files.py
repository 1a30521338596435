"""The shards of arrays of several stores, as those of one array.

Arrays with equal samples, chunks and codecs can be read together, so that a batch takes one call,
as one of one store does. The shards of each follow those of the array before; all get the place of
as many chunks as the largest has::

    store 0, shards of 4      | 0 1 2 3 | 4 5 . . |
    store 1, shards of 2                          | 0 1 . . | 2 . . . |
    row of the whole            0 1 2 3   4 5       8 9       12
"""

from __future__ import annotations

import os
from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.store.mapped_files import MappedFiles
from zarrfeed.store.shard_files import ShardFiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed.store.files import Stamp
    from zarrfeed.store.mapped_shards import MappedShards
    from zarrfeed.store.schema import ArrayLayout


@dataclass(frozen=True, slots=True)
class StoredField:
    """An array of one store.

    Attributes
    ----------
    folder
        Folder of the array.
    layout
        Layout of the array.
    stamp
        Stamp of the array; see :func:`zarrfeed.store.files.require_same`.
    required
        Whether a missing file is an error.
    """

    folder: Path
    layout: ArrayLayout
    stamp: Stamp | None
    required: bool


class RowsOfAll:
    """Where the samples of each array are among the rows of the whole.

    Parameters
    ----------
    layouts
        Layouts of the arrays, equal in samples, chunks and codecs.

    Attributes
    ----------
    layout
        The layout of the whole.
    first_shard
        Number of the first shard of each array.
    key
        What is equal for arrays of other fields if their rows are the same.
    """

    def __init__(self, layouts: Sequence[ArrayLayout]) -> None:
        shards = [layout.shards for layout in layouts]
        self.first_shard: list[int] = (np.cumsum(shards) - shards).tolist()
        most = max(layout.shard_rows for layout in layouts)
        shape = (sum(shards) * most, *layouts[0].sample_shape)
        self.layout = replace(layouts[0], shape=shape, shard_rows=most)
        self._shard_rows = np.array([layout.shard_rows for layout in layouts], np.int64)
        self._first_rows = np.array(self.first_shard, np.int64) * most
        self.key = (*self.first_shard, *self._shard_rows.tolist())

    def of(self, array: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows of samples.

        Parameters
        ----------
        array, ids
            (n,) int64 each: number of the array, and id of the sample in it.
        """
        each, most = self._shard_rows[array], self.layout.shard_rows
        return self._first_rows[array] + ids + ids // each * (most - each)


class MixedShardFiles(ShardFiles):
    """Finds the bytes of the chunks of several arrays.

    Parameters
    ----------
    fields
        The arrays.
    rows
        Their rows.
    open_files, mapped_shards
        As for :class:`ShardFiles`.
    """

    def __init__(
        self,
        fields: Sequence[StoredField],
        rows: RowsOfAll,
        *,
        open_files: int,
        mapped_shards: MappedShards | None,
    ) -> None:
        self._stored = fields
        self._first = rows.first_shard
        super().__init__(
            fields[0].folder,
            rows.layout,
            required=True,
            stamp=None,
            open_files=open_files,
            mapped_shards=mapped_shards,
        )

    def path(self, shard: int) -> Path:
        """Return the path of a shard's file."""
        field, number = self._field(shard)
        return field.folder / field.layout.shard_name(number)

    def first_sample(self, shard: int) -> int:
        """Return the id of the first sample of a shard, in its own store."""
        field, number = self._field(shard)
        return number * field.layout.shard_rows

    def _field(self, shard: int) -> tuple[StoredField, int]:
        """Return the array of a shard, and its number there."""
        at = bisect_right(self._first, shard) - 1
        return self._stored[at], shard - self._first[at]

    def _map_files(self, stamp: Stamp | None, open_files: int) -> MappedFiles:
        del stamp  # each array has its own
        return _FilesOfAll(self._stored, self._first, open_files=open_files)

    def _layout_of(self, shard: int) -> ArrayLayout:
        return self._field(shard)[0].layout

    def _requires(self, shard: int) -> bool:
        return self._field(shard)[0].required

    def _table(self, shard: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        offset, nbytes = super()._table(shard)
        if offset.ndim == 0:  # no file, and thus no chunk
            return offset, nbytes
        rest = (0, self._chunks - offset.size)
        return np.pad(offset, rest, constant_values=-1), np.pad(nbytes, rest)


class _FilesOfAll(MappedFiles):
    def __init__(
        self, fields: Sequence[StoredField], first: Sequence[int], *, open_files: int
    ) -> None:
        super().__init__(fields[0].folder, stamp=None, open_files=open_files)
        self._first_file = first
        self._arrays = [(field.folder, field.stamp) for field in fields]
        self._folders = [os.path.realpath(field.folder.parent) for field in fields]

    def _array_of(self, number: int) -> tuple[Path, Stamp | None]:
        return self._arrays[bisect_right(self._first_file, number) - 1]

    def _within_of(self, number: int) -> str:
        return self._folders[bisect_right(self._first_file, number) - 1]
