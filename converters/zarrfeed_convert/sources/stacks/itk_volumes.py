"""Which files that SimpleITK reads are images, and which are their labels?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.sources.read_errors import source_errors
from zarrfeed_convert.sources.stacks.itk_files import EXTENSIONS, ItkFiles
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
class ItkVolumes(VolumeFolders):
    """NRRD, MetaImage and others that SimpleITK reads, with labels or alone, as slices or volumes.

    Files are NRRD (.nrrd, .nhdr), MetaImage (.mha, .mhd), GIPL (.gipl, .gipl.gz), Analyze (.hdr
    beside .img), legacy VTK (.vtk, structured points) and MRC (.mrc, .rec). NIfTI and DICOM have
    formats of their own, nifti and dicom; MINC is not read. Values keep their dtype. Arrays are
    those of SimpleITK's GetArrayFromImage: volumes (z, y, x), and slices along z (y, x), which is
    transposed from the slices of the format nifti. Voxels with several values have channels. A
    header may name other files of voxels inside its folder, and with --allow-external elsewhere.
    Of MetaImage without compression, parts are read. All else is decoded as a whole, and must not
    exceed the limit of a sample (--max-sample-size): to memory, case by case; where samples are
    slices, once to the folder for temporary files (TMPDIR), which needs room for all volumes.

    Parameters
    ----------
    images, masks
        A volume, a folder of volumes, or a glob. Volumes pair by name, without the extension; a
        single volume and a single label volume pair whatever their names. If `masks` is left out
        or ``none``, images are packed alone.
    axis
        The axis to slice along: 0, 1 or 2 for x, y or z as stored. Volumes are not sliced.
    image_suffix, mask_suffix
        What names have after the part that image and labels share, such as _ct and _seg. With
        several image suffixes, such as _t1,_t2, each volume is a channel.
    skip_empty
        Leave out samples, slices or volumes, whose mask is 0 everywhere.
    as_
        What a sample is: ``slices`` or ``volumes``.
    geometry
        What to do with labels, and channels, that are elsewhere: whose corners are more than 0.1
        voxels from those of the image, or whose spacing differs by more than 1 %. ``strict``
        refuses them; ``warn`` pairs their voxels by index, and reports it. Shapes must agree in any
        case. Labels of volumes that are stored in another orientation, at the same position, are
        turned to that of the image.
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
        In what names of pairs differ; how many files are elsewhere, if `geometry` accepts them; how
        many say no orientation.

    Raises
    ------
    SourceError
        No volume is found, or none has labels of the same shape and position.

    Examples
    --------
    >>> knees = ItkVolumes("knee/images", "knee/labels", as_="volumes")  # doctest: +SKIP
    """

    kind = "itk"
    extensions = EXTENSIONS
    _unoriented = (
        "no orientation in their header, of which the first is {}: their distances of voxels are "
        "known, their orientation is a guess of SimpleITK; write it into the files if models "
        "depend on it"
    )

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str] = "",
        *,
        axis: int = 2,
        image_suffix: str = "",
        mask_suffix: str = "",
        skip_empty: bool = False,
        as_: Arrangement = "slices",
        geometry: Agreement = "strict",
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        require_volume_options(as_=as_, geometry=geometry)
        require_axis(axis, as_)
        options = ValueOptions.of(color, mask_map)
        sliced, limits = as_ != VOLUMES, limits or Limits()
        self._open_folders(
            images,
            masks,
            suffixes=(image_suffix, mask_suffix),
            cut=Cut(
                axis if sliced else None,
                warn=geometry == WARN,
                one_hot=options.mask_map.by_channel,
            ),
            options=options,
            skip_empty=skip_empty,
            limits=limits,
            files_of=lambda _: ItkFiles(limits, slices=sliced),
        )
