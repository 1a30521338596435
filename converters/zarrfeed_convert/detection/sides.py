"""In which folders are the images of a split, and in which their masks?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from zarrfeed_convert.detection.listing import join
from zarrfeed_convert.detection.split_names import is_of_another, names_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from zarrfeed_convert.detection.listing import Listing

_IMAGES = re.compile(
    r"(images?|imgs?|jpegimages|photos?|pictures?|rgb|inputs?|x|scans?|volumes?|imagest[rs])"
)
_MASKS = re.compile(
    r"(masks?|labels?|annotations?|annots?|gt|ground_?truths?|targets?|y|seg(mentations?)?"
    r"|segmentationclass|labelst[rs])"
)
_DESCRIPTIONS = (".csv", ".json", ".xml", ".yaml")
_SUFFIX = re.compile(r"[_-](masks?|labels?|seg(mentation)?|gt|annot(ation)?|l)$", re.IGNORECASE)


class Sides(NamedTuple):
    """Where the images and the masks of a split are, below the root.

    Attributes
    ----------
    images, masks
        Folders; `masks` is empty for images alone.
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
    for pairs, fits in ((_in_folders, _exist), (_in_one_folder, _pair), (_alone, _are_most)):
        for root in _roots(listing):
            found = [each for each in pairs(listing, root, split) if fits(listing, each, endings)]
            if found:
                return list(dict.fromkeys(found))
    return []


def told(sides: Sides, listing: Listing, endings: Collection[str]) -> str:
    """Say where images and masks are."""
    images = f"{listing.count(sides.images, endings):,} files below {_named(sides.images)}"
    if not sides.masks:
        return f"{images}, and nothing that is called masks"
    if sides.suffix:
        return f"{images}, masks among them by the suffix {sides.suffix}"
    return f"{images}, {listing.count(sides.masks, endings):,} below {_named(sides.masks)}"


def _named(folder: str) -> str:
    return f"{folder}/" if folder else "it"


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
                Sides(join(pair.images, one), join(pair.masks, other))
                for pair in both
                for one in listing.folders_in(pair.images)
                for other in listing.folders_in(pair.masks)
                if _is_word(one, name) and _is_word(other, name)
            ],
            # train and train_masks
            [
                Sides(join(root, one), join(root, other))
                for one in inside
                for other in inside
                if _is_split_of(one, name, _IMAGES) and _is_split_of(other, name, _MASKS)
            ],
        ):
            if found:
                return found
    # images and masks, unless they are divided into other splits
    return [
        pair
        for pair in both
        if not any(is_of_another(below, split) for below in listing.folders_in(pair.images))
    ]


def _both(listing: Listing, root: str) -> list[Sides]:
    inside = listing.folders_in(root)
    return [
        Sides(join(root, one), join(root, other))
        for one in inside
        for other in inside
        if _IMAGES.fullmatch(one.lower())
        and _MASKS.fullmatch(other.lower())
        and not _is_part(one, other)
    ]


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
        stems = [name.rpartition(".")[0] or name for name in names]
        found = {match[0] for stem in stems if (match := _SUFFIX.search(stem))}
        for suffix in sorted(found):
            yield Sides(folder, folder, suffix)


def _exist(listing: Listing, sides: Sides, endings: Collection[str]) -> bool:
    """Whether both folders have files."""
    return all(listing.count(folder, endings) for folder in (sides.images, sides.masks))


def _are_most(listing: Listing, sides: Sides, endings: Collection[str]) -> bool:
    """Whether most files are images; others may be annotations, if they are many or tables."""
    images = listing.count(sides.images, endings)
    total = sum(listing.folders[path].endings.total() for path in listing.below(sides.images))
    described = listing.count("", _DESCRIPTIONS)
    return 2 * (total - images) < images and not described


def _pair(listing: Listing, sides: Sides, endings: Collection[str]) -> bool:
    """Whether most names with the suffix have a partner without it."""
    stems = {file.rpartition(".")[0] for file in listing.files(sides.images, endings)}
    marked = [stem for stem in stems if stem.endswith(sides.suffix)]
    return 2 * sum(stem.removesuffix(sides.suffix) in stems for stem in marked) > len(marked)


def _alone(listing: Listing, root: str, split: str) -> Iterator[Sides]:
    """Yield folders of images, where no name says masks."""
    for folder in _of_split(listing, root, split):
        below = {part.lower() for path in listing.below(folder) for part in path.split("/")}
        if not any(_MASKS.fullmatch(part) for part in below):
            yield Sides(folder, "")


def _of_split(listing: Listing, root: str, split: str) -> Iterator[str]:
    inside = listing.folders_in(root)
    of_split = [name for name in inside if name.lower() in names_of(split)]
    for name in of_split:
        yield join(root, name)
    if not of_split and not any(is_of_another(name, split) for name in inside):
        yield root
