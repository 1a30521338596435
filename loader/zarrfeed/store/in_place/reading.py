"""Read boxes of cases straight from the arrays in which they are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.store.field_reader import FieldReader
from zarrfeed.store.files import require_same
from zarrfeed.store.stored_chunks import Scratch, StoredChunks
from zarrfeed.store.zarr_python_reader import ZarrPythonArray

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed.store.box_plan import BoxPlan
    from zarrfeed.store.case_table import CaseTable
    from zarrfeed.store.in_place.case_fields import CaseField, StoredArray
    from zarrfeed.store.read_plan import ReadPlan
    from zarrfeed.store.tile_grid import Box, TileGrid, TilePart

_OPEN_ARRAYS = 16  # of each reader, because each keeps indexes of shards


@dataclass(frozen=True, slots=True, eq=False)
class InPlaceField:
    """A field of a split of cases that is read in place.

    Its rows are the tiles of a grid that is not that of the chunks.

    Attributes
    ----------
    table
        The grid of each case.
    cases
        The field of each case.
    """

    table: CaseTable
    cases: Sequence[CaseField]

    def open(self, *, open_files: int, cache_nbytes: int = 0) -> FieldReader:  # noqa: ARG002
        """Open a reader, which may keep so many files open. It keeps no decoded chunks."""
        return InPlaceReader(self, open_files=open_files)


class InPlaceReader(FieldReader):
    """Reads boxes. Only the chunks that a box touches are decoded, each once.

    Parameters
    ----------
    field
        The field to read.
    open_files
        Largest number of files to keep open.
    """

    def __init__(self, field: InPlaceField, *, open_files: int) -> None:
        self._field = field
        self._each = max(1, open_files // min(_OPEN_ARRAYS, len(field.cases)))
        self._scratch = Scratch()
        self._open: dict[Path, StoredChunks | ZarrPythonArray] = {}

    def read_into(self, plan: ReadPlan, out: NDArray[Any]) -> None:
        """Read whole tiles, padded with 0; see :meth:`FieldReader.read_into`."""
        table = self._field.table
        targets = out if plan.land is None else (out[row] for row in plan.land)
        for case, row, target in zip(table.cases_of(plan.ids), plan.ids, targets, strict=True):
            grid, tile = table.grid(case), int(row - table.first_tile[case])
            target[...] = 0
            self._read(case, grid.window(tile), target[grid.own_part(tile)])

    def read_box_into(self, plan: BoxPlan, out: NDArray[Any]) -> None:
        """Read a box of a case; see :meth:`FieldReader.read_box_into`."""
        if plan.parts:
            table = self._field.table
            case = int(np.searchsorted(table.first_tile, plan.rows[0], side="right")) - 1
            self._read(case, _whole_box(table.grid(case), plan.parts), out)

    def _read(self, case: int, box: Box, out: NDArray[Any]) -> None:
        field = self._field.cases[case]
        box += tuple(slice(0, extent) for extent in field.shape[len(box) :])
        try:
            self._opened(field.array).read_box(field.index(box), field.turned(out))
        finally:  # if the array was replaced, that explains any other error
            require_same(field.array.folder, field.array.stamp)

    def close(self) -> None:
        """Close the files."""
        for chunks in self._open.values():
            chunks.close()

    def _opened(self, array: StoredArray) -> StoredChunks | ZarrPythonArray:
        found = self._open.get(array.folder)
        if found is None:
            if len(self._open) >= _OPEN_ARRAYS:  # the oldest goes first
                self._open.pop(next(iter(self._open))).close()
            found = self._open[array.folder] = self._new(array)
        return found

    def _new(self, array: StoredArray) -> StoredChunks | ZarrPythonArray:
        if array.layout.foreign:
            return ZarrPythonArray(array.folder)
        return StoredChunks(
            array.folder,
            array.layout,
            stamp=array.stamp,
            open_files=self._each,
            required=False,
            within=array.within,
            scratch=self._scratch,
        )


def _whole_box(grid: TileGrid, parts: Sequence[TilePart]) -> Box:
    """Put the parts of a box together again: it begins in the first and ends in the last."""
    first, last = parts[0], parts[-1]
    axes = len(grid.size)
    spatial = tuple(
        slice(begin + one.start, end + other.stop, one.step)
        for begin, one, end, other in zip(
            grid.origin(first.tile), first.inside[:axes],
            grid.origin(last.tile), last.inside[:axes], strict=True,
        )
    )  # fmt: skip
    return spatial + first.inside[axes:]
