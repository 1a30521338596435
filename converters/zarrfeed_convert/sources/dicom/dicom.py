"""What samples do DICOM series hold: images, with segments or alone, slice by slice?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.header import Header
from zarrfeed_convert.source import IMAGES_ONLY, JSON, Mask, Source
from zarrfeed_convert.sources.dicom.finding import find_files
from zarrfeed_convert.sources.dicom.frames import FrameReader
from zarrfeed_convert.sources.dicom.labels import (
    Labelled,
    Labelling,
    by_segments,
    by_volumes,
)
from zarrfeed_convert.sources.dicom.segments import BACKGROUND, NAMES_FROM, ids_of_names
from zarrfeed_convert.sources.file_pairs import slice_keys
from zarrfeed_convert.sources.option_checks import masks_given, require_choice
from zarrfeed_convert.sources.read_errors import (
    naming_errors,
    place_and_reason,
    require_any,
    source_errors,
)
from zarrfeed_convert.sources.rescale import common_dtype
from zarrfeed_convert.sources.stacks.volumes import VolumeReader
from zarrfeed_convert.sources.value_options import ValueOptions
from zarrfeed_convert.sources.values import fitted, packed_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.sources.dicom.labels import SliceLabels
    from zarrfeed_convert.sources.dicom.slices import Slice


@source_errors
class DicomSeries(Source):
    """DICOM series, with segments (SEG) or NIfTI labels, or alone: a sample per slice.

    Slices are sorted by their position in the patient. Reads CT, MR, PET and other images, one per
    file or as frames of one file; uncompressed, RLE, or any JPEG. Rescaled values (Hounsfield
    units) are of the smallest signed integers that hold all that the stored bits may mean, mostly
    int16, if slope and intercept are whole numbers, else float32. Slices of several dtypes become
    the smallest that holds all of them; rescaled integers beside float32 become float32. A SEG
    belongs to the series it refers to; slices that none of its frames shows are background. NIfTI
    labels belong to the series of the same name, which is that of its folder, or to the only one;
    their voxels are found by position.

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
        Leave out slices whose mask is 0 everywhere.
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
        Copies of images, which are skipped, and slices of one series at the same position, which
        are packed.

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
        self._rescale, self._skip_empty = rescale, skip_empty
        self._options = ValueOptions.of(color, mask_map)
        self._options.require_ids("segments and labels, which are read as ids")
        limits = limits or Limits()
        where = os.fspath(masks)
        found = find_files(os.fspath(images), where, names_from, limits=limits)
        self._frames = FrameReader(limits)
        self._volumes = VolumeReader(list(found.volumes))
        self.classes: tuple[str, ...] | None = None
        if found.segmentations:
            wanted = [name.strip() for name in segments.split(",") if name.strip()]
            ids = ids_of_names(found.segmentations, wanted)
            if not str(self._options.describe()["mask_map"]):
                self.classes = (BACKGROUND, *ids)
            labelled = by_segments(found.series, found.segmentations, ids, threshold)
        elif masks_given(where, mask_suffix=mask_suffix, mask_map=mask_map, segments=segments,
                       skip_empty=skip_empty):  # fmt: skip
            labelled = by_volumes(
                found.series, found.volumes, image_suffix=image_suffix, mask_suffix=mask_suffix
            )
        else:
            self.fields = IMAGES_ONLY
            labelled = Labelling([Labelled(one) for one in found.series])
        self._labelled = labelled.series
        self.left_out = (*found.left_out, *labelled.left_out)
        self.remarks = tuple(found.remarks)
        self._facts = {"ignored_files": found.ignored, **labelled.facts}
        self._places: list[tuple[int, int]] = []
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
        """The name of the series and the number of the slice, from 0."""
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
        """Name the files, with the frame if a file has several."""
        one, number, labels = self._locate(sample)
        return (one.name, labels.name(number)) if labels else (one.name,)

    def probe(self, sample: int) -> Header:
        """Return the header of a slice."""
        one, _, labels = self._locate(sample)
        channels = self._options.channels(one.channels, name=one.name)
        dtype = packed_dtype(self._common, one.name)
        mask, nodata = one.size if labels else None, one.padding_shown(rescale=self._rescale)
        return Header.of_pair((*one.size, channels), dtype, mask, nodata=nodata)

    def read(self, sample: int) -> tuple[NDArray[Any], ...]:
        """Decode a slice, and its labels."""
        one, number, labels = self._locate(sample)
        with naming_errors(one.name):
            values = self._frames.read_slice(one, rescale=self._rescale)
        values = fitted(values, one.packed(rescale=self._rescale), one.name)
        image = self._options.image(values.astype(self._common, copy=False), name=one.name)
        return (image, self._mask(one, number, labels)[0]) if labels else (image,)

    def read_mask(self, sample: int) -> Mask:
        """Decode a slice's labels."""
        one, number, labels = self._locate(sample)
        assert labels
        return self._mask(one, number, labels)[0]

    def _locate(self, sample: int) -> tuple[Slice, int, SliceLabels | None]:
        place, number = self._places[sample]
        found = self._labelled[place]
        return found.series.slices[number], number, found.labels

    def _mask(self, one: Slice, number: int, labels: SliceLabels) -> tuple[Mask, int]:
        name = labels.name(number)
        with naming_errors(name):
            ids, overlapping = labels.read(number, one.size, self._frames, self._volumes)
        return self._options.mask(ids, name=name), overlapping

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
                    mask, pixels = self._mask(one, number, labels)
                    overlapping += pixels
                    if mask.any() or not skip_empty:
                        numbers.append(number)
                    else:
                        empty += 1
            except SourceError as error:
                left_out.append(place_and_reason(error, [series.place]))
                continue
            self._places += [(place, number) for number in numbers]
            self._keys += slice_keys(series.key, numbers, len(series.slices))
        self.left_out = tuple(left_out)
        self._facts |= {
            "series": len({place for place, _ in self._places}),
            "empty_slices_left_out": empty,
            "overlapping_pixels": overlapping,
        }
