"""Which images and masks does a dataset in Datumaro's own format hold?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.sources.annotations.annotated import AnnotatedImages, DrawingOptions
from zarrfeed_convert.sources.annotations.datumaro_reading import DatumaroFile, shapes_of
from zarrfeed_convert.sources.annotations.index import AnnotatedImage, ShapeIndex
from zarrfeed_convert.sources.annotations.named_images import require_found
from zarrfeed_convert.sources.instances.instance_options import SIGMA, W0
from zarrfeed_convert.sources.read_errors import naming_errors, source_errors
from zarrfeed_convert.sources.subset_names import known_subset

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap


@source_errors
class Datumaro(AnnotatedImages):
    """Datumaro's own format: JSON files of polygons and run-length codes, one per subset.

    Intel Geti exports it, and so does ``datum convert -f datumaro --save-media`` of everything
    that Datumaro reads (``datum --help`` lists it), for formats that zarrfeed has no name for::

        FOLDER/
            annotations/train.json
            images/train/a.jpg

    Class 0 is the background; the labels of the file become 1, 2, … in its order. Datumaro reads
    the file. It rounds corners of polygons to hundredths of a pixel.

    Parameters
    ----------
    images
        The folder that holds these folders.
    masks
        Not needed. If it is ``none``, images are packed alone.
    subset
        Name of a JSON file, without extension. By default the name of the split that is packed (in
        Python: ``train``).
    order
        Which of several shapes a pixel belongs to. ``area``: that of the highest ``z_order``, then
        the smallest, which keeps small objects in front of large ones; ``file``: that of the
        highest ``z_order``, then the last one in the file; ``none``: it is ignored if their
        classes differ. Crowds are below all other shapes.
    crowd
        What shapes with the attribute ``is_crowd`` become: their ``class``, or ``ignore``.
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
        The file is missing or damaged, has items other than images, or none of its images is in
        the folder.

    Examples
    --------
    >>> Datumaro("exported", subset="val").classes  # doctest: +SKIP
    ('background', 'screw', 'nut')
    """

    kind = "datumaro"

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str = "",
        *,
        subset: str = "train",
        order: str = "area",
        crowd: str = "class",
        unannotated: str = "background",
        instances: str = "semantic",
        w0: float = W0,
        sigma: float = SIGMA,
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        options = DrawingOptions(
            masks, order, crowd, unannotated, instances, w0, sigma, color, mask_map
        )
        root, limits = Path(images), limits or Limits()
        files = {path.stem: path for path in sorted((root / "annotations").glob("*.json"))}
        require_found([*files.values()], "annotations/SUBSET.json", root)
        file = files[known_subset(subset, files)]
        with naming_errors(str(file)):
            limits.require_readable(file)
            read = DatumaroFile(str(file))
            found = list(_images(file, read, limits))
        folder = root / "images" / file.stem
        super().__init__(
            folder if folder.is_dir() else root / "images",
            ShapeIndex.of(found),
            dict(enumerate(read.labels, 1)),
            options,
            limits,
        )


def _images(file: Path, read: DatumaroFile, limits: Limits) -> Iterator[AnnotatedImage]:
    for name, size, said in read.items:
        place = f"{file}[{name}]"
        with naming_errors(place):
            shapes, shapeless = shapes_of(said, read.labels, limits, place)
        yield AnnotatedImage(name, str(file), shapes, size, shapeless)
