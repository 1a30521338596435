"""Which files of folders are a sample's image, its mask and its further fields?"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError, look_up
from zarrfeed.spelling import few
from zarrfeed_convert.decoding.decode import EXTENSIONS
from zarrfeed_convert.sources.file_discovery import files_in, fixed_part, has_extension, stem_of
from zarrfeed_convert.sources.file_pairs import files_by_key, join_by_key
from zarrfeed_convert.sources.name_pairs import advise_suffixes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from zarrfeed_convert.extra_fields import ExtraField
    from zarrfeed_convert.sources.file_pairs import Joined

_ARRAYS = (".npy",)


@dataclass(frozen=True, slots=True)
class _Side:
    """The files of one field: masks, or those of a further field.

    Attributes
    ----------
    what
        Noun for one of the files, for errors.
    where
        Their folder or glob.
    files
        Key → file.
    suffixes
        Suffixes of images and masks that the user gave; None for further fields.
    """

    what: str
    where: str
    files: Mapping[str, str]
    suffixes: tuple[str, str] | None = None


def join_folders(
    images: str,
    masks: str = "",
    *,
    image_suffix: str = "",
    mask_suffix: str = "",
    extras: Sequence[ExtraField] = (),
) -> Joined:
    """Join files by :func:`~zarrfeed_convert.sources.name_pairs.pairs_of` of their stems.

    Parameters
    ----------
    images, masks
        Folders, files or globs; both may be the same. `masks` may be empty.
    image_suffix, mask_suffix
        End of a name after the shared part.
    extras
        Further fields, whose places are folders, files or globs. Their files are not images, nor,
        without `mask_suffix`, masks, unless all masks are also a field.

    Raises
    ------
    SourceError
        A folder is missing or empty, a glob matches nothing, most files are unpaired, or two have
        the same name.
    """
    arrays: list[str] = []
    sides = [_side_of(extra, arrays) for extra in extras]
    taken = {entry for side in sides for entry in _entries(side.files.values()).values()}
    found_images = _without(_image_files(images, "images", arrays), taken)
    not_suffix, masks_aside = "", 0
    if masks:
        found_masks = _image_files(masks, "masks", arrays)
        # One folder for both: without its masks, the rest are the images, or the reverse.
        shared = _below_real(images, found_images) & _below_real(masks, found_masks)
        if shared and not mask_suffix and not image_suffix:
            raise SourceError(
                f"images and masks: needed different files, found {len(shared)} of {images} on "
                "both sides; say how masks are told apart, like --mask-suffix _mask"
                f"{look_up('no-pairs')}"
            )
        not_suffix = mask_suffix if shared else ""
        not_image = image_suffix if shared and not mask_suffix else ""
        if not mask_suffix:
            found_masks = _other_than(taken, found_masks) or found_masks
        mask_of = files_by_key(found_masks, mask_suffix, "masks", but_not=not_image)
        sides.insert(0, _Side("mask", masks, mask_of, (image_suffix, mask_suffix)))
        masks_aside = len(found_masks) - len(mask_of)
    image_of = files_by_key(found_images, image_suffix, "images", but_not=not_suffix)
    joined = join_by_key(image_of, {side.what: side.files for side in sides})
    for side in sides:
        _require_partners(images, image_of, side, joined.partners[side.what])
    left_aside = len(found_images) - len(image_of), masks_aside
    passed_over = {entry: path for path, entry in _entries(arrays).items() if entry not in taken}
    return replace(joined, left_aside=left_aside, passed_over=tuple(sorted(passed_over.values())))


def _side_of(extra: ExtraField, arrays: list[str]) -> _Side:
    name = extra.field.name
    found = _image_files(extra.place, f"field {name}", arrays)
    return _Side(f"{name} file", extra.place, files_by_key(found, "", f"field {name}"))


def _entries(paths: Iterable[str]) -> dict[str, str]:
    """Return path → real folder and name, which are the same for ``i/a`` and ``/data/i/a``.

    Symbolic links that lead to one file stay different: samples may share a file.
    """
    real: dict[str, str] = {}
    found = {}
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in real:
            real[folder] = os.path.realpath(folder)  # once: it asks the disk
        found[path] = os.path.join(real[folder], name)  # noqa: PTH118
    return found


def _below_real(where: str, paths: Iterable[str]) -> set[str]:
    """Return paths below the real path of their folder; links in it may lead to one place."""
    base = where if Path(where).is_dir() else fixed_part(where)
    real = Path(os.path.realpath(base))
    return {str(real / Path(path).relative_to(base)) for path in paths}


def _other_than(taken: set[str], files: Mapping[str, str]) -> dict[str, str]:
    """Return the files, path → stem, without the entries that are taken."""
    return {path: files[path] for path, entry in _entries(files).items() if entry not in taken}


def _without(images: Mapping[str, str], taken: set[str]) -> dict[str, str]:
    """Return the images without the files of further fields, which may share their folder."""
    left = _other_than(taken, images)
    if not left:
        path = Path(min(images))
        raise SourceError(
            f"images: needed other files than those of fields, found the same {len(images)}, such "
            f"as {path}; tell them apart by globs like '{path.parent / '*_rgb.png'}'"
        )
    return left


def _require_partners(
    images: str, image_of: Mapping[str, str], side: _Side, partners: Mapping[str, str]
) -> None:
    """Refuse a side of which nothing pairs, or so little that a suffix must be missing.

    Parameters
    ----------
    images, image_of
        Folder or glob of the images; key → file.
    side
        Files of the other side.
    partners
        Key of an image → key of its file on that side.
    """
    lone_images = sorted(image_of.keys() - partners.keys())
    lone_others = sorted(side.files.keys() - set(partners.values()))
    advice = None
    if side.suffixes and (lone_images or lone_others):
        image_suffix, mask_suffix = side.suffixes
        advice = advise_suffixes(
            lone_images, lone_others, image_suffix=image_suffix, mask_suffix=mask_suffix
        )
    if partners and (advice is None or len(partners) > len(lone_images)):
        return
    what = side.what
    advice = advice or (
        f"images and {what}s have no name in common, {lone_images[0]!r} is an image and "
        f"{lone_others[0]!r} a {what}: check that both folders are of one set, {images} and "
        f"{side.where}, or rename files so that an image and its {what} share their name"
    )
    alone = [
        *_alone("image", lone_images, image_of, what),
        *_alone(what, lone_others, side.files, "image"),
    ]
    raise SourceError(f"{advice}; {'; '.join(alone)}{look_up('no-pairs')}")


def _alone(what: str, keys: Sequence[str], files: Mapping[str, str], partner: str) -> list[str]:
    """Return a sentence that names the files without a partner, or none if all have one."""
    if not keys:
        return []
    shown = few(Path(files[key]).name for key in keys)
    count = f"{len(keys)} {what}{'s have' if len(keys) > 1 else ' has'}"
    return [f"{count} no {partner}: {shown}"]


def _image_files(where: str, what: str, arrays: list[str]) -> dict[str, str]:
    """Find image files: path → path below the folder or the glob's fixed part, as a stem.

    ``.npy`` files beside image files are passed over, and added to `arrays`.
    """
    is_file = Path(where).is_file()
    found = (str(Path(where).parent), [where]) if is_file else files_in(where)
    if found is None:
        raise SourceError(
            f"{what}: needed a folder, a file or a glob, found no such folder or file: {where}; "
            "correct the path, or put a glob in quotes like 'data/*.png'"
            f"{look_up('no-files')}"
        )
    base, paths = found
    for extensions in (EXTENSIONS, _ARRAYS):
        stems = {
            str(path): stem_of(path.relative_to(base).as_posix(), extensions)
            for path in map(Path, sorted(paths))
            if has_extension(path.name, extensions)
        }
        if stems:
            if extensions is EXTENSIONS:
                arrays += [path for path in paths if has_extension(Path(path).name, _ARRAYS)]
            return stems
    raise SourceError(
        f"{what}: needed image files, found no image in {where} ({len(paths)} files in all); "
        f"looked for {' '.join(sorted({*EXTENSIONS, *_ARRAYS}))}"
        f"{look_up('no-files')}"
    )
