"""Where in a slot's memory are the arrays of a batch?

A slot holds the draws of a batch (which sample or patch each row is), those of a later batch to
prefetch, the time that the worker spent, and then the fields of the batch. Each field starts on a
64-byte boundary, because TensorFlow and JAX copy a buffer that does not (32 is not enough). A slot
ends on a page boundary::

    | draws[b] | prefetch_draws[b] | prefetched int64 | spent float64[4] | done int64 | image … | …

Pure: a layout knows sizes and offsets, and views memory that it is given.
"""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.arrays import aligned, aligned_empty
from zarrfeed.order.draws import SAMPLE_DRAW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed.arrays import Arrays
    from zarrfeed.order.draws import Draws

# Length of `Slot.spent`: seconds of reading, decoding and transforming, and the number of pages
# that had to come from the disk.
SPENT = 4
_WORD = 8  # bytes of an int64 or a float64


@dataclass(frozen=True, slots=True)
class Spec:
    """Name, shape and dtype of one sample of one field.

    Attributes
    ----------
    name
        Name of the field.
    shape
        Shape of one sample, without the batch axis.
    dtype
        Data type of the field.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Size of one sample in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class SlotLayout:
    """The layout of a slot for at most `rows` samples of the fields `specs`.

    Attributes
    ----------
    rows
        Number of samples that fit.
    specs
        The fields in batch order.
    draw
        Data type of a draw.
    offsets
        Bytes from the start of the slot to each field, all multiples of 64.
    nbytes
        Size of the slot in bytes, a multiple of the page size.
    """

    rows: int
    specs: tuple[Spec, ...]
    draw: np.dtype[np.void]
    offsets: tuple[int, ...]
    nbytes: int

    @classmethod
    def of(
        cls, specs: Sequence[Spec], rows: int, draw: np.dtype[np.void] = SAMPLE_DRAW
    ) -> SlotLayout:
        """Compute the layout of a slot.

        Parameters
        ----------
        specs
            The fields in batch order.
        rows
            Number of samples that fit.
        draw
            Data type of a draw; its size is a multiple of 8 bytes.

        Examples
        --------
        >>> image = Spec("image", (3, 3), np.dtype("uint8"))
        >>> SlotLayout.of([image, image], rows=2).offsets
        (128, 192)
        """
        offsets = []
        end = aligned(2 * rows * draw.itemsize + (1 + SPENT + 1) * _WORD)
        for spec in specs:
            offsets.append(end)
            end = aligned(end + rows * spec.nbytes)
        return cls(rows, tuple(specs), draw, tuple(offsets), aligned(end, mmap.PAGESIZE))

    @property
    def sample_nbytes(self) -> int:
        """Size of one sample in bytes, over all fields."""
        return sum(spec.nbytes for spec in self.specs)

    def new_slot(self) -> Slot:
        """Return a slot in new memory of its own."""
        return self.slot(aligned_empty(self.nbytes))

    def slot(self, memory: NDArray[np.uint8]) -> Slot:
        """Return a view of memory as a slot.

        Parameters
        ----------
        memory
            (nbytes,) uint8, aligned to 64 bytes.
        """
        draws = self.rows * self.draw.itemsize
        prefetched = 2 * draws
        spent = prefetched + _WORD
        done = spent + SPENT * _WORD
        return Slot(
            memory=memory,
            draws=memory[:draws].view(self.draw),
            prefetch_draws=memory[draws:prefetched].view(self.draw),
            prefetched=memory[prefetched:spent].view(np.int64),
            spent=memory[spent:done].view(np.float64),
            done=memory[done : done + _WORD].view(np.int64),
            arrays=tuple(
                memory[offset : offset + self.rows * spec.nbytes]
                .view(spec.dtype)
                .reshape(self.rows, *spec.shape)
                for offset, spec in zip(self.offsets, self.specs, strict=True)
            ),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """The parts of one slot. All share its memory.

    Attributes
    ----------
    memory
        (nbytes,) uint8: the whole slot.
    draws
        (rows,) draws of the batch.
    prefetch_draws
        (rows,) draws of a later batch to prefetch.
    prefetched
        (1,) int64: how many of these there are.
    spent
        (4,) float64: seconds of reading, decoding and transforming, and number of pages that came
        from the disk.
    done
        (1,) int64: number of the task that last filled the slot.
    arrays
        One (rows, *spec.shape) array per field.
    """

    memory: NDArray[np.uint8]
    draws: Draws
    prefetch_draws: Draws
    prefetched: NDArray[np.int64]
    spent: NDArray[np.float64]
    done: NDArray[np.int64]
    arrays: Arrays

    def set_draws(self, draws: Draws, prefetch: Draws | None = None) -> None:
        """Set the draws of the batch, and those to prefetch."""
        self.draws[: draws.size] = draws
        self.prefetched[0] = 0
        if prefetch is not None:
            self.prefetch_draws[: prefetch.size] = prefetch
            self.prefetched[0] = prefetch.size

    def first_rows(self, rows: int) -> Arrays:
        """Return the first rows of each field."""
        if rows == self.draws.size:
            return self.arrays
        return tuple(array[:rows] for array in self.arrays)
