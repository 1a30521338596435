"""Which NIfTI files are images, and which are their labels?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.source import IMAGES_ONLY, PAIR
from zarrfeed_convert.sources.class_files import classes_of_nnunet
from zarrfeed_convert.sources.file_discovery import fixed_part, list_stacks
from zarrfeed_convert.sources.file_pairs import pair_stacks
from zarrfeed_convert.sources.name_differences import remarks_on_names
from zarrfeed_convert.sources.option_checks import masks_given
from zarrfeed_convert.sources.read_errors import source_errors
from zarrfeed_convert.sources.stacks.nifti_file import EXTENSIONS, VolumeReader
from zarrfeed_convert.sources.stacks.volume_cases import VolumeCases
from zarrfeed_convert.sources.stacks.volume_pairs import Cut
from zarrfeed_convert.sources.value_options import ValueOptions
from zarrfeed_convert.sources.volume_options import (
    VOLUMES,
    WARN,
    require_axis,
    require_volume_options,
)

if TYPE_CHECKING:
    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.labels import Labels
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON
    from zarrfeed_convert.sources.volume_options import Agreement, Arrangement


@source_errors
class NiftiVolumes(VolumeCases):
    """NIfTI volumes, with label volumes or alone: a sample per slice, or per volume.

    Slices are arrays as nibabel gives them: of ``volume[:, :, z]``, rows are x and columns y.
    Volumes are arrays (z, y, x), as SimpleITK's GetArrayFromImage gives them. Intensities that the
    file scales become float32; but where slope and intercept are whole numbers, the smallest signed
    integers that hold whatever the stored ones may mean, if 32 bits do. Volumes of several dtypes
    become the smallest that holds all of them; scaled integers beside float32 become float32.
    Files of .nii.gz are decompressed to memory, case by case; where samples are slices, or a case
    has more than 1 GiB, once to the folder for temporary files (TMPDIR): it needs room for them.

    Parameters
    ----------
    images, masks
        A volume (.nii, .nii.gz), a folder of volumes, or a glob. Volumes pair by name, without the
        extension; a single volume and a single label volume pair whatever their names. The fourth
        axis of a volume is its channels. If `masks` is left out or ``none``, images are packed
        alone.
    axis
        The axis to slice along: 0, 1 or 2. Volumes are not sliced.
    image_suffix, mask_suffix
        What names have after the part that image and labels share: _0000 in nnU-Net's imagesTr.
        With several image suffixes, such as _0000,_0001 or _flair,_t1,_t1ce,_t2, each volume is a
        channel.
    canonical
        Reorient volumes to RAS before they are sliced, so that axis 2 is axial in all of them;
        where samples are volumes, use ``--orient RAS``.
    ignore_affine
        The same as geometry=warn.
    skip_empty
        Leave out samples, slices or volumes, whose mask is 0 everywhere.
    as_
        What a sample is: ``slices`` or ``volumes``.
    geometry
        What to do with labels, and channels, that are elsewhere: whose corners by the affine are
        more than 0.1 voxels from those of the image, or whose spacing differs by more than 1 %.
        ``strict`` refuses them; ``warn`` pairs their voxels by index, and reports it. Shapes must
        agree in any case. Labels of volumes that are stored in another orientation, at the same
        position, are turned to that of the image.
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
    remarks
        In what names of pairs differ; how many files are elsewhere, if `geometry` accepts them.

    Raises
    ------
    SourceError
        No volume is found, or none has labels of the same shape and position.

    Examples
    --------
    >>> spleen = NiftiVolumes("ct/images", "ct/labels", as_="volumes")  # doctest: +SKIP
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
        as_: Arrangement = "slices",
        geometry: Agreement = "strict",
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        require_volume_options(as_=as_, geometry=geometry)
        require_axis(axis, as_)
        if canonical and as_ == VOLUMES:
            raise SourceError(
                "option canonical: needed none with --as volumes, found yes; use --orient RAS "
                "instead"
            )
        options = ValueOptions.of(color, mask_map)
        cut = Cut(
            None if as_ == VOLUMES else axis,
            canonical,
            ignore_affine or geometry == WARN,
            options.mask_map.by_channel,
        )
        where = os.fspath(masks)
        labelled = masks_given(
            where, mask_suffix=mask_suffix, mask_map=mask_map, skip_empty=skip_empty
        )
        self.fields = PAIR if labelled else IMAGES_ONLY
        named = _named(Path(where)) if labelled and not str(options.mask_map) else None
        self.classes: tuple[str, ...] | None = named.classes if named else None
        self.ignore: int | None = named.ignore if named else None
        found = pair_stacks(
            list_stacks(os.fspath(images), what="images", extensions=EXTENSIONS),
            list_stacks(where, what="masks", extensions=EXTENSIONS) if labelled else None,
            image_suffixes=image_suffix.split(","),
            mask_suffix=mask_suffix,
        )
        self._left_aside = found.left_aside
        self.remarks = remarks_on_names(found.partners, os.fspath(images), where)
        limits = limits or Limits()
        files = VolumeReader(
            [path for pair in found.pairs for path in pair.files],
            in_memory=limits.sample_nbytes if as_ == VOLUMES else 0,
        )
        self._open(found, files, cut, options, skip_empty=skip_empty, limits=limits)

    def describe(self) -> JSON:
        """Return the location and the options of the volumes, as JSON."""
        images, masks = self._left_aside
        return {
            "kind": "nifti",
            **self.arguments,
            **self._options.describe(),
            "facts": {**self._facts(), "left_aside": {"images": images, "masks": masks}},
        }


def _named(masks: Path) -> Labels | None:
    """Read the classes from the ``dataset.json`` of a dataset."""
    folder = masks if masks.is_dir() else Path(fixed_part(str(masks)))
    named = (classes_of_nnunet(where / "dataset.json") for where in (folder, folder.parent))
    return next(filter(None, named), None)
