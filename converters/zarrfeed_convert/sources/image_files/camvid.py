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
from zarrfeed_convert.sources.image_files.folders import FolderPairs, pair_folders
from zarrfeed_convert.sources.image_files.known_classes import (
    CAMVID_11,
    CAMVID_COLORS,
    IGNORED,
    camvid_colors_to_ids,
)
from zarrfeed_convert.sources.image_files.known_layout import (
    SUBSETS,
    KnownLayout,
    find_layout,
    has_folders,
)
from zarrfeed_convert.sources.options import require_choice, require_no_masks
from zarrfeed_convert.sources.read_errors import source_errors
from zarrfeed_convert.sources.value_options import Meaning

if TYPE_CHECKING:
    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.decoding.pixels import Color


@source_errors
class CamVid(KnownLayout):
    """CamVid, in any of the three layouts that it is handed around in.

    ``train/`` beside ``trainannot/``: 11 classes, 11 is ignored (SegNet's).

    ``train/`` beside ``train_labels/``, with masks ``*_L.png``: 31 classes in colours, 255 is
    ignored.

    ``701_StillsRaw_full/`` beside ``LabeledApproved_full/``: the same, all in one (as published).

    A ``class_dict.csv`` or ``label_colors.txt`` beside these folders says what colours are, also
    those of CVAT's ``trainannot/``.

    Parameters
    ----------
    images
        The folder that holds these.
    masks
        Not needed.
    subset
        By default the name of the split that is packed (in Python: ``train``);
        ``train``, ``val`` or ``test``, or another one of the first layout; ``all`` where there are
        no subsets (as published).
    color
        ``auto`` keeps the channels that the files have; ``grey``, ``rgb``, ``rgba`` convert.
    mask_map
        What mask values mean, in place of the above; the classes then have no names.
    limits
        What files may claim, and name besides themselves; see :class:`zarrfeed_convert.Limits`.

    Raises
    ------
    SourceError
        The folders are not there, are empty, or hold files without a partner.

    Examples
    --------
    >>> CamVid("camvid", subset="val").classes  # doctest: +SKIP
    ('Sky', 'Building', 'Pole', …)
    """

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
        require_no_masks(os.fspath(masks), "--images")
        root, meaning = Path(images), Meaning.of(color, mask_map)
        if not has_folders(root, (subset, f"{subset}annot")):
            require_choice("subset", subset, (*SUBSETS, "all"))
        indices, colors = (subset, f"{subset}annot"), (subset, f"{subset}_labels")
        stills = ("701_StillsRaw_full", "LabeledApproved_full")
        layouts = [stills] if subset == "all" else [indices, colors]
        if subset != "all" and has_folders(root, stills) and not has_folders(root, (subset,)):
            raise SourceError(
                f"option subset: needed all, found {subset!r}; "
                f"{root} is CamVid as published, which has no subsets"
            )
        folders = find_layout(root, layouts)
        labels, known, suffix = Labels(CAMVID_11, len(CAMVID_11)), None, ""
        facts = {"masks": folders[1]}
        if folders != indices:
            labels = Labels(tuple(CAMVID_COLORS), IGNORED)
            known, suffix = camvid_colors_to_ids(), "_L"
        pairs = pair_folders(
            str(root / folders[0]), str(root / folders[1]), image_suffix="", mask_suffix=suffix
        )
        named = None if str(meaning.mask_map) else find_classes([root])
        if named is not None and (folders != indices or _are_colored(pairs, limits)):
            labels, known = named.labels, MaskMap(colors=named.mask_map.colors)
            facts["classes_from"] = named.file
        super().__init__(
            {"kind": "camvid", "images": str(root), "masks": "", "subset": subset},
            pairs.files,
            meaning,
            pairs.left_out,
            known_map=known,
            labels=labels,
            facts=facts,
            limits=limits,
        )


def _are_colored(pairs: FolderPairs, limits: Limits | None) -> bool:
    """Tell whether masks are colours, as the first of them is; SegNet's are grey."""
    try:
        return measure(Path(min(pairs.files.values())[1]), limits).channels > 1
    except (SourceError, ValueError):  # what is wrong with it is told when it is read
        return False
