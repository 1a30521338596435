"""The base class of readers of one array."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed.store.box_plan import BoxPlan
    from zarrfeed.store.read_plan import ReadPlan


class FieldReader(ABC):
    """Reads the samples of one array.

    Not thread-safe: every worker has its own.

    Attributes
    ----------
    decode_seconds
        Seconds spent in codecs so far; 0 if the reader cannot separate decoding from reading.
    checks_stamp
        Whether the reader itself finds out that the array was replaced.
    """

    decode_seconds = 0.0
    checks_stamp = False

    @abstractmethod
    def read_into(self, plan: ReadPlan, out: NDArray[Any]) -> None:
        """Read the samples of a batch.

        Parameters
        ----------
        plan
            The samples to read.
        out
            (b, *sample_shape) array to fill, C-contiguous, of the array's dtype. Row i becomes
            sample ``plan.ids[i]``; if the plan says where samples land, row ``plan.land[i]`` does,
            and the other rows stay as they are.

        Raises
        ------
        ReadError
            A file is missing, short or damaged; the message names it.
        """

    @abstractmethod
    def read_box_into(self, plan: BoxPlan, out: NDArray[Any]) -> None:
        """Read a box of a case.

        Parameters
        ----------
        plan
            The parts of the box. Every chunk that they need is read and decoded once.
        out
            Array to fill, of the shape of the box and the array's dtype; strides may be any, even
            negative.

        Raises
        ------
        ReadError
            As :meth:`read_into`.
        """

    def prefetch(self, plan: ReadPlan) -> None:  # noqa: B027 - optional
        """Ask the kernel to load the files' pages for `plan` into memory, without waiting.

        Raises
        ------
        ReadError
            As :meth:`read_into`.
        """

    def close(self) -> None:  # noqa: B027 - optional
        """Close the files that the reader keeps open."""
