"""Which file, array or row group holds item i, and do two such sequences belong together?

Pure: counts in, places out.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Protocol

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True, eq=False)
class ItemIndex:
    """Items counted through several parts, one part after the other.

    Attributes
    ----------
    ends
        Number of items up to the end of each part; compact, as there may be millions.

    Examples
    --------
    >>> index = ItemIndex.of([3, 0, 2])
    >>> len(index), index.locate(2), index.locate(3), index.span(2)
    (5, (0, 2), (2, 0), range(3, 5))
    """

    ends: array[int]

    @classmethod
    def of(cls, counts: Iterable[int]) -> ItemIndex:
        """Index parts of so many items each."""
        return cls(array("q", accumulate(counts)))

    def __len__(self) -> int:
        """Count the items of all parts."""
        return self.ends[-1] if self.ends else 0

    def span(self, part: int) -> range:
        """Return the items of a part."""
        return range(self.ends[part - 1] if part else 0, self.ends[part])

    def locate(self, item: int) -> tuple[int, int]:
        """Return an item's part, and its place there."""
        part = bisect_right(self.ends, item)
        return part, item - (self.ends[part - 1] if part else 0)


class RecordFiles(Protocol):
    """Records or rows of some files, some of which may be broken."""

    @property
    def paths(self) -> Sequence[str]:
        """The files."""
        ...

    @property
    def broken(self) -> Sequence[tuple[str, str]]:
        """What cannot be read, and why."""
        ...

    def __len__(self) -> int:
        """Count the records or rows."""
        ...


def require_one_mask_each(images: RecordFiles, masks: RecordFiles, *, what: str) -> None:
    """Refuse mask files whose records do not match those of the images one by one.

    Parameters
    ----------
    what
        ``record`` or ``row``, for errors.

    Raises
    ------
    SourceError
        Their numbers differ, or a file is broken.
    """
    broken = [*images.broken, *masks.broken]
    if broken:
        name, why = broken[0]
        raise SourceError(
            f"{name}: {why}; which mask belongs to which image cannot be known: write that file "
            "again"
        )
    if len(images) != len(masks):
        raise SourceError(
            f"masks: needed a {what} of masks for each of images, found {len(images)} {what}s in "
            f"{images.paths[0]} … and {len(masks)} in {masks.paths[0]} …; give the files of one set"
        )
