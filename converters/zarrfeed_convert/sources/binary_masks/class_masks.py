"""How do an image and a mask file for each class become a sample?"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few
from zarrfeed_convert.decoding.decode import EXTENSIONS
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.sources.binary_masks.binary_file import read_inside
from zarrfeed_convert.sources.binary_masks.class_layouts import LAYOUTS, places_of
from zarrfeed_convert.sources.file_discovery import list_files
from zarrfeed_convert.sources.instances.class_names import with_background
from zarrfeed_convert.sources.instances.drawing import Drawing, Shape
from zarrfeed_convert.sources.instances.drawn_source import DrawnSource
from zarrfeed_convert.sources.instances.instance_options import InstanceOptions
from zarrfeed_convert.sources.instances.runs import runs_of_pixels
from zarrfeed_convert.sources.option_checks import NO_MASKS, require_choice
from zarrfeed_convert.sources.read_errors import require_any, source_errors
from zarrfeed_convert.sources.value_options import ValueOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.header import Header
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON, Mask


@source_errors
class ClassMasks(DrawnSource):
    """Images, and a mask file for each class of each image.

    The class is a folder, the end of a name, or a name::

        masks/car/img1.png     or  masks/img1_car.png   or  masks/img1/car.png
        masks/road/img1.png        masks/img1_road.png      masks/img1/road.png

    Each mask file shows the pixels of one class, as 255 (or 1) on 0. A class that an image does not
    have needs no file. Classes become 1, 2, … in the order of their names; pixels of none are 0,
    the background, as is a class called ``background``.

    On the command line: ``zarrfeed convert city.zarr --split train --format class-masks --images
    images --masks masks -o classes=road,car``.

    Parameters
    ----------
    images
        A folder of images, a file or a glob.
    masks
        A folder of mask files, or a glob.
    classes
        Names of the classes in the order of their ids, from 1 on: ``road,car``. By default those
        that the files have, sorted.
    layout
        Where the class is in a name: ``folders`` for CLASS/IMAGE, ``suffixes`` for IMAGE_CLASS,
        ``files`` for IMAGE/CLASS; ``auto`` finds out.
    order
        Which of several classes a pixel belongs to. ``area``: that with the fewest pixels in the
        image, which keeps small things in front; ``file``: the last in the order of the classes;
        ``none``: it is ignored. With ``--mask-map multi-hot``, it belongs to all of them.
    unannotated
        What images without any mask file become: no samples, which is an error unless they are
        skipped (``leave_out``), or ``background``.
    color
        ``auto`` keeps the channels that the files have; ``grey``, ``rgb``, ``rgba`` convert.
    mask_map
        ``multi-hot`` keeps a channel of 0 and 1 for each class. Otherwise which values of mask
        files are inside (1) and outside (0), such as ``128..255=1,*=0`` for masks with soft edges.
        By default 0 is outside, and 1, 255 or 65535 inside.
    limits
        What files may claim, and name besides themselves; see :class:`zarrfeed_convert.Limits`.

    Raises
    ------
    SourceError
        There are no images or masks, names do not say classes, or a class is unknown.

    Examples
    --------
    >>> city = ClassMasks("images", "masks", classes="road,car")  # doctest: +SKIP
    >>> city.classes  # doctest: +SKIP
    ('background', 'road', 'car')
    """

    kind = "class-masks"

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str],
        *,
        classes: str = "",
        layout: str = "auto",
        order: str = "area",
        unannotated: str = "leave_out",
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        require_choice("layout", layout, ("auto", *LAYOUTS))
        require_choice("unannotated", unannotated, ("background", "leave_out"))
        where, of_masks = os.fspath(images), os.fspath(masks)
        if of_masks == NO_MASKS:
            raise SourceError(
                "masks: needed a folder of masks, found none; to pack images alone, leave --format "
                "class-masks out"
            )
        self._drawing, self._limits = Drawing(order), limits or Limits()
        self._options = ValueOptions.of(color, "")
        self._of_files = ValueOptions.of("auto", mask_map)
        self._multi_hot = self._of_files.mask_map.multi_hot
        if self._multi_hot:
            self._of_files = ValueOptions.of("auto", "")
        self._instances = InstanceOptions("semantic")
        image_of = _by_stem(where, "images")
        stems = list_files(of_masks, what="masks", extensions=EXTENSIONS)
        places = places_of(image_of, stems, layout)
        found = sorted({place.label for place in places.values()})
        self._names, self._ids = with_background(found, classes)
        self._files = _files_by_class(places)
        self.left_out = left_out = [
            (path, f"its name says no image and class, such as {few(sorted(image_of), shown=2)}")
            for path in stems
            if path not in places
        ]
        self._images: dict[str, str] = {}
        for key, path in sorted(image_of.items()):
            if key in self._files or unannotated == "background":
                self._images[key] = path
            else:
                why = f"no file in {of_masks} shows a class of it"
                left_out.append((path, f"{why}; -o unannotated=background makes it background"))
        self._keys = list(self._images)
        require_any(self._keys, left_out, what="image")
        self._name_classes(self._names, drawn=True)
        if self._multi_hot:
            self.classes, self.ignore = self._channels, None
        self._facts = {"masks": len(places), "classes": [*found]}

    @property
    def _channels(self) -> tuple[str, ...]:
        """Names of the channels of multi-hot masks: of classes, and of the background if drawn."""
        drawn = {*self._ids.values()}
        return tuple(name for number, name in enumerate(self._names) if number or 0 in drawn)

    def describe(self) -> JSON:
        """Return the location and the options of the samples, as JSON."""
        of_files = "multi-hot" if self._multi_hot else str(self._of_files.mask_map)
        return {**super().describe(), "mask_map": of_files}

    def probe(self, sample: int) -> Header:
        """Read the header of an image."""
        header = super().probe(sample)
        if not self._multi_hot or header.mask is None:
            return header
        mask = header.mask._replace(shape=(*header.size, len(self._channels)))
        return replace(header, arrays={**header.arrays, "mask": mask})

    def _path(self, sample: int) -> str:
        return self._images[self._keys[sample]]

    def _entry(self, sample: int) -> str:
        return f"{self.arguments['masks']}[{self._keys[sample]}]"

    def _shapes(self, sample: int, size: tuple[int, int]) -> list[Shape]:
        files = self._files.get(self._keys[sample], {})
        shapes = []
        for label, path in sorted(files.items(), key=lambda each: self._ids[each[0]]):
            inside = read_inside(path, self._of_files, self._limits, size=size)
            shapes.append(Shape(runs_of_pixels(inside), self._ids[label]))
        return shapes

    def _mask(self, sample: int, shapes: Sequence[Shape], size: tuple[int, int]) -> Mask:
        if not self._multi_hot:
            return super()._mask(sample, shapes, size)
        channels, first = len(self._channels), len(self._names) - len(self._channels)
        self._limits.require((*size, channels), "uint8", self._entry(sample), "a mask")
        mask = np.zeros((*size, channels), np.uint8)
        for shape in shapes:
            alone = [shape._replace(label=1)]
            one = self._drawing.class_ids(alone, size, ignored=None, dtype=mask.dtype)
            mask[..., shape.label - first] |= one
        return mask


def _by_stem(where: str, what: str) -> dict[str, str]:
    return {
        stem: path for path, stem in list_files(where, what=what, extensions=EXTENSIONS).items()
    }


def _files_by_class(places: Mapping[str, tuple[str, str]]) -> dict[str, dict[str, str]]:
    """Group mask files by image and class.

    Raises
    ------
    SourceError
        Two files are of the same image and class.
    """
    files: dict[str, dict[str, str]] = {}
    for path, (image, label) in places.items():
        before = files.setdefault(image, {}).setdefault(label, path)
        if before != path:
            raise SourceError(
                f"masks: needed one file for each class of an image, found {before} and {path} for "
                f"the class {label!r} of {image}; keep one of them"
            )
    return files
