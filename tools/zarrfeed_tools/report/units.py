"""Which units does a split have, and what do its descriptive arrays say of each?

A unit is a sample, or a case where samples are tiles of cases. Arrays are read in blocks, so that
memory does not grow with the number of samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed import SplitReader, StoreError, open_cases
from zarrfeed.machine_memory import require_memory
from zarrfeed.store.case_table import CaseTable
from zarrfeed.store.names import decode_names
from zarrfeed.store.schema import CASE_KEY, IMAGE, KEY, MASK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import DTypeLike, NDArray

    from zarrfeed import Split
    from zarrfeed_tools.inspection import SplitFacts

    Ids = range | NDArray[np.int64]

_BLOCK_ROWS, _BLOCK_NBYTES, _MOST_NBYTES = 1 << 16, 32 << 20, 256 << 20
_FACT_NBYTES = 64  # of a sample, at least
_MOST_PIXELS = 1 << 53  # of a sample; float64 holds whole numbers up to here


@dataclass(frozen=True, slots=True)
class Units:
    """The units of a split.

    Attributes
    ----------
    split
        The opened split.
    rows
        Number of samples, which are tiles in a split of cases.
    table
        Sizes and tiles of its cases; None in a split of samples.
    """

    split: Split
    rows: int
    table: CaseTable | None

    @property
    def name(self) -> str:
        """Name of the split."""
        return self.split.path.name

    def __len__(self) -> int:
        """Count the units."""
        return self.rows if self.table is None else len(self.table)

    @property
    def has_names(self) -> bool:
        """Whether the store names its units."""
        layout = self.split.describing(self._names)
        return layout is not None and layout.shape[0] == len(self) > 0

    def lacks(self, array: str) -> str | None:
        """Say why a descriptive array, with a row for every sample, cannot be used.

        Parameters
        ----------
        array
            Name of the array.

        Returns
        -------
        str or None
            None if it can be used.
        """
        layout = self.split.describing(array)
        if not self.rows:
            return "the split has no samples, or fields of different lengths"
        if layout is None and self.split.packed:
            return f"it has no {array}: an older zarrfeed packed it; `zarrfeed repack` adds them"
        if layout is None:
            return f"it has no {array}: zarrfeed did not pack it; `zarrfeed convert` does"
        if layout.shape[0] != self.rows:
            return (
                f"its {array} describes {layout.shape[0]:,} samples, found {self.rows:,}: restore "
                "it, or convert again"
            )
        return None

    def blocks(self, array: str) -> Iterator[tuple[int, NDArray[Any]]]:
        """Read a descriptive array, block by block.

        Yields
        ------
        first, values
            Row of the first of some samples, and the (n, …) values of these.
        """
        layout = self.split.layouts[array]
        step = max(1, min(_BLOCK_ROWS, _BLOCK_NBYTES // max(1, layout.sample_nbytes)))
        if layout.chunk_rows * layout.sample_nbytes <= _MOST_NBYTES:  # a chunk is decoded once
            step = max(1, step // layout.chunk_rows) * layout.chunk_rows
        with SplitReader(self.split, [array]) as reader:
            for first in range(0, layout.shape[0], step):
                some = range(first, min(first + step, layout.shape[0]))
                yield first, reader.read(some)[array]

    def sums(self, array: str, dtype: DTypeLike) -> Iterator[tuple[int, NDArray[Any]]]:
        """Sum a descriptive array over the tiles of each unit, block by block.

        Parameters
        ----------
        array
            Name of the array.
        dtype
            In which sums are formed.

        Yields
        ------
        first, sums
            Number of the first of some units, and the (n, …) sums of these.
        """
        if self.table is None:
            for first, values in self.blocks(array):
                yield first, values.astype(dtype, copy=False)
            return
        done, rest = 0, None
        for first, values in self.blocks(array):
            cases = self.table.cases_of(np.arange(first, first + len(values), dtype=np.int64))
            starts = np.flatnonzero(np.diff(cases, prepend=-1))
            sums = np.add.reduceat(values, starts, axis=0, dtype=dtype)
            if rest is not None:
                if cases[0] == done:
                    sums[0] += rest
                else:
                    sums = np.concatenate([rest[None], sums])
            rest = sums[-1]  # its case may go on in the next block
            if len(sums) > 1:
                yield done, sums[:-1]
                done += len(sums) - 1
        if rest is not None:
            yield done, rest[None]

    def pixels(self, first: int, count: int) -> NDArray[np.int64]:
        """Count the pixels of some units, without the padding of tiles.

        Parameters
        ----------
        first, count
            Number of the first unit, and of units.
        """
        if self.table is None:
            return np.full(count, math.prod(self.sample_size), np.int64)
        return self.pixels_of(np.arange(first, first + count))

    def pixels_of(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Count the pixels of some units, given by their numbers, without the padding of tiles."""
        if self.table is None:
            return self.pixels(0, len(numbers))
        return np.asarray(np.prod(self.table.sizes[numbers], axis=1), np.int64)

    @property
    def sample_size(self) -> tuple[int, ...]:
        """Spatial size of a sample, (H, W) or (D, H, W): that of its mask, or else of its image.

        Raises
        ------
        StoreError
            A sample has more pixels than float64 can count.
        """
        if self.table is not None:
            return self.table.tile
        layouts = self.split.layouts
        size: tuple[int, ...] = (1,)
        if MASK in layouts:
            size = layouts[MASK].sample_shape[: -1 if self.split.multi_hot else None]
        elif IMAGE in layouts:
            size = layouts[IMAGE].sample_shape[:-1]
        if math.prod(size) > _MOST_PIXELS:
            raise StoreError(
                f"{self.split.path}: needed samples of at most {_MOST_PIXELS:,} pixels, found "
                f"{size}: restore the metadata, or convert again"
            )
        return size

    def row_pixels(self, first: int, count: int) -> NDArray[np.int64]:
        """Count the pixels of some samples, of tiles without padding."""
        if self.table is None:
            return self.pixels(first, count)
        rows = np.arange(first, first + count, dtype=np.int64)
        return np.asarray(np.prod(self.table.own_sizes(rows), axis=1), np.int64)

    def keys(self, numbers: Sequence[int]) -> list[str]:
        """Return the names of some units, ``sample N`` where the store has none."""
        if not numbers:
            return []
        if not self.has_names:
            return [f"sample {number}" for number in numbers]
        with SplitReader(self.split, [self._names]) as reader:
            return decode_names(reader.read(np.asarray(numbers, np.int64))[self._names])

    def key_blocks(self) -> Iterator[list[str]]:
        """Read all names, block by block; none if the store has none."""
        if self.has_names:
            for _, stored in self.blocks(self._names):
                yield decode_names(stored)

    @property
    def _names(self) -> str:
        return KEY if self.table is None else CASE_KEY


def units_of(split: Split, facts: SplitFacts) -> Units:
    """Return the units of a split.

    Parameters
    ----------
    split
        The opened split.
    facts
        What was found about it.

    Raises
    ------
    StoreError
        It is a split of cases, and the arrays that describe them are damaged.
    """
    require_memory(split.path, _FACT_NBYTES * max(facts.samples or 0, split.tiles), "its facts")
    if facts.cases is None:
        return Units(split, facts.samples or 0, None)
    cases = open_cases(split)
    return Units(split, split.tiles, CaseTable.of_sizes(cases.sizes, cases.tile_size))
