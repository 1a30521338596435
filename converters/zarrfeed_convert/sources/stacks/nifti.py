"""Which NIfTI files are images, and which are their labels?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.sources.read_errors import source_errors
from zarrfeed_convert.sources.stacks.nifti_file import EXTENSIONS, VolumeReader
from zarrfeed_convert.sources.stacks.volume_folders import VolumeFolders
from zarrfeed_convert.sources.stacks.volume_pairs import Cut
from zarrfeed_convert.sources.value_options import ValueOptions
from zarrfeed_convert.sources.volume_options import (
    VOLUMES,
    WARN,
    require_axis,
    require_volume_options,
)

if TYPE_CHECKING:
    import os

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.sources.volume_options import Agreement, Arrangement


@source_errors
class NiftiVolumes(VolumeFolders):
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

    kind = "nifti"
    extensions = EXTENSIONS

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
        limits = limits or Limits()
        self._open_folders(
            images,
            masks,
            suffixes=(image_suffix, mask_suffix),
            cut=cut,
            options=options,
            skip_empty=skip_empty,
            limits=limits,
            files_of=lambda paths: VolumeReader(
                paths, in_memory=limits.sample_nbytes if as_ == VOLUMES else 0
            ),
        )
