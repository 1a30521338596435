"""How many bytes were there, and which? Counted and hashed while they pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xxhash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from typing_extensions import Buffer


class ByteDigest:
    """Number and xxh3_64 of bytes, as the store records them of its files.

    Attributes
    ----------
    nbytes
        Number of the bytes so far.

    Examples
    --------
    >>> digest = ByteDigest()
    >>> list(digest.of([b"ab", b"c"]))
    [b'ab', b'c']
    >>> digest.fact == digest_of([b"abc"])
    True
    """

    def __init__(self) -> None:
        self.nbytes = 0
        self._xxh3 = xxhash.xxh3_64()

    def update(self, piece: Buffer) -> None:
        """Add the next bytes."""
        self._xxh3.update(piece)
        self.nbytes += memoryview(piece).nbytes

    def of(self, pieces: Iterable[Buffer]) -> Iterator[Buffer]:
        """Yield pieces, and add the bytes of each before."""
        for piece in pieces:
            self.update(piece)
            yield piece

    @property
    def fact(self) -> tuple[int, int]:
        """Number of the bytes so far, and their xxh3_64."""
        return self.nbytes, self._xxh3.intdigest()


def digest_of(pieces: Iterable[Buffer]) -> tuple[int, int]:
    """Return the number of bytes, and their xxh3_64."""
    digest = ByteDigest()
    for piece in pieces:
        digest.update(piece)
    return digest.fact
