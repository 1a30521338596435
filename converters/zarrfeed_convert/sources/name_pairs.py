"""Which image and which mask form a sample, by their names? All formats use the same rule.

Pure functions of names. Equal names pair. If few names are equal, words that all images share, or
all masks, are dropped (``image_1``, ``gt_1``), and the other words are compared, ignoring case and,
if needed, leading zeros. Names are never paired by order alone.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from functools import reduce
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

from zarrfeed.errors import SourceError, look_up
from zarrfeed.spelling import few
from zarrfeed_convert.sources.name_differences import number_of, require_one_split, words_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

_LOOKED_AT = 1000  # number of images, and of masks, from which suffixes are guessed

Words: TypeAlias = tuple[str, ...]


def pairs_of(
    images: Collection[str], masks: Collection[str], *, what: str = "mask"
) -> dict[str, str]:
    """Find the mask of every image that has one.

    Parameters
    ----------
    images, masks
        Names of images, and of masks, without repetitions.
    what
        What masks are called, for the error.

    Returns
    -------
    dict
        Image → mask, sorted by image; empty if no rule pairs half of the images or of the masks.

    Raises
    ------
    SourceError
        Names say that images and their masks are of different splits (``train_1``, ``val_1``).

    Examples
    --------
    >>> pairs_of(["town/images/1", "town/images/2"], ["town/masks/01", "town/masks/02"])
    {'town/images/1': 'town/masks/01', 'town/images/2': 'town/masks/02'}
    >>> pairs_of(["x", "y"], ["1", "2"])
    {}
    """
    found = _pairs_of(images, masks)
    require_one_split(found, what)
    return found


def _pairs_of(images: Collection[str], masks: Collection[str]) -> dict[str, str]:
    if len(images) == len(masks) == 1:
        return {next(iter(images)): next(iter(masks))}
    there = set(masks)
    exact = {name: name for name in sorted(images) if name in there}
    for found in chain([exact], _by_words(sorted(images), sorted(masks))):
        if found and 2 * len(found) >= min(len(images), len(masks)):
            return found
    return exact


def pair_all(images: Sequence[str], masks: Sequence[str]) -> list[int]:
    """Find the mask of every image, if there are as many masks as images.

    Returns
    -------
    list of int
        For every image, the index of its mask.

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
    """Sort mask files, path → name, like the image files to which they belong.

    If the numbers of files differ, masks may be divided differently, and the order is not changed.

    Raises
    ------
    SourceError
        There are as many mask files as image files, and a name has no partner.
    """
    if len(images) != len(masks):
        return dict(masks)
    files = list(masks.items())
    return dict(files[place] for place in pair_all(images, list(masks.values())))


def unpaired(images: Sequence[str], masks: Sequence[str]) -> str:
    """Return a message about names without a partner.

    It is empty if all names pair, or if none does and there are more images than masks or fewer.
    """
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
        f"{look_up('no-pairs')}"
    )


def _by_words(images: Sequence[str], masks: Sequence[str]) -> Iterator[dict[str, str]]:
    """Pair by words, then by words and the values of numbers."""
    if min(len(images), len(masks)) < 2:
        return  # a single name does not show which words all names share
    sides = [[words_of(name) for name in side] for side in (images, masks)]
    for numbers in (False, True):
        if numbers:
            sides = [[tuple(map(number_of, words)) for words in side] for side in sides]
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
    """Return names by the words that not all of them share; leave out names with the same words."""
    common = reduce(Counter.__and__, map(Counter, side))
    found: dict[Words, list[str]] = {}
    for words, name in zip(side, names, strict=True):
        found.setdefault(_without(words, common), []).append(name)
    return {key: names[0] for key, names in found.items() if len(names) == 1}


def _counted(names: Sequence[str], what: str, partner: str) -> str:
    some = f"{len(names)} {what}{'' if len(names) == 1 else 's'} without {partner}"
    return f"{some}: {few(names, counted=True)}" if names else some


def advise_suffixes(
    images: Collection[str], masks: Collection[str], *, image_suffix: str, mask_suffix: str
) -> str | None:
    """Advise suffixes that would pair names without a partner.

    Parameters
    ----------
    images, masks
        Names without a partner, from which `image_suffix` and `mask_suffix` are cut off.
    image_suffix, mask_suffix
        Suffixes that the user gave.

    Returns
    -------
    str or None
        The advice; None if no suffix pairs half of the images or of the masks.

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
    """Yield a possible suffix of images, and the suffixes of masks that go with it."""
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
    """Return the most frequent suffixes of `longer` names that begin with one of `shorter`."""
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
    """Return the suffix that all names share, from its first separator on."""
    reversed_names = [name[::-1] for name in names]
    end = os.path.commonprefix(reversed_names)[::-1]  # noqa: RUF071 (ends, not folders)
    found = re.search(r"[_\-. ].*", end.rpartition("/")[2])
    return found[0] if found else ""
