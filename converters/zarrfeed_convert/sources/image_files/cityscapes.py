"""Which image belongs to which mask in Cityscapes, and what do its masks mean?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

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
from zarrfeed_convert.sources.option_checks import require_choice, require_subset
from zarrfeed_convert.sources.read_errors import source_errors
from zarrfeed_convert.sources.value_options import ValueOptions

if TYPE_CHECKING:
    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.source import JSON

# Cityscapes: the id is the index. "license plate" has the id -1, which no mask holds.
CITYSCAPES_34 = (
    "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground",
    "road", "sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail",
    "bridge", "tunnel", "pole", "polegroup", "traffic light", "traffic sign", "vegetation",
    "terrain", "sky", "person", "rider", "car", "truck", "bus", "caravan", "trailer", "train",
    "motorcycle", "bicycle",
)  # fmt: skip

# The trainId is the index; all others have the trainId 255.
CITYSCAPES_19 = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign",
    "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train",
    "motorcycle", "bicycle",
)  # fmt: skip

_IMAGE = "_leftImg8bit"


@source_errors
class Cityscapes(KnownLayout):
    """Cityscapes: images in ``leftImg8bit/``, masks in ``gtFine/`` or ``gtCoarse/``.

    Images are ``leftImg8bit/SUBSET/CITY/*_leftImg8bit.png``, masks
    ``gtFine/SUBSET/CITY/*_gtFine_labelIds.png`` or ``*_gtFine_labelTrainIds.png``. If a
    ``label_colors.txt`` beside these folders lists other classes, as in exports of CVAT, an id is
    the index in that list.

    Parameters
    ----------
    images
        The folder that holds these folders.
    masks
        Not needed. If it is ``none``, or the subset ``test`` has no masks, images are packed
        alone. The masks of ``test`` that Cityscapes publishes show no classes.
    subset
        ``train``, ``val`` or ``test``; with ``gtCoarse`` also ``train_extra``. By default the name
        of the split that is packed (in Python: ``train``).
    labels
        ``train``: the 19 classes of the benchmark, 255 is ignored; read from ``labelTrainIds`` if
        every mask has it, else from ``labelIds`` by the official table. ``all``: the 34 ids
        unchanged, none is ignored.
    annotations
        ``gtFine`` or ``gtCoarse``.
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
    >>> Cityscapes("cityscapes", subset="val").keys[0]  # doctest: +SKIP
    'frankfurt/frankfurt_000000_000294'
    """

    kind = "cityscapes"

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str] = "",
        *,
        subset: str = "train",
        labels: str = "train",
        annotations: str = "gtFine",
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        require_subset(subset, (*SUBSETS, "train_extra"))
        require_choice("labels", labels, ("train", "all"))
        require_choice("annotations", annotations, ("gtFine", "gtCoarse"))
        root, options = Path(images), ValueOptions.of(color, mask_map)
        layout = f"leftImg8bit/{subset}", f"{annotations}/{subset}"
        if are_alone(os.fspath(masks), subset, mask_map, found=has_folders(root, layout[1:])):
            (where,) = find_layout(root, [layout[:1]])
            alone = join_folders(str(root / where), image_suffix=_IMAGE)
            super().__init__(alone.files, options, alone.left_out, labels=None, facts={},
                             limits=limits)  # fmt: skip
            return
        folders = find_layout(root, [layout])
        ids, train_ids = f"_{annotations}_labelIds", f"_{annotations}_labelTrainIds"
        found = {
            suffix: sum(1 for _ in (root / folders[1]).rglob(f"*{suffix}.png"))
            for suffix in (ids, train_ids)
        }
        suffix, known, meant = ids, None, Labels(CITYSCAPES_34, None)
        facts: JSON = {}
        named = None if str(options.mask_map) else find_classes([root])
        if named is not None and not set(named.listed) <= {*CITYSCAPES_34, "license plate"}:
            meant = Labels(named.listed, None)
            facts["classes_from"] = named.file
        elif labels == "train":
            meant = Labels(CITYSCAPES_19, IGNORED)
            if found[train_ids] and found[train_ids] >= found[ids]:
                suffix = train_ids
            else:
                known = cityscapes_ids_to_train_ids()
        pairs = join_folders(
            str(root / folders[0]),
            str(root / folders[1]),
            image_suffix=_IMAGE,
            mask_suffix=suffix,
        )
        super().__init__(
            pairs.files,
            options,
            pairs.left_out,
            known_map=known,
            labels=meant,
            facts={"masks": suffix[1:], **facts},
            limits=limits,
        )
        if subset == "test" and "classes_from" not in facts:
            why = "those that Cityscapes publishes show no classes; --masks none leaves them out"
            self.remarks = (("masks of test", "packed", why),)


def cityscapes_ids_to_train_ids() -> MaskMap:
    """Map Cityscapes' 34 ids to the 19 train ids; other values stay."""
    train_ids = {name: number for number, name in enumerate(CITYSCAPES_19)}
    return MaskMap(
        {number: train_ids.get(name, IGNORED) for number, name in enumerate(CITYSCAPES_34)}
    )
