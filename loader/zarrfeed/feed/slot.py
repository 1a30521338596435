"""Where do the arrays of one batch lie in one piece of memory?

A slot holds the sample ids of a batch, those of a later one (to be read ahead), what the batch cost
its worker, and then its fields. Each field starts on a 64-byte boundary, because TensorFlow and JAX
copy a buffer that does not (measured: 32 is not enough); a slot ends on a page boundary::

    | ids int64[b] | prefetch_ids int64[b] | spent float64[4] | done int64 | pad | image … | pad …

Pure: the layout knows sizes and offsets; whoever owns memory passes it in.
"""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.arrays import aligned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed.arrays import Arrays

# What a batch cost its worker: seconds of reading, of decoding, in the user's functions; and how
# many pages had to come from the disk.
SPENT = 4
NOTHING = -1  # in place of a sample id
_WORD = 8  # bytes of an id, and of a number of seconds


@dataclass(frozen=True, slots=True)
class Spec:
    """One sample of one field.

    Attributes
    ----------
    name
        Of the field.
    shape
        Of one sample, without the batch axis.
    dtype
        Of its elements.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Bytes of one sample."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class SlotLayout:
    """The layout of a slot for at most `rows` samples of the fields `specs`.

    Attributes
    ----------
    rows
        Samples that fit.
    specs
        The fields, in batch order.
    offsets
        Bytes from the slot's start to each field; every one a multiple of 64.
    nbytes
        Of the whole slot, a multiple of the page size.
    """

    rows: int
    specs: tuple[Spec, ...]
    offsets: tuple[int, ...]
    nbytes: int

    @classmethod
    def of(cls, specs: Sequence[Spec], rows: int) -> SlotLayout:
        """Lay out a slot.

        Examples
        --------
        >>> image = Spec("image", (3, 3), np.dtype("uint8"))
        >>> SlotLayout.of([image, image], rows=2).offsets
        (128, 192)
        """
        offsets = []
        end = aligned((2 * rows + SPENT + 1) * _WORD)
        for spec in specs:
            offsets.append(end)
            end = aligned(end + rows * spec.nbytes)
        return cls(rows, tuple(specs), tuple(offsets), aligned(end, mmap.PAGESIZE))

    @property
    def sample_nbytes(self) -> int:
        """Bytes of one sample, all fields together."""
        return sum(spec.nbytes for spec in self.specs)

    def slot(self, memory: NDArray[np.uint8]) -> Slot:
        """View a piece of memory as a slot.

        Parameters
        ----------
        memory
            (nbytes,) uint8
        """
        ids, later, spent = (n * _WORD for n in (self.rows, 2 * self.rows, 2 * self.rows + SPENT))
        return Slot(
            memory=memory,
            ids=memory[:ids].view(np.int64),
            prefetch_ids=memory[ids:later].view(np.int64),
            spent=memory[later:spent].view(np.float64),
            done=memory[spent : spent + _WORD].view(np.int64),
            arrays=tuple(
                memory[offset : offset + self.rows * spec.nbytes]
                .view(spec.dtype)
                .reshape(self.rows, *spec.shape)
                for offset, spec in zip(self.offsets, self.specs, strict=True)
            ),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """The parts of one slot; all share its memory.

    Attributes
    ----------
    memory
        (nbytes,) uint8: all of it.
    ids
        (rows,) int64: the samples of the batch.
    prefetch_ids
        (rows,) int64: samples of a later batch, to be read ahead; `NOTHING` where there is none.
    spent
        (4,) float64: seconds of reading, decoding, transforming; pages that came from the disk.
    done
        (1,) int64: number of the task that last filled it.
    arrays
        One (rows, *spec.shape) per field.
    """

    memory: NDArray[np.uint8]
    ids: NDArray[np.int64]
    prefetch_ids: NDArray[np.int64]
    spent: NDArray[np.float64]
    done: NDArray[np.int64]
    arrays: Arrays

    def set_ids(self, ids: NDArray[np.int64], later: NDArray[np.int64] | None = None) -> None:
        """Set the samples of the batch, and those of a later one."""
        self.ids[: ids.size] = ids
        self.prefetch_ids[:] = NOTHING
        if later is not None:
            self.prefetch_ids[: later.size] = later

    def first_rows(self, rows: int) -> Arrays:
        """Return the first rows of each field."""
        if rows == self.ids.size:
            return self.arrays
        return tuple(array[:rows] for array in self.arrays)
