"""Which images and masks does an export of Label Studio hold?

Datumaro does not read Label Studio's JSON.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.decode import EXTENSIONS
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.sources.annotations.annotated import AnnotatedImages, DrawingOptions
from zarrfeed_convert.sources.annotations.index import AnnotatedImage, ShapeIndex
from zarrfeed_convert.sources.annotations.json_files import parsed_json, value_of
from zarrfeed_convert.sources.annotations.label_studio_shapes import (
    regions_of,
    runs_of_brush,
    scaled,
)
from zarrfeed_convert.sources.annotations.named_images import images_below
from zarrfeed_convert.sources.instances.instance_options import SIGMA, W0
from zarrfeed_convert.sources.option_checks import NO_MASKS
from zarrfeed_convert.sources.read_errors import naming_errors, source_errors

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON

_UPLOADED = re.compile(r"[0-9a-f]{8}-")  # put before the names of uploaded files


@source_errors
class LabelStudio(AnnotatedImages):
    """Label Studio's JSON: polygons, brushes, rectangles and ellipses.

    In Label Studio, export a project as "JSON", not "JSON-MIN", and keep the images::

        FOLDER/
            images/1a2b3c4d-a.jpg           --images; or a.jpg
            project-1.json                  --masks

    Images are found, in any folder below, by the last part of their address, with or without the
    eight characters that Label Studio puts before it. Class 0 is the background; the labels become
    1, 2, … in the order of the alphabet, or in that of the option ``classes``. Key points and lines
    have no area. A task that several people have annotated needs one annotation that is marked as
    ground truth.

    Parameters
    ----------
    images
        The folder of images.
    masks
        The JSON file.
    classes
        Labels in the order of their class ids, with commas between them, such as ``road,car``. It
        makes splits agree that are exported one by one.
    order
        Which of several shapes a pixel belongs to. ``area``: the smallest, which keeps small
        objects in front of large ones; ``file``: the last one in the file; ``none``: it is ignored
        if their classes differ.
    unannotated
        What images without shapes become: ``background``, or no samples (``leave_out``). Tasks
        without an annotation are no samples.
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
        The JSON file is missing, damaged or of another kind, or none of its images is in the
        folder.

    Examples
    --------
    >>> LabelStudio("images", "project-1.json", classes="road,car").classes  # doctest: +SKIP
    ('background', 'road', 'car')
    """

    kind = "label-studio"

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str],
        *,
        classes: str = "",
        order: str = "area",
        unannotated: str = "background",
        instances: str = "semantic",
        w0: float = W0,
        sigma: float = SIGMA,
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        file, limits = Path(masks), limits or Limits()
        if str(masks) == NO_MASKS:
            raise SourceError(
                "masks: needed the JSON file, which lists the images; to pack all images of a "
                "folder alone, leave --format label-studio out"
            )
        options = DrawingOptions(
            "", order, "class", unannotated, instances, w0, sigma, color, mask_map
        )
        tasks = parsed_json(file, limits)
        there = _by_last_part(images_below(str(images)))
        left_out: list[tuple[str, str]] = []
        with naming_errors(str(file)):
            if not isinstance(tasks, list) or not tasks:
                raise ValueError('needed a list of tasks, as "JSON" has it')
            found = [*_images(file, tasks, there, left_out)]
        names = [name.strip() for name in classes.split(",") if name.strip()]
        used = {shape["label"] for image in found for shape in image.shapes}
        if names and not used <= set(names):
            raise SourceError(
                f"option classes: needed all labels of {file}, found none of "
                f"{sorted(used - set(names))[0]!r}; add it"
            )
        ids = {name: number for number, name in enumerate(names or sorted(used), 1)}
        for image in found:
            for shape in image.shapes:
                shape["category_id"] = ids[shape.pop("label")]
        categories = {number: name for name, number in ids.items()}
        super().__init__(Path(images), ShapeIndex.of(found), categories, options, limits)
        self.left_out = [*self.left_out, *left_out]

    def _annotations(self, sample: int, size: tuple[int, int]) -> list[dict[str, Any]]:
        """Return the annotations of a sample, in pixels of its image."""
        found = super()._annotations(sample, size)
        for shape in found:
            if isinstance(shape["segmentation"], dict):
                runs = runs_of_brush(shape["segmentation"]["rle"], size)
                shape["segmentation"] = {"size": list(size), "counts": runs.tolist()}
            else:
                shape["segmentation"] = [scaled(part, size) for part in shape["segmentation"]]
        return found


def _by_last_part(files: set[str]) -> dict[str, str]:
    """Map the last parts of paths to the paths, where a last part means one path."""
    parts: dict[str, list[str]] = {}
    for file in sorted(files):
        parts.setdefault(Path(file).name, []).append(file)
    return {part: paths[0] for part, paths in parts.items() if len(paths) == 1}


def _images(
    file: Path, tasks: list[Any], there: dict[str, str], left_out: list[tuple[str, str]]
) -> Iterator[AnnotatedImage]:
    for number, task in enumerate(tasks):
        try:
            name = _name(task, there)
            entry = _annotation(task)
            if entry is None:
                left_out.append((f"{file}[{name}]", "the task has no annotation"))
                continue
            shapes: list[JSON] = []
            shapeless, size = 0, (0, 0)
            for at, region in enumerate(regions_of(value_of(entry, "result", list))):
                size = region.size
                if region.segmentation is None:
                    shapeless += 1
                else:
                    shapes.append({"label": region.label, "segmentation": region.segmentation,
                                   "id": at})  # fmt: skip
        except (ValueError, TypeError, OverflowError) as error:
            place = task.get("id", number) if isinstance(task, dict) else number
            raise ValueError(f"task {str(place)[:40]}: {error}") from error
        yield AnnotatedImage(name, str(file), shapes, size, shapeless)


def _name(task: Any, there: dict[str, str]) -> str:
    """Return the name of a task's image: that of the uploaded file, or the end of its address."""
    data = value_of(task, "data", dict)
    texts = [task.get("file_upload"), *data.values()]
    addresses = [unquote(text.split("?d=")[-1]) for text in texts if isinstance(text, str)]
    names = [address.replace("\\", "/").rpartition("/")[2] for address in addresses]
    known = [name for name in names if Path(name).suffix.lower() in EXTENSIONS]
    if not known:
        raise ValueError(f"no image: {str(data)[:80]}")
    bare = [_UPLOADED.sub("", name, count=1) for name in known if _UPLOADED.match(name)]
    return next((there[name] for name in [*known, *bare] if name in there), known[0])


def _annotation(task: JSON) -> JSON | None:
    """Return the annotation of a task; None if it has none."""
    entries = task.get("annotations", task.get("completions"))
    if entries is None:
        raise ValueError('no annotations; export as "JSON", not "JSON-MIN"')
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise ValueError(f"'annotations': {str(entries)[:40]!r}")
    valid = [each for each in entries if not each.get("was_cancelled")]
    chosen = [each for each in valid if each.get("ground_truth")] or valid
    if len(chosen) > 1:
        raise ValueError(f"{len(chosen)} annotations; mark one of them as ground truth")
    return chosen[0] if chosen else None
