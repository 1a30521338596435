"""Which image belongs to which mask in KITTI's semantic segmentation, and what do masks mean?

Read here, not by Datumaro, which decodes all masks at once, before the first is used.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed_convert.labels import Labels
from zarrfeed_convert.sources.class_files import find_classes
from zarrfeed_convert.sources.image_files.cityscapes import (
    CITYSCAPES_19,
    CITYSCAPES_34,
    cityscapes_ids_to_train_ids,
)
from zarrfeed_convert.sources.image_files.folder_files import join_folders
from zarrfeed_convert.sources.image_files.known_layout import (
    IGNORED,
    KnownLayout,
    subset_folder,
)
from zarrfeed_convert.sources.option_checks import NO_MASKS, require_choice
from zarrfeed_convert.sources.read_errors import source_errors
from zarrfeed_convert.sources.value_options import ValueOptions

if TYPE_CHECKING:
    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON

_IMAGES, _MASKS = "image_2", "semantic"


@source_errors
class Kitti(KnownLayout):
    """KITTI's benchmark of semantic segmentation, with the classes of Cityscapes.

    Images are ``image_2/*.png`` below a folder of the subset, masks ``semantic/*.png``::

        FOLDER/
            training/image_2/000000_10.png
            training/semantic/000000_10.png
            testing/image_2/000000_10.png

    If a ``label_colors.txt`` beside these folders lists other classes, as in exports of Datumaro
    and CVAT, an id is the index in that list.

    Parameters
    ----------
    images
        The folder that holds the subsets.
    masks
        Not needed. If it is ``none``, or the subset has no masks, as ``testing``, images are
        packed alone.
    subset
        ``training`` or ``testing``; ``train`` and ``test`` are the same. By default the name of
        the split that is packed (in Python: ``train``).
    labels
        ``train``: the 19 classes of the benchmark, 255 is ignored. ``all``: the 34 ids unchanged,
        none is ignored.
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
    >>> Kitti("data_semantics").classes[:2]  # doctest: +SKIP
    ('road', 'sidewalk')
    """

    kind = "kitti"

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str = "",
        *,
        subset: str = "train",
        labels: str = "train",
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        require_choice("labels", labels, ("train", "all"))
        root, options = Path(images), ValueOptions.of(color, mask_map)
        where = subset_folder(root, subset, os.fspath(masks), (_IMAGES, _MASKS))
        if masks == NO_MASKS or not (where / _MASKS).is_dir():
            alone = join_folders(str(where / _IMAGES))
            super().__init__(alone.files, options, alone.left_out, labels=None, facts={},
                             limits=limits)  # fmt: skip
            return
        pairs = join_folders(str(where / _IMAGES), str(where / _MASKS))
        known, meant = None, Labels(CITYSCAPES_34, None)
        facts: JSON = {}
        named = None if str(options.mask_map) else find_classes([root])
        if named is not None:
            meant = Labels(named.listed, None)
            facts["classes_from"] = named.file
        elif labels == "train":
            meant = Labels(CITYSCAPES_19, IGNORED)
            known = cityscapes_ids_to_train_ids()
        super().__init__(
            pairs.files,
            options,
            pairs.left_out,
            known_map=known,
            labels=meant,
            facts=facts,
            limits=limits,
        )
