"""Which images and masks do folders of files hold?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few
from zarrfeed_convert.decoding.decode import EXTENSIONS, decode, measure
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.source import IMAGES_ONLY, PAIR, Source
from zarrfeed_convert.sources.class_files import find_classes
from zarrfeed_convert.sources.file_discovery import files_in, fixed_part, has_extension, stem_of
from zarrfeed_convert.sources.file_pairs import files_by_key, pair_by_key
from zarrfeed_convert.sources.name_pairs import advise_suffixes
from zarrfeed_convert.sources.read_errors import source_errors
from zarrfeed_convert.sources.value_options import NO_MASKS, ValueOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.pixels import Color, Measure
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON, Header, Mask
    from zarrfeed_convert.sources.file_pairs import Pairing


_ARRAYS = (".npy",)


class FilePairs(Source):
    """Pairs of an image file and a mask file, or images alone: the base of all such sources.

    Parameters
    ----------
    files
        Key → image file and mask file, or the image file alone.
    options
        How their values become images and masks.
    left_out
        Inputs that make no sample, as (name, reason).
    limits
        Limits on what the files may claim.
    """

    def __init__(
        self,
        files: Mapping[str, tuple[str, ...]],
        options: ValueOptions,
        left_out: Sequence[tuple[str, str]],
        limits: Limits | None = None,
    ) -> None:
        self._keys = sorted(files)
        self._files = [files[key] for key in self._keys]
        self._options = options
        self.left_out = list(left_out)
        self._limits = limits or Limits()

    @property
    def keys(self) -> Sequence[str]:
        """The name that image and mask share, without folder, suffix and extension; sorted."""
        return self._keys

    def names(self, sample: int) -> tuple[str, ...]:
        """Name a sample's files."""
        return self._files[sample]

    def probe(self, sample: int) -> Header:
        """Read the headers of a sample's files."""
        files = self._files[sample]
        image, *masks = (measure(Path(file), self._limits) for file in files)
        mask = masks[0] if masks else None
        if mask and (image.height, image.width) != (mask.height, mask.width):
            _require_channels_last(image, mask, files[0])
        return self._options.header(image, mask, name=files[0])

    def read(self, sample: int) -> tuple[NDArray[Any], ...]:
        """Decode a sample."""
        path, *masks = self._files[sample]
        image = self._options.image(decode(Path(path), self._limits), name=path)
        return (image, self.read_mask(sample)) if masks else (image,)

    def read_mask(self, sample: int) -> Mask:
        """Decode a pair's mask."""
        path = Path(self._files[sample][1])
        return self._options.mask(decode(path, self._limits), name=str(path))

    def shown_colors(self, sample: int) -> dict[int, int]:
        """Return what the palette of a pair's mask shows where it is used."""
        return self._options.shown_colors(decode(Path(self._files[sample][1]), self._limits))


def _require_channels_last(image: Measure, mask: Measure, name: str) -> None:
    if (image.width, image.channels) == (mask.height, mask.width):
        raise SourceError(
            f"{name}: needed an image (H, W, C) of {mask.height}×{mask.width} pixels as its mask "
            f"has, found {image.height}×{image.width}×{image.channels}, whose channels seem to "
            "come first; save it with channels last: np.moveaxis(array, 0, -1)"
        )


def pair_folders(images: str, masks: str, *, image_suffix: str, mask_suffix: str) -> Pairing:
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
    left_aside = len(found_images) - len(image_of), len(found_masks) - len(mask_of)
    pairing = pair_by_key({key: (path,) for key, path in image_of.items()}, mask_of, [], left_aside)
    taken = {path for pair in pairing.files.values() for path in pair}
    lone_images, lone_masks = (
        sorted(key for key, path in files.items() if path not in taken)
        for files in (image_of, mask_of)
    )
    if pairing.left_out:
        advice = advise_suffixes(
            lone_images, lone_masks, image_suffix=image_suffix, mask_suffix=mask_suffix
        )
        if not taken or (advice is not None and len(pairing.pairs) <= len(lone_images)):
            # So many are alone that something else is meant.
            advice = advice or _nothing_shared(lone_images[0], lone_masks[0], images, masks)
            alone = [
                *_alone("image", lone_images, image_of, "mask"),
                *_alone("mask", lone_masks, mask_of, "image"),
            ]
            raise SourceError(f"{advice}; {'; '.join(alone)}")
    return pairing


@source_errors
class PairedFolders(FilePairs):
    """Image files and mask files, paired by the path below their folder, without extension.

    Files are images, of any number of channels, or arrays in ``.npy`` files: images (H, W) or
    (H, W, C), masks (H, W). Of a folder without image files, the ``.npy`` files are taken.

    Parameters
    ----------
    images, masks
        A folder, which is searched with everything below it, or a glob, whose names count from
        its first part without a wildcard on. Without `masks`, or with ``none``, only images are
        packed.
    image_suffix, mask_suffix
        What a stem has besides the name that both share, like ``_mask``. Files of a folder that
        lack its suffix are left aside, and counted in :meth:`describe`. Images and masks may lie
        in one folder: there, what has the mask suffix is a mask.
    color
        ``auto`` keeps the channels that the files have; ``grey``, ``rgb``, ``rgba`` convert.
    mask_map
        What mask values mean: a :class:`MaskMap`, or text as in :func:`parse_mask_map`. Without
        one, a ``labelmap.txt`` (CVAT), ``class_dict.csv``, ``label_colors.txt`` or ``_classes.csv``
        (Roboflow) among the masks, or beside their folder, says it.
    limits
        What files may claim, and name besides themselves; see :class:`zarrfeed_convert.Limits`.

    Attributes
    ----------
    left_out
        Files without a partner, and that they have none.
    classes, ignore
        Those that such a file names; else None.

    Raises
    ------
    SourceError
        A folder is missing or empty, a glob matches nothing, most files are unpaired, or two have
        the same name.
    """

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str] = "",
        *,
        image_suffix: str = "",
        mask_suffix: str = "",
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        masks = "" if masks == NO_MASKS else masks
        self.fields = PAIR if masks else IMAGES_ONLY
        if not masks and (mask_suffix or str(mask_map)):
            raise SourceError(
                "--masks: is needed to find masks, and so that --mask-suffix and --mask-map have "
                "a meaning; masks that lie among the images are found with --masks the same folder"
            )
        files: Mapping[str, tuple[str, ...]]
        left_out: Sequence[tuple[str, str]] = ()
        if masks:
            pairs = pair_folders(
                os.fspath(images),
                os.fspath(masks),
                image_suffix=image_suffix,
                mask_suffix=mask_suffix,
            )
            files, left_out, self._left_aside = pairs.files, pairs.left_out, pairs.left_aside
        else:
            found = _image_files(os.fspath(images), "images")
            files = {
                key: (path,) for key, path in files_by_key(found, image_suffix, "images").items()
            }
            self._left_aside = len(found) - len(files), 0
        options = ValueOptions.of(color, mask_map)
        self._description: JSON = {**self.arguments, **options.describe()}
        self._facts: JSON = {}
        self.classes: tuple[str, ...] | None = None
        self.ignore: int | None = None
        named = None
        if masks and not str(options.mask_map):
            named = find_classes(_folders(os.fspath(masks)))
        if named is not None:
            self.classes, self.ignore = named.labels.classes, named.labels.ignore
            self._facts["classes_from"] = named.file
            options = ValueOptions(color, named.mask_map, known=True)
        super().__init__(files, options, left_out, limits)

    def describe(self) -> JSON:
        """Describe where the pairs come from, as JSON."""
        images, masks = self._left_aside
        return {
            "kind": "paired",
            **self._description,
            "facts": {"left_aside": {"images": images, "masks": masks}, **self._facts},
        }


def _folders(masks: str) -> list[Path]:
    """List where a file may lie that says what masks mean."""
    folder = Path(masks) if Path(masks).is_dir() else Path(fixed_part(masks))
    return [folder, folder.parent]


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
    for extensions in (EXTENSIONS, _ARRAYS):
        stems = {
            str(path): stem_of(path.relative_to(base).as_posix(), extensions)
            for path in map(Path, sorted(paths))
            if has_extension(path.name, extensions)
        }
        if stems:
            return stems
    raise SourceError(
        f"{what}: needed image files, found no image in {where} ({len(paths)} files in all); "
        f"looked for {' '.join(sorted({*EXTENSIONS, *_ARRAYS}))}"
    )
