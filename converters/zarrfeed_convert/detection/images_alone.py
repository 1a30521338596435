"""Are there images and nothing else, so that no masks are left behind or packed as images?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from zarrfeed_convert.detection.listing import without_ending
from zarrfeed_convert.detection.sides import find_folders, has_mixed_names, says_masks
from zarrfeed_convert.detection.split_names import is_of_another

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from zarrfeed_convert.detection.listing import Listing

_TEXTS = ("", ".md", ".txt", ".rst", ".pdf", ".html")  # that may tell what a dataset is
_SEPARATOR = re.compile(r"[_\-. ]+")


def folders_alone(listing: Listing, split: str, endings: Collection[str]) -> list[str]:
    """Find the folder of images of a split, if nothing in the dataset can be their masks.

    Returns
    -------
    list of str
        One folder below the root, or none.
    """
    if not is_alone(listing, endings) or not _are_different(listing, split):
        return []
    for folder in find_folders(listing, split):
        if listing.count(folder, endings) and not _has_other_splits(listing, folder, split):
            return [folder]
    return []


def is_alone(listing: Listing, endings: Collection[str]) -> bool:
    """Return whether all files have one of some endings, but for a few that describe them.

    Nor may any name say that it means masks or annotations.
    """
    texts = listing.count("", [end for end in _TEXTS if end not in endings])
    images = listing.count("", endings)
    every = sum(folder.endings.total() for folder in listing.folders.values())
    return (
        every == images + texts
        and 2 * texts < images
        and not any(says_masks(name) for path in listing.folders for name in _names(listing, path))
    )


def _names(listing: Listing, path: str) -> Iterator[str]:
    yield from listing.folders[path].folders
    yield from listing.folders[path].files


def _are_different(listing: Listing, split: str) -> bool:
    """Return whether no name is that of another file, or this with something behind it."""
    seen = set[str]()
    for path, folder in listing.folders.items():
        if not is_of_another(path, split):
            stems = {without_ending(name) for name in folder.files}
            if not seen.isdisjoint(stems):
                return False
            seen |= stems
    starts = (stem[: cut.start()] for stem in seen for cut in _SEPARATOR.finditer(stem))
    return not any(start in seen for start in starts)


def _has_other_splits(listing: Listing, folder: str, split: str) -> bool:
    inside = [path[len(folder) :] for path in listing.below(folder)]
    return any(is_of_another(path, split) for path in inside) or has_mixed_names(
        listing, folder, split
    )
