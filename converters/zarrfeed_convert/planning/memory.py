"""How much memory does packing need, and how many workers may pack at the same time?

Pure, except that it asks the machine how much memory is free.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zarrfeed.machine_memory import free_memory
from zarrfeed_convert.planning.layout import Decision, text_of_bytes

if TYPE_CHECKING:
    from zarrfeed_convert.shards.field_layout import FieldLayout

MIB = 1 << 20
# Python with its decoders; 50 MiB were measured.
BASE_NBYTES = 100 * MIB
# Times its size that a sample takes while it is decoded: the file, the decoder's pixels, another
# order of them, the result.
COPIES = 4
# Share of the free memory to use: a machine does more than packing.
_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Need:
    """What one worker needs at most, in bytes.

    Attributes
    ----------
    sample
        The largest decoded sample of the source, image and mask.
    chunks
        One chunk of every field.
    source
        Memory that the source itself keeps, such as a decompressed volume.
    """

    sample: int
    chunks: int
    source: int

    @property
    def nbytes(self) -> int:
        """The sum."""
        # A chunk is in memory twice: decoded and encoded.
        return BASE_NBYTES + COPIES * self.sample + 2 * self.chunks + self.source


def need_of(largest: int, fields: tuple[FieldLayout, ...], source: int) -> Need:
    """Compute the memory that a worker needs.

    Parameters
    ----------
    largest
        Bytes of the largest decoded sample of the source.
    fields
        Layouts of the split's fields.
    source
        Bytes that the source keeps in memory.
    """
    chunks = sum(field.sample_nbytes * field.chunk_rows for field in fields)
    return Need(largest, chunks, source)


def fit_workers(workers: int, need: Need, *, free: int | None = None) -> tuple[int, Decision]:
    """Choose how many workers pack at the same time.

    Parameters
    ----------
    workers
        Number of workers available.
    need
        Memory that each needs.
    free
        Bytes of free memory; None to ask the machine.

    Examples
    --------
    >>> need = Need(sample=100 * MIB, chunks=50 * MIB, source=0)
    >>> fit_workers(8, need, free=2000 * MIB)[0]
    2
    """
    free = free_memory() if free is None else free
    few = max(1, min(workers, int(free * _SHARE) // need.nbytes))
    each = f"each needs up to {text_of_bytes(need.nbytes)}"
    if few < workers:
        reason = f"{each}, {text_of_bytes(free)} are free"
        return few, Decision("workers", f"{few} of {workers}", reason)
    return workers, Decision(
        "workers", str(workers), f"{each}, together {text_of_bytes(workers * need.nbytes)} at most"
    )
