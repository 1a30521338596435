"""Fields of a split that are not arrays in its own folder: in memory, or elsewhere on disk.

A source is data, and can be pickled; readers are opened from it, one per worker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from zarrfeed.store.field_reader import FieldReader
from zarrfeed.store.schema import ArrayLayout

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from zarrfeed.store.box_plan import BoxPlan
    from zarrfeed.store.read_plan import ReadPlan


class FieldSource(Protocol):
    """Where the rows of a field are."""

    def open(self, *, open_files: int, cache_nbytes: int = 0) -> FieldReader:
        """Open a reader.

        Parameters
        ----------
        open_files
            Largest number of descriptors to keep open.
        cache_nbytes
            Bytes of decoded chunks to keep, if the reader decodes.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class MemoryField:
    """A field in memory.

    Attributes
    ----------
    values
        (N, ...) array.
    """

    values: NDArray[Any]

    @property
    def layout(self) -> ArrayLayout:
        """The layout of an array that holds the same."""
        return row_layout(self.values.shape, self.values.dtype)

    def open(self, *, open_files: int, cache_nbytes: int = 0) -> FieldReader:  # noqa: ARG002
        """Open a reader, which has no files."""
        return _MemoryReader(self.values)


class _MemoryReader(FieldReader):
    def __init__(self, values: NDArray[Any]) -> None:
        self._values = values

    def read_into(self, plan: ReadPlan, out: NDArray[Any]) -> None:
        out[slice(None) if plan.land is None else plan.land] = self._values[plan.ids]

    def read_box_into(self, plan: BoxPlan, out: NDArray[Any]) -> None:
        for row, part in zip(plan.rows, plan.parts, strict=True):
            index: tuple[int | slice, ...] = (row, *part.inside)
            out[part.lands] = self._values[index]


def row_layout(shape: tuple[int, ...], dtype: np.dtype[Any]) -> ArrayLayout:
    """Return the layout of an array with one raw chunk for every row."""
    chunk = (1, *shape[1:])
    return ArrayLayout(
        shape=shape,
        dtype=dtype,
        chunk_rows=1,
        shard_rows=1,
        separator="/",
        prefix="",
        index=None,
        compressor="raw",
        checksum=False,
        fill=0,
        codec="raw",
        chunk_shape=chunk,
        shard_shape=chunk,
        order=None,
        swapped=False,
        indirect=None,
        foreign=False,
    )
