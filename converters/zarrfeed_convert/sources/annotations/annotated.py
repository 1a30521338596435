"""How do images and the shapes that an annotation tool wrote become images and masks?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.decode import decode, measure
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.labels import MAX_ID
from zarrfeed_convert.source import IMAGES_ONLY, Source
from zarrfeed_convert.sources.annotations.named_images import (
    files_by_name,
    images_below,
    keys_of,
)
from zarrfeed_convert.sources.coco.coco import class_ids, locate
from zarrfeed_convert.sources.coco.shapes import shapes_of
from zarrfeed_convert.sources.instances.drawing import Drawing
from zarrfeed_convert.sources.instances.instance_options import SIGMA, W0, InstanceOptions
from zarrfeed_convert.sources.option_checks import NO_MASKS, require_choice, require_no_masks
from zarrfeed_convert.sources.value_options import ValueOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.header import Header
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON, Mask
    from zarrfeed_convert.sources.annotations.index import ImageIndex
    from zarrfeed_convert.sources.instances.drawing import Shape

_IGNORED = ("ignore", "ignored")  # labelme's __ignore__


@dataclass(frozen=True, slots=True)
class DrawingOptions:
    """The options of every format of shapes; see the formats."""

    masks: str = ""
    order: str = "area"
    crowd: str = "class"
    unannotated: str = "background"
    instances: str = "semantic"
    w0: float = W0
    sigma: float = SIGMA
    color: Color = "auto"
    mask_map: str | MaskMap = ""

    def __post_init__(self) -> None:
        require_choice("unannotated", self.unannotated, ("background", "leave_out"))
        if self.masks != NO_MASKS:
            require_no_masks(self.masks, "--images")


class AnnotatedImages(Source):
    """Images, and masks that are drawn from annotated shapes.

    A subclass has a `kind`, as ``--format`` takes it, and parses its files.

    Parameters
    ----------
    root
        The folder of images. Images are found below it by their names in the annotations.
    index
        Index of the annotations.
    categories
        Category id → name, in the order of the class ids.
    options
        The options of the user. If `masks` is ``none``, images are packed alone.
    limits
        Limits on what the files may claim.

    Raises
    ------
    SourceError
        No image can be packed, or one is annotated twice.
    """

    kind: ClassVar[str]

    def __init__(
        self,
        root: Path,
        index: ImageIndex,
        categories: Mapping[Any, str],
        options: DrawingOptions,
        limits: Limits | None = None,
    ) -> None:
        self._root = str(root)
        self._drawing = Drawing(options.order, options.crowd)
        self._options = ValueOptions.of(options.color, options.mask_map)
        self._options.require_ids("shapes, which are drawn as ids")
        self._instances = InstanceOptions.of(
            options.instances, options.w0, options.sigma, self._options
        )
        self._keep_empty = options.unannotated == "background"
        self._limits = limits or Limits()
        self._index = index
        self._alone = options.masks == NO_MASKS
        self._name_classes(categories)
        self._rows, self._files, unlisted = self._find_samples()
        self._keys = keys_of(self._files)
        self._facts = {
            "annotations": int(self._index.counts.sum()),
            "images_without_annotation": int((self._index.counts == 0).sum()),
            "images_not_annotated": unlisted,
        }

    def _name_classes(self, categories: Mapping[Any, str]) -> None:
        """Decide which class ids the categories have, and which id is ignored."""
        ignored = [number for number, name in categories.items() if _is_ignored(name)]
        self._ids, names = class_ids(
            {number: name for number, name in categories.items() if number not in ignored}
        )
        self._ignored = self._instances.ignored(self._drawing, len(names))
        if ignored and self._ignored is None:
            self._ignored = 255 if len(names) <= 255 else MAX_ID
        if ignored and self._instances.kind != "semantic":
            raise SourceError(
                f"--instances: needed labels of instances, found {categories[ignored[0]]!r}, whose "
                "pixels are ignored; use --instances semantic, or take the label out"
            )
        self._ids |= dict.fromkeys(ignored, self._ignored or 0)
        self.fields = IMAGES_ONLY if self._alone else self._instances.fields
        if self._alone and str(self._options.mask_map):
            raise SourceError(
                "option mask_map: needed none of it with --masks none, found "
                f"{str(self._options.mask_map)!r}; leave one of both out"
            )
        mapped = bool(str(self._options.mask_map)) or self._alone
        self.instances = self._instances.numbered and not self._alone
        self.classes: tuple[str, ...] | None = None if mapped or self.instances else names
        self.ignore: int | None = None if mapped else self._ignored
        highest = max(len(names) - 1, self._ignored or 0)
        self._dtype = np.dtype(np.uint8 if highest <= 255 else np.uint16)

    @property
    def keys(self) -> Sequence[str]:
        """Paths of images below their folder, sorted; without extension if they are unique."""
        return self._keys

    def describe(self) -> JSON:
        """Return the location and the options of the samples, as JSON."""
        return {
            "kind": self.kind,
            **self.arguments,
            **self._options.describe(),
            "facts": self._facts,
        }

    def names(self, sample: int) -> tuple[str, ...]:
        """Return the path of a sample's image, and for each other field that of its annotations."""
        return (self._path(sample), *(self._place(sample),) * (len(self.fields) - 1))

    def probe(self, sample: int) -> Header:
        """Read the header of an image, and check its size."""
        path = self._path(sample)
        image = measure(Path(path), self._limits, windows=False)
        self._require_size(sample, image.height, image.width)
        mask = None if self._alone else replace(image, palette=b"")
        return self._instances.header(self._options.header(image, mask, name=path))

    def read(self, sample: int) -> tuple[NDArray[Any], ...]:
        """Decode an image, and draw its mask."""
        path = self._path(sample)
        image = self._options.image(decode(Path(path), self._limits), name=path)
        height, width = image.shape[:2]
        self._require_size(sample, height, width)
        if self._alone:
            return (image,)
        shapes = self._drawn_shapes(sample, (height, width))
        further = self._instances.further(
            shapes, (height, width), self._drawing, name=self._place(sample)
        )
        return image, self._mask(sample, shapes, (height, width)), *further

    def read_mask(self, sample: int) -> Mask:
        """Draw a sample's mask, with the size of the image file."""
        image = measure(Path(self._path(sample)), self._limits, windows=False)
        self._require_size(sample, image.height, image.width)
        size = image.height, image.width
        return self._mask(sample, self._drawn_shapes(sample, size), size)

    @property
    def memory_nbytes(self) -> int:
        """Number of bytes that the shapes take, compressed."""
        return self._index.nbytes

    def _path(self, sample: int) -> str:
        return str(Path(self._root, self._files[sample]))

    def _place(self, sample: int) -> str:
        place, name = (each[self._rows[sample]] for each in (self._index.places, self._index.names))
        stem = Path(name).stem
        own = Path(place).name.startswith((f"{stem}.", f"{stem}_"))
        return place if own else f"{place}[{name}]"

    def _require_size(self, sample: int, height: int, width: int) -> None:
        needed = tuple(self._index.sizes[self._rows[sample]].tolist())
        if all(needed) and needed != (height, width):
            turned = "; was it rotated (EXIF orientation)?" if needed == (width, height) else ""
            raise SourceError(
                f"{self._path(sample)}: needed {needed[0]}x{needed[1]} (height x width), as "
                f"{self._place(sample)} says, found {height}x{width}{turned}; use the image that "
                "was annotated"
            )

    def _annotations(self, sample: int, size: tuple[int, int]) -> list[dict[str, Any]]:  # noqa: ARG002
        """Return the annotations of a sample, in pixels of its image."""
        return self._index.shapes(self._rows[sample])

    def _shapes(self, sample: int, size: tuple[int, int]) -> list[Shape]:
        """Return the shapes of a sample.

        Raises
        ------
        ValueError
            They are not shapes of an image of this size.
        """
        said = self._annotations(sample, size)
        shapes = shapes_of(said, self._ids, size)
        return [
            shape._replace(layer=int(each.get("layer", 0)))
            for shape, each in zip(shapes, said, strict=True)
        ]

    def _drawn_shapes(self, sample: int, size: tuple[int, int]) -> list[Shape]:
        try:
            return self._shapes(sample, size)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise SourceError(
                f"{self._place(sample)}: needed shapes of an image of {size[0]}x{size[1]}, found "
                f"{error}; correct the file, or take the image out of it"
            ) from error

    def _mask(self, sample: int, shapes: Sequence[Shape], size: tuple[int, int]) -> Mask:
        name = self._place(sample)
        ids = self._instances.mask(
            shapes, size, self._drawing, ignored=self._ignored, dtype=self._dtype, name=name
        )
        return ids if self._instances.numbered else self._options.mask(ids, name=name)

    def _find_samples(self) -> tuple[list[int], list[str], int]:
        """Find the images to pack.

        Returns
        -------
        rows
            Their rows in the index.
        files
            Their paths below the folder.
        unlisted
            Number of images in the folder that are not annotated.
        """
        self.left_out = left_out = list[tuple[str, str]]()
        index = self._index
        on_disk = images_below(self._root)
        by_name = files_by_name(on_disk)
        files: dict[str, int] = {}
        listed: dict[str, int] = {}
        for row, name in enumerate(index.names):
            file = locate(name, by_name)
            if file is None:
                left_out.append((index.places[row], f"there is no image {name} in {self._root}"))
                continue
            if file in listed:
                both = index.places[listed[file]], index.places[row]
                raise SourceError(
                    f"{both[1]}: needed each image once, found {file} twice"
                    + (f", also in {both[0]}" if both[0] != both[1] else "")
                    + "; correct the file, or take it out"
                )
            listed[file] = row
            if index.shapeless[row] and not self._alone:
                why = f"{index.shapeless[row]} of its {index.counts[row]} annotations have no shape"
                left_out.append((str(Path(self._root, file)), why))
            elif index.counts[row] or self._keep_empty or self._alone:
                files[file] = row
        if not files:
            first = "; {}: {}".format(*left_out[0]) if left_out else ""
            raise SourceError(
                f"images: needed the annotated images ({len(index.names)}), found none that can "
                f"be packed in {self._root}{first}; check --images"
            )
        ordered = sorted(files)
        return [files[file] for file in ordered], ordered, len(on_disk - listed.keys())


def _is_ignored(name: str) -> bool:
    return name.startswith("_") and name.strip(" _").lower() in _IGNORED
