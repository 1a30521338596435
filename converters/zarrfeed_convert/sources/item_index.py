"""Which file, array or row group contains item i, and do two such sequences match?

Pure functions of counts.
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
    """Index of items that are numbered through several parts.

    Attributes
    ----------
    ends
        Number of items up to the end of each part; an array, since there may be millions of parts.

    Examples
    --------
    >>> index = ItemIndex.of([3, 0, 2])
    >>> len(index), index.locate(2), index.locate(3), index.span(2)
    (5, (0, 2), (2, 0), range(3, 5))
    """

    ends: array[int]

    @classmethod
    def of(cls, counts: Iterable[int]) -> ItemIndex:
        """Create the index of parts with `counts` items each."""
        return cls(array("q", accumulate(counts)))

    def __len__(self) -> int:
        """Return the number of items in all parts."""
        return self.ends[-1] if self.ends else 0

    def span(self, part: int) -> range:
        """Return the items of a part."""
        return range(self.ends[part - 1] if part else 0, self.ends[part])

    def locate(self, item: int) -> tuple[int, int]:
        """Return the part of an item, and its index there."""
        part = bisect_right(self.ends, item)
        return part, item - (self.ends[part - 1] if part else 0)


class RecordFiles(Protocol):
    """Records or rows in files, some of which may be damaged."""

    @property
    def paths(self) -> Sequence[str]:
        """Paths of the files."""
        ...

    @property
    def broken(self) -> Sequence[tuple[str, str]]:
        """Files, or parts of files, that cannot be read, as (name, reason)."""
        ...

    def __len__(self) -> int:
        """Return the number of records or rows."""
        ...


def require_one_mask_each(images: RecordFiles, masks: RecordFiles, *, what: str) -> None:
    """Check that there is one mask for each image, in files of records or rows.

    Parameters
    ----------
    images, masks
        The files of images, and those of masks.
    what
        Name of an item, ``record`` or ``row``, for errors.

    Raises
    ------
    SourceError
        The numbers of items differ, or a file is damaged.
    """
    broken = [*images.broken, *masks.broken]
    if broken:
        name, why = broken[0]
        raise SourceError(
            f"{name}: {why}; images and masks cannot be matched without it: restore it, or write "
            "it again"
        )
    if len(images) != len(masks):
        raise SourceError(
            f"masks: needed a {what} of masks for each of images, found {len(images)} {what}s in "
            f"{images.paths[0]} … and {len(masks)} in {masks.paths[0]} …; give files of the same "
            "dataset"
        )
