"""Where do the arrays of one batch lie in one piece of memory?

A slot holds the sample ids of a batch, those of a later one (to be read ahead), what the batch cost
its worker, and then its fields, each on a 64-byte boundary, because TensorFlow and JAX take a
buffer without a copy only from there (measured: 32 is not enough); it ends on a page boundary::

    | ids int64[b] | coming int64[b] | spent float64[4] | pad | image uint8[b, …] | pad | mask … |

Pure: the layout knows sizes and offsets; whoever owns memory passes it in.
"""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

ALIGNMENT = 64
# What a batch cost its worker: seconds of reading, of decoding, in the user's functions; and how
# many pages had to come from the disk.
SPENT = 4
NOTHING = -1  # in place of a sample id
_WORD = 8  # bytes of an id, and of a number of seconds
Arrays: TypeAlias = tuple[NDArray[Any], ...]


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
        (64, 128)
        """
        offsets = []
        end = aligned((2 * rows + SPENT) * _WORD)
        for spec in specs:
            offsets.append(end)
            end = aligned(end + rows * spec.nbytes)
        return cls(rows, tuple(specs), tuple(offsets), aligned(end, mmap.PAGESIZE))

    @property
    def sample_nbytes(self) -> int:
        """Bytes of one sample, all fields together."""
        return sum(spec.nbytes for spec in self.specs)

    def ids(self, memory: NDArray[np.uint8]) -> NDArray[np.int64]:
        """View the sample ids of a slot.

        Parameters
        ----------
        memory
            (nbytes,) uint8: the slot.

        Returns
        -------
        (rows,) int64
        """
        return memory[: self.rows * _WORD].view(np.int64)

    def coming(self, memory: NDArray[np.uint8]) -> NDArray[np.int64]:
        """View the sample ids of a later batch.

        Parameters
        ----------
        memory
            (nbytes,) uint8: the slot.

        Returns
        -------
        (rows,) int64
            `NOTHING` where there is none.
        """
        return memory[self.rows * _WORD : 2 * self.rows * _WORD].view(np.int64)

    def spent(self, memory: NDArray[np.uint8]) -> NDArray[np.float64]:
        """View what a slot's batch cost its worker.

        Parameters
        ----------
        memory
            (nbytes,) uint8: the slot.

        Returns
        -------
        (4,) float64
            Seconds of reading, decoding, transforming; pages that came from the disk.
        """
        start = 2 * self.rows * _WORD
        return memory[start : start + SPENT * _WORD].view(np.float64)

    def arrays(self, memory: NDArray[np.uint8], rows: int | None = None) -> Arrays:
        """View the fields of a slot.

        Parameters
        ----------
        memory
            (nbytes,) uint8: the slot.
        rows
            How many samples it holds; None for as many as fit.

        Returns
        -------
        tuple of (rows, *spec.shape)
            One array per field, sharing `memory`.
        """
        return tuple(
            memory[offset : offset + self.rows * spec.nbytes]
            .view(spec.dtype)
            .reshape(self.rows, *spec.shape)[:rows]
            for offset, spec in zip(self.offsets, self.specs, strict=True)
        )


def aligned(nbytes: int, alignment: int = ALIGNMENT) -> int:
    """Round up to a multiple of `alignment`."""
    return -(-nbytes // alignment) * alignment


def aligned_empty(nbytes: int) -> NDArray[np.uint8]:
    """Allocate memory that starts on a 64-byte boundary, which ``numpy.empty`` does not promise.

    Returns
    -------
    (nbytes,) uint8, uninitialised
    """
    memory = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + nbytes]
