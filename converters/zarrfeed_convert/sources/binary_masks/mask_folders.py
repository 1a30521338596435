"""How does a folder with an image and a mask file for each instance become a sample?"""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few
from zarrfeed_convert.decoding.decode import EXTENSIONS
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.sources.binary_masks.binary_file import read_inside
from zarrfeed_convert.sources.file_discovery import composed, files_below, has_extension
from zarrfeed_convert.sources.instances.drawing import Drawing, Shape
from zarrfeed_convert.sources.instances.drawn_source import DrawnSource
from zarrfeed_convert.sources.instances.instance_options import SIGMA, W0, InstanceOptions
from zarrfeed_convert.sources.instances.runs import runs_of_pixels
from zarrfeed_convert.sources.option_checks import masks_given, require_no_masks
from zarrfeed_convert.sources.read_errors import require_any, source_errors
from zarrfeed_convert.sources.value_options import ValueOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON

_IMAGES, _MASKS = "images", "masks"


@source_errors
class MaskFolders(DrawnSource):
    """One folder per image, with a mask file for each instance, as in the Data Science Bowl 2018.

    The folders::

        stage1_train/
        ├── 00ae65c1/
        │   ├── images/00ae65c1.png
        │   └── masks/0a1b.png, 1c2d.png, …
        └── 0121d6be/
            └── …

    Each mask file shows one instance, as 255 (or 1) on 0. They are one class; class 0 is the
    background. An empty ``masks`` folder says that there is no instance. If no folder has
    ``masks``, as in test sets, images are packed alone.

    On the command line: ``zarrfeed convert dsb.zarr --split train --format mask-folders --images
    stage1_train -o name=nucleus --instances boundary``.

    Parameters
    ----------
    images
        The folder that has these folders, at any depth.
    masks
        Not needed; ``none`` packs images alone.
    name
        Name of the class of all instances.
    order
        Which of several instances a pixel belongs to. ``area``: the smallest; ``file``: that of the
        last mask file by name; ``none``: with ``--instances keep``, it is ignored.
    instances
        What masks are. ``semantic``: class ids. ``keep``: numbers of instances, uint16, without
        classes; the i-th mask file by name is i, the background 0, and ignored pixels 65535.
        ``boundary``: class ids, and a further field ``weight``, float32: the weight map of the
        U-Net paper, ``1 + w0 · exp(-(d1 + d2)² / (2 · sigma²))``, where d1 and d2 are the distances
        to the nearest and the second nearest instance.
    w0
        Weight, in addition to 1, of pixels where two instances touch; for ``boundary``.
    sigma
        How far the weights reach, in pixels of the image file; for ``boundary``.
    color
        ``auto`` keeps the channels that the files have; ``grey``, ``rgb``, ``rgba`` convert.
    mask_map
        Which values of mask files are inside (1) and outside (0), such as ``128..255=1,*=0`` for
        masks with soft edges. By default 0 is outside, and 1, 255 or 65535 inside.
    limits
        What files may claim, and name besides themselves; see :class:`zarrfeed_convert.Limits`.

    Raises
    ------
    SourceError
        No folder has an image, or a folder cannot be read.

    Examples
    --------
    >>> cells = MaskFolders("stage1_train", name="nucleus")  # doctest: +SKIP
    >>> cells.classes  # doctest: +SKIP
    ('background', 'nucleus')
    """

    kind = "mask-folders"

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str] = "",
        *,
        name: str = "instance",
        order: str = "area",
        instances: str = "semantic",
        w0: float = W0,
        sigma: float = SIGMA,
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        root, of_user = os.fspath(images), os.fspath(masks)
        if of_user != "none":
            require_no_masks(of_user, "--images")
        self._drawing = Drawing(order)
        self._options = ValueOptions.of(color, "")
        self._of_files = ValueOptions.of("auto", mask_map)
        self._of_files.require_ids("a mask file for each instance")
        self._instances = InstanceOptions.of(instances, w0, sigma, self._options)
        self._limits = limits or Limits()
        alone = of_user == "none" and not masks_given(of_user, mask_map=mask_map)
        found = _find_samples(root)
        drawn = not alone and any(sample.drawn for sample in found.values())
        self.left_out = left_out = list[tuple[str, str]]()
        self._samples: dict[str, _Sample] = {}
        for key, sample in sorted(found.items()):
            why = _why_none(sample, drawn=drawn)
            if why:
                left_out.append((sample.folder, why))
            else:
                self._samples[key] = sample
        self._keys = list(self._samples)
        require_any(self._keys, left_out, what="image")
        self._name_classes(("background", name), drawn=drawn)
        self._facts = {"masks": sum(len(sample.masks) for sample in self._samples.values())}

    def describe(self) -> JSON:
        """Return the location and the options of the samples, as JSON."""
        return {**super().describe(), "mask_map": str(self._of_files.mask_map)}

    def _path(self, sample: int) -> str:
        return self._samples[self._keys[sample]].images[0]

    def _entry(self, sample: int) -> str:
        return str(Path(self._samples[self._keys[sample]].folder, _MASKS))

    def _shapes(self, sample: int, size: tuple[int, int]) -> list[Shape]:
        return [
            Shape(runs_of_pixels(read_inside(path, self._of_files, self._limits, size=size)), 1)
            for path in self._samples[self._keys[sample]].masks
        ]


class _Sample:
    """The files of a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.images: list[str] = []
        self.masks: list[str] = []

    @property
    def drawn(self) -> bool:
        """Whether there is a folder of masks, even an empty one."""
        return bool(self.masks) or Path(self.folder, _MASKS).is_dir()


def _find_samples(root: str) -> Mapping[str, _Sample]:
    """Find the folders with images, by their path below a folder."""
    if not Path(root).is_dir():
        raise SourceError(
            f"images: needed the folder of all images' folders, found no folder {root}; check "
            "--images"
        )
    found: dict[str, _Sample] = {}
    others = set[str]()
    for path in sorted(files_below(root)):
        inside = PurePath(path).relative_to(root)
        kind, name, above = inside.parent.name, inside.name, inside.parent.parent.parts
        if not has_extension(name, EXTENSIONS):
            continue
        if kind not in (_IMAGES, _MASKS):
            others.add(str(PurePath(*above, kind)))
            continue
        folder = PurePath(*above)
        sample = found.setdefault(composed(folder.as_posix()), _Sample(str(Path(root, folder))))
        (sample.images if kind == _IMAGES else sample.masks).append(path)
    if not any(sample.images for sample in found.values()):
        seen = f"images in {few(sorted(others))}" if others else "no image file"
        raise SourceError(
            f"images: needed folders like {root}/ID/{_IMAGES}/ID.png and {root}/ID/{_MASKS}/*.png, "
            f"found {seen}; check --images"
        )
    return found


def _why_none(sample: _Sample, *, drawn: bool) -> str:
    """Return why a folder makes no sample; empty if it makes one."""
    if len(sample.images) != 1:
        names = few(Path(path).name for path in sample.images) or "none"
        return f"needed one file in {_IMAGES}/, found {names}; keep the image that was annotated"
    if drawn and not sample.drawn:
        return f"it has no folder {_MASKS}/; make an empty one if it shows no instance"
    return ""
