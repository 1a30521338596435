"""Where in a COCO file are the annotations of each image?

COCO files are large. Parsed, the 450 MB of COCO's own training set take gigabytes of Python
objects, too much to send to worker processes. Therefore the file is read once, entry by entry, and
only the positions of annotations in the file are kept.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few
from zarrfeed_convert.decoding.limits import require_regular
from zarrfeed_convert.sources.coco.shapes import has_shape
from zarrfeed_convert.sources.item_index import ItemIndex

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

_ARRAYS = ("images", "annotations", "categories")
_SPACE = " \t\n\r"
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]|[^\s\[\]{},:"]++')
_DAMAGED = (
    ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError,
)  # fmt: skip
_BOM = "\xef\xbb\xbf"  # byte order mark of UTF-8, read as Latin-1


@dataclass(frozen=True, slots=True)
class CocoIndex:
    """Index of a COCO file with n images and m annotations.

    Attributes
    ----------
    path
        Path of the file.
    names
        Names of the images, in the order of the file.
    sizes
        (n, 2) int64 heights and widths of the images; 0 if unknown.
    of_image
        Index of the annotations by image.
    spans
        (m, 2) int64 first byte and end of every annotation in the file, sorted by image, then in
        the order of the file.
    categories
        Category id → name, by ascending id.
    shapeless
        (n,) int64 number of annotations of each image that have a box, but no shape.
    facts
        Number of all annotations, of those of crowds, and of those of no image.
    annotated
        Whether the file has a list of annotations, even an empty one. Files of test sets have none.
    """

    path: str
    names: tuple[str, ...]
    sizes: NDArray[np.int64]
    of_image: ItemIndex
    spans: NDArray[np.int64]
    categories: Mapping[Any, str]
    shapeless: NDArray[np.int64]
    facts: Mapping[str, int]
    annotated: bool

    def annotations(self, image: int) -> list[dict[str, Any]]:
        """Read the annotations of an image from the file."""
        found = []
        with Path(self.path).open("rb") as file:
            for begin, end in self.spans[self.of_image.span(image)].tolist():
                file.seek(begin)
                found.append(json.loads(file.read(end - begin)))
        return found


def index_coco(path: str, *, panoptic: bool = False) -> CocoIndex:
    """Read a COCO file once, and index it.

    Parameters
    ----------
    path
        Path of the file.
    panoptic
        Whether each annotation is about a PNG file of segments, instead of one shape.

    Raises
    ------
    SourceError
        The file is missing, damaged or not a COCO file with shapes, or an id is unknown or used
        twice.
    """
    images: dict[Any, dict[str, Any]] = {}
    categories: dict[Any, str] = {}
    found = _Annotations(panoptic)
    try:
        require_regular(Path(path))
        with Path(path).open(encoding="latin-1", newline="") as file:
            text = file.read()
        for array, entry, begin, end in _entries(text):
            if not text.isascii() and array != "annotations":
                entry = json.loads(text[begin:end].encode("latin-1"))
            if array == "annotations":
                found.add(entry, begin, end)
            elif array == "images":
                _add_once(images, entry["id"], entry, "image")
            else:
                _add_once(categories, entry["id"], str(entry["name"]), "category")
        if not images or not categories:
            raise ValueError(f"it has no {'categories' if images else 'images'}")
        found.require_shapes(path)
        found.require_known(path, images, categories)
        annotated = '"annotations"' in text
        return _indexed(path, images, categories, found, annotated=annotated)
    except SourceError:
        raise
    except OSError as error:
        raise SourceError(f"masks: cannot read {path}: {error.strerror}; check --masks") from error
    except _DAMAGED as error:
        raise SourceError(
            f"{path}: needed a COCO file of images, annotations and categories, found something "
            f"else or a damaged one: {_said(error)}; check --masks"
        ) from error


class _Annotations:
    """Collects what the index needs of each annotation."""

    def __init__(self, panoptic: bool) -> None:
        self._wanted = panoptic
        self.images: list[Any] = []
        self.spans: list[tuple[int, int]] = []
        self.shapeless = Counter[Any]()
        self.categories: dict[Any, Any] = {}
        self.crowds = 0
        self.panoptic = False

    def add(self, entry: dict[str, Any], begin: int, end: int) -> None:
        image = entry["image_id"]
        self.panoptic |= "segments_info" in entry
        self.images.append(image)
        self.spans.append((begin, end))
        for shape in entry["segments_info"] if self._wanted else (entry,):
            self.categories.setdefault(shape.get("category_id"), shape.get("id"))
            self.crowds += bool(shape.get("iscrowd"))
        if not self._wanted and not has_shape(entry.get("segmentation")):
            self.shapeless[image] += 1

    def require_shapes(self, path: str) -> None:
        if self._wanted:
            return
        if self.panoptic:
            raise SourceError(
                f"{path}: needed shapes, found COCO's panoptic annotations, which are PNG files of "
                "segment ids; use --format coco-panoptic"
            )
        if self.images and self.shapeless.total() == len(self.images):
            raise SourceError(
                f"{path}: needed annotations with a segmentation, found {len(self.images)} with "
                "boxes alone; export the shapes, too"
            )

    def require_known(
        self, path: str, images: Mapping[Any, Any], categories: Mapping[Any, str]
    ) -> None:
        unknown = [number for number in self.categories if number not in categories]
        if unknown:
            raise SourceError(
                f"{path}: needed categories {_some(categories)}, found category {unknown[0]!r} in "
                f"annotation {self.categories[unknown[0]]!r}; correct the file"
            )
        if self.images and not any(image in images for image in self.images):
            raise SourceError(
                f"{path}: needed annotations of its images, whose ids are {_some(images)}, found "
                f"{len(self.images)} annotations of others, like {self.images[0]!r}; correct the "
                "file"
            )


def _indexed(
    path: str,
    images: Mapping[Any, dict[str, Any]],
    categories: Mapping[Any, str],
    found: _Annotations,
    *,
    annotated: bool,
) -> CocoIndex:
    place = {number: row for row, number in enumerate(images)}
    rows = np.array([place.get(image, -1) for image in found.images], np.int64)
    spans = np.array(found.spans, np.int64).reshape(-1, 2)
    order = np.argsort(rows, kind="stable")[np.count_nonzero(rows < 0) :]
    return CocoIndex(
        path=path,
        names=tuple(_name(entry) for entry in images.values()),
        sizes=np.array(
            [[entry.get("height") or 0, entry.get("width") or 0] for entry in images.values()],
            np.int64,
        ),
        of_image=ItemIndex.of(np.bincount(rows[order], minlength=len(images)).tolist()),
        spans=spans[order],
        # Ids are numbers in COCO's own files, texts in some tools' exports.
        categories=dict(sorted(categories.items(), key=lambda e: (isinstance(e[0], str), e[0]))),
        shapeless=np.array([found.shapeless[number] for number in images], np.int64),
        facts={
            "annotations": len(rows),
            "crowds": found.crowds,
            "annotations_of_no_image": len(rows) - len(order),
        },
        annotated=annotated,
    )


def _name(image: Mapping[str, Any]) -> str:
    """Return the name of an image's file; LVIS gives only its former address."""
    name = image.get("file_name") or image.get("coco_url")
    return str(name or image["id"]).replace("\\", "/")


def _add_once(entries: dict[Any, Any], number: Any, entry: Any, what: str) -> None:
    if not isinstance(number, int | float | str):
        raise ValueError(f"{what} id {number!r} is neither a number nor a text")
    if number in entries:
        raise ValueError(f"two {what} entries have the id {number!r}")
    entries[number] = entry


def _entries(text: str) -> Iterator[tuple[str, dict[str, Any], int, int]]:
    """Yield the entries of the arrays in `_ARRAYS`: name of the array, entry, begin, end.

    `text` is UTF-8 read as Latin-1, so that a character is a byte. The syntax of JSON is the same.
    """
    decode = json.JSONDecoder().raw_decode
    at = _skip(text, len(_BOM) if text.startswith(_BOM) else 0)
    if text[at : at + 1] == "[":
        raise ValueError("a list, like COCO's files of results")
    at = _expect(text, at, "{")
    while text[at : at + 1] != "}":
        name, at = decode(text, at)
        at = _expect(text, _skip(text, at), ":")
        if name not in _ARRAYS:
            at = _end_of(text, at)
        else:
            at = _expect(text, at, "[")
            while text[at : at + 1] != "]":
                entry, end = decode(text, at)
                yield name, entry, at, end
                at = _next(text, end, "]")
            at += 1
        at = _next(text, at, "}")


def _end_of(text: str, at: int) -> int:
    """Return the end of a value, without parsing it."""
    depth = 0
    for token in _TOKEN.finditer(text, at):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token[0], 0)
        if depth <= 0:
            return token.end() if depth == 0 else token.start()
    raise json.JSONDecodeError("Expecting the end of a value", text, len(text))


def _next(text: str, at: int, closing: str) -> int:
    """Return the position of the next entry, or of the closing sign."""
    at = _skip(text, at)
    return at if text[at : at + 1] == closing else _expect(text, at, ",")


def _expect(text: str, at: int, sign: str) -> int:
    if text[at : at + 1] != sign:
        raise json.JSONDecodeError(f"Expecting {sign!r}", text, at)
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    while text[at : at + 1] in _SPACE and at < len(text):
        at += 1
    return at


def _said(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)


def _some(ids: Mapping[Any, Any]) -> str:
    return few(map(repr, ids), shown=5)
