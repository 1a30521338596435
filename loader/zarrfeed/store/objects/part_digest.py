"""Which tag does S3 give an object? The tag tells whether the right bytes have arrived.

The server's tag of an object (ETag) is the MD5 of the bytes on S3 without encryption by keys of
one's own, and of the MD5 of the parts if the object was sent in several.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Buffer

_LEAST_PART = 8 << 20
_MOST_PARTS = 9000  # S3 takes 10,000


def part_nbytes(nbytes: int) -> int:
    """Return the size of the parts in which an object of `nbytes` bytes is sent.

    Examples
    --------
    >>> part_nbytes(100) >> 20, part_nbytes(1 << 40) >> 20
    (8, 117)
    """
    return max(_LEAST_PART, -(-nbytes // _MOST_PARTS) + (1 << 20) - 1 >> 20 << 20)


@dataclass(slots=True)
class PartDigest:
    """Computes the tag that S3 gives an object: the MD5 of its bytes, or of the MD5 of its parts.

    Attributes
    ----------
    nbytes
        Size of the object.

    Examples
    --------
    >>> digest = PartDigest(3)
    >>> digest.update(b"abc")
    >>> digest.tag()
    '900150983cd24fb0d6963f7d28e17f72'
    """

    nbytes: int
    _parts: list[bytes] = field(default_factory=list, init=False, repr=False)
    _left: int = field(default=0, init=False, repr=False)
    _digest: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self._next()

    def update(self, piece: Buffer) -> None:
        """Add the next bytes."""
        view = memoryview(piece).cast("B")
        while len(view):
            if not self._left:
                self._parts.append(self._digest.digest())
                self._next()
            taken = view[: self._left]
            self._digest.update(taken)
            self._left -= len(taken)
            view = view[len(taken) :]

    def tag(self) -> str:
        """Return the tag of all bytes so far, without quotes."""
        if not self._parts:
            return str(self._digest.hexdigest())
        parts = [*self._parts, self._digest.digest()]
        return f"{_md5(b''.join(parts)).hexdigest()}-{len(parts)}"

    def _next(self) -> None:
        self._digest, self._left = _md5(), part_nbytes(self.nbytes)


def _md5(content: bytes = b"") -> Any:
    return hashlib.md5(content, usedforsecurity=False)  # what S3 computes, against accidents
