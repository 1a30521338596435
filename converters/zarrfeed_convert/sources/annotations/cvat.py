"""Which images and masks does an export of CVAT hold?"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.sources.annotations.annotated import AnnotatedImages, DrawingOptions
from zarrfeed_convert.sources.annotations.datumaro_reading import CvatFrames, shapes_of
from zarrfeed_convert.sources.annotations.index import AnnotatedImage, ShapeIndex
from zarrfeed_convert.sources.annotations.named_images import require_found
from zarrfeed_convert.sources.annotations.xml_files import elements_of
from zarrfeed_convert.sources.instances.instance_options import SIGMA, W0
from zarrfeed_convert.sources.read_errors import naming_errors, source_errors
from zarrfeed_convert.sources.subset_names import known_subset

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap

_UNREAD = ("ellipse", "cuboid", "skeleton")  # shapes that Datumaro passes over
_FILES = "annotations.xml, or annotations/*.xml"


@source_errors
class Cvat(AnnotatedImages):
    """Exports of CVAT: "CVAT for images 1.1" and "CVAT for video 1.1", polygons and masks.

    In CVAT, export a task or a project as "CVAT for images 1.1" and save images, too::

        FOLDER/
            annotations.xml
            images/
                a.jpg
                Train/b.jpg     images of a project with subsets

    Class 0 is the background; the labels of the file become 1, 2, … in its order. Datumaro reads
    the file. Ellipses, cuboids and skeletons, which it passes over, and frames of several tasks
    with the same number, which it mixes up, are refused.

    Parameters
    ----------
    images
        The folder that holds the export.
    masks
        Not needed. If it is ``none``, images are packed alone.
    subset
        Subset of a project; lower and upper case are alike, and ``val`` is also ``Validation``. By
        default the name of the split that is packed (in Python: ``train``). An export without
        subsets is read as a whole.
    order
        Which of several shapes a pixel belongs to. ``area``: that in the highest layer of CVAT
        (``z_order``), then the smallest, which keeps small objects in front of large ones;
        ``file``: that in the highest layer, then the last one in the file; ``none``: it is ignored
        if their classes differ.
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
        The file is missing, damaged, or has shapes that are not read, or none of its images is in
        the folder.

    Examples
    --------
    >>> Cvat("task_12", order="file").classes  # doctest: +SKIP
    ('background', 'road', 'car')
    """

    kind = "cvat"

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
        files = [*root.glob("annotations.xml")] or sorted((root / "annotations").glob("*.xml"))
        require_found(files, _FILES, root)
        scans = {file: _scan(file, limits) for file in files}
        chosen = _chosen_subset(scans, subset)
        found: list[AnnotatedImage] = []
        labels: list[str] = []
        for file in files:
            with naming_errors(str(file)):
                read = CvatFrames(str(file), chosen)
            labels = labels or read.labels
            if read.labels != labels:
                raise SourceError(
                    f"{file}: needed the labels of {files[0]}, {few(labels)}, found "
                    f"{few(read.labels)}; export both tasks from one project"
                )
            found += _images(file, read, limits, chosen)
        folder = root / "images"
        super().__init__(
            folder if folder.is_dir() else root,
            ShapeIndex.of(found),
            dict(enumerate(labels, 1)),
            options,
            limits,
        )


@dataclass(slots=True)
class _Scan:
    """What a file has that Datumaro does not tell."""

    subsets: set[str] = field(default_factory=set)
    undivided: bool = False


def _scan(file: Path, limits: Limits) -> _Scan:
    """Find the subsets of a file.

    Raises
    ------
    SourceError
        Datumaro would read the file wrongly.
    """
    found = _Scan()
    numbers: dict[tuple[str | None, str | None], str | None] = {}
    in_track = False
    for name, said in elements_of(file, limits):
        if name in _UNREAD:
            raise SourceError(
                f"{file}: needed polygons and masks, found a shape of the kind {name}, which "
                "Datumaro does not read; draw it as a polygon in CVAT, and export again"
            )
        if name == "track":
            in_track = True
        elif name == "image":
            in_track = False
            place = said.get("subset"), said.get("id")
            if place in numbers:
                raise SourceError(
                    f"{file}: needed each frame number once, found {place[1]} for "
                    f"{numbers[place]} and {said.get('name')}, as in exports of several tasks; "
                    "export each task by itself"
                )
            numbers[place] = said.get("name")
        elif name == "mask" and in_track:
            raise SourceError(
                f"{file}: needed polygons in tracks, found a mask, which Datumaro does not read "
                'there; export as "CVAT for images 1.1"'
            )
        if name in ("image", "track"):
            subset = said.get("subset")
            found.undivided |= subset is None
            if subset is not None:
                found.subsets.add(subset)
    return found


def _chosen_subset(scans: dict[Path, _Scan], subset: str) -> str | None:
    """Return the subset to read, as it is written in the files; None if they have none."""
    known = set().union(*(scan.subsets for scan in scans.values()))
    if not known:
        return None
    chosen = known_subset(subset, known)
    mixed = [file for file, scan in scans.items() if scan.undivided]
    if mixed:
        raise SourceError(
            f"{mixed[0]}: needed a subset for each image, found some without; export one project"
        )
    return chosen


def _images(
    file: Path, read: CvatFrames, limits: Limits, subset: str | None
) -> Iterator[AnnotatedImage]:
    for number, frame in read.frames.items():
        name = frame.get("name")
        # A video has no names; CVAT saves its frames so.
        name = f"frame_{int(number):06}" if name is None else name
        with naming_errors(f"{file}[{name}]"):
            shapes, shapeless = shapes_of(
                frame["annotations"], read.labels, limits, f"{file}[{name}]"
            )
            height, width = (int(frame.get(side) or 0) for side in ("height", "width"))
        yield AnnotatedImage(
            f"{subset}/{name}" if subset else name, str(file), shapes, (height, width), shapeless
        )
