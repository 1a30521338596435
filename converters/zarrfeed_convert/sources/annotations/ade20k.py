"""Which images and masks does the full ADE20K hold?

Read here, not by Datumaro. In the release of 2021 it takes the annotators' own words for classes,
of which one class has many, in an order that changes from run to run. In that of 2016 it takes the
n-th value of blue for the n-th object, which is another one where no pixel is unlabelled.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.decode import decode
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.sources.annotations.annotated import AnnotatedImages, DrawingOptions
from zarrfeed_convert.sources.annotations.index import AnnotatedImage, ShapeIndex
from zarrfeed_convert.sources.annotations.json_files import value_of
from zarrfeed_convert.sources.annotations.named_images import require_found
from zarrfeed_convert.sources.file_discovery import files_below
from zarrfeed_convert.sources.instances.drawing import Shape
from zarrfeed_convert.sources.instances.instance_options import SIGMA, W0
from zarrfeed_convert.sources.instances.runs import runs_of_pixels
from zarrfeed_convert.sources.read_errors import naming_errors, source_errors
from zarrfeed_convert.sources.subset_names import of_subset

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap

_SEGMENTS, _OLD = "_seg.png", "_atr.txt"
_MOST = 25 * 256 + 255  # number of a class that colours can hold


@source_errors
class Ade20k(AnnotatedImages):
    """The full ADE20K, as released in 2021 (Datumaro's ``ade20k2020``): thousands of classes.

    The colour of a pixel of ``_seg.png`` is the number of its class, R div 10 · 256 + G; objects of
    a class differ in B. The JSON files name the classes::

        FOLDER/
            images/ADE/training/urban/street/ADE_train_00016845.jpg
            images/ADE/training/urban/street/ADE_train_00016845.json
            images/ADE/training/urban/street/ADE_train_00016845_seg.png
            images/ADE/validation/…

    Class 0 is the background, which is unlabelled; the classes that the JSON files of all subsets
    name become 1, 2, … by ascending number, without gaps. Parts of objects are not read. The
    release of 2016 (``_atr.txt``) does not say which number is which class, and is refused. For the
    150 classes of the benchmark (ADEChallengeData2016), use ``--format paired``.

    Parameters
    ----------
    images
        A folder that holds both subsets.
    masks
        Not needed. If it is ``none``, images are packed alone.
    subset
        ``training`` or ``validation``; ``train`` and ``val`` are the same. By default the name of
        the split that is packed (in Python: ``train``).
    instances
        What masks are: class ids (``semantic``), numbers of objects (``keep``), or class ids
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
        A file is missing or damaged, or of the release of 2016.

    Examples
    --------
    >>> Ade20k("ADE20K_2021_17_01", subset="val").classes[:2]  # doctest: +SKIP
    ('background', 'aarm panel')
    """

    kind = "ade20k"

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str = "",
        *,
        subset: str = "train",
        instances: str = "semantic",
        w0: float = W0,
        sigma: float = SIGMA,
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        options = DrawingOptions(
            masks, "file", "class", "background", instances, w0, sigma, color, mask_map
        )
        root, limits = Path(images), limits or Limits()
        files = sorted(files_below(str(root))) if root.is_dir() else []
        old = next((file for file in files if file.endswith(_OLD)), None)
        if old is not None:
            raise SourceError(
                f"{old}: needed the JSON files of ADE20K's release of 2021, found the release of "
                "2016, which does not name the classes of its colours; download the newer one"
            )
        names: dict[int, str] = {}
        found = []
        for file in map(Path, files):
            segments = file.with_name(f"{file.stem}{_SEGMENTS}")
            if file.suffix == ".json" and segments.is_file():
                for number, name in _classes(file, limits):
                    names.setdefault(number, name)
                image = file.relative_to(root).with_suffix(".jpg").as_posix()
                found.append(AnnotatedImage(image, str(segments), [{}]))
        require_found([Path(image.place) for image in found], f"*.json and *{_SEGMENTS}", root)
        super().__init__(
            root,
            ShapeIndex.of(of_subset(found, subset)),
            dict(sorted(names.items())),
            options,
            limits,
        )

    def _annotated_shapes(self, sample: int, size: tuple[int, int]) -> list[Shape]:
        """Return the objects of a sample, by ascending number of their class."""
        path = self._entry(sample)
        values = decode(Path(path), self._limits).values
        if values.shape != (*size, 3) or values.dtype != np.uint8:
            raise ValueError(f"{values.shape} {values.dtype}, where RGB is needed")
        objects = numbers_of_objects(values)
        found = []
        for each in np.unique(objects).tolist():
            number = each >> 8
            if number == 0:
                continue
            if number not in self._ids:
                raise ValueError(f"pixels of class {number}, which no JSON file names")
            found.append(Shape(runs_of_pixels(objects == each), self._ids[number]))
        return found


def numbers_of_objects(colors: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Convert colours of ADE20K's segments to numbers of objects.

    Parameters
    ----------
    colors
        (H, W, 3) red, green and blue.

    Returns
    -------
    ndarray
        (H, W) int32: the number of the class, times 256, plus blue, which tells the objects of a
        class apart.

    Examples
    --------
    >>> (numbers_of_objects(np.array([[[29, 7, 200]]], np.uint8)) >> 8).tolist()
    [[519]]
    """
    red, green, blue = (colors[:, :, band].astype(np.int32) for band in range(3))
    return (red // 10 * 256 + green) << 8 | blue


def _classes(file: Path, limits: Limits) -> list[tuple[int, str]]:
    """Return the numbers and names of the classes in a JSON file."""
    with naming_errors(str(file)):
        limits.require_readable(file)
        data = file.read_bytes()
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = data.decode("latin-1")  # as in some of ADE20K's own files
        objects: Any = value_of(value_of(json.loads(text), "annotation", dict), "object", list)
        found = []
        for each in objects:
            number = value_of(each, "name_ndx", int)
            if not 0 < number <= _MOST:
                raise ValueError(f"'name_ndx': {number}")
            found.append((number, value_of(each, "name", str)))
        return found
