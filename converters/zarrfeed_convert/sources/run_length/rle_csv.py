"""How do images and the runs in a CSV file become images and masks?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed.spelling import plural
from zarrfeed_convert.decoding.decode import EXTENSIONS, measure
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.sources.file_discovery import files_in, has_extension, stems_of
from zarrfeed_convert.sources.instances.class_names import BACKGROUND
from zarrfeed_convert.sources.instances.drawing import Drawing, Shape
from zarrfeed_convert.sources.instances.drawn_source import DrawnSource
from zarrfeed_convert.sources.instances.instance_options import SIGMA, W0, InstanceOptions
from zarrfeed_convert.sources.option_checks import NO_MASKS, require_choice
from zarrfeed_convert.sources.read_errors import require_any, source_errors
from zarrfeed_convert.sources.run_length.cells import RunRules
from zarrfeed_convert.sources.run_length.evidence import Spans, doubts_of
from zarrfeed_convert.sources.run_length.image_names import ImageNames
from zarrfeed_convert.sources.run_length.index import index_csv
from zarrfeed_convert.sources.run_length.numbered_classes import class_table
from zarrfeed_convert.sources.value_options import ValueOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap

_LOOKED_AT, _CELLS = 40, 20  # images whose runs are looked at when a file is opened, cells of each


@source_errors
class RleCsv(DrawnSource):
    """Images, and masks from the run-length codes of a CSV file, as on Kaggle.

    A file, and its folder of images::

        ImageId,EncodedPixels               train_v2/00003e153.jpg
        00003e153.jpg,264661 17 265429 33   train_v2/0001124c7.jpg
        0001124c7.jpg,                      …

    A record has the runs of an instance or of a class, ``START LENGTH START LENGTH …``. Several
    records of an image are several instances. An empty cell (or NaN, -1) says that there is none.
    Images are named with or without extension and folder. A column of classes is found by its name
    (``ClassId``, ``class``, ``label``), or classes follow the name of the image
    (``0002cc93b.jpg_1``). Classes that are numbers keep them, others become 1, 2, … in the order of
    their names; 0 is the background.

    ``-o`` options for some competitions: Airbus ``names=ship``; Severstal, Data Science Bowl 2018
    and HuBMAP none; Carvana ``order=rows``; SIIM-ACR ``starts=relative``, ``base=0``.

    On the command line: ``zarrfeed convert airbus.zarr --split train --format rle-csv --images
    train_v2 --masks train_ship_segmentations_v2.csv -o names=ship --instances boundary``.

    Parameters
    ----------
    images
        The folder of images, or a glob.
    masks
        The CSV file.
    order
        How pixels are counted: down ``columns``, or along ``rows``.
    base
        Number of the first pixel, 1 or 0.
    starts
        ``absolute``, or ``relative`` to the end of the run before.
    id_column
        Name of the column of images, if it is not found.
    rle_column
        Name of the column of runs, if it is not found.
    class_column
        Name of the column of classes, if it is not found; ``none`` for one class.
    names
        Names of the classes, from 1 on (from 0 on if there is a class 0): ``fish,flower``. Classes
        with names of their own are put in this order.
    overlap
        Which of several instances a pixel belongs to. ``area``: the smallest, which keeps small
        objects in front of large ones; ``file``: the last one in the file; ``none``: it is ignored
        if their classes differ.
    unannotated
        What images become for which all cells are empty: ``background``, or no samples
        (``leave_out``).
    unlisted
        What images become that the file does not name: no samples (``leave_out``), or
        ``background``.
    instances
        What masks are. ``semantic``: class ids. ``keep``: numbers of instances, uint16, without
        classes; the i-th record of an image with runs is i, the background 0, and ignored pixels
        65535. ``boundary``: class ids, and a further field ``weight``, float32: the weight map of
        the U-Net paper, ``1 + w0 · exp(-(d1 + d2)² / (2 · sigma²))``, where d1 and d2 are the
        distances to the nearest and the second nearest instance.
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
        The file is missing, damaged or of another kind, names no image, or its runs speak against
        `order` or `base`.

    Examples
    --------
    >>> ships = RleCsv("train_v2", "train.csv", names="ship")  # doctest: +SKIP
    >>> ships.classes  # doctest: +SKIP
    ('background', 'ship')
    """

    kind = "rle-csv"

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str],
        *,
        order: str = "columns",
        base: int = 1,
        starts: str = "absolute",
        id_column: str = "",
        rle_column: str = "",
        class_column: str = "",
        names: str = "",
        overlap: str = "area",
        unannotated: str = "background",
        unlisted: str = "leave_out",
        instances: str = "semantic",
        w0: float = W0,
        sigma: float = SIGMA,
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        self._rules = RunRules(order, base, starts)
        require_choice("overlap", overlap, ("area", "file", "none"))
        require_choice("unannotated", unannotated, ("background", "leave_out"))
        require_choice("unlisted", unlisted, ("background", "leave_out"))
        where, self._masks = os.fspath(images), os.fspath(masks)
        if self._masks == NO_MASKS:
            raise SourceError(
                "masks: needed the CSV file, found none; to pack images alone, leave --format "
                "rle-csv out"
            )
        self._drawing, self._limits = Drawing(overlap), limits or Limits()
        self._options = ValueOptions.of(color, mask_map)
        self._options.require_ids("runs, which are drawn as ids")
        self._instances = InstanceOptions.of(instances, w0, sigma, self._options)
        below, paths = _images(where)
        self._index = index_csv(
            self._masks,
            ImageNames(below),
            self._limits,
            image=id_column,
            runs=rle_column,
            label=class_column,
        )
        self._labels, named = class_table(self._index.classes, names)
        self._name_classes((BACKGROUND, *named), drawn=True)
        counts = np.diff(self._index.of_image.ends, prepend=0).tolist()
        self.left_out = list(self._index.unknown)
        rows: dict[str, int] = {}
        for row, file in enumerate(self._index.images):
            if counts[row] or unannotated == "background":
                rows[paths[file]] = row
        others = sorted({*paths} - {paths[file] for file in self._index.images})
        if unlisted == "background":
            rows |= dict.fromkeys(others, -1)
        elif others:
            why = f"such as {others[0]}: {self._masks} does not name them; -o unlisted=background"
            counted = f"{plural(len(others), 'image')} left out"
            self.remarks = (("unlisted files", counted, f"{why} packs them as background"),)
        keys = dict(zip(paths, stems_of(paths, _base(where), EXTENSIONS), strict=True))
        self._files = {keys[path]: (path, row) for path, row in rows.items()}
        self._keys = sorted(self._files)
        require_any(self._keys, self.left_out, what="image")
        self._require_likely()
        self._facts = {
            "records": self._index.records,
            "masks": int(sum(counts)),
            "images_without_mask": counts.count(0),
            "images_not_in_csv": len(others),
        }

    def _path(self, sample: int) -> str:
        return self._files[self._keys[sample]][0]

    def _entry(self, sample: int) -> str:
        return f"{self._masks}[{self._keys[sample]}]"

    def _shapes(self, sample: int, size: tuple[int, int]) -> list[Shape]:
        row = self._files[self._keys[sample]][1]
        if row < 0:
            return []
        shapes = []
        for label, cell, name in self._index.masks(row):
            try:
                runs = self._rules.runs(cell, size)
            except ValueError as error:
                raise SourceError(
                    f"{self._entry(sample)}: needed runs of an image of {size[0]}x{size[1]}, "
                    f"height x width, found {error} (in the record {name}); correct the file, or "
                    "take the image out of it"
                ) from error
            shapes.append(Shape(runs, 1 if label < 0 else self._labels[label]))
        return shapes

    def _require_likely(self) -> None:
        """Refuse rules against which the runs of the first images speak.

        Raises
        ------
        SourceError
            The message says which rule is likely.
        """
        doubts = doubts_of(self._some_spans(), self._rules)
        if doubts:
            raise SourceError(
                f"{self._masks}: needed runs of pixels that are counted along {self._rules.order} "
                f"from {self._rules.base}, found others: {doubts}"
            )

    def _some_spans(self) -> Iterator[Spans]:
        looked = 0
        for path, row in (self._files[key] for key in self._keys):
            if row < 0 or not self._index.of_image.span(row):
                continue
            looked += 1
            if looked > _LOOKED_AT:
                return
            try:
                image = measure(Path(path), self._limits)
                cells = self._index.masks(row)[:_CELLS]
                found = [self._rules.spans(cell) for _, cell, _ in cells]
            except (SourceError, OSError, ValueError):
                continue  # whoever reads it will say so
            for starts, lengths in found:
                yield Spans(starts, lengths, (image.height, image.width))


def _base(where: str) -> str:
    found = files_in(where)
    return where if found is None else found[0]


def _images(where: str) -> tuple[list[str], list[str]]:
    """Find image files: paths below their folder, with slashes, and whole ones."""
    found = files_in(where)
    if found is None:
        raise SourceError(
            f"images: needed the folder of images, found no such folder: {where}; check --images"
        )
    base, files = found
    paths = sorted(path for path in files if has_extension(Path(path).name, EXTENSIONS))
    if not paths:
        raise SourceError(f"images: needed image files, found none in {where}; check --images")
    return [Path(path).relative_to(base).as_posix() for path in paths], paths
