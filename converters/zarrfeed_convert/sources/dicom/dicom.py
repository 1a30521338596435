"""What samples do DICOM series hold: slices or volumes, with segments or labels, or alone?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.source import IMAGES_ONLY, JSON, Mask, Source, whole_window
from zarrfeed_convert.sources.dicom.finding import find_files, remark_same_places
from zarrfeed_convert.sources.dicom.frames import FrameReader
from zarrfeed_convert.sources.dicom.labelling import (
    as_they_are,
    by_segments,
    by_volumes,
    without_labels,
)
from zarrfeed_convert.sources.dicom.segments import BACKGROUND, NAMES_FROM, ids_of_names
from zarrfeed_convert.sources.dicom.slice_values import SliceValues
from zarrfeed_convert.sources.dicom.stacking import Stacker
from zarrfeed_convert.sources.file_pairs import slice_keys
from zarrfeed_convert.sources.option_checks import masks_given, require_choice
from zarrfeed_convert.sources.read_errors import place_and_reason, require_any, source_errors
from zarrfeed_convert.sources.rescale import common_dtype
from zarrfeed_convert.sources.stacks.nifti_file import VolumeReader
from zarrfeed_convert.sources.value_options import ValueOptions
from zarrfeed_convert.sources.volume_options import VOLUMES, WARN, require_volume_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.header import Header
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import Window
    from zarrfeed_convert.sources.dicom.labelling import Labelled
    from zarrfeed_convert.sources.dicom.labels import SliceLabels
    from zarrfeed_convert.sources.dicom.slices import Slice
    from zarrfeed_convert.sources.volume_options import Agreement, Arrangement


@source_errors
class DicomSeries(Source):
    """DICOM series, with segments (SEG) or NIfTI labels, or alone: a sample per slice or series.

    Slices are sorted by their position in the patient. Reads CT, MR, PET and other images, one per
    file or as frames of one file; uncompressed, RLE, or any JPEG. Rescaled values (Hounsfield
    units) are of the smallest signed integers that hold all that the stored bits may mean, mostly
    int16, if slope and intercept are whole numbers, else float32. Slices of several dtypes become
    the smallest that holds all of them; rescaled integers beside float32 become float32. A SEG
    belongs to the series it refers to; slices that none of its frames shows are background. NIfTI
    labels belong to the series of the same name, which is that of its folder, or to the only one;
    their voxels are found by position.

    A volume (D, H, W, C) is the array that SimpleITK reads: its axes are the slices along their
    normal (ImageOrientationPatient), rows and columns. Its affine says where voxels are, from the
    positions of slices, not their thickness. A single slice is a volume if SpacingBetweenSlices or
    SliceThickness say how thick; without them it has no affine. Only the slices of a window are
    decoded.

    Parameters
    ----------
    images, masks
        A file, a folder with any number of series below it, or a glob. Both may be the same
        folder. If `masks` is left out, SEG objects among the images are the masks. Without these,
        and if `masks` is ``none``, images are packed alone.
    image_suffix, mask_suffix
        What names of series and of NIfTI labels have after the part that both share: /CT in
        case1/CT, _seg in case1_seg.nii.gz.
    rescale
        Apply RescaleSlope and RescaleIntercept; no keeps the stored values.
    segments
        Names of the segments that become the classes 1, 2, …, like Liver,Tumor; others become
        background. By default all do, in the order of their lowest segment number.
    names_from
        What names a segment: label (SegmentLabel) or type (the meaning of its property type).
        Segments of the same name are one class, in all SEG objects.
    threshold
        The fraction from which on a pixel belongs to a fractional segment.
    skip_empty
        Leave out samples whose mask is 0 everywhere.
    as_
        Pack ``slices``, or series as ``volumes``.
    geometry
        ``strict`` leaves out a series that is no regular stack: localizers, slices at an unknown or
        the same position, of another size, PixelSpacing or ImageOrientationPatient (pixels a tenth
        of a pixel apart), or of another kind of numbers; slices beside their normal by a tenth of a
        pixel (gantry tilt), or off an even distance by a tenth of it (missing slices). ``warn``
        makes the nearest volume of it, and a remark says so.
    color
        auto keeps the channels that the images have; grey, rgb, rgba convert.
    mask_map
        What mask values mean, like 2=1 or '4=3,*=0'.
    limits
        What files may claim, and name besides themselves; see :class:`zarrfeed_convert.Limits`.

    Attributes
    ----------
    classes
        Background and the names of segments; None for NIfTI labels, and with a mask map.
    left_out
        Series without labels on their pixels, labels without a series, and unreadable files, as
        (path, reason).
    remarks
        Copies of images, which are skipped; slices of one series at the same position, which are
        packed; and irregular series that became volumes.

    Raises
    ------
    SourceError
        There is no DICOM image, or no series has labels on its pixels.

    Examples
    --------
    >>> liver = DicomSeries("tcia/", "tcia/", segments="Liver,Tumor")  # doctest: +SKIP
    """

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str] = "",
        *,
        image_suffix: str = "",
        mask_suffix: str = "",
        rescale: bool = True,
        segments: str = "",
        names_from: str = "label",
        threshold: float = 0.5,
        skip_empty: bool = False,
        as_: Arrangement = "slices",
        geometry: Agreement = "strict",
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        require_choice("names_from", names_from, NAMES_FROM)
        if not 0 < threshold <= 1:
            raise SourceError(
                f"option threshold: needed a fraction above 0, found {threshold}; give one "
                "up to 1, like 0.5"
            )
        require_volume_options(as_=as_, geometry=geometry)
        self._as, self._skip_empty = as_, skip_empty
        self._options = ValueOptions.of(color, mask_map)
        self._options.require_ids("segments and labels, which are read as ids")
        self._limits = limits = limits or Limits()
        where = os.fspath(masks)
        found = find_files(os.fspath(images), where, names_from, limits=limits)
        self._values = SliceValues(
            FrameReader(limits), VolumeReader(list(found.volumes)), self._options, rescale
        )
        stacker = Stacker(strict=geometry != WARN)
        if as_ == VOLUMES:
            arrange = stacker.stack
        else:
            arrange = as_they_are
            remark_same_places(found)
        self.classes: tuple[str, ...] | None = None
        if found.segmentations:
            wanted = [name.strip() for name in segments.split(",") if name.strip()]
            ids = ids_of_names(found.segmentations, wanted)
            if not str(self._options.describe()["mask_map"]):
                self.classes = (BACKGROUND, *ids)
            labelled = by_segments(
                found.series, found.segmentations, ids, threshold, arrange=arrange
            )
        elif masks_given(where, mask_suffix=mask_suffix, mask_map=mask_map, segments=segments,
                       skip_empty=skip_empty):  # fmt: skip
            labelled = by_volumes(found.series, found.volumes, image_suffix=image_suffix,
                                  mask_suffix=mask_suffix, arrange=arrange)  # fmt: skip
        else:
            self.fields = IMAGES_ONLY
            labelled = without_labels(found.series, arrange=arrange)
        self._labelled = labelled.series
        self.left_out = (*found.left_out, *labelled.left_out)
        self.remarks = (*found.remarks, *stacker.remarks)
        self._facts = {"ignored_files": found.ignored, **labelled.facts}
        self._places: list[tuple[int, int]] = []  # of a series, and of its slice unless whole
        self._keys: list[str] = []
        self._look_at_masks()
        require_any(self._places, self.left_out)
        self._common = common_dtype(
            (one.stored, one.packed(rescale=rescale))
            for labelled in self._labelled
            for one in labelled.series.slices
        )

    @property
    def keys(self) -> Sequence[str]:
        """The name of the series; of a slice with its number, from 0."""
        return self._keys

    def describe(self) -> JSON:
        """Return the location and the options of the series, as JSON."""
        return {
            "kind": "dicom",
            **self.arguments,
            **self._options.describe(),
            "facts": self._facts,
        }

    def names(self, sample: int) -> tuple[str, ...]:
        """Name the files, with the frame if a file has several; of a volume its place."""
        if self._as == VOLUMES:
            found = self._volume(sample)
            place, labels = found.series.place, found.labels
            return (place, labels.path) if labels else (place,)
        one, number, labels = self._slice(sample)
        return (one.name, labels.name(number)) if labels else (one.name,)

    def probe(self, sample: int) -> Header:
        """Return the header of a slice, or of a volume by those of its slices."""
        if self._as == VOLUMES:
            found = self._volume(sample)
            has_mask = found.labels is not None
            return self._values.volume_header(found.series, self._common, has_mask=has_mask)
        one, _, labels = self._slice(sample)
        return self._values.header(one, self._common, has_mask=labels is not None)

    def read(self, sample: int) -> tuple[NDArray[Any], ...]:
        """Decode a slice or a volume, and its labels."""
        if self._as == VOLUMES:
            header = self.probe(sample)
            self.require_whole(sample, header)
            return self.read_window(sample, whole_window(header.size))
        one, number, labels = self._slice(sample)
        image = self._values.image(one, self._common)
        return (image, self._values.mask(one, number, labels)[0]) if labels else (image,)

    def require_whole(self, sample: int, header: Header) -> None:
        """Refuse a volume that is too large to be decoded as a whole."""
        if self._as == VOLUMES:
            name = self.names(sample)[0]
            self._limits.require(header.image.shape, header.dtype, name, "a volume")

    def reads_windows(self, sample: int) -> bool:  # noqa: ARG002 (alike for all)
        """Return whether samples are volumes, of which the slices of a window are decoded alone."""
        return self._as == VOLUMES

    def decoded_together(self, sample: int) -> tuple[int, ...]:
        """Return the size of a slice."""
        return (1, *self.probe(sample).size[1:]) if self._as == VOLUMES else ()

    def read_window(self, sample: int, window: Window) -> tuple[NDArray[Any], ...]:
        """Decode the slices of a window of a volume, and their labels."""
        if self._as != VOLUMES:
            return super().read_window(sample, window)
        found = self._volume(sample)
        image = self._values.volume(found.series, window, self._common)
        return (image, self.read_mask_window(sample, window)) if found.labels else (image,)

    def read_mask_window(self, sample: int, window: Window) -> Mask:
        """Decode the labels of a window of a volume alone."""
        if self._as != VOLUMES:
            return super().read_mask_window(sample, window)
        found = self._volume(sample)
        assert found.labels
        return self._values.volume_mask(found.series, found.labels, window)

    def read_mask(self, sample: int) -> Mask:
        """Decode the labels of a slice or a volume alone."""
        if self._as == VOLUMES:
            return self.read_mask_window(sample, whole_window(self.probe(sample).size))
        one, number, labels = self._slice(sample)
        assert labels
        return self._values.mask(one, number, labels)[0]

    def _volume(self, sample: int) -> Labelled:
        return self._labelled[self._places[sample][0]]

    def _slice(self, sample: int) -> tuple[Slice, int, SliceLabels | None]:
        place, number = self._places[sample]
        found = self._labelled[place]
        return found.series.slices[number], number, found.labels

    def _look_at_masks(self) -> None:
        """List the samples; read only masks that may be empty or have overlapping segments."""
        skip_empty, empty, overlapping = self._skip_empty, 0, 0
        left_out = list(self.left_out)
        for place, labelled in enumerate(self._labelled):
            series, labels, numbers = labelled.series, labelled.labels, list[int]()
            try:
                for number, one in enumerate(series.slices):
                    if labels is None or not (skip_empty or labels.may_overlap(number)):
                        numbers.append(number)
                        continue
                    mask, pixels = self._values.mask(one, number, labels)
                    overlapping += pixels
                    if mask.any() or not skip_empty:
                        numbers.append(number)
            except SourceError as error:
                left_out.append(place_and_reason(error, [series.place]))
                continue
            if self._as == VOLUMES:
                empty += not numbers
                self._places += [(place, 0)][: len(numbers)]
                self._keys += [series.key][: len(numbers)]
            else:
                empty += len(series.slices) - len(numbers)
                self._places += [(place, number) for number in numbers]
                self._keys += slice_keys(series.key, numbers, len(series.slices))
        self.left_out = tuple(left_out)
        self._facts |= {
            "series": len({place for place, _ in self._places}),
            f"empty_{self._as}_left_out": empty,
            "overlapping_pixels": overlapping,
        }
