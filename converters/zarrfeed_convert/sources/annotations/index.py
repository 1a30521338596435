"""Which shapes does each annotated image have, whichever tool wrote them?

Annotations are parsed once. What is needed of them travels to worker processes, compressed per
image, so that workers neither parse the files again nor import what parses them.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.source import JSON


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """An image, as its annotations describe it.

    Attributes
    ----------
    name
        Name of the image's file, with or without folders and extension.
    place
        File of the annotations, for errors.
    shapes
        The shapes like COCO's annotations, in the order of the file: ``category_id``,
        ``segmentation``, and where there are any ``id``, ``iscrowd`` and ``layer`` (of several
        shapes, the one with the highest layer is on top).
    size
        (height, width); 0 if unknown.
    shapeless
        Number of annotations without a shape, such as boxes.
    """

    name: str
    place: str
    shapes: Sequence[JSON]
    size: tuple[int, int] = (0, 0)
    shapeless: int = 0


class ImageIndex(Protocol):
    """Index of the shapes of n images; see :class:`ShapeIndex`."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the images' files."""
        ...

    @property
    def places(self) -> Sequence[str]:
        """Files of their annotations."""
        ...

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(n, 2) heights and widths; 0 if unknown."""
        ...

    @property
    def counts(self) -> NDArray[np.int64]:
        """(n,) numbers of annotations."""
        ...

    @property
    def shapeless(self) -> NDArray[np.int64]:
        """(n,) numbers of annotations without a shape."""
        ...

    @property
    def nbytes(self) -> int:
        """Memory of the shapes, in bytes."""
        ...

    def shapes(self, image: int) -> list[dict[str, Any]]:
        """Return the shapes of an image."""
        ...


@dataclass(frozen=True, slots=True)
class ShapeIndex:
    """Index of the shapes of n images.

    Attributes
    ----------
    names, places
        Names of the images' files, and files of their annotations.
    sizes
        (n, 2) int64 heights and widths; 0 if unknown.
    counts
        (n,) int64 numbers of annotations, including those without a shape.
    shapeless
        (n,) int64 numbers of annotations without a shape.

    Examples
    --------
    >>> shape = {"category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 4]]}
    >>> index = ShapeIndex.of([AnnotatedImage("a.png", "a.xml", [shape])])
    >>> index.names, index.shapes(0) == [shape]
    (('a.png',), True)
    """

    names: tuple[str, ...]
    places: tuple[str, ...]
    sizes: NDArray[np.int64]
    counts: NDArray[np.int64]
    shapeless: NDArray[np.int64]
    _packed: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def of(cls, images: Iterable[AnnotatedImage]) -> ShapeIndex:
        """Index annotated images."""
        names, places, sizes, counts, packed = [], dict[str, str](), [], [], []
        said = []
        for image in images:
            names.append(image.name)
            said.append(places.setdefault(image.place, image.place))  # one text per file
            sizes.append(image.size)
            counts.append((len(image.shapes) + image.shapeless, image.shapeless))
            text = json.dumps(image.shapes, separators=(",", ":"))
            packed.append(zlib.compress(text.encode(), 1) if image.shapes else b"")
        both = np.array(counts, np.int64).reshape(-1, 2)
        return cls(
            tuple(names),
            tuple(said),
            np.array(sizes, np.int64).reshape(-1, 2),
            both[:, 0].copy(),
            both[:, 1].copy(),
            tuple(packed),
        )

    def shapes(self, image: int) -> list[dict[str, Any]]:
        """Return the shapes of an image."""
        packed = self._packed[image]
        shapes: list[dict[str, Any]] = json.loads(zlib.decompress(packed)) if packed else []
        return shapes

    @property
    def nbytes(self) -> int:
        """Memory of the shapes, in bytes."""
        return sum(map(len, self._packed))
