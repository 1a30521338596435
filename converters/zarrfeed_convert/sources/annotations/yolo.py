"""Which images and masks does a YOLO dataset for segmentation hold?

Datumaro reads the boxes of YOLO alone, so these files are read here.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few
from zarrfeed_convert.decoding.decode import EXTENSIONS
from zarrfeed_convert.decoding.limits import Limits, read_text
from zarrfeed_convert.sources.annotations.annotated import AnnotatedImages, DrawingOptions
from zarrfeed_convert.sources.annotations.index import AnnotatedImage, ShapeIndex
from zarrfeed_convert.sources.annotations.yolo_config import find_subset, read_config
from zarrfeed_convert.sources.file_discovery import files_below, has_extension
from zarrfeed_convert.sources.instances.instance_options import SIGMA, W0
from zarrfeed_convert.sources.option_checks import NO_MASKS
from zarrfeed_convert.sources.read_errors import source_errors

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON

_POINTS = 3
_BOX = 5  # words in the line of a box: class, x, y, width, height


@source_errors
class Yolo(AnnotatedImages):
    """YOLO for segmentation: a text file of polygons per image, as of Ultralytics and Roboflow.

    A line is the number of the class, then x and y of each corner as fractions of the image's
    width and height. Either layout is read::

        FOLDER/                         FOLDER/
            data.yaml                       data.yaml
            images/train/a.jpg              train/images/a.jpg
            labels/train/a.txt              train/labels/a.txt

    ``data.yaml`` has the ``names`` of the classes, and may say where the images of a subset are
    (``path``, ``train``, ``val``, ``test``). It may have another name that ends in ``.yaml``;
    without it, the names are read from ``classes.txt``, ``obj.names`` or ``labels.txt``. Class 0 is
    the background; the classes of YOLO, which begin with 0, become 1, 2, …. Lines of boxes have no
    shape. In CVAT, export "Ultralytics YOLO Segmentation"; in Label Studio, "YOLO" with polygons.

    Parameters
    ----------
    images
        The folder of the dataset.
    masks
        Not needed. If it is ``none``, images are packed alone.
    subset
        ``train``, ``val`` or ``test``, or another name in ``data.yaml``; ``val`` is also found as
        ``valid``. By default the name of the split that is packed (in Python: ``train``).
    order
        Which of several shapes a pixel belongs to. ``area``: the smallest, which keeps small
        objects in front of large ones; ``file``: the last one in the file; ``none``: it is ignored
        if their classes differ.
    unannotated
        What images without shapes become, whose files are empty or missing: ``background``, or no
        samples (``leave_out``).
    instances
        What masks are: class ids (``semantic``), numbers of instances (``keep``), or class ids
        and weights of borders (``boundary``), as for ``--format coco``.
    w0, sigma
        The weights, for ``boundary``; see ``--format coco``.
    color
        ``auto`` keeps the channels that the files have; ``grey``, ``rgb``, ``rgba`` convert.
    mask_map
        Maps class ids to others; the classes then have no names.
    limits
        What files may claim, and name besides themselves; see :class:`zarrfeed_convert.Limits`.

    Raises
    ------
    SourceError
        The classes have no names, the subset has no images, or a line is no polygon.

    Examples
    --------
    >>> Yolo("coco8-seg", subset="val").keys[0]  # doctest: +SKIP
    '000000000036'
    """

    kind = "yolo"

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str = "",
        *,
        subset: str = "train",
        order: str = "area",
        unannotated: str = "background",
        instances: str = "semantic",
        w0: float = W0,
        sigma: float = SIGMA,
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        options = DrawingOptions(
            masks, order, "class", unannotated, instances, w0, sigma, color, mask_map
        )
        root, limits = Path(images), limits or Limits()
        config = read_config(root)
        where = find_subset(root, config, subset, limits)
        images_of = _images_of(where)
        found: Iterable[AnnotatedImage]
        if masks == NO_MASKS:
            found = [AnnotatedImage(image, str(where), ()) for image in images_of]
        else:
            found = _annotated(where, labels_folder(where, root), images_of, config.names)
        categories = {number + 1: name for number, name in config.names.items()}
        super().__init__(where, ShapeIndex.of(found), categories, options, limits)

    def _annotations(self, sample: int, size: tuple[int, int]) -> list[dict[str, Any]]:
        """Return the annotations of a sample, in pixels of its image."""
        shapes = super()._annotations(sample, size)
        for shape in shapes:
            [points] = shape["segmentation"]
            points[::2] = [x * size[1] for x in points[::2]]
            points[1::2] = [y * size[0] for y in points[1::2]]
        return shapes


def _images_of(where: Path) -> list[str]:
    found = [
        Path(path).relative_to(where).as_posix()
        for path in files_below(str(where))
        if has_extension(Path(path).name, EXTENSIONS)
    ]
    if not found:
        raise SourceError(f"images: found no image in {where}; check --images and -o subset=…")
    return sorted(found)


def labels_folder(where: Path, root: Path) -> Path:
    """Return the folder of text files for a folder of images: the last ``images`` is ``labels``.

    Examples
    --------
    >>> str(labels_folder(Path("images/images/train"), Path("images")))
    'images/labels/train'
    >>> str(labels_folder(Path("images/val"), Path("images")))
    'images/val'
    """
    inside = where.is_relative_to(root)
    above, parts = (root, where.relative_to(root).parts) if inside else (Path(), where.parts)
    for at in range(len(parts) - 1, -1, -1):
        if parts[at] == "images":
            return Path(above, *parts[:at], "labels", *parts[at + 1 :])
    return where


def _annotated(
    where: Path, folder: Path, images: Sequence[str], names: Mapping[int, str]
) -> Iterator[AnnotatedImage]:
    seen = False
    for image in images:
        file = folder / PurePosixPath(image).with_suffix(".txt")
        lines = read_text(file).splitlines() if file.is_file() else []
        seen |= file.is_file()
        shapes: list[JSON] = []
        shapeless = 0
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                shape = shape_of_line(line, names)
            except ValueError as error:
                raise SourceError(
                    f"{file}: line {number}: needed the number of a class and corners as fractions "
                    f"of the image, found {error}; correct it, or take the file out"
                ) from error
            if shape is None:
                shapeless += 1
            else:
                shapes.append(shape | {"id": number})
        yield AnnotatedImage(image, str(file), shapes, shapeless=shapeless)
    if not seen:
        raise SourceError(
            f"{folder}: needed a text file of polygons for each image of {where}, found none; "
            "check -o subset=…, or pack the images alone (--masks none)"
        )


def shape_of_line(line: str, names: Mapping[int, str]) -> JSON | None:
    """Convert a line of a YOLO file to a shape; None for a box.

    Parameters
    ----------
    line
        A line with any text.
    names
        Names of the classes by YOLO's numbers.

    Raises
    ------
    ValueError
        The line is neither a polygon nor a box, or its class has no name.

    Examples
    --------
    >>> shape_of_line("0 0.5 0 1 1 0 1", {0: "roof"})
    {'category_id': 1, 'segmentation': [[0.5, 0.0, 1.0, 1.0, 0.0, 1.0]]}
    """
    said = line.split()
    numbers = [float(word) for word in said[1:]]
    label = int(said[0]) if said[0].isdecimal() and len(said[0]) < 10 else -1
    if label not in names:
        raise ValueError(f"class {said[0][:20]!r} where the names are {few(names.values())}")
    if len(said) == _BOX:
        return None
    if len(numbers) % 2:
        raise ValueError(f"{len(numbers)} numbers, not pairs of x and y")
    if len(numbers) < 2 * _POINTS:
        raise ValueError(f"{len(numbers) // 2} corners")
    outside = [value for value in numbers if not -1 <= value <= 2]
    if outside:
        raise ValueError(f"{outside[0]:g}; are the coordinates pixels?")
    return {"category_id": label + 1, "segmentation": [numbers]}
