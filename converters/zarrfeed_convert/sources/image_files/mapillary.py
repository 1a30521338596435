"""Which image belongs to which mask in Mapillary Vistas, and what do its masks mean?

Read here, not by Datumaro, which decodes all masks of instances at once, before the first is used.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.labels import Labels
from zarrfeed_convert.mask_map import MaskMap
from zarrfeed_convert.sources.annotations.json_files import parsed_json, value_of
from zarrfeed_convert.sources.image_files.folder_files import join_folders
from zarrfeed_convert.sources.image_files.known_layout import KnownLayout, subset_folder
from zarrfeed_convert.sources.option_checks import NO_MASKS, require_choice
from zarrfeed_convert.sources.read_errors import naming_errors, source_errors
from zarrfeed_convert.sources.value_options import ValueOptions

if TYPE_CHECKING:
    from zarrfeed_convert.decoding.pixels import Color

_UNLABELLED = "void--unlabeled"
_CONFIGS = {
    "v2.0": ("config_v2.0.json",),
    "v1.2": ("config_v1.2.json", "config.json"),
}
_MOST = 255  # ids of 8 bits


@source_errors
class Mapillary(KnownLayout):
    """Mapillary Vistas 1.2 and 2.0: 65 or 123 classes, unlabelled pixels are ignored.

    Masks are palette images of ids, whose names ``config_v2.0.json`` or ``config_v1.2.json``
    lists::

        FOLDER/
            config_v1.2.json
            config_v2.0.json
            training/images/a.jpg
            training/v1.2/labels/a.png      training/labels/a.png before version 2.0
            training/v2.0/labels/a.png

    The last id, ``void--unlabeled``, is the ignored id.

    Parameters
    ----------
    images
        The folder that holds the subsets.
    masks
        Not needed. If it is ``none``, or the subset has no masks, as ``testing``, images are
        packed alone.
    subset
        ``training``, ``validation`` or ``testing``; ``train``, ``val`` and ``test`` are the same.
        By default the name of the split that is packed (in Python: ``train``).
    version
        ``v2.0`` or ``v1.2``; by default (``auto``) the newest that the subset has.
    color
        ``auto`` keeps the channels that the files have; ``grey``, ``rgb``, ``rgba`` convert.
    mask_map
        What mask values mean, instead of the above; the classes then have no names.
    limits
        What files may claim, and name besides themselves; see :class:`zarrfeed_convert.Limits`.

    Raises
    ------
    SourceError
        Folders are missing or empty, no image has a mask, or the list of classes is damaged.

    Examples
    --------
    >>> Mapillary("vistas", subset="val").classes[:2]  # doctest: +SKIP
    ('animal--bird', 'animal--ground-animal')
    """

    kind = "mapillary"

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str = "",
        *,
        subset: str = "train",
        version: str = "auto",
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        require_choice("version", version, ("auto", *_CONFIGS))
        root, options = Path(images), ValueOptions.of(color, mask_map)
        limits = limits or Limits()
        where = subset_folder(root, subset, os.fspath(masks), ("images", "v2.0/labels"))
        wanted = [*_CONFIGS] if version == "auto" else [version]
        folders = {each: where / each / "labels" for each in wanted}
        if "v1.2" in folders and not folders["v1.2"].is_dir():
            folders["v1.2"] = where / "labels"
        found = next((each for each in wanted if folders[each].is_dir()), None)
        if masks == NO_MASKS or (found is None and version == "auto"):
            alone = join_folders(str(where / "images"))
            super().__init__(alone.files, options, alone.left_out, labels=None, facts={},
                             limits=limits)  # fmt: skip
            return
        if found is None:
            raise SourceError(
                f"option version: needed masks of {version}, found no {folders[version]}; leave it "
                "out to read the newest version that is there"
            )
        pairs = join_folders(str(where / "images"), str(folders[found]))
        config = next(
            (root / name for name in _CONFIGS[found] if (root / name).is_file()),
            root / _CONFIGS[found][0],
        )
        labels, colors = _classes(config, limits)
        count = len(labels.classes) + (labels.ignore is not None)
        super().__init__(
            pairs.files,
            options,
            pairs.left_out,
            known_map=MaskMap({number: number for number in range(count)}, colors),
            labels=labels,
            facts={"masks": found, "classes_from": str(config)},
            limits=limits,
        )


def _classes(config: Path, limits: Limits) -> tuple[Labels, dict[int, int]]:
    """Read the names of all ids, and the ids of colours, ``0xRRGGBB``, that only one id has."""
    said = parsed_json(config, limits)
    names: list[str] = []
    ids: dict[int, list[int]] = {}
    with naming_errors(str(config)):
        for number, label in enumerate(value_of(said, "labels", list)):
            names.append(value_of(label, "name", str))
            ids.setdefault(_color(value_of(label, "color", list)), []).append(number)
        if not 1 <= len(names) <= _MOST or len(set(names)) < len(names):
            raise ValueError(f"{len(set(names))} different names of {len(names)} labels")
    ignore = len(names) - 1 if names[-1].lower() == _UNLABELLED else None
    classes = tuple(names if ignore is None else names[:-1])
    return Labels(classes, ignore), {
        color: numbers[0] for color, numbers in ids.items() if len(numbers) == 1
    }


def _color(bands: list[Any]) -> int:
    if len(bands) != 3 or not all(isinstance(band, int) and 0 <= band <= 255 for band in bands):
        raise ValueError(f"the color {str(bands)[:40]}")
    red, green, blue = bands
    return int(red) << 16 | int(green) << 8 | int(blue)
