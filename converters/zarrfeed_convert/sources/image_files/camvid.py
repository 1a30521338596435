"""Which image belongs to which mask in CamVid, and what do its masks mean?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.decode import measure
from zarrfeed_convert.labels import Labels
from zarrfeed_convert.mask_map import MaskMap
from zarrfeed_convert.sources.class_files import find_classes
from zarrfeed_convert.sources.image_files.folder_files import join_folders
from zarrfeed_convert.sources.image_files.known_layout import (
    IGNORED,
    SUBSETS,
    KnownLayout,
    are_alone,
    find_layout,
    has_folders,
)
from zarrfeed_convert.sources.option_checks import require_subset
from zarrfeed_convert.sources.read_errors import source_errors
from zarrfeed_convert.sources.value_options import ValueOptions

if TYPE_CHECKING:
    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.sources.file_pairs import Joined

# SegNet's CamVid: the mask value is the index; 11 is unlabelled.
CAMVID_11 = (
    "Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car",
    "Pedestrian", "Bicyclist",
)  # fmt: skip

# CamVid as it was published, in the order of its label_colors.txt; Void, #000000, is unlabelled.
CAMVID_COLORS = {
    "Animal": 0x408040,
    "Archway": 0xC00080,
    "Bicyclist": 0x0080C0,
    "Bridge": 0x008040,
    "Building": 0x800000,
    "Car": 0x400080,
    "CartLuggagePram": 0x4000C0,
    "Child": 0xC08040,
    "Column_Pole": 0xC0C080,
    "Fence": 0x404080,
    "LaneMkgsDriv": 0x8000C0,
    "LaneMkgsNonDriv": 0xC00040,
    "Misc_Text": 0x808040,
    "MotorcycleScooter": 0xC000C0,
    "OtherMoving": 0x804040,
    "ParkingBlock": 0x40C080,
    "Pedestrian": 0x404000,
    "Road": 0x804080,
    "RoadShoulder": 0x8080C0,
    "Sidewalk": 0x0000C0,
    "SignSymbol": 0xC08080,
    "Sky": 0x808080,
    "SUVPickupTruck": 0x4080C0,
    "TrafficCone": 0x000040,
    "TrafficLight": 0x004040,
    "Train": 0xC04080,
    "Tree": 0x808000,
    "Truck_Bus": 0xC080C0,
    "Tunnel": 0x400040,
    "VegetationMisc": 0xC0C000,
    "Wall": 0x40C000,
}
CAMVID_VOID = 0x000000


@source_errors
class CamVid(KnownLayout):
    """CamVid, in any of its three common layouts.

    ``train/`` beside ``trainannot/``: 11 classes, 11 is ignored (SegNet's).

    ``train/`` beside ``train_labels/``, with masks ``*_L.png``: 31 classes in colours, 255 is
    ignored.

    ``701_StillsRaw_full/`` beside ``LabeledApproved_full/``: the same classes, without subsets (as
    published).

    A ``class_dict.csv`` or ``label_colors.txt`` beside these folders gives the classes of colours,
    also of those in CVAT's ``trainannot/``.

    Parameters
    ----------
    images
        The folder that holds these folders.
    masks
        Not needed. If it is ``none``, or the subset ``test`` has no masks, images are packed
        alone.
    subset
        ``train``, ``val``, ``test``, or another one of the first layout; ``all`` if there are no
        subsets. By default the name of the split that is packed (in Python: ``train``).
    color
        ``auto`` keeps the channels that the files have; ``grey``, ``rgb``, ``rgba`` convert.
    mask_map
        What mask values mean, instead of the above; the classes then have no names.
    limits
        What files may claim, and name besides themselves; see :class:`zarrfeed_convert.Limits`.

    Raises
    ------
    SourceError
        Folders are missing or empty, or no image has a mask.

    Examples
    --------
    >>> CamVid("camvid", subset="val").classes  # doctest: +SKIP
    ('Sky', 'Building', 'Pole', …)
    """

    kind = "camvid"

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str] = "",
        *,
        subset: str = "train",
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        root, options = Path(images), ValueOptions.of(color, mask_map)
        if not has_folders(root, (subset, f"{subset}annot")):
            require_subset(subset, (*SUBSETS, "all"))
        indices, colors = (subset, f"{subset}annot"), (subset, f"{subset}_labels")
        stills = ("701_StillsRaw_full", "LabeledApproved_full")
        layouts = [stills] if subset == "all" else [indices, colors]
        if subset != "all" and has_folders(root, stills) and not has_folders(root, (subset,)):
            raise SourceError(
                f"option subset: needed all, found {subset!r}; "
                f"{root} is CamVid as published, which has no subsets: use -o subset=all"
            )
        found = any(has_folders(root, names[1:]) for names in layouts)
        if are_alone(os.fspath(masks), subset, mask_map, found=found):
            (where,) = find_layout(root, [names[:1] for names in layouts])
            alone = join_folders(str(root / where))
            super().__init__(alone.files, options, alone.left_out, labels=None, facts={},
                             limits=limits)  # fmt: skip
            return
        folders = find_layout(root, layouts)
        labels, known, suffix = Labels(CAMVID_11, len(CAMVID_11)), None, ""
        facts = {"masks": folders[1]}
        if folders != indices:
            labels = Labels(tuple(CAMVID_COLORS), IGNORED)
            known, suffix = camvid_colors_to_ids(), "_L"
        pairs = join_folders(
            str(root / folders[0]), str(root / folders[1]), image_suffix="", mask_suffix=suffix
        )
        named = None if str(options.mask_map) else find_classes([root])
        if named is not None and (folders != indices or _are_colored(pairs, limits)):
            labels, known = named.labels, MaskMap(colors=named.mask_map.colors)
            facts["classes_from"] = named.file
        super().__init__(
            pairs.files,
            options,
            pairs.left_out,
            known_map=known,
            labels=labels,
            facts=facts,
            limits=limits,
        )


def _are_colored(pairs: Joined, limits: Limits | None) -> bool:
    """Return whether the first mask is in colours; SegNet's masks are grey."""
    try:
        return measure(Path(min(pairs.files.values())[1]), limits).channels > 1
    except (SourceError, ValueError):  # reading the sample reports it
        return False


def camvid_colors_to_ids() -> MaskMap:
    """Map CamVid's colours to class ids, and Void to `IGNORED`."""
    ids = {color: number for number, color in enumerate(CAMVID_COLORS.values())}
    return MaskMap(colors={**ids, CAMVID_VOID: IGNORED})
