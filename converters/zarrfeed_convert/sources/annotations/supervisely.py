"""Which images and masks does a project of Supervisely hold?

Datumaro reads Supervisely's point clouds alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.sources.annotations.annotated import AnnotatedImages, DrawingOptions
from zarrfeed_convert.sources.annotations.index import AnnotatedImage, ShapeIndex
from zarrfeed_convert.sources.annotations.json_files import parsed_json, size_of, value_of
from zarrfeed_convert.sources.annotations.named_images import require_found
from zarrfeed_convert.sources.annotations.supervisely_shapes import runs_of_figure, shape_of_object
from zarrfeed_convert.sources.instances.instance_options import SIGMA, W0
from zarrfeed_convert.sources.read_errors import naming_errors, source_errors
from zarrfeed_convert.sources.subset_names import of_subset

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON


@source_errors
class Supervisely(AnnotatedImages):
    """Projects of images from Supervisely: polygons with holes, bitmaps and rectangles.

    In Supervisely, export a project as "Supervisely format", with its images::

        FOLDER/
            meta.json
            DATASET/img/a.jpg
            DATASET/ann/a.jpg.json

    Class 0 is the background; the classes of ``meta.json`` become 1, 2, … in its order. Points,
    lines and graphs have no area. Corners are those of pixels, as for COCO, so that a polygon may
    be a pixel smaller to the right and below than Supervisely shows it.

    Parameters
    ----------
    images
        The folder of the project.
    masks
        Not needed. If it is ``none``, images are packed alone.
    subset
        Name of a dataset in the project. By default the name of the split that is packed (in
        Python: ``train``); ``val`` is also ``validation``. If no dataset has the name of a subset,
        all are read.
    order
        Which of several shapes a pixel belongs to. ``area``: the smallest, which keeps small
        objects in front of large ones; ``file``: the last one in the file, as Supervisely shows
        it; ``none``: it is ignored if their classes differ.
    unannotated
        What images without annotations become: ``background``, or no samples (``leave_out``).
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
        A file is missing or damaged, has a class that ``meta.json`` lacks, or no image is there.

    Examples
    --------
    >>> Supervisely("lemons").classes  # doctest: +SKIP
    ('background', 'kiwi', 'lemon')
    """

    kind = "supervisely"

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
        meta = root / "meta.json"
        require_found([path for path in (meta,) if path.is_file()], "meta.json", root)
        names = _classes(meta, limits)
        ids = {name: number for number, name in enumerate(names, 1)}
        files = sorted(path for path in root.rglob("ann/*.json") if path.is_file())
        require_found(files, "DATASET/ann/*.json", root)
        found = of_subset([*_images(files, root, ids, limits)], subset)
        super().__init__(root, ShapeIndex.of(found), dict(enumerate(names, 1)), options, limits)

    def _annotations(self, sample: int, size: tuple[int, int]) -> list[dict[str, Any]]:
        """Return the annotations of a sample, in pixels of its image."""
        found = super()._annotations(sample, size)
        for number, shape in enumerate(found):
            if isinstance(shape["segmentation"], dict):
                try:
                    runs = runs_of_figure(shape["segmentation"], size, self._limits)
                except ValueError as error:
                    raise ValueError(f"object {number}: {error}") from error
                shape["segmentation"] = {"size": list(size), "counts": runs.tolist()}
        return found


def _classes(meta: Path, limits: Limits) -> list[str]:
    said = parsed_json(meta, limits)
    with naming_errors(str(meta)):
        names = [value_of(each, "title", str) for each in value_of(said, "classes", list)]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"{len(set(names))} different names of {len(names)} classes")
    return names


def _images(
    files: list[Path], root: Path, ids: Mapping[str, int], limits: Limits
) -> Iterator[AnnotatedImage]:
    for file in files:
        content = parsed_json(file, limits)
        shapes: list[JSON] = []
        shapeless = 0
        with naming_errors(str(file)):
            size = size_of(content.get("size"), "height", "width")
            for number, each in enumerate(value_of(content, "objects", list)):
                name = value_of(each, "classTitle", str)
                if name not in ids:
                    raise SourceError(
                        f"{file}: needed a class of {root / 'meta.json'}, found {name!r}; correct "
                        "one of both"
                    )
                try:
                    segmentation = shape_of_object(each)
                except ValueError as error:
                    raise ValueError(f"object {number}: {error}") from error
                if segmentation is None:
                    shapeless += 1
                else:
                    shapes.append({"category_id": ids[name], "segmentation": segmentation,
                                   "id": number})  # fmt: skip
        folder = file.parent.parent.relative_to(root).as_posix()
        name = f"{folder}/img/{file.name.removesuffix('.json')}".removeprefix("./")
        yield AnnotatedImage(name, str(file), shapes, size, shapeless)
