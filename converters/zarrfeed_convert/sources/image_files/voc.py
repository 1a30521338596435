"""Which image belongs to which mask in Pascal VOC, and what do its masks mean?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.decode import EXTENSIONS
from zarrfeed_convert.labels import Labels
from zarrfeed_convert.mask_map import MaskMap
from zarrfeed_convert.sources.class_files import find_classes, find_list, voc_color
from zarrfeed_convert.sources.file_discovery import files_below, has_extension, stem_of
from zarrfeed_convert.sources.image_files.known_layout import (
    IGNORED,
    KnownLayout,
    are_alone,
    find_layout,
    has_folders,
    read_list,
)
from zarrfeed_convert.sources.read_errors import source_errors
from zarrfeed_convert.sources.value_options import ValueOptions

if TYPE_CHECKING:
    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.source import JSON

# The palette's index is the class id; 255 is the border of objects.
VOC_21 = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip


@source_errors
class Voc(KnownLayout):
    """Pascal VOC, 2007 to 2012: 21 classes, 255 (the border of objects) is ignored.

    ``ImageSets/Segmentation/SUBSET.txt`` lists the names, one per line. Images are
    ``JPEGImages/NAME.jpg``, masks ``SegmentationClass/NAME.png``: palette, grey, or RGB in the
    palette's colours.

    A ``labelmap.txt`` (CVAT), ``class_dict.csv`` or ``label_colors.txt`` beside these folders
    replaces the 21 classes with its names and colours. So does a list of names,
    ``class_names.txt``, ``classes.txt``, ``labels.txt`` or ``obj.names``, for the indices and
    the palette's colours from 1 on.

    Parameters
    ----------
    images
        The folder that holds these folders, like ``VOCdevkit/VOC2012``.
    masks
        Not needed. If it is ``none``, or the subset ``test`` has no masks, images are packed
        alone.
    subset
        ``train``, ``val``, ``trainval``, or the name of another list. By default the name of the
        split that is packed (in Python: ``train``).
    annotations
        The folder of masks; ``SegmentationClassAug`` is SBD's.
    color
        ``auto`` keeps the channels that the files have; ``grey``, ``rgb``, ``rgba`` convert.
    mask_map
        What mask values mean, instead of the above; the classes then have no names.
    limits
        What files may claim, and name besides themselves; see :class:`zarrfeed_convert.Limits`.

    Raises
    ------
    SourceError
        A folder or the list is missing, or the list names no sample of which all files are there.

    Examples
    --------
    >>> Voc("VOCdevkit/VOC2012", subset="val").keys[0]  # doctest: +SKIP
    '2007_000033'
    """

    kind = "voc"

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str] = "",
        *,
        subset: str = "train",
        annotations: str = "SegmentationClass",
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        root, options = Path(images), ValueOptions.of(color, mask_map)
        photos, lists = "JPEGImages", "ImageSets/Segmentation"
        find_layout(root, [(photos, lists)])
        sides = {photos: _by_name(root / photos, ".jpg")}
        listed = read_list(root / lists, subset, sides[photos])
        mask_of = _by_name(root / annotations, ".png") if has_folders(root, [annotations]) else {}
        found = any(name in mask_of for name in listed)
        alone = are_alone(os.fspath(masks), subset, mask_map, found=found)
        if not alone:
            find_layout(root, [(photos, annotations, lists)])
            sides[annotations] = mask_of
        there: dict[str, tuple[str, ...]] = {}
        missing: list[tuple[str, str]] = []
        for name in listed:
            gone = [
                str(root / folder / f"{name}{'.png' if folder == annotations else '.jpg'}")
                for folder, known in sides.items()
                if name not in known
            ]
            if gone:
                missing.append((gone[0], f"{subset}.txt names it, but the file is missing"))
            else:
                there[name] = tuple(known[name] for known in sides.values())
        if not there:
            which = "the image is" if alone else "image and mask are"
            raise SourceError(
                f"{root}: needed the files that {subset}.txt names ({len(listed)}), found none of "
                f"which {which} there; missing is {missing[0][0]}"
            )
        named = None
        if not alone and not str(options.mask_map):
            named = find_classes([root]) or find_list(root)
        labels = named.labels if named else Labels(VOC_21, IGNORED)
        facts: JSON = {"listed": len(listed), "missing": len(missing)}
        super().__init__(
            there,
            options,
            missing,
            known_map=named.mask_map if named else voc_to_ids(),
            labels=None if alone else labels,
            facts=facts | ({"classes_from": named.file} if named else {}),
            limits=limits,
        )


def _by_name(folder: Path, usual: str) -> dict[str, str]:
    """Map names without extension to image files; of several, to that with the usual extension."""
    files: dict[str, str] = {}
    for path in sorted(files_below(str(folder))):
        if has_extension(Path(path).name, EXTENSIONS):
            name = stem_of(Path(path).relative_to(folder).as_posix(), EXTENSIONS)
            if name not in files or path.lower().endswith(usual):
                files[name] = path
    return files


def voc_to_ids() -> MaskMap:
    """Map VOC's palette indices, which are ids, and the colours of the palette.

    So masks that some tool has saved as colours mean the same.
    """
    ids = [*range(len(VOC_21)), IGNORED]
    return MaskMap(
        {number: number for number in ids}, {voc_color(number): number for number in ids}
    )
