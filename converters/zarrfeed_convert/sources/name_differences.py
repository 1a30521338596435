"""In what do the names of an image and its mask differ, and does that tell that they are no pair?

Pure functions of names.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError, look_up
from zarrfeed.spelling import plural

if TYPE_CHECKING:
    from collections.abc import Mapping

# "case12/img" has the words case, 12, img: names differ in whole words and whole numbers.
_WORD = re.compile(r"\d+|[^\W\d_]+")
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def words_of(name: str) -> tuple[str, ...]:
    """Return the words and the numbers of a name, in lower case.

    Examples
    --------
    >>> words_of("town/IMG_007.b")
    ('town', 'img', '007', 'b')
    """
    return tuple(map(str.casefold, _WORD.findall(name)))


def number_of(word: str) -> str:
    """Return a number without leading zeros; another word unchanged."""
    return word.lstrip("0") or "0" if word.isdigit() else word


def differing_words(image: str, mask: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the words that only the name of the image has, and those that only the mask's has.

    Examples
    --------
    >>> differing_words("train_01", "train_1_mask")
    ((), ('mask',))
    """
    one, other = (Counter(map(number_of, words_of(name))) for name in (image, mask))
    return tuple(one - other), tuple(other - one)


def other_splits(image: str, mask: str) -> tuple[str, str] | None:
    """Return the words by which two names say that they are of different splits; None if not.

    Examples
    --------
    >>> other_splits("train_0", "val_0"), other_splits("training/0", "train_mask/0")
    (('train', 'val'), None)
    """
    one, other = (
        {_SPLITS[word]: word for word in words if word in _SPLITS}
        for words in differing_words(image, mask)
    )
    if not one or not other or one.keys() & other.keys():
        return None
    return min(one.values()), min(other.values())


def require_one_split(pairs: Mapping[str, str], what: str = "mask") -> None:
    """Refuse pairs of names, image → mask, that say that they are of different splits.

    Raises
    ------
    SourceError
        The names of the first pair that differs do so. The words that all names of a side share,
        which are those that pairing leaves out, are the same in all pairs.
    """
    image, mask = next(((one, other) for one, other in pairs.items() if one != other), ("", ""))
    words = other_splits(image, mask)
    if words:
        raise SourceError(
            f"images and {what}s: needed names of one split, found the image {image!r} and its "
            f"{what} {mask!r}, which differ in {words[0]!r} and {words[1]!r}; give both of the "
            "same split, or rename the files of one side if they belong together"
            f"{look_up('no-pairs')}"
        )


def remarks_on_names(
    pairs: Mapping[str, str], images: str, masks: str
) -> tuple[tuple[str, str, str], ...]:
    """Say which parts of names were left out to pair them, as remarks of a source.

    Parameters
    ----------
    pairs
        Name of an image → name of its mask.
    images, masks
        Where they are. A remark is made if their folders say that they are of different splits.

    Examples
    --------
    >>> remarks_on_names({"a": "a_seg", "b": "b_seg"}, "i", "m")
    (('names', '2 pairs differ', "such as a and a_seg: compared without 'seg'"),)
    """
    remarks = []
    differing = {image: mask for image, mask in pairs.items() if image != mask}
    if differing and len(pairs) > 1:  # a single pair is whole, whatever the names
        image, mask = next(iter(differing.items()))
        words = dict.fromkeys(word for side in differing_words(image, mask) for word in side)
        without = ", ".join(map(repr, words)) or "case, punctuation and leading zeros"
        differ = f"{plural(len(differing), 'pair')} differ{'s' if len(differing) == 1 else ''}"
        remarks.append(("names", differ, f"such as {image} and {mask}: compared without {without}"))
    splits = other_splits(images, masks) if pairs else None
    if splits:
        why = f"{images} and {masks}: check that the masks are those of the images"
        remarks.append(("folders", f"of {splits[0]} and {splits[1]}", why))
    return tuple(remarks)
