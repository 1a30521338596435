"""How do files of images, masks and further fields become samples?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed.spelling import plural
from zarrfeed_convert.extra_fields import parse_fields
from zarrfeed_convert.labels import is_jpeg
from zarrfeed_convert.source import IMAGES_ONLY, PAIR
from zarrfeed_convert.sources.class_files import find_classes
from zarrfeed_convert.sources.file_discovery import fixed_part
from zarrfeed_convert.sources.image_files.array_file import require_volume_axes
from zarrfeed_convert.sources.image_files.field_files import FilePairs
from zarrfeed_convert.sources.image_files.folder_files import join_folders
from zarrfeed_convert.sources.name_differences import remarks_on_names
from zarrfeed_convert.sources.option_checks import masks_given, require_level
from zarrfeed_convert.sources.read_errors import source_errors
from zarrfeed_convert.sources.value_options import ValueOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON
    from zarrfeed_convert.sources.file_pairs import Joined


@source_errors
class PairedFolders(FilePairs):
    """Image files and mask files, paired by the path below their folder, without extension.

    Files are images of any number of channels, or arrays in ``.npy`` files: images (H, W) or
    (H, W, C), masks (H, W); or volumes, (D, H, W) or (D, H, W, C), with masks (D, H, W). The
    ``.npy`` files of a folder are read if it has no image files, or if a glob names them; otherwise
    a remark counts them.

    Parameters
    ----------
    images, masks
        A folder, which is searched with all folders below it, or a glob. Names are relative to the
        folder, or to the part of the glob before its first wildcard. If `masks` is left out or
        ``none``, images are packed alone.
    image_suffix, mask_suffix
        End of a stem after the shared name, such as ``_mask``. Files without the suffix are left
        aside and counted in :meth:`describe`. Images and masks may share a folder; there, files
        with the mask suffix are masks.
    fields
        Further fields, name → ``ROLE:PLACE``, such as ``{"depth": "target:data/depth"}``. PLACE is
        a folder or a glob of files, which pair with the images as masks do and are not images,
        even in a shared folder. Role ``image``: a picture, converted by `color`; ``mask``: ids,
        converted by `mask_map`; ``target``: the numbers of the files, unchanged. A grey JPEG may
        be a target; a remark says that its numbers are not the original ones.
    level
        Resolution at which to read images that have several (OME-TIFF, SVS and other pyramids of
        TIFF); 0 is the full one. Masks and fields are read at it, too, if they have several.
    axes
        ``DHW`` or ``DHWC`` if the files are ``.npy`` files of volumes: D planes, H rows, W columns,
        C channels. By default they are images.
    color
        ``auto`` keeps the channels of the files; ``grey``, ``rgb``, ``rgba`` convert.
    mask_map
        Class ids of mask values, as text: ``255=1``, ``#FF0000=1,*=0`` (as ``--mask-map``). By
        default those of a ``labelmap.txt`` (CVAT), ``class_dict.csv``, ``label_colors.txt`` or
        ``_classes.csv`` (Roboflow) among the masks or beside their folder, if there is one.
    limits
        Limits on what files may claim, and name besides themselves; see
        :class:`zarrfeed_convert.Limits`.

    Attributes
    ----------
    left_out
        Files without a partner, as (name, reason).
    classes, ignore
        Those of such a file; None without one.

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
        fields: Mapping[str, str] | None = None,
        level: int = 0,
        axes: str = "",
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        require_level(level)
        require_volume_axes(axes)
        extras = parse_fields(fields)
        has_ids = any(extra.field.role == "mask" for extra in extras)
        paired = masks_given(
            os.fspath(masks), mask_suffix=mask_suffix, mask_map="" if has_ids else mask_map
        )
        self.fields = (*(PAIR if paired else IMAGES_ONLY), *(extra.field for extra in extras))
        joined = join_folders(
            os.fspath(images),
            os.fspath(masks) if paired else "",
            image_suffix=image_suffix,
            mask_suffix=mask_suffix,
            extras=extras,
        )
        self._left_aside = joined.left_aside
        of_names = remarks_on_names(
            joined.partners.get("mask", {}), os.fspath(images), os.fspath(masks)
        )
        self.remarks = (*of_names, *self._remarks_on(joined))
        options = of_fields = ValueOptions.of(color, mask_map)
        self._description: JSON = {**self.arguments, **options.describe()}
        for name, value in (("level", level), ("axes", axes)):
            if not value:  # splits and runs of before have none
                self._description.pop(name, None)
        self._facts: JSON = {}
        self.classes: tuple[str, ...] | None = None
        self.ignore: int | None = None
        named = None
        if paired and not str(options.mask_map):
            named = find_classes(_folders(os.fspath(masks)))
        if named is not None:
            self.classes, self.ignore = named.labels.classes, named.labels.ignore
            self._facts["classes_from"] = named.file
            options = ValueOptions(color, named.mask_map, known=True)
        super().__init__(
            joined.files,
            options,
            joined.left_out,
            limits,
            of_fields=of_fields,
            level=level,
            axes=axes.upper(),
        )

    def _remarks_on(self, joined: Joined) -> tuple[tuple[str, str, str], ...]:
        remarks = []
        if joined.passed_over:
            first = Path(joined.passed_over[0])
            why = f"such as {first}, beside image files; to pack arrays, name them by a glob like "
            count = f"{len(joined.passed_over)} passed over"
            remarks.append((".npy files", count, f"{why}'{first.parent / '*.npy'}'"))
        targets = [number for number, field in enumerate(self.fields) if field.role == "target"]
        jpegs = [
            files[number]
            for files in joined.files.values()
            for number in targets
            if is_jpeg(files[number])
        ]
        if jpegs:
            why = f"such as {min(jpegs)}: JPEG has changed their numbers; pack the originals if"
            remarks.append(("JPEG targets", plural(len(jpegs), "file"), f"{why} there are any"))
        return tuple(remarks)

    def describe(self) -> JSON:
        """Return the location and the options of the samples, as JSON."""
        images, masks = self._left_aside
        return {
            "kind": "paired",
            **self._description,
            "facts": {"left_aside": {"images": images, "masks": masks}, **self._facts},
        }


def _folders(masks: str) -> list[Path]:
    """List the folders in which a file may name the classes."""
    folder = Path(masks) if Path(masks).is_dir() else Path(fixed_part(masks))
    return [folder, folder.parent]
