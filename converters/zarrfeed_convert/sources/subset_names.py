"""Which subset of a dataset does a name mean?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed_convert.sources.option_checks import require_subset

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zarrfeed_convert.sources.annotations.index import AnnotatedImage

# Names that mean the same subset.
SAME = (("train", "training"), ("val", "valid", "validation"), ("test", "testing"))


def names_of_subset(subset: str) -> tuple[str, ...]:
    """Return the names that tools give to a subset, its own first.

    Examples
    --------
    >>> names_of_subset("val"), names_of_subset("night")
    (('val', 'valid', 'validation'), ('night',))
    """
    same: tuple[str, ...] = next((names for names in SAME if subset.lower() in names), ())
    return (subset, *(name for name in same if name != subset))


def known_subset(subset: str, known: Iterable[str]) -> str:
    """Return the subset of a dataset that a name means; lower and upper case are alike.

    Raises
    ------
    SourceError
        There is none. The message lists those that there are.

    Examples
    --------
    >>> known_subset("val", ["Train", "Validation"])
    'Validation'
    """
    there = sorted(known)
    by_name = {name.lower(): name for name in reversed(there)} | {name: name for name in there}
    for name in (subset, *map(str.lower, names_of_subset(subset))):
        if name in by_name:
            return by_name[name]
    require_subset(subset, there)
    return subset


def of_subset(images: Sequence[AnnotatedImage], subset: str) -> Sequence[AnnotatedImage]:
    """Return the images of a subset: those in a folder of its name, at any depth.

    If no folder has the name of a subset, these are all images.

    Raises
    ------
    SourceError
        There are folders of other subsets alone.
    """
    folders = {part for image in images for part in image.name.split("/")[:-1]}
    subsets = {folder for folder in folders if len(names_of_subset(folder)) > 1}
    if subset not in folders and not subsets:
        return images
    chosen = subset if subset in folders else known_subset(subset, subsets)
    return [image for image in images if chosen in image.name.split("/")[:-1]]
