"""Which images and masks do folders of files hold?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed_convert.decoding.decode import decode, measure
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.source import Source
from zarrfeed_convert.sources.class_files import find_classes
from zarrfeed_convert.sources.file_discovery import fixed_part
from zarrfeed_convert.sources.image_files.folders import pair_folders
from zarrfeed_convert.sources.read_errors import source_errors
from zarrfeed_convert.sources.value_options import Meaning

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON, Header, Image, Mask


class FilePairs(Source):
    """Pairs of an image file and a mask file: what all sources of such files share.

    Parameters
    ----------
    files
        Key → the two files.
    meaning
        Of what they hold.
    left_out
        What makes no sample, as (name, why).
    limits
        What the files may claim.
    """

    def __init__(
        self,
        files: Mapping[str, tuple[str, str]],
        meaning: Meaning,
        left_out: Sequence[tuple[str, str]],
        limits: Limits | None = None,
    ) -> None:
        self._keys = sorted(files)
        self._files = [files[key] for key in self._keys]
        self._meaning = meaning
        self.left_out = left_out
        self._limits = limits or Limits()

    @property
    def keys(self) -> Sequence[str]:
        """The name that image and mask share, without folder, suffix and extension; sorted."""
        return self._keys

    def names(self, sample: int) -> tuple[str, str]:
        """Name a pair's two files."""
        return self._files[sample]

    def probe(self, sample: int) -> Header:
        """Read the headers of a pair's two files."""
        image_path, mask_path = map(Path, self._files[sample])
        image, mask = (measure(path, self._limits) for path in (image_path, mask_path))
        return self._meaning.header(image, mask, name=str(image_path))

    def read(self, sample: int) -> tuple[Image, Mask]:
        """Decode a pair."""
        path = Path(self._files[sample][0])
        return self._meaning.image(decode(path, self._limits), name=str(path)), self.read_mask(
            sample
        )

    def read_mask(self, sample: int) -> Mask:
        """Decode a pair's mask."""
        path = Path(self._files[sample][1])
        return self._meaning.mask(decode(path, self._limits), name=str(path))

    def shown_colors(self, sample: int) -> dict[int, int]:
        """Say what the palette of a pair's mask shows where it is used."""
        return self._meaning.shown_colors(decode(Path(self._files[sample][1]), self._limits))


@source_errors
class PairedFolders(FilePairs):
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
        masks: str | os.PathLike[str],
        *,
        image_suffix: str = "",
        mask_suffix: str = "",
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        self._arguments: JSON = {
            "images": os.fspath(images),
            "masks": os.fspath(masks),
            "image_suffix": image_suffix,
            "mask_suffix": mask_suffix,
        }
        pairs = pair_folders(**self._arguments)
        self._left_aside = pairs.left_aside
        meaning = Meaning.of(color, mask_map)
        self._description: JSON = {**self._arguments, **meaning.describe()}
        self._facts: JSON = {}
        self.classes: tuple[str, ...] | None = None
        self.ignore: int | None = None
        named = None if str(meaning.mask_map) else find_classes(_folders(os.fspath(masks)))
        if named is not None:
            self.classes, self.ignore = named.labels.classes, named.labels.ignore
            self._facts["classes_from"] = named.file
            meaning = Meaning(color, named.mask_map, known=True)
        super().__init__(pairs.files, meaning, pairs.left_out, limits)

    def describe(self) -> JSON:
        """Say where the pairs come from, as JSON."""
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
