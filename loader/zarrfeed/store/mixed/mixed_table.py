"""Read what describes the samples or cases of several stores: keys, counts, sums, sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.store.field_opening import open_field
from zarrfeed.store.field_reader import FieldReader
from zarrfeed.store.field_source import row_layout
from zarrfeed.store.read_plan import ReadPlan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed.store.box_plan import BoxPlan
    from zarrfeed.store.schema import ArrayLayout
    from zarrfeed.store.split import Split


def starts(counts: Sequence[int]) -> tuple[int, ...]:
    """Return the first row of each store, of so many rows each.

    Examples
    --------
    >>> starts([3, 4, 2])
    (0, 3, 7)
    """
    first: list[int] = (np.cumsum(counts) - counts).tolist()
    return tuple(first)


@dataclass(frozen=True, slots=True, eq=False)
class TablePart:
    """A descriptive array of one store.

    Attributes
    ----------
    split, name, layout
        The array.
    columns
        The common column of each of its columns; -1 for none. None for the same ones.
    added
        What is added to its values, because rows of the stores before come first.
    """

    split: Split
    name: str
    layout: ArrayLayout
    columns: tuple[int, ...] | None = None
    added: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class MixedTable:
    """A descriptive array of several stores. Rows are as long as the longest; the rest is 0.

    Attributes
    ----------
    parts
        The array of each store.
    first
        The first row of each store.
    extents
        Shape of a row.
    dtype
        Data type of all.
    """

    parts: tuple[TablePart, ...]
    first: tuple[int, ...]
    extents: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def layout(self) -> ArrayLayout:
        """The layout of an array that holds the same."""
        rows = self.first[-1] + self.parts[-1].layout.shape[0]
        return row_layout((rows, *self.extents), self.dtype)

    def open(self, *, open_files: int, cache_nbytes: int = 0) -> FieldReader:
        """Open a reader. It keeps open what it reads last alone."""
        return _TableReader(self, open_files=open_files, cache_nbytes=cache_nbytes)


class _TableReader(FieldReader):
    def __init__(self, table: MixedTable, *, open_files: int, cache_nbytes: int) -> None:
        self._table = table
        self._options = {"open_files": open_files, "cache_nbytes": cache_nbytes}
        self._open: tuple[int, FieldReader] | None = None

    def read_into(self, plan: ReadPlan, out: NDArray[Any]) -> None:
        store = np.searchsorted(np.array(self._table.first), plan.ids, side="right") - 1
        for number in np.unique(store).tolist():
            part = self._table.parts[number]
            here = np.flatnonzero(store == number)
            ids = plan.ids[here] - self._table.first[number]
            own = np.empty((ids.size, *part.layout.sample_shape), part.layout.dtype)
            self._reader(number).read_into(ReadPlan(ids), own)
            rows = here if plan.land is None else plan.land[here]
            out[rows] = self._common(part, own)

    def read_box_into(self, plan: BoxPlan, out: NDArray[Any]) -> None:
        for row, part in zip(plan.rows, plan.parts, strict=True):
            values = np.empty((1, *self._table.extents), self._table.dtype)
            self.read_into(ReadPlan(np.array([row])), values)
            index: tuple[int | slice, ...] = (0, *part.inside)
            out[part.lands] = values[index]

    def close(self) -> None:
        if self._open is not None:
            self._open[1].close()
        self._open = None

    def _common(self, part: TablePart, own: NDArray[Any]) -> NDArray[Any]:
        """Return rows of a store as rows of the whole."""
        table = self._table
        rows = np.zeros((len(own), *table.extents), table.dtype)
        if part.columns is None:
            rows[(slice(None), *map(slice, own.shape[1:]))] = own
        else:
            for column, common in enumerate(part.columns):
                if common >= 0:
                    rows[:, common] += own[:, column].astype(table.dtype)
        rows += np.asarray(part.added, table.dtype)
        return rows

    def _reader(self, number: int) -> FieldReader:
        if self._open is None or self._open[0] != number:
            self.close()
            part = self._table.parts[number]
            reader = open_field(part.split, part.name, part.layout, **self._options)
            self._open = number, reader
        return self._open[1]
