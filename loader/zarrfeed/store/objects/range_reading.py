"""Where does a read of an object go on after a failure, and when is it given up?

This module only decides; :meth:`.ObjectStore.parts` reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed.errors import look_up
from zarrfeed.store.objects.errors import ObjectError
from zarrfeed.store.objects.stored_object import plain_tag

if TYPE_CHECKING:
    from zarrfeed.store.objects.stored_object import StoredObject

# Kind of failure → how often in a row an object may be asked for in vain.
_ATTEMPTS = {"cut": 5, "stalled": 2}
_PAUSE_S = 0.2  # after the first of them; twice as long after each further one


class RangeReading:
    """A range of an object that is being read, perhaps by several requests.

    Parameters
    ----------
    name
        Address of the object, for messages.
    start
        The first byte.
    stop
        The byte after the last; None for the end of the object.
    etag
        Tag that the object must have; None accepts any, but the same to the end.

    Examples
    --------
    >>> from zarrfeed.store.objects.stored_object import StoredObject
    >>> reading = RangeReading("s3://bucket/a", 0, None)
    >>> reading.answered(StoredObject("a", 100, "x"), (0, 100))
    >>> reading.advance(60)
    >>> reading.pause_after(ObjectError("the connection broke", "cut"))
    0.0
    >>> reading.left
    (60, 100)
    """

    def __init__(self, name: str, start: int, stop: int | None, etag: str | None = None) -> None:
        self._name, self._tag = name, plain_tag(etag)
        self._reached = self._failed_at = start
        self._stop = stop
        self._object: StoredObject | None = None
        self._fruitless = 0

    @property
    def left(self) -> tuple[int, int | None] | None:
        """The range to ask for next; None if nothing is left."""
        if self._stop is not None and self._reached >= self._stop:
            return None
        return self._reached, self._stop

    def answered(self, known: StoredObject, sent: tuple[int, int]) -> None:
        """Compare an answer, before its bytes arrive, with what was asked for.

        Parameters
        ----------
        known
            The object, as the answer describes it.
        sent
            The range that will arrive.

        Raises
        ------
        ObjectError
            It is another object, or too short.
        """
        tag = self._tag or plain_tag(known.etag)
        if known != (self._object or known) or plain_tag(known.etag) != tag:
            raise ObjectError(
                f"{self._name}: the object was replaced while it was read: start again"
                f"{look_up('replaced-split')}"
            )
        self._object = known
        self._stop = known.nbytes if self._stop is None else self._stop
        if sent != (self._reached, self._stop):
            raise ObjectError(
                f"{self._name}: needed bytes {self._reached:,} to {self._stop:,}, but the object "
                f"has {known.nbytes:,} bytes: it was replaced, or its upload was not complete"
                f"{look_up('replaced-split')}"
            )

    def advance(self, nbytes: int) -> None:
        """Note that `nbytes` further bytes have arrived."""
        self._reached += nbytes

    def ended(self) -> None:
        """Check, at the end of an answer, that all its bytes have arrived.

        Raises
        ------
        ObjectError
            They have not, though the connection seemed intact.
        """
        if self.left:
            raise ObjectError(
                f"{self._name}: needed bytes up to {self._stop:,}, but the answer ended at "
                f"{self._reached:,}: check the network{look_up('remote-store')}",
                "cut",
            )

    def pause_after(self, error: ObjectError) -> float | None:
        """Return how many seconds to wait before asking again; None gives up."""
        self._fruitless = self._fruitless + 1 if self._reached == self._failed_at else 0
        self._failed_at = self._reached
        if self._fruitless >= _ATTEMPTS.get(error.kind, 0):
            return None
        return _PAUSE_S * (1 << self._fruitless - 1) if self._fruitless else 0.0
