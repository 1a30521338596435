"""How do images and COCO's panoptic segments become images and masks?

Read here, not by Datumaro: it reads segments of the category 0 as segments without a category,
needs folders of names that COCO itself does not use, and builds objects of all segments at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.decode import decode
from zarrfeed_convert.sources.annotations.annotated import AnnotatedImages, DrawingOptions
from zarrfeed_convert.sources.annotations.named_images import locate
from zarrfeed_convert.sources.coco.index import index_coco
from zarrfeed_convert.sources.file_discovery import composed, files_below
from zarrfeed_convert.sources.instances.drawing import Shape
from zarrfeed_convert.sources.instances.instance_options import SIGMA, W0
from zarrfeed_convert.sources.instances.runs import runs_of_pixels
from zarrfeed_convert.sources.option_checks import NO_MASKS
from zarrfeed_convert.sources.read_errors import source_errors

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.sources.coco.index import CocoIndex


@source_errors
class CocoPanoptic(AnnotatedImages):
    """COCO's panoptic segmentation: a JSON file, and a PNG file of segments per image.

    The colour of a pixel is the number of its segment, R + 256·G + 65536·B; the JSON file says
    which category each segment has::

        FOLDER/
            train2017/000000000009.jpg                          --images
            annotations/panoptic_train2017.json                 --masks
            annotations/panoptic_train2017/000000000009.png

    The folder of PNG files is beside the JSON file and has its name, or is that of the JSON file.
    Class 0 is the background; the file's categories become 1, 2, … by ascending id, without gaps.
    Pixels of no segment (void) are background.

    Parameters
    ----------
    images
        The folder of images; the file names in the JSON are relative to it or a folder above.
    masks
        The JSON file.
    crowd
        What ``iscrowd`` segments become: their ``class``, or ``ignore``.
    unannotated
        What images without segments become: ``background``, or no samples (``leave_out``).
    instances
        What masks are: class ids (``semantic``), numbers of segments (``keep``), or class ids
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
    >>> CocoPanoptic("val2017", "annotations/panoptic_val2017.json").keys[0]  # doctest: +SKIP
    '000000000139'
    """

    kind = "coco-panoptic"

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str],
        *,
        crowd: str = "class",
        unannotated: str = "background",
        instances: str = "semantic",
        w0: float = W0,
        sigma: float = SIGMA,
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        file = str(masks)
        if file == NO_MASKS:
            raise SourceError(
                "masks: needed the JSON file, which lists the images; to pack all images of a "
                "folder alone, leave --format coco-panoptic out"
            )
        index = index_coco(file, panoptic=True)
        if not index.annotated:
            raise SourceError(
                f"{file}: needed annotations, found none, as for test sets; pack the images alone "
                "by --format coco"
            )
        options = DrawingOptions(
            "", "file", crowd, unannotated, instances, w0, sigma, color, mask_map
        )
        self._pngs = _png_files(Path(file))
        super().__init__(Path(images), SegmentIndex(index), index.categories, options, limits)

    def _annotated_shapes(self, sample: int, size: tuple[int, int]) -> list[Shape]:
        """Return the segments of a sample."""
        found = self._annotations(sample, size)
        if len(found) > 1:
            raise ValueError(f"{len(found)} annotations of one image, where panoptic ones are one")
        if not found:
            return []
        segments = found[0]["segments_info"]
        pixels = self._pixels(found[0], size)
        numbers = [_number(segment) for segment in segments]
        _require_known(pixels, numbers)
        return [
            Shape(
                runs_of_pixels(pixels == number),
                self._ids[segment["category_id"]],
                crowd=bool(segment.get("iscrowd")),
            )
            for number, segment in zip(numbers, segments, strict=True)
        ]

    def _pixels(self, said: Mapping[str, Any], size: tuple[int, int]) -> NDArray[np.int64]:
        """Decode the PNG file of an image to numbers of segments, (H, W)."""
        name = str(said["file_name"])
        path = locate(name, self._pngs)
        if path is None:
            raise ValueError(f"no file {name} beside the JSON file")
        values = decode(Path(path), self._limits).values
        if values.shape != (*size, 3) or values.dtype != np.uint8:
            raise ValueError(f"{path} of {values.shape} {values.dtype}, where RGB is needed")
        weights = np.array([1, 1 << 8, 1 << 16])
        numbers: NDArray[np.int64] = values.astype(np.int64) @ weights
        return numbers


@dataclass(frozen=True, slots=True)
class SegmentIndex:
    """Index of COCO's panoptic annotations; see :class:`~..annotations.index.ImageIndex`."""

    coco: CocoIndex

    @property
    def names(self) -> Sequence[str]:
        """Names of the images' files."""
        return self.coco.names

    @property
    def places(self) -> Sequence[str]:
        """Files of their annotations."""
        return (self.coco.path,) * len(self.coco.names)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(n, 2) heights and widths; 0 if unknown."""
        return self.coco.sizes

    @property
    def counts(self) -> NDArray[np.int64]:
        """(n,) numbers of annotations, which are 0 and 1."""
        return np.diff(self.coco.of_image.ends, prepend=0)

    @property
    def shapeless(self) -> NDArray[np.int64]:
        """(n,) zeros: all segments have a shape."""
        return np.zeros(len(self.coco.names), np.int64)

    @property
    def nbytes(self) -> int:
        """Memory of the annotations' positions in the file, in bytes."""
        return self.coco.spans.nbytes

    def shapes(self, image: int) -> list[dict[str, Any]]:
        """Read the annotations of an image from the file."""
        return self.coco.annotations(image)


def _png_files(file: Path) -> dict[str, str]:
    """Map the names of PNG files to their paths: those in the JSON file's own folder, or beside it.

    Raises
    ------
    SourceError
        There are none.
    """
    for folder in (file.with_suffix(""), file.parent):
        below = files_below(str(folder)) if folder.is_dir() else []
        paths = [path for path in below if path.lower().endswith(".png")]
        if paths:
            relative = {Path(path).relative_to(folder).as_posix(): path for path in paths}
            return {composed(name): path for name, path in relative.items()} | relative
    raise SourceError(
        f"{file}: needed PNG files of its segments in {file.with_suffix('')}, found none; unpack "
        "the archive of that name there"
    )


def _number(segment: Mapping[str, Any]) -> int:
    number = segment["id"]
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < 1 << 24:
        raise ValueError(f"a segment with the id {str(number)[:40]!r}")
    return number


def _require_known(pixels: NDArray[np.int64], numbers: Sequence[int]) -> None:
    """Check that every pixel is of a known segment, or of none."""
    if len(set(numbers)) < len(numbers):
        raise ValueError("two segments with one id")
    unknown = np.setdiff1d(pixels, [0, *numbers])
    if unknown.size:
        raise ValueError(f"pixels of segment {unknown[0]}, which segments_info does not list")
