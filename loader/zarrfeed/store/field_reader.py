"""The base of all readers: one array, one verb."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed.store.read_plan import ReadPlan


class FieldReader(ABC):
    """Reads the samples of one array.

    Not thread-safe: every worker has its own.

    Attributes
    ----------
    decode_seconds
        Time spent in codecs so far; 0 where decoding cannot be told from reading.
    """

    decode_seconds = 0.0

    @abstractmethod
    def read_into(self, plan: ReadPlan, out: NDArray[Any]) -> None:
        """Read the samples of a batch.

        Parameters
        ----------
        plan
            Which samples.
        out
            (b, *sample_shape), C-contiguous, of the array's dtype. Row i is filled with sample
            ``plan.ids[i]``.

        Raises
        ------
        ReadError
            A file is missing, short or damaged; the message names it.
        """

    def advise(self, plan: ReadPlan) -> None:  # noqa: B027 - optional
        """Ask the kernel to read ahead what `plan` needs, if it is known where that lies.

        Raises
        ------
        ReadError
            As :meth:`read_into`.
        """

    def close(self) -> None:  # noqa: B027 - optional
        """Close files that are kept open, if there are any."""
