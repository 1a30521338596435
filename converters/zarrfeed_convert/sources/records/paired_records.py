"""Do images and masks in files of their own belong together, one by one?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Listing(Protocol):
    """The records or rows of some files, some of which may be broken."""

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


def require_partners(images: Listing, masks: Listing, *, what: str) -> None:
    """Refuse masks in files of their own that are not one for each image.

    Parameters
    ----------
    images, masks
        Of both.
    what
        ``record`` or ``row``, for errors.

    Raises
    ------
    SourceError
        There are more of the ones than of the others, or a file is broken.
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
