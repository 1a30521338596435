"""Which image belongs to which mask in datasets whose folders everyone knows?

CamVid, Cityscapes and Pascal VOC: what is asked for is a folder and a subset; how names pair, what
mask values mean and what the classes are called, is known.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed_convert.labels import Labels
from zarrfeed_convert.sources.choices import require_choice, require_no_masks
from zarrfeed_convert.sources.image_files.known_classes import (
    CAMVID_11,
    CAMVID_COLORS,
    CITYSCAPES_19,
    CITYSCAPES_34,
    IGNORED,
    VOC_21,
    camvid_colors_to_ids,
    cityscapes_ids_to_train_ids,
    voc_to_ids,
)
from zarrfeed_convert.sources.image_files.known_layout import (
    KnownLayout,
    ListedFiles,
    described,
    find_layout,
    has_folders,
    labels_of,
    map_of,
    read_list,
)
from zarrfeed_convert.sources.meaning import Meaning
from zarrfeed_convert.sources.image_files.paired import PairedFolders

if TYPE_CHECKING:
    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap

_SUBSETS = ("train", "val", "test")


class CamVid(KnownLayout):
    """CamVid, in any of the three layouts that it is handed around in.

    ::

        train/ trainannot/                         11 classes, 11 is ignored (SegNet's)
        train/ train_labels/*_L.png                31 classes in colours, 255 is ignored
        701_StillsRaw_full/ LabeledApproved_full/  the same, all in one (as published)

    Parameters
    ----------
    images
        The folder that holds these.
    masks
        Not needed.
    subset
        ``train``, ``val`` or ``test``; ``all`` where there are no subsets (as published).
    color
        ``auto`` keeps the channels that the files have; ``grey``, ``rgb``, ``rgba`` convert.
    mask_map
        What mask values mean, in place of the above; the classes then have no names.

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
    ) -> None:
        require_choice("subset", subset, (*_SUBSETS, "all"))
        require_no_masks(os.fspath(masks), "--images")
        root, meaning = Path(images), Meaning.of(color, mask_map)
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
        if folders != indices:
            labels = Labels(tuple(CAMVID_COLORS), IGNORED)
            known, suffix = camvid_colors_to_ids(), "_L"
        pairs = PairedFolders(
            root / folders[0],
            root / folders[1],
            mask_suffix=suffix,
            color=color,
            mask_map=map_of(meaning, known),
        )
        super().__init__(
            described("camvid", root, meaning, subset=subset),
            pairs,
            labels_of(meaning, labels),
            {"masks": folders[1]},
        )


class Cityscapes(KnownLayout):
    """Cityscapes: images in ``leftImg8bit/``, masks in ``gtFine/`` or ``gtCoarse/``.

    ::

        leftImg8bit/SUBSET/CITY/*_leftImg8bit.png
        gtFine/SUBSET/CITY/*_gtFine_labelIds.png, or *_gtFine_labelTrainIds.png

    Parameters
    ----------
    images
        The folder that holds these.
    masks
        Not needed.
    subset
        ``train``, ``val`` or ``test``; of ``gtCoarse`` also ``train_extra``.
    labels
        ``train``: the 19 classes that the benchmark trains, 255 is ignored; read from
        ``labelTrainIds`` where every mask has it, else from ``labelIds`` by the official table.
        ``all``: the 34 ids as they are, none is ignored.
    annotations
        ``gtFine`` or ``gtCoarse``.
    color
        ``auto`` keeps the channels that the files have; ``grey``, ``rgb``, ``rgba`` convert.
    mask_map
        What mask values mean, in place of the above; the classes then have no names.

    Raises
    ------
    SourceError
        The folders are not there, are empty, or hold files without a partner.

    Examples
    --------
    >>> Cityscapes("cityscapes", subset="val").keys[0]  # doctest: +SKIP
    'frankfurt/frankfurt_000000_000294'
    """

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
    ) -> None:
        require_choice("subset", subset, (*_SUBSETS, "train_extra"))
        require_choice("labels", labels, ("train", "all"))
        require_choice("annotations", annotations, ("gtFine", "gtCoarse"))
        require_no_masks(os.fspath(masks), "--images")
        root, meaning = Path(images), Meaning.of(color, mask_map)
        folders = find_layout(root, [(f"leftImg8bit/{subset}", f"{annotations}/{subset}")])
        ids, train_ids = f"_{annotations}_labelIds", f"_{annotations}_labelTrainIds"
        found = {
            suffix: sum(1 for _ in (root / folders[1]).rglob(f"*{suffix}.png"))
            for suffix in (ids, train_ids)
        }
        suffix, known, meant = ids, None, Labels(CITYSCAPES_34, None)
        if labels == "train":
            meant = Labels(CITYSCAPES_19, IGNORED)
            if found[train_ids] and found[train_ids] >= found[ids]:
                suffix = train_ids
            else:
                known = cityscapes_ids_to_train_ids()
        pairs = PairedFolders(
            root / folders[0],
            root / folders[1],
            image_suffix="_leftImg8bit",
            mask_suffix=suffix,
            color=color,
            mask_map=map_of(meaning, known),
        )
        super().__init__(
            described(
                "cityscapes", root, meaning, subset=subset, labels=labels, annotations=annotations
            ),
            pairs,
            labels_of(meaning, meant),
            {"masks": suffix[1:]},
        )


class Voc(KnownLayout):
    """Pascal VOC, 2007 to 2012: 21 classes, 255 (the border of objects) is ignored.

    ::

        ImageSets/Segmentation/SUBSET.txt   a name per line
        JPEGImages/NAME.jpg
        SegmentationClass/NAME.png          palette, grey or RGB in the palette's colours

    Parameters
    ----------
    images
        The folder that holds these, like ``VOCdevkit/VOC2012``.
    masks
        Not needed.
    subset
        ``train``, ``val``, ``trainval``, or another list that is there.
    annotations
        The folder of masks; ``SegmentationClassAug`` is SBD's.
    color
        ``auto`` keeps the channels that the files have; ``grey``, ``rgb``, ``rgba`` convert.
    mask_map
        What mask values mean, in place of the above; the classes then have no names.

    Raises
    ------
    SourceError
        A folder or the list is not there, or it names no sample of which both files are there.

    Examples
    --------
    >>> Voc("VOCdevkit/VOC2012", subset="val").keys[0]  # doctest: +SKIP
    '2007_000033'
    """

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str] = "",
        *,
        subset: str = "train",
        annotations: str = "SegmentationClass",
        color: Color = "auto",
        mask_map: str | MaskMap = "",
    ) -> None:
        require_no_masks(os.fspath(masks), "--images")
        root, meaning = Path(images), Meaning.of(color, mask_map)
        find_layout(root, [("JPEGImages", annotations, "ImageSets/Segmentation")])
        listed = read_list(root / "ImageSets" / "Segmentation", subset)
        there: dict[str, tuple[str, str]] = {}
        missing: list[tuple[str, str]] = []
        for name in listed:
            pair = str(root / "JPEGImages" / f"{name}.jpg"), str(root / annotations / f"{name}.png")
            gone = [path for path in pair if not Path(path).is_file()]
            if gone:
                missing.append((gone[0], f"{subset}.txt names it, but it is not there"))
            else:
                there[name] = pair
        if not there:
            raise SourceError(
                f"{root}: needed the files that {subset}.txt names ({len(listed)}), found none of "
                f"which image and mask are there; missing is {missing[0][0]}"
            )
        reading = Meaning(color, map_of(meaning, voc_to_ids()))
        super().__init__(
            described("voc", root, meaning, subset=subset, annotations=annotations),
            ListedFiles(there, reading, missing),
            labels_of(meaning, Labels(VOC_21, IGNORED)),
            {"listed": len(listed), "missing": len(missing)},
        )
