"""Which image file and which mask file of two folders belong together?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few
from zarrfeed_convert.decoding.decode import EXTENSIONS
from zarrfeed_convert.sources.file_discovery import files_in, has_extension, stem_of
from zarrfeed_convert.sources.name_pairs import pairs_of
from zarrfeed_convert.sources.suffixes import advise_suffixes, files_by_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class FolderPairs:
    """What pairs in two folders, and what does not.

    Attributes
    ----------
    files
        Key → image file and mask file.
    left_out
        Files without a partner, as (path, why).
    left_aside
        How many image files and mask files lack their suffix.
    """

    files: Mapping[str, tuple[str, str]]
    left_out: Sequence[tuple[str, str]]
    left_aside: tuple[int, int]


def pair_folders(images: str, masks: str, *, image_suffix: str, mask_suffix: str) -> FolderPairs:
    """Pair files by :func:`~zarrfeed_convert.sources.name_pairs.pairs_of` of their stems.

    Parameters
    ----------
    images, masks
        Folders or globs; both may be the same.
    image_suffix, mask_suffix
        What names have besides the one that both share.

    Raises
    ------
    SourceError
        A folder is missing or empty, a glob matches nothing, most files are unpaired, or two have
        the same name.
    """
    found_images, found_masks = _image_files(images, "images"), _image_files(masks, "masks")
    # One folder for both: without its masks, the rest are the images.
    shared = found_images.keys() & found_masks.keys()
    if shared and not mask_suffix and not image_suffix:
        raise SourceError(
            f"images and masks: needed different files, found {len(shared)} of {images} on both "
            "sides; say how masks are told apart, like --mask-suffix _mask"
        )
    not_suffix = mask_suffix if shared else ""
    image_of = files_by_key(found_images, image_suffix, "images", but_not=not_suffix)
    mask_of = files_by_key(found_masks, mask_suffix, "masks")
    paired = pairs_of(image_of, mask_of)
    lone_images = sorted(image_of.keys() - paired.keys())
    lone_masks = sorted(mask_of.keys() - set(paired.values()))
    if lone_images or lone_masks:
        advice = advise_suffixes(
            lone_images, lone_masks, image_suffix=image_suffix, mask_suffix=mask_suffix
        )
        if not paired or (advice is not None and len(paired) <= len(lone_images)):
            # So many are alone that something else is meant.
            advice = advice or _nothing_shared(lone_images[0], lone_masks[0], images, masks)
            alone = [
                *_alone("image", lone_images, image_of, "mask"),
                *_alone("mask", lone_masks, mask_of, "image"),
            ]
            raise SourceError(f"{advice}; {'; '.join(alone)}")
    return FolderPairs(
        {image: (image_of[image], mask_of[mask]) for image, mask in paired.items()},
        [
            *((image_of[key], "this image has no mask") for key in lone_images),
            *((mask_of[key], "this mask has no image") for key in lone_masks),
        ],
        (len(found_images) - len(image_of), len(found_masks) - len(mask_of)),
    )


def _nothing_shared(image: str, mask: str, images: str, masks: str) -> str:
    return (
        f"images and masks have no name in common, {image!r} is an image and {mask!r} a mask: "
        f"check that both folders are of one set, {images} and {masks}, or rename files so that an "
        "image and its mask share their name"
    )


def _alone(what: str, keys: Sequence[str], files: Mapping[str, str], partner: str) -> list[str]:
    """Say in a sentence which files have no partner; in none where all have one."""
    if not keys:
        return []
    shown = few(Path(files[key]).name for key in keys)
    count = f"{len(keys)} {what}{'s have' if len(keys) > 1 else ' has'}"
    return [f"{count} no {partner}: {shown}"]


def _image_files(where: str, what: str) -> dict[str, str]:
    """Find image files: path → path below the folder, or the fixed part of the glob, as a stem."""
    found = files_in(where)
    if found is None:
        found_file = "a file, no folder" if Path(where).is_file() else "no such folder"
        raise SourceError(
            f"{what}: needed a folder of images, found {found_file}: {where}; give a folder, or "
            "a glob in quotes like 'data/*.png'"
        )
    base, paths = found
    stems = {
        str(path): stem_of(path.relative_to(base).as_posix(), EXTENSIONS)
        for path in map(Path, sorted(paths))
        if has_extension(path.name, EXTENSIONS)
    }
    if not stems:
        raise SourceError(
            f"{what}: needed image files, found no image in {where} ({len(paths)} files in all); "
            f"looked for {' '.join(sorted(EXTENSIONS))}"
        )
    return stems
