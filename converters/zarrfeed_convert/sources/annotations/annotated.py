"""How do images and the shapes that an annotation tool wrote become images and masks?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.sources.annotations.named_images import (
    files_by_name,
    images_below,
    keys_of,
    locate,
)
from zarrfeed_convert.sources.coco.shapes import shapes_of
from zarrfeed_convert.sources.instances.class_names import class_ids
from zarrfeed_convert.sources.instances.drawing import Drawing
from zarrfeed_convert.sources.instances.drawn_source import (
    DrawnSource,
    naming_shapes,
    require_annotated_size,
)
from zarrfeed_convert.sources.instances.instance_options import SIGMA, W0, InstanceOptions
from zarrfeed_convert.sources.option_checks import NO_MASKS, require_choice, require_no_masks
from zarrfeed_convert.sources.value_options import ValueOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap
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


class AnnotatedImages(DrawnSource):
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
        self._number(categories)
        self._rows, self._files, unlisted = self._find_samples()
        self._keys = keys_of(self._files)
        self._facts = {
            "annotations": int(self._index.counts.sum()),
            "images_without_annotation": int((self._index.counts == 0).sum()),
            "images_not_annotated": unlisted,
        }

    def _number(self, categories: Mapping[Any, str]) -> None:
        """Decide which class ids the categories have, and which id is ignored."""
        ignored = [number for number, name in categories.items() if _is_ignored(name)]
        self._ids, names = class_ids(
            {number: name for number, name in categories.items() if number not in ignored}
        )
        if ignored and self._instances.kind != "semantic":
            raise SourceError(
                f"--instances: needed labels of instances, found {categories[ignored[0]]!r}, whose "
                "pixels are ignored; use --instances semantic, or take the label out"
            )
        if self._alone and str(self._options.mask_map):
            raise SourceError(
                "option mask_map: needed none of it with --masks none, found "
                f"{str(self._options.mask_map)!r}; leave one of both out"
            )
        self._name_classes(names, drawn=not self._alone, ignored=bool(ignored))
        self._ids |= dict.fromkeys(ignored, self._ignored or 0)

    @property
    def memory_nbytes(self) -> int:
        """Number of bytes that the shapes take, compressed."""
        return self._index.nbytes

    def _path(self, sample: int) -> str:
        return str(Path(self._root, self._files[sample]))

    def _entry(self, sample: int) -> str:
        place, name = (each[self._rows[sample]] for each in (self._index.places, self._index.names))
        stem = Path(name).stem
        own = Path(place).name.startswith((f"{stem}.", f"{stem}_"))
        return place if own else f"{place}[{name}]"

    def _require_size(self, sample: int, size: tuple[int, int]) -> None:
        needed = self._index.sizes[self._rows[sample]]
        require_annotated_size(self._path(sample), self._entry(sample), size, needed)

    def _annotations(self, sample: int, size: tuple[int, int]) -> list[dict[str, Any]]:  # noqa: ARG002 (some need it)
        """Return the annotations of a sample, in pixels of its image."""
        return self._index.shapes(self._rows[sample])

    def _shapes(self, sample: int, size: tuple[int, int]) -> list[Shape]:
        with naming_shapes(self._entry(sample), size):
            return self._annotated_shapes(sample, size)

    def _annotated_shapes(self, sample: int, size: tuple[int, int]) -> list[Shape]:
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
