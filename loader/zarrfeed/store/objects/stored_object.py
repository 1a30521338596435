"""What is known about an object, and what has been read of it?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Buffer


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What is known about an object.

    Attributes
    ----------
    key
        Its path below the address of the store.
    nbytes
        Its size in bytes.
    etag
        Changes when the object is replaced; None if the server says none.
    """

    key: str
    nbytes: int
    etag: str | None

    @classmethod
    def of(cls, key: str, meta: Mapping[str, Any]) -> StoredObject:
        """Return what obstore says about an object."""
        return cls(key, int(meta["size"]), meta["e_tag"])


@dataclass(frozen=True, slots=True)
class Piece:
    """A range of an object.

    Attributes
    ----------
    data
        Its bytes, as any object with the buffer protocol.
    of
        The object.
    """

    data: Buffer
    of: StoredObject


def plain_tag(etag: str | None) -> str:
    """Return a tag without what HTTP puts around it, or "" if there is none.

    Lists and answers of one server may differ in it: those of Azure do.

    Examples
    --------
    >>> plain_tag('W/"0a"')
    '0a'
    """
    return (etag or "").removeprefix("W/").strip('"')
