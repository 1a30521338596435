"""How do images and the shapes in a COCO file become images and masks?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import SourceError, look_up
from zarrfeed_convert.decoding.decode import EXTENSIONS
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.sources.annotations.named_images import keys_of, locate
from zarrfeed_convert.sources.coco.index import index_coco
from zarrfeed_convert.sources.coco.shapes import shapes_of
from zarrfeed_convert.sources.file_discovery import composed, files_below
from zarrfeed_convert.sources.instances.class_names import class_ids
from zarrfeed_convert.sources.instances.drawing import Drawing
from zarrfeed_convert.sources.instances.drawn_source import (
    DrawnSource,
    naming_shapes,
    require_annotated_size,
)
from zarrfeed_convert.sources.instances.instance_options import SIGMA, W0, InstanceOptions
from zarrfeed_convert.sources.option_checks import NO_MASKS, require_choice
from zarrfeed_convert.sources.read_errors import source_errors
from zarrfeed_convert.sources.value_options import ValueOptions

if TYPE_CHECKING:
    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.sources.instances.drawing import Shape


@source_errors
class CocoJson(DrawnSource):
    """Images, and masks from the polygons and run-length codes of a COCO JSON file.

    Class 0 is the background; the file's categories become 1, 2, … by ascending id, without gaps. A
    category called ``background`` is class 0.

    Parameters
    ----------
    images
        The folder of images; the file names in the JSON are relative to it or a folder above.
    masks
        The JSON file. If it has no ``annotations``, as for test sets, images are packed alone.
    order
        Which of several shapes a pixel belongs to. ``area``: the smallest, which keeps small
        objects in front of large ones; ``file``: the last one in the file; ``none``: it is ignored
        if their classes differ. Crowds are below all other shapes.
    crowd
        What ``iscrowd`` shapes become: their ``class``, or ``ignore``. With ``--instances keep``,
        each of them has a number by ``class``.
    unannotated
        What images without annotations become: ``background``, or no samples (``leave_out``).
    instances
        What masks are. ``semantic``: class ids. ``keep``: numbers of instances, uint16, without
        classes; an image's i-th annotation in the file is i, the background 0, and ignored pixels
        65535. ``boundary``: class ids, and a further field ``weight``, float32, which is larger
        between instances that touch or nearly do: the weight map of the U-Net paper, ``1 + w0 ·
        exp(-(d1 + d2)² / (2 · sigma²))``, where d1 and d2 are the distances to the nearest and the
        second nearest instance. Crowds are no instances there. ``ZarrSequence(…,
        inputs="image", targets="mask", weights="weight")`` trains with it; the balance of
        classes is left to ``class_weight``.
    w0
        Weight, in addition to 1, of pixels where two instances touch; for ``boundary``.
    sigma
        How far the weights reach, in pixels of the image file; for ``boundary``.
    color
        ``auto`` keeps the channels that the files have; ``grey``, ``rgb``, ``rgba`` convert.
    mask_map
        Maps class ids to others; the classes then have no names.
    limits
        What files may claim, and name besides themselves; see :class:`zarrfeed_convert.Limits`.

    Raises
    ------
    SourceError
        The JSON file is missing, damaged or of another kind (boxes, keypoints, panoptic), or none
        of its images is in the folder.

    Examples
    --------
    >>> coco = CocoJson("val2017", "annotations/instances_val2017.json")  # doctest: +SKIP
    >>> coco.classes[:3]  # doctest: +SKIP
    ('background', 'person', 'bicycle')
    """

    kind = "coco"

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str],
        *,
        order: str = "area",
        crowd: str = "class",
        unannotated: str = "background",
        instances: str = "semantic",
        w0: float = W0,
        sigma: float = SIGMA,
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        self._drawing = Drawing(order, crowd)
        require_choice("unannotated", unannotated, ("background", "leave_out"))
        self._images, self._masks = os.fspath(images), os.fspath(masks)
        if self._masks == NO_MASKS:
            raise SourceError(
                "masks: needed the JSON file, which lists the images, also for test sets; to pack "
                "all images of a folder alone, leave --format coco out"
            )
        self._options = ValueOptions.of(color, mask_map)
        self._options.require_ids("shapes, which are drawn as ids")
        self._instances = InstanceOptions.of(instances, w0, sigma, self._options)
        self._limits = limits or Limits()
        self._index = index_coco(self._masks)
        self._ids, names = class_ids(self._index.categories)
        if str(self._options.mask_map) and not self._index.annotated:
            raise SourceError(
                f"{self._masks}: needed annotations, to map their classes, found none; leave "
                "--mask-map out"
            )
        self._name_classes(names, drawn=self._index.annotated)
        self._rows, self._files, unlisted = self._find_samples()
        self._keys = keys_of(self._files)
        annotated = np.diff(self._index.of_image.ends, prepend=0)
        self._facts = {
            **self._index.facts,
            "images_without_annotation": int((annotated == 0).sum()),
            "images_not_in_json": unlisted,
        }

    def _path(self, sample: int) -> str:
        return str(Path(self._images, self._files[sample]))

    def _entry(self, sample: int) -> str:
        return f"{self._masks}[{self._index.names[self._rows[sample]]}]"

    def _require_size(self, sample: int, size: tuple[int, int]) -> None:
        needed = self._index.sizes[self._rows[sample]]
        require_annotated_size(self._path(sample), self._entry(sample), size, needed)

    def _shapes(self, sample: int, size: tuple[int, int]) -> list[Shape]:
        with naming_shapes(self._entry(sample), size):
            return shapes_of(self._index.annotations(self._rows[sample]), self._ids, size)

    def _find_samples(self) -> tuple[list[int], list[str], int]:
        """Find the images to pack.

        Returns
        -------
        rows
            Their rows in the index.
        files
            Their paths below the folder.
        unlisted
            Number of images in the folder that are not in the JSON file.
        """
        self.left_out = left_out = list[tuple[str, str]]()
        on_disk = _below(self._images)
        by_name = {composed(file): file for file in on_disk} | {file: file for file in on_disk}
        keep_empty = self.arguments["unannotated"] == "background" or not self._index.annotated
        counts = np.diff(self._index.of_image.ends, prepend=0)
        files: dict[str, int] = {}
        listed = set()
        for row, name in enumerate(self._index.names):
            file = locate(name, by_name)
            why = ""
            if file is None:
                why = f"{self._masks} names it, but it is not in {self._images}"
            elif self._index.shapeless[row]:
                why = f"{self._index.shapeless[row]} of its {counts[row]} annotations have no shape"
            if file in listed:
                raise SourceError(
                    f"{self._masks}: needed each image once, found {file} twice; correct the file"
                )
            if file is not None:
                listed.add(file)
            if why:
                left_out.append((str(Path(self._images, file or name)), why))
            elif file is not None and (counts[row] or keep_empty):
                files[file] = row
        if not files:
            first = "; {}: {}".format(*self.left_out[0]) if self.left_out else ""
            raise SourceError(
                f"images: needed the images of {self._masks} ({len(self._index.names)}), found "
                f"none that can be packed in {self._images}{first}; check --images"
                f"{look_up('no-files')}"
            )
        unlisted = sum(Path(file).suffix.lower() in EXTENSIONS for file in on_disk - listed)
        ordered = sorted(files)
        return [files[file] for file in ordered], ordered, unlisted


def _below(folder: str) -> set[str]:
    if not Path(folder).is_dir():
        raise SourceError(
            f"images: needed the folder of images, found no folder {folder}; check --images"
            f"{look_up('no-files')}"
        )
    return {Path(path).relative_to(folder).as_posix() for path in files_below(folder)}
