"""How are cases put together again from stored tiles, to be cut into others?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import ReadError
from zarrfeed.store.schema import IMAGE
from zarrfeed.store.tile_grid import TileGrid, tile_rows
from zarrfeed_convert.header import Header
from zarrfeed_convert.repacking.stored_source import READ_NBYTES, StoredSamples
from zarrfeed_convert.shards.samples import sample_digest
from zarrfeed_convert.source import Source, image_names, whole_window, window_size
from zarrfeed_convert.verification.sample_check import Expected

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from zarrfeed.store.schema import ArrayLayout
    from zarrfeed_convert.geometry import Size
    from zarrfeed_convert.repacking.stored_facts import Facts
    from zarrfeed_convert.source import JSON, Sample, Window


class StoredCases(Source):
    """A source of the cases of packed splits, which is read in windows.

    The digest of every tile that is read is compared with the recorded one. It is not thread-safe;
    every process has its own. Close it after use.

    Parameters
    ----------
    tiles
        The tiles of all cases.
    facts
        What is recorded about them, with cases.
    """

    def __init__(self, tiles: StoredSamples, facts: Facts) -> None:
        assert facts.cases is not None
        self.fields = tiles.fields
        self._tiles = tiles
        self._keys = facts.keys
        self._sizes, self._first_tile = facts.cases.sizes, facts.cases.first_tile
        self._digest = facts.digest

    @property
    def keys(self) -> Sequence[str]:
        """The cases' names."""
        return self._keys

    @property
    def memory_nbytes(self) -> int:
        """Bytes of stored tiles that are decoded at a time."""
        return max(READ_NBYTES, self._tiles.largest_nbytes)

    def describe(self) -> JSON:
        """Return the description of the sources of the cases."""
        return self._tiles.describe()

    def names(self, sample: int) -> tuple[str, ...]:
        """Return the path of a case's split, for each field: its tiles may be in many files."""
        return (self._tiles.split_of(int(self._first_tile[sample])).address,) * len(self.fields)

    def probe(self, sample: int) -> Header:
        """Return the header of a case."""
        size, layouts = self._size(sample), self._layouts(sample)
        arrays = {
            name: ((*size, *layout.sample_shape[len(size) :]), str(layout.dtype))
            for name, layout in layouts.items()
        }
        return Header(arrays)

    def reads_windows(self, sample: int) -> bool:  # noqa: ARG002 (of any case)
        """Return True: only the tiles of a window are read."""
        return True

    def decoded_together(self, sample: int) -> tuple[int, ...]:
        """Return the size of a stored tile."""
        return self._tile(sample)

    def read(self, sample: int) -> tuple[NDArray[Any], ...]:
        """Put a case together."""
        return self.read_window(sample, whole_window(self._size(sample)))

    def read_window(self, sample: int, window: Window) -> tuple[NDArray[Any], ...]:
        """Put a part of a case together.

        Raises
        ------
        SourceError
            A tile is damaged. The message names the file, the tile and the split.
        """
        layouts, axes = self._layouts(sample), len(window)
        extents = window_size(window)
        made = {
            name: np.empty((*extents, *layout.sample_shape[axes:]), layout.dtype)
            for name, layout in layouts.items()
        }
        grid = TileGrid(self._size(sample), self._tile(sample))
        parts, first = grid.parts(window), int(self._first_tile[sample])
        rows = np.array(tile_rows(first, parts), np.int64)
        for part, tile in zip(parts, self._checked(rows), strict=True):
            for name, values in tile.items():
                made[name][part.lands] = values[part.inside]
        return tuple(made.values())

    def close(self) -> None:
        """Close all files."""
        self._tiles.close()

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle: without names; see :class:`StoredSamples`."""
        return self.__dict__ | {"_keys": ()}

    def _size(self, case: int) -> Size:
        return tuple(self._sizes[case].tolist())

    def _tile(self, case: int) -> Size:
        return self._layouts(case)[IMAGE].sample_shape[:-1]

    def _layouts(self, case: int) -> dict[str, ArrayLayout]:
        layouts = self._tiles.split_of(int(self._first_tile[case])).layouts
        return {field.name: layouts[field.name] for field in self.fields}

    def _checked(self, rows: NDArray[np.int64]) -> Iterator[Sample]:
        """Read tiles of a case, several at a time, and check the digest of each."""
        split = self._tiles.split_of(int(rows[0]))
        nbytes = sum(split.layouts[field.name].sample_nbytes for field in self.fields)
        step = max(1, READ_NBYTES // max(1, nbytes))
        for at in range(0, len(rows), step):
            some = rows[at : at + step]
            for row, tile in zip(some.tolist(), self._read(some), strict=True):
                if sample_digest(tile) != self._digest[row]:
                    digest = self._digest[row : row + 1]
                    expected = Expected(digest, None, None, None, image_names(self.fields))
                    raise self._tiles.changed(row, tile, expected)
                yield tile

    def _read(self, rows: NDArray[np.int64]) -> Iterator[Sample]:
        """Read tiles together or, if that fails, one by one, so that the damaged one is named."""
        names = [field.name for field in self.fields]
        try:
            found = self._tiles.read_many(rows)
        except (ReadError, OSError):
            for row in rows.tolist():
                yield dict(zip(names, self._tiles.read(row), strict=True))
            return
        for place in range(len(rows)):
            yield {name: found[name][place] for name in names}
