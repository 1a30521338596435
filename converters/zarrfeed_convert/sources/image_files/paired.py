"""Which mask belongs to which image, when both lie in folders?"""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.decode import EXTENSIONS, decode, measure, require_packable
from zarrfeed_convert.source import JSON, Header, Image, Mask
from zarrfeed_convert.sources.meaning import Meaning
from zarrfeed_convert.sources.suffixes import advise_suffixes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap

_SHOWN = 10  # files that a message names


class PairedFolders:
    """Image files and mask files, paired by the path below their folder, without extension.

    Parameters
    ----------
    images, masks
        A folder, which is searched with everything below it, or a glob, whose names count from
        its first part without a wildcard on.
    image_suffix, mask_suffix
        What a stem has besides the name that both share, like ``_mask``. Files of a folder that
        lack its suffix are left aside, and counted in :meth:`describe`. Images and masks may lie
        in one folder: there, what has the mask suffix is a mask.
    color
        ``auto`` keeps the channels that the files have; ``grey``, ``rgb``, ``rgba`` convert.
    mask_map
        What mask values mean: a :class:`MaskMap`, or text as in :func:`parse_mask_map`.

    Attributes
    ----------
    left_out
        Files without a partner, and that they have none.

    Raises
    ------
    SourceError
        A folder is missing or empty, a glob matches nothing, most files are unpaired, or two have
        the same name.
    """

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str],
        *,
        image_suffix: str = "",
        mask_suffix: str = "",
        color: Color = "auto",
        mask_map: str | MaskMap = "",
    ) -> None:
        self._images, self._masks = os.fspath(images), os.fspath(masks)
        self._image_suffix, self._mask_suffix = image_suffix, mask_suffix
        self._meaning = Meaning.of(color, mask_map)
        found_images = _list(self._images, "images")
        found_masks = _list(self._masks, "masks")
        # One folder for both: without its masks, the rest are the images.
        shared = set(found_images) & set(found_masks)
        not_suffix = mask_suffix if shared else ""
        if shared and not mask_suffix and not image_suffix:
            raise SourceError(
                f"images and masks share {len(shared)} files of {self._images}: say how masks are "
                "told apart, like --mask-suffix _mask"
            )
        image_of = _by_key(found_images, image_suffix, "images", but_not=not_suffix)
        mask_of = _by_key(found_masks, mask_suffix, "masks")
        paired = image_of.keys() & mask_of.keys()
        lone_images, lone_masks = (sorted(files.keys() - paired) for files in (image_of, mask_of))
        if lone_images or lone_masks:
            self._refuse_strangers(image_of, mask_of, lone_images, lone_masks)
        self.left_out = [
            *((image_of[key], "this image has no mask") for key in lone_images),
            *((mask_of[key], "this mask has no image") for key in lone_masks),
        ]
        self._keys = sorted(paired)
        self._left_aside = (len(found_images) - len(image_of), len(found_masks) - len(mask_of))
        self._files = [(image_of[key], mask_of[key]) for key in self._keys]

    @property
    def keys(self) -> Sequence[str]:
        """The path that image and mask share, without folder, suffix and extension; sorted."""
        return self._keys

    def describe(self) -> JSON:
        """Say where the pairs come from, as JSON."""
        images, masks = self._left_aside
        return {
            "kind": "paired",
            "images": self._images,
            "masks": self._masks,
            "image_suffix": self._image_suffix,
            "mask_suffix": self._mask_suffix,
            **self._meaning.describe(),
            "facts": {"left_aside": {"images": images, "masks": masks}},
        }

    def names(self, sample: int) -> tuple[str, str]:
        """Name a pair's two files."""
        return self._files[sample]

    def probe(self, sample: int) -> Header:
        """Read the headers of a pair's two files."""
        image_path, mask_path = map(Path, self._files[sample])
        image = measure(image_path)
        require_packable(image.dtype, str(image_path))
        mask = measure(mask_path)
        channels = self._meaning.channels(image.channels)
        return Header(image.height, image.width, channels, image.dtype, mask.height, mask.width)

    def read(self, sample: int) -> tuple[Image, Mask]:
        """Decode a pair."""
        image = self._meaning.image(decode(Path(self._files[sample][0])))
        return image, self.read_mask(sample)

    def read_mask(self, sample: int) -> Mask:
        """Decode a pair's mask."""
        path = Path(self._files[sample][1])
        return self._meaning.mask(decode(path), name=str(path))

    def _refuse_strangers(
        self,
        image_of: Mapping[str, str],
        mask_of: Mapping[str, str],
        lone_images: Sequence[str],
        lone_masks: Sequence[str],
    ) -> None:
        """Refuse folders that pair badly because something else is meant."""
        paired = len(image_of) - len(lone_images)
        advice = advise_suffixes(
            lone_images,
            lone_masks,
            image_suffix=self._image_suffix,
            mask_suffix=self._mask_suffix,
        )
        if paired and (advice is None or paired > len(lone_images)):
            return
        parts = []
        if lone_images:
            parts.append(_alone("image", lone_images, image_of, "mask"))
        if lone_masks:
            parts.append(_alone("mask", lone_masks, mask_of, "image"))
        if advice is None:
            advice = (
                f"images and masks have no name in common, {lone_images[0]!r} is an image and "
                f"{lone_masks[0]!r} a mask: check that both folders are of one set, "
                f"{self._images} and {self._masks}"
            )
        raise SourceError(f"{advice}; {'; '.join(parts)}")


def _alone(what: str, keys: Sequence[str], files: Mapping[str, str], partner: str) -> str:
    shown = ", ".join(Path(files[key]).name for key in keys[:_SHOWN])
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    count = f"{len(keys)} {what}{'s have' if len(keys) > 1 else ' has'}"
    return f"{count} no {partner}: {shown}{more}"


def _list(where: str, what: str) -> dict[str, str]:
    """Find image files: path → path below the folder, or below the glob's fixed part."""
    if Path(where).is_dir():
        base = where
        paths = [
            str(Path(folder, name))
            for folder, _, names in os.walk(where, followlinks=True)
            for name in names
        ]
    elif glob.has_magic(where):
        base = _fixed_part(where)
        matches = glob.glob(where, recursive=True)  # noqa: PTH207 (Path has no absolute patterns)
        paths = [path for path in matches if Path(path).is_file()]
    else:
        found_file = "is a file, no folder" if Path(where).is_file() else "no such folder"
        raise SourceError(
            f"{what}: {found_file}: {where}; give a folder, or a glob in quotes like 'data/*.png'"
        )
    found = {
        str(Path(path)): Path(path).relative_to(base).as_posix()
        for path in sorted(paths)
        if Path(path).suffix.lower() in EXTENSIONS and not Path(path).name.startswith(".")
    }
    if not found:
        raise SourceError(
            f"{what}: found no image in {where} ({len(paths)} files in all); "
            f"looked for {' '.join(sorted(EXTENSIONS))}"
        )
    return found


def _fixed_part(pattern: str) -> str:
    fixed: list[str] = []
    for part in Path(pattern).parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return str(Path(*fixed))


def _by_key(
    found: Mapping[str, str], suffix: str, what: str, *, but_not: str = ""
) -> dict[str, str]:
    """Key the files that have the suffix: path without extension and suffix → file."""
    files: dict[str, str] = {}
    for path, below in found.items():
        stem = below[: -len(Path(below).suffix)]
        if not stem.endswith(suffix) or (but_not and stem.endswith(but_not)):
            continue
        key = stem.removesuffix(suffix)
        if key in files:
            raise SourceError(
                f"{what}: {files[key]} and {path} are both named {key!r}; keep one of them"
            )
        files[key] = path
    if not files:
        raise SourceError(
            f"{what}: none of {len(found)} files has the suffix {suffix!r}; one is {min(found)}"
        )
    return files
