"""What does Datumaro read from the files of annotation tools?

The only module that imports Datumaro, when files are parsed. Packing processes never import it.
Datumaro's readers are called one by one, so that nothing is detected, merged or decoded, and no
file other than the given one is opened. The names of images are taken as they are written.
"""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from importlib.util import find_spec
from inspect import getclosurevars
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.annotations.box_runs import runs_of_box

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from xml.etree.ElementTree import Element

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.source import JSON

if find_spec("datumaro") is None:
    raise ModuleNotFoundError("No module named 'datumaro'", name="datumaro")

# Areas; all else (boxes, lines, points, …) has no shape. Labels of whole images are no annotations
# of a part of it.
_NO_PART = ("label", "caption")


class CvatFrames:
    """The frames of a CVAT file.

    Attributes
    ----------
    labels
        Names of the labels, by Datumaro's ids.
    frames
        Frame number → what Datumaro read: ``name``, ``height`` and ``width`` where the file has
        them, and ``annotations``.
    """

    def __init__(self, path: str, subset: str | None) -> None:
        from datumaro.plugins.data_formats.cvat.base import CvatBase

        frames: dict[str, Any] = {}

        class Frames(CvatBase):  # type: ignore[misc]
            def _load_items(self, parsed: Mapping[str, Any]) -> dict[str, Any]:
                """Keep what was parsed, instead of looking for images by untrusted names."""
                frames.update(parsed)
                return {}

        with quiet():
            read = Frames(path, subset=subset)
        self.labels = _labels(read.categories())
        self.frames: Mapping[str, JSON] = frames


def shapes_of(
    annotations: Iterable[Any], labels: Sequence[str], limits: Limits, name: str
) -> tuple[list[JSON], int]:
    """Convert the annotations of an image, as Datumaro read them, to shapes.

    Parameters
    ----------
    annotations
        Annotations of any kind.
    labels
        Names of the labels, by Datumaro's ids.
    limits
        Limits on what masks may claim.
    name
        Name of the image, for errors.

    Returns
    -------
    shapes
        The polygons and masks; see :class:`~.index.AnnotatedImage`. The id of a category is that
        of the label, plus 1.
    shapeless
        Number of other annotations.

    Raises
    ------
    SourceError
        A shape has no label, or a mask of a kind that Datumaro does not read right.
    """
    shapes: list[JSON] = []
    others: list[Any] = []
    objects: dict[Any, JSON] = {}
    for each in annotations:
        kind = each.type.name
        if kind in _NO_PART or each.attributes.get("outside") is True:
            continue  # outside: CVAT's object has left the video
        if kind not in ("polygon", "mask"):
            others.append(each)
            continue
        if each.label is None or not 0 <= each.label < len(labels):
            raise SourceError(
                f"{name}: needed a label of the file for each shape, found a {kind} without one; "
                "give it a label, and export it again"
            )
        if kind == "polygon":
            segmentation: Any = [[float(value) for value in each.points]]
        else:
            segmentation = _runs_of_mask(each, limits, name)
        known = objects.get(_object(each)) if _object(each) else None
        if known is not None and kind == "polygon" and isinstance(known["segmentation"], list):
            known["segmentation"] += segmentation  # COCO's object of several polygons
            continue
        shape: JSON = {"category_id": each.label + 1, "segmentation": segmentation}
        if each.id:
            shape["id"] = each.id
        if each.z_order:
            shape["layer"] = int(each.z_order)
        if each.attributes.get("is_crowd") is True:
            shape["iscrowd"] = 1
        shapes.append(shape)
        objects[_object(each)] = shape
    # Datumaro makes a second annotation of the box of one of COCO's objects.
    return shapes, sum(_object(each) not in objects or not _object(each) for each in others)


def _object(annotation: Any) -> tuple[Any, ...]:
    """Return what all annotations of one object have in common; empty if they are not related."""
    if not annotation.id or not annotation.group:
        return ()
    return annotation.id, annotation.group, annotation.label


def _runs_of_mask(mask: Any, limits: Limits, name: str) -> JSON:
    """Return the run-length code of a mask, without letting Datumaro decode it."""
    code = getattr(mask, "_rle", None)
    if isinstance(code, dict):
        counts = code["counts"]
        text = counts.decode("ascii") if isinstance(counts, bytes) else counts
        return {"size": [int(length) for length in code["size"]], "counts": text}
    # A function that decodes CVAT's code; pycocotools trusts the code, we do not.
    said = getclosurevars(mask._image).nonlocals if callable(mask._image) else {}
    try:
        runs = said["rle_uncompressed"]["counts"].astype(np.int64)
        box = tuple(said[each] for each in ("mask_t", "mask_l", "mask_h", "mask_w"))
        size = said["img_h"], said["img_w"]
    except KeyError as error:
        raise SourceError(
            f"{name}: needed a mask as run-length code, found one that this version of Datumaro "
            "stores otherwise; draw it as a polygon"
        ) from error
    limits.require(size, np.uint8, name, "a mask")
    return {"size": list(size), "counts": runs_of_box(runs, box, size).tolist()}


class DatumaroFile:
    """A JSON file of Datumaro's own format.

    Attributes
    ----------
    labels
        Names of the labels.
    items
        Name of the image's file, its size, and its annotations.
    """

    def __init__(self, path: str) -> None:
        from datumaro.components.media import Image
        from datumaro.plugins.data_formats.datumaro.base import DatumaroBase

        with quiet():
            # Paths are names here, and nothing is opened. Else links to images would be refused.
            read: Any = DatumaroBase(path, allow_external_media=True)
            self.labels = _labels(read.categories())
            self.items: list[tuple[str, tuple[int, int], list[Any]]] = []
            for item in read:
                media: Any = item.media
                size = 0, 0
                if media is not None and not isinstance(media, Image):
                    raise SourceError(
                        f"{path}: needed images, found {item.id} with a {type(media).__name__}; "
                        "export images"
                    )
                picture: Any = media
                if media is not None and picture.has_size:
                    size = int(picture.size[0]), int(picture.size[1])
                name = item.id if media is None else Path(picture.path).name
                folder = item.id.rpartition("/")[0]
                self.items.append((f"{folder}/{name}" if folder else name, size, item.annotations))


class LabelMeLabels:
    """The labels of LabelMe's XML files, in the order in which they are found."""

    def __init__(self) -> None:
        from datumaro.components.annotation import AnnotationType, LabelCategories

        self._categories = {AnnotationType.label: LabelCategories()}

    @property
    def names(self) -> list[str]:
        """Names of the labels, by Datumaro's ids."""
        return _labels(self._categories)

    def annotations(self, root: Element) -> list[Any]:
        """Return the annotations of a file, except deleted ones.

        Raises
        ------
        ValueError
            It has masks in files, which Datumaro would decode at once.
        """
        from datumaro.plugins.data_formats.labelme import LabelMeBase

        if next(root.iter("segm"), None) is not None:
            raise ValueError(
                "an object with a mask file (segm), where polygons are needed; export polygons"
            )
        with quiet():
            found: list[Any] = LabelMeBase._parse_annotations(root, "", "", self._categories)
        return found


def _labels(categories: Mapping[Any, Any]) -> list[str]:
    from datumaro.components.annotation import AnnotationType

    labels = categories.get(AnnotationType.label)
    return [str(item.name) for item in labels.items] if labels is not None else []


@contextmanager
def quiet() -> Iterator[None]:
    """Turn Datumaro's messages into errors: what it only warns of would be missing silently.

    Datumaro logs through the root logger, and would give it a handler if it had none.
    """
    root = logging.getLogger()
    heard = _Heard()
    before = root.handlers[:]
    root.handlers[:] = [heard]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        first: BaseException = error
        while first.__cause__ is not None:
            first = first.__cause__  # Datumaro's own errors say little
        if first is error or isinstance(error, SourceError):
            raise
        raise ValueError(str(first) or type(first).__name__) from error
    finally:
        root.handlers[:] = before
    if heard.said:
        raise ValueError(heard.said[0])


class _Heard(logging.Handler):
    """Collects warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())
