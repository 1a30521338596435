"""What samples do NIfTI volumes hold: images, with labels or alone, slice by slice?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.header import Header
from zarrfeed_convert.source import IMAGES_ONLY, JSON, PAIR, Mask, Source
from zarrfeed_convert.sources.class_files import classes_of_nnunet
from zarrfeed_convert.sources.file_discovery import fixed_part, list_stacks
from zarrfeed_convert.sources.file_pairs import Pair, pair_stacks, slice_keys
from zarrfeed_convert.sources.option_checks import masks_given
from zarrfeed_convert.sources.read_errors import (
    naming_errors,
    place_and_reason,
    require_any,
    source_errors,
)
from zarrfeed_convert.sources.rescale import common_dtype
from zarrfeed_convert.sources.stacks.cases import Case, case_of
from zarrfeed_convert.sources.stacks.volumes import VOLUMES, Volume, VolumeReader, measure_volume
from zarrfeed_convert.sources.value_options import ValueOptions
from zarrfeed_convert.sources.values import fitted, packed_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.labels import Labels
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.sources.axes import Axes


@source_errors
class NiftiVolumes(Source):
    """NIfTI volumes, with label volumes or alone: a sample per slice.

    Slices are arrays as nibabel gives them: of ``volume[:, :, z]``, rows are x and columns y.
    Intensities that the file scales become float32; but where slope and intercept are whole
    numbers, the smallest signed integers that hold whatever the stored ones may mean, if 32 bits
    do. Volumes of several dtypes become the smallest that holds all of them; scaled integers beside
    float32 become float32. Volumes of .nii.gz are decompressed once, to the folder for temporary
    files (TMPDIR): it needs room for all of them.

    Parameters
    ----------
    images, masks
        A volume (.nii, .nii.gz), a folder of volumes, or a glob. Volumes pair by name, without the
        extension; a single volume and a single label volume pair whatever their names. The fourth
        axis of a volume is its channels. If `masks` is left out or ``none``, images are packed
        alone.
    axis
        The axis to slice along: 0, 1 or 2.
    image_suffix, mask_suffix
        What names have after the part that image and labels share: _0000 in nnU-Net's imagesTr.
        With several image suffixes, such as _0000,_0001 or _flair,_t1,_t1ce,_t2, each volume is a
        channel.
    canonical
        Reorient volumes to RAS first, so that axis 2 is axial in all of them.
    ignore_affine
        Accept labels whose affine differs from the image's.
    skip_empty
        Leave out slices whose mask is 0 everywhere.
    color
        auto keeps the channels that the volumes have; grey, rgb, rgba convert.
    mask_map
        What label values mean, like 2=1 or '4=3,*=0'.
    limits
        What files may claim, and name besides themselves; see :class:`zarrfeed_convert.Limits`.

    Attributes
    ----------
    classes, ignore
        Those of a ``dataset.json`` (nnU-Net, Decathlon) in the folder of masks or beside it; None
        if there is no such file, or a mask map.
    left_out
        Volumes without labels of the same shape and position, labels without a volume, and
        unreadable files, as (path, reason).

    Raises
    ------
    SourceError
        No volume is found, or none has labels of the same shape and position.

    Examples
    --------
    >>> spleen = NiftiVolumes("Task09/imagesTr", "Task09/labelsTr")  # doctest: +SKIP
    """

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str] = "",
        *,
        axis: int = 2,
        image_suffix: str = "",
        mask_suffix: str = "",
        canonical: bool = False,
        ignore_affine: bool = False,
        skip_empty: bool = False,
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        if axis not in (0, 1, 2):
            raise SourceError(f"option axis: needed 0, 1 or 2, found {axis}; choose one of these")
        self._axis, self._canonical = axis, canonical
        self._ignore_affine, self._skip_empty = ignore_affine, skip_empty
        self._options = ValueOptions.of(color, mask_map)
        where = os.fspath(masks)
        labelled = masks_given(
            where, mask_suffix=mask_suffix, mask_map=mask_map, skip_empty=skip_empty
        )
        self.fields = PAIR if labelled else IMAGES_ONLY
        named = _named(Path(where)) if labelled and not str(self._options.mask_map) else None
        self.classes: tuple[str, ...] | None = named.classes if named else None
        self.ignore: int | None = named.ignore if named else None
        found = pair_stacks(
            list_stacks(os.fspath(images), what="images", extensions=VOLUMES),
            list_stacks(where, what="masks", extensions=VOLUMES) if labelled else None,
            image_suffixes=image_suffix.split(","),
            mask_suffix=mask_suffix,
        )
        self._reader = VolumeReader([path for pair in found.pairs for path in pair.files])
        self._limits = limits or Limits()
        self._cases: list[Case] = []
        self._places: list[tuple[int, int]] = []
        self._keys: list[str] = []
        self._empty, left_out = 0, list(found.left_out)
        for pair in found.pairs:
            try:
                self._add(self._measured(pair))
            except SourceError as error:
                left_out.append(place_and_reason(error, pair.files))
        require_any(self._places, left_out)
        self.left_out = tuple(left_out)
        self._left_aside = found.left_aside
        self._common = common_dtype(
            (image.stored, image.dtype) for case in self._cases for image in case.images
        )

    @property
    def keys(self) -> Sequence[str]:
        """A volume's name, and the number of the slice in it, from 0."""
        return self._keys

    def describe(self) -> JSON:
        """Return the location and the options of the volumes, as JSON."""
        images, masks = self._left_aside
        return {
            "kind": "nifti",
            **self.arguments,
            **self._options.describe(),
            "facts": {
                "volumes": len(self._cases),
                "empty_slices_left_out": self._empty,
                "left_aside": {"images": images, "masks": masks},
            },
        }

    def names(self, sample: int) -> tuple[str, ...]:
        """Name the files, each with the slice, like ``scan.nii.gz[z=12]``."""
        case, number = self._locate(sample)
        return tuple(
            self._named(volume, number) for volume in (case.images[0], case.labels) if volume
        )

    def probe(self, sample: int) -> Header:
        """Return the header of a slice, by the headers of its volumes."""
        case, _ = self._locate(sample)
        channels = self._options.channels(case.channels, name=case.images[0].path)
        dtype = packed_dtype(self._common, case.images[0].path)
        mask = None
        if case.labels:
            mask = self._options.mask_shape(case.size, case.labels.channels)
        return Header.of_pair((*case.size, channels), dtype, mask)

    def read(self, sample: int) -> tuple[NDArray[Any], ...]:
        """Read a slice of a volume, and of its labels."""
        case, number = self._locate(sample)
        name = self._named(case.images[0], number)
        parts = []
        for volume, axes in zip(case.images, case.axes, strict=False):
            about = name if volume is case.images[0] else f"{name}: {volume.path}"
            with naming_errors(about):
                values = self._slice(volume, axes, number, about)
            parts.append(fitted(values, volume.dtype, about).astype(self._common, copy=False))
        values = parts[0] if len(parts) == 1 else np.stack(parts, axis=2)
        image = self._options.image(values, name=name)
        return (image, self._mask(case, number)) if case.labels else (image,)

    def read_mask(self, sample: int) -> Mask:
        """Read a slice of a label volume."""
        return self._mask(*self._locate(sample))

    def _locate(self, sample: int) -> tuple[Case, int]:
        case, number = self._places[sample]
        return self._cases[case], number

    def _named(self, volume: Volume, number: int) -> str:
        return f"{volume.path}[{'xyz'[self.arguments['axis']]}={number}]"

    def _mask(self, case: Case, number: int) -> Mask:
        assert case.labels
        name = self._named(case.labels, number)
        with naming_errors(name):
            values = self._slice(case.labels, case.axes[-1], number, name)
        return self._options.mask(values, name=name)

    def _slice(self, volume: Volume, axes: Axes, number: int, name: str) -> NDArray[Any]:
        try:
            return axes.arrange(self._reader.read(volume, axes.index(number)[:3]))
        except SourceError as error:  # it names the file, not the slice
            raise SourceError(f"{name}: {str(error).removeprefix(f'{volume.path}: ')}") from error

    def _add(self, case: Case) -> None:
        """Add the slices of a case, without the empty ones if `skip_empty` is set."""
        numbers = list(range(case.count))
        if self._skip_empty:
            numbers = [number for number in numbers if self._mask(case, number).any()]
        self._empty += case.count - len(numbers)
        self._places += [(len(self._cases), number) for number in numbers]
        self._keys += slice_keys(case.key, numbers, case.count)
        self._cases.append(case)

    def _measured(self, pair: Pair) -> Case:
        volumes = []
        for path in pair.files:
            with naming_errors(path):
                volumes.append(measure_volume(path))
        case = case_of(
            pair.key,
            volumes[: len(pair.images)],
            volumes[-1] if pair.mask else None,
            axis=self._axis,
            canonical=self._canonical,
            ignore_affine=self._ignore_affine,
            one_hot=self._options.mask_map.by_channel,
        )
        self._limits.require((*case.size, case.channels), case.images[0].dtype, pair.images[0],
                             "a slice")  # fmt: skip
        self._limits.require_count(case.count, pair.images[0], "slices")
        return case


def _named(masks: Path) -> Labels | None:
    """Read the classes from the ``dataset.json`` of a dataset."""
    folder = masks if masks.is_dir() else Path(fixed_part(str(masks)))
    named = (classes_of_nnunet(where / "dataset.json") for where in (folder, folder.parent))
    return next(filter(None, named), None)
