"""Which images and masks do folders of files hold?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed_convert.sources.class_files import find_classes
from zarrfeed_convert.sources.file_discovery import fixed_part
from zarrfeed_convert.sources.image_files.file_pairs import FilePairs
from zarrfeed_convert.sources.image_files.folders import pair_folders
from zarrfeed_convert.sources.read_errors import source_errors
from zarrfeed_convert.sources.value_options import Meaning

if TYPE_CHECKING:
    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON


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
