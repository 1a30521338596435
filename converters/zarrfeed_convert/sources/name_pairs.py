"""Which image and which mask are the same sample, by their names? One rule for all formats.

Pure: names in, pairs out. Equal names pair. If few are equal, the words that all names of a side
share are dropped (``image_1``, ``gt_1``), wherever they stand, and the rest is compared word by
word, ignoring case and finally leading zeros. Names are never paired by order alone.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from functools import reduce
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

_LOOKED_AT = 1000  # names of a side: as many as tell what all are like
# "case12/img" is case, 12, img: names differ in whole words and whole numbers.
_WORD = re.compile(r"\d+|[^\W\d_]+")

Words: TypeAlias = tuple[str, ...]


def pairs_of(images: Collection[str], masks: Collection[str]) -> dict[str, str]:
    """Find the mask of every image that has one.

    Parameters
    ----------
    images, masks
        Names, each once on its side.

    Returns
    -------
    dict
        Image → mask, sorted by image; empty if no rule pairs half of either side.

    Examples
    --------
    >>> pairs_of(["town/images/1", "town/images/2"], ["town/masks/01", "town/masks/02"])
    {'town/images/1': 'town/masks/01', 'town/images/2': 'town/masks/02'}
    >>> pairs_of(["x", "y"], ["1", "2"])
    {}
    """
    if len(images) == len(masks) == 1:
        return {next(iter(images)): next(iter(masks))}
    there = set(masks)
    exact = {name: name for name in sorted(images) if name in there}
    for found in chain([exact], _by_words(sorted(images), sorted(masks))):
        if found and 2 * len(found) >= min(len(images), len(masks)):
            return found
    return exact


def pair_all(images: Sequence[str], masks: Sequence[str]) -> list[int]:
    """Find the mask of every image, of as many of the one as of the other.

    Returns
    -------
    list of int
        For every image, the place of its mask.

    Raises
    ------
    SourceError
        A name has no partner.

    Examples
    --------
    >>> pair_all(["a_img", "a1_img"], ["a1-m", "a-m"])
    [1, 0]
    """
    lone = unpaired(images, masks)
    if lone:
        raise SourceError(lone)
    found = pairs_of(images, masks)
    place = {name: number for number, name in enumerate(masks)}
    return [place[found[name]] for name in images]


def in_order_of(images: Sequence[str], masks: Mapping[str, str]) -> dict[str, str]:
    """Bring files of masks, path → name, into the order of those of images.

    Of other numbers of files, whose records may be divided otherwise, names tell nothing.

    Raises
    ------
    SourceError
        There are as many, and a name has no partner.
    """
    if len(images) != len(masks):
        return dict(masks)
    files = list(masks.items())
    return dict(files[place] for place in pair_all(images, list(masks.values())))


def unpaired(images: Sequence[str], masks: Sequence[str]) -> str:
    """Return which names have no partner; empty if all have one, or sides of other lengths none."""
    found = pairs_of(images, masks)
    if not found and len(images) != len(masks):
        return ""
    lone = [name for name in images if name not in found]
    taken = set(found.values())
    lonely = [name for name in masks if name not in taken]
    if not lone and not lonely:
        return ""
    return (
        "images and masks: needed files that pair by name, found "
        f"{_counted(lone, 'image', 'mask')}, {_counted(lonely, 'mask', 'image')}; add the missing "
        "files, take the others out, or rename files so that an image and its mask share their name"
    )


def _by_words(images: Sequence[str], masks: Sequence[str]) -> Iterator[dict[str, str]]:
    """Pair by words, then by words and the values of numbers."""
    if min(len(images), len(masks)) < 2:
        return  # what all names of a side have cannot be told of one
    sides = [[tuple(map(str.casefold, _WORD.findall(name))) for name in side]
             for side in (images, masks)]  # fmt: skip
    for numbers in (False, True):
        if numbers:
            sides = [[tuple(map(_number, words)) for words in side] for side in sides]
        image_of, mask_of = (
            _unique(side, names) for side, names in zip(sides, (images, masks), strict=True)
        )
        yield {image_of[key]: mask_of[key] for key in image_of if key in mask_of}


def _without(words: Words, dropped: Counter[str]) -> Words:
    left = Counter(dropped)
    kept = []
    for word in words:
        if left[word]:
            left[word] -= 1
        else:
            kept.append(word)
    return tuple(kept)


def _unique(side: Sequence[Words], names: Sequence[str]) -> dict[Words, str]:
    """Key names by what not all have; leave out what several come to."""
    common = reduce(Counter.__and__, map(Counter, side))
    found: dict[Words, list[str]] = {}
    for words, name in zip(side, names, strict=True):
        found.setdefault(_without(words, common), []).append(name)
    return {key: names[0] for key, names in found.items() if len(names) == 1}


def _number(word: str) -> str:
    return word.lstrip("0") or "0" if word.isdigit() else word


def _counted(names: Sequence[str], what: str, partner: str) -> str:
    some = f"{len(names)} {what}{'' if len(names) == 1 else 's'} without {partner}"
    return f"{some}: {few(names, counted=True)}" if names else some


def advise_suffixes(
    images: Collection[str], masks: Collection[str], *, image_suffix: str, mask_suffix: str
) -> str | None:
    """Return which suffixes would pair the names that have no partner.

    Parameters
    ----------
    images, masks
        Names without a partner, `image_suffix` and `mask_suffix` cut off already.

    Returns
    -------
    str or None
        None where no suffix pairs half of either side.

    Examples
    --------
    >>> advise_suffixes(["a", "b"], ["a_mask", "b_mask"], image_suffix="", mask_suffix="")
    "masks end in '_mask': add --mask-suffix _mask"
    """
    few_images, few_masks = sorted(images)[:_LOOKED_AT], sorted(masks)[:_LOOKED_AT]
    for image_end, mask_ends in _candidates(few_images, few_masks):
        parts, options = [], []
        for what, ends, given in (
            ("image", [image_end] if image_end else [], image_suffix),
            ("mask", mask_ends, mask_suffix),
        ):
            if ends:
                whole = [end + given for end in ends]
                parts.append(f"{what}s end in {few(map(repr, whole), shown=5, joint=' or ')}")
                options.append(f"--{what}-suffix {whole[0]}")
        if options:
            which = ", or another of these" if len(mask_ends) > 1 else ""
            return f"{', '.join(parts)}: add {' '.join(options)}{which}"
    return None


def _candidates(images: list[str], masks: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Return what images may end in, and what masks then end in."""
    yield "", _ends(masks, images)
    for end in _ends(images, masks)[:1]:
        yield end, []
    shared = _shared_end(images)
    if shared:
        cut = [name.removesuffix(shared) for name in images]
        ends = _ends(masks, cut)
        if ends:
            yield shared, ends


def _ends(longer: Collection[str], shorter: Collection[str]) -> list[str]:
    """List what most names of one side have after a name of the other."""
    names = set(shorter)
    counts = Counter(
        name[at:]
        for name in longer
        for at in range(name.rfind("/") + 2, len(name))
        if name[:at] in names
    )
    most = max(counts.values(), default=0)
    if not most or 2 * most < min(len(longer), len(names)):
        return []
    return sorted(end for end, count in counts.items() if count == most)


def _shared_end(names: Collection[str]) -> str:
    """Return what all names end in, from its first separator on."""
    reversed_names = [name[::-1] for name in names]
    end = os.path.commonprefix(reversed_names)[::-1]  # noqa: RUF071 (ends, not folders)
    found = re.search(r"[_\-. ].*", end.rpartition("/")[2])
    return found[0] if found else ""
