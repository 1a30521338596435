"""Which images and masks does a folder of labelme files hold?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.limits import Limits, read_text
from zarrfeed_convert.sources.annotations.annotated import AnnotatedImages, DrawingOptions
from zarrfeed_convert.sources.annotations.datumaro_reading import LabelMeLabels, shapes_of
from zarrfeed_convert.sources.annotations.index import AnnotatedImage, ShapeIndex
from zarrfeed_convert.sources.annotations.json_files import parsed_json
from zarrfeed_convert.sources.annotations.labelme_json import is_labelme, labelme_shapes
from zarrfeed_convert.sources.annotations.named_images import require_found
from zarrfeed_convert.sources.annotations.xml_files import parsed_xml
from zarrfeed_convert.sources.file_discovery import files_below
from zarrfeed_convert.sources.instances.instance_options import SIGMA, W0
from zarrfeed_convert.sources.read_errors import naming_errors, source_errors
from zarrfeed_convert.sources.subset_names import of_subset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON

_LIST = "labels.txt"
_Labelled = tuple[AnnotatedImage, list[str]]  # with the label of each shape


@source_errors
class LabelMe(AnnotatedImages):
    """Polygons, rectangles, circles and masks of labelme (JSON), polygons of LabelMe 3.0 (XML).

    labelme saves a JSON file per image, in the same folder or in another; CVAT exports the XML
    files of the older LabelMe as "LabelMe 3.0"::

        FOLDER/
            labels.txt          optional: the classes, a name per line, in their order
            a.jpg
            a.json              or a.xml, or Annotations/a.xml and Images/a.jpg
            val/b.jpg
            val/b.json

    Class 0 is the background; the labels become 1, 2, … in the order of ``labels.txt``, or else of
    the alphabet. They are those of all files below the folder, also of other subsets, so that
    splits agree. In ``labels.txt``, ``__ignore__`` and ``_background_`` mean what they say.
    Shapes of one label and group (``group_id``) are one shape. Points and lines have no area.
    Datumaro reads the XML files.

    Parameters
    ----------
    images
        The folder of images and their files.
    masks
        Not needed. If it is ``none``, images are packed alone.
    subset
        Name of a folder below `images`: its images alone. By default the name of the split that is
        packed (in Python: ``train``). Without folders of such names, all images are read.
    order
        Which of several shapes a pixel belongs to. ``area``: the smallest, which keeps small
        objects in front of large ones; ``file``: the last one in the file; ``none``: it is ignored
        if their classes differ.
    unannotated
        What images without annotations become: ``background``, or no samples (``leave_out``). An
        image without a file is no sample.
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
        No file is found, one is damaged or has a label that ``labels.txt`` lacks, or no image is
        there.

    Examples
    --------
    >>> LabelMe("labelled").classes  # doctest: +SKIP
    ('background', 'cat', 'dog')
    """

    kind = "labelme"

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
        found = _json_files(root, limits) + _xml_files(root, limits)
        require_found([Path(image.place) for image, _ in found], "labelme's JSON or XML", root)
        names = _classes(root, found)
        ids = {name: number for number, name in enumerate(names, 1)}
        for image, labels in found:
            for label, shape in zip(labels, image.shapes, strict=True):
                if label not in ids:
                    raise SourceError(
                        f"{image.place}: needed a label of {root / _LIST}, found {label!r}; "
                        "correct one of both"
                    )
                shape["category_id"] = ids[label]
        own = of_subset([image for image, _ in found], subset)
        categories = {number: name for name, number in ids.items()}
        super().__init__(root, ShapeIndex.of(own), categories, options, limits)


def _classes(root: Path, found: Sequence[_Labelled]) -> list[str]:
    listed = root / _LIST
    if listed.is_file():
        names = [line.strip() for line in read_text(listed).splitlines()]
        return list(dict.fromkeys(name for name in names if name))
    return sorted({label for _, labels in found for label in labels})


def _files(root: Path, ending: str) -> list[Path]:
    if not root.is_dir():
        return []
    return sorted(Path(path) for path in files_below(str(root)) if path.lower().endswith(ending))


def _json_files(root: Path, limits: Limits) -> list[_Labelled]:
    found = []
    for file in _files(root, ".json"):
        content = parsed_json(file, limits)
        if not is_labelme(content):
            continue
        with naming_errors(str(file)):
            labelled, size, shapeless = labelme_shapes(content, limits, str(file))
            name = _beside(file, root, content["imagePath"])
        shapes: list[JSON] = [shape for _, shape in labelled]
        labels = [label for label, _ in labelled]
        found.append((AnnotatedImage(name, str(file), shapes, size, shapeless), labels))
    return found


def _beside(file: Path, root: Path, image: Any) -> str:
    """Return the name of an image, which is written relative to the folder of its file."""
    if not isinstance(image, str) or not image:
        raise ValueError(f"'imagePath': {str(image)[:40]!r}")
    folder = file.parent.relative_to(root).as_posix()
    name = os.path.normpath(f"{folder}/{image}".replace("\\", "/")).replace("\\", "/")
    return name.lstrip("./")


def _xml_files(root: Path, limits: Limits) -> list[_Labelled]:
    found = []
    reader: LabelMeLabels | None = None
    images = root / "Images"  # of LabelMe itself, and of Datumaro's exports
    for file in _files(root, ".xml"):
        element = parsed_xml(file, limits)
        if element.tag != "annotation":
            continue
        reader = reader or LabelMeLabels()
        with naming_errors(str(file)):
            name = (element.findtext("filename") or "").strip()
            folder = (element.findtext("folder") or "").strip()
            if not name:
                raise ValueError("no name of an image (filename)")
            rows, columns = (
                element.findtext(f"imagesize/{each}") or "0" for each in ("nrows", "ncols")
            )
            size = int(rows), int(columns)
            read = reader.annotations(element)
            shapes, shapeless = shapes_of(read, reader.names, limits, str(file))
            labels = [reader.names[shape.pop("category_id") - 1] for shape in shapes]
        below = "Images" if images.is_dir() else file.parent.relative_to(root).as_posix()
        parts = dict.fromkeys(part for part in (below, folder, name) if part not in ("", "."))
        image = AnnotatedImage("/".join(parts), str(file), shapes, size, shapeless)
        found.append((image, labels))
    return found
