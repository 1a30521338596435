"""In which folders are the images of a split, and in which their masks?"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, NamedTuple

from zarrfeed_convert.detection.listing import folder_text, join, without_ending
from zarrfeed_convert.detection.split_names import is_mixed, is_of, is_of_another, names_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from zarrfeed_convert.detection.listing import Listing

_IMAGES = re.compile(
    r"(images?|imgs?|jpegimages|photos?|pictures?|rgb|inputs?|x|scans?|volumes?|imagest[rs])"
)
_MASKS = re.compile(
    r"(masks?|labels?|annotations?|annots?|gt|ground_?truths?|targets?|y|seg(mentations?)?"
    r"|segmentationclass|labelst[rs])"
)
_SUFFIX = re.compile(r"[_.-](masks?|labels?|seg(mentation)?|gt|annot(ation)?|l)$", re.IGNORECASE)
_WORD = re.compile(r"[a-z]*mask[a-z]*|labell?(s|ed|ing)?|anno[a-z]*|seg[a-z]*|gt|ground|truth|roi")


class Sides(NamedTuple):
    """Where the images and the masks of a split are, below the root.

    Attributes
    ----------
    images, masks
        Folders; ``""`` is the root.
    suffix
        What the names of masks have after those of images in the same folder.
    """

    images: str
    masks: str
    suffix: str = ""


def find_sides(listing: Listing, split: str, endings: Collection[str]) -> list[Sides]:
    """Find the folders of images and masks of a split.

    Parameters
    ----------
    listing
        What is in the dataset.
    split
        Name of the split.
    endings
        Endings of files that count, such as ``.png``.

    Returns
    -------
    list of Sides
        One, unless the names of folders are ambiguous; empty if they say nothing.
    """
    for pairs, fits in ((_in_folders, _exist), (_in_one_folder, _pair)):
        for root in _roots(listing):
            found = [each for each in pairs(listing, root, split) if fits(listing, each, endings)]
            if found:
                return [
                    each
                    for each in dict.fromkeys(found)
                    if not has_mixed_names(listing, each.images, split)
                ]
    return []


def find_folders(listing: Listing, split: str) -> Iterator[str]:
    """Yield the folders of a split, or the root where no folder is called like a split."""
    for root in _roots(listing):
        yield from _of_split(listing, root, split)


def has_mixed_names(listing: Listing, folder: str, split: str) -> bool:
    """Return whether files of a folder say by their names that they are of several splits."""
    return not is_of(folder, split) and is_mixed(
        (name for path in listing.below(folder) for name in listing.folders[path].files), split
    )


def says_masks(name: str) -> bool:
    """Return whether a name has a word for masks or annotations in it.

    Examples
    --------
    >>> says_masks("a_seg.nii.gz"), says_masks("maskpng"), says_masks("a1.png")
    (True, True, False)
    """
    words = re.split(r"[^a-z]+", name.lower())
    return any(_WORD.fullmatch(word) for word in words)


def told(sides: Sides, listing: Listing, endings: Collection[str]) -> str:
    """Say where images and masks are."""
    images = f"{listing.count(sides.images, endings):,} files below {folder_text(sides.images)}"
    if sides.suffix:
        return f"{images}, masks among them by the suffix {sides.suffix}"
    return f"{images}, {listing.count(sides.masks, endings):,} below {folder_text(sides.masks)}"


def _roots(listing: Listing) -> Iterator[str]:
    """Yield the root, and the folder inside while it is the only thing there."""
    root = ""
    yield root
    while not listing.folders[root].files and len(listing.folders_in(root)) == 1:
        root = join(root, listing.folders_in(root)[0])
        if root not in listing.folders:
            return
        yield root


def _in_folders(listing: Listing, root: str, split: str) -> list[Sides]:
    """Return pairs of folders whose names say images and masks, by the first way that finds any."""
    inside = listing.folders_in(root)
    both = _both(listing, root)
    for name in names_of(split):
        for found in (
            # train/images and train/masks
            [
                pair
                for folder in inside
                if folder.lower() == name
                for pair in _both(listing, join(root, folder))
            ],
            # images/train and masks/train
            [
                pair
                for sides in both
                for pair in _pairs_of(
                    *(
                        [join(side, one) for one in listing.folders_in(side) if _is_word(one, name)]
                        for side in (sides.images, sides.masks)
                    )
                )
            ],
            # train and train_masks
            _pairs_of(
                *(
                    [join(root, one) for one in inside if _is_split_of(one, name, side)]
                    for side in (_IMAGES, _MASKS)
                )
            ),
        ):
            if found:
                return found
    # images and masks, unless they are divided into other splits
    return [
        pair
        for pair in both
        if not any(
            is_of_another(below, split)
            for side in (pair.images, pair.masks)
            for below in listing.folders_in(side)
        )
    ]


def _both(listing: Listing, root: str) -> list[Sides]:
    """Return the pairs of folders in a folder that are called images and masks."""
    images, masks = (
        [join(root, one) for one in listing.folders_in(root) if side.fullmatch(one.lower())]
        for side in (_IMAGES, _MASKS)
    )
    return [pair for pair in _pairs_of(images, masks) if not _is_part(pair.images, pair.masks)]


def _pairs_of(images: Sequence[str], masks: Sequence[str]) -> list[Sides]:
    return [Sides(one, other) for one, other in itertools.product(images, masks)]


def _is_part(one: str, other: str) -> bool:
    """Whether two folders of the Decathlon's names are those of different splits."""
    ends = [name.lower()[-2:] for name in (one, other) if name.lower()[-2:] in ("tr", "ts")]
    return len(set(ends)) == 2


def _is_word(folder: str, name: str) -> bool:
    return re.fullmatch(rf"{re.escape(name)}\d*", folder.lower()) is not None


def _is_split_of(folder: str, name: str, side: re.Pattern[str]) -> bool:
    """Whether a folder is called ``train`` (images), ``train_masks`` or ``masks_train``."""
    lower = folder.lower()
    if lower == name:
        return side is _IMAGES
    for rest in (lower.removeprefix(name), lower.removesuffix(name)):
        if rest != lower and side.fullmatch(rest.strip("_- ")):
            return True
    return False


def _in_one_folder(listing: Listing, root: str, split: str) -> Iterator[Sides]:
    """Yield folders in which names with a suffix such as ``_mask`` are beside names without."""
    for folder in _of_split(listing, root, split):
        names = [name for path in listing.below(folder) for name in listing.folders[path].files]
        stems = [without_ending(name) for name in names]
        found = {match[0] for stem in stems if (match := _SUFFIX.search(stem))}
        for suffix in sorted(found):
            yield Sides(folder, folder, suffix)


def _exist(listing: Listing, sides: Sides, endings: Collection[str]) -> bool:
    """Whether both folders have files."""
    return all(listing.count(folder, endings) for folder in (sides.images, sides.masks))


def _pair(listing: Listing, sides: Sides, endings: Collection[str]) -> bool:
    """Whether most names with the suffix have a partner without it, and no others say masks."""
    stems = {without_ending(file) for file in listing.files(sides.images, endings)}
    marked = [stem for stem in stems if stem.endswith(sides.suffix)]
    others = (stem.rpartition("/")[2] for stem in stems.difference(marked))
    if any(says_masks(name) for name in others):
        return False  # as a_mask_1 beside a_mask: this suffix does not find all
    return 2 * sum(stem.removesuffix(sides.suffix) in stems for stem in marked) > len(marked)


def _of_split(listing: Listing, root: str, split: str) -> Iterator[str]:
    inside = listing.folders_in(root)
    of_split = [name for name in inside if name.lower() in names_of(split)]
    for name in of_split:
        yield join(root, name)
    if not of_split and not any(is_of_another(name, split) for name in inside):
        yield root
