"""What samples do DICOM series hold: images, with segments or alone, slice by slice?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.source import IMAGES_ONLY, JSON, Header, Mask, Source
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
from zarrfeed_convert.sources.read_errors import (
    naming_errors,
    place_and_reason,
    require_any,
    source_errors,
)
from zarrfeed_convert.sources.stacks.volumes import VolumeReader
from zarrfeed_convert.sources.value_options import ValueOptions, masks_given, require_choice
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

    Slices are sorted by where they lie in the patient. Pixels of CT, MR, PET and other images,
    in a file each or as frames of one; uncompressed, RLE, or any JPEG. Rescaled values (Hounsfield
    units) are of the smallest signed integers that hold all that the stored bits may mean, mostly
    int16, if slope and intercept are whole numbers, else float32. Slices of several dtypes become
    the smallest that holds all of them. A SEG belongs to the series it refers to, and its frames to
    the slices; slices without a frame are background.
    NIfTI labels belong to the series of the same name, which is its folder's, or to the only one;
    their voxels are found by position.

    Parameters
    ----------
    images, masks
        A file, a folder with any number of series below it, or a glob. Both may be the same
        folder. Without `masks`, segments among the images label them; where there are none, and
        with ``none``, only images are packed.
    image_suffix, mask_suffix
        What names of series, and of NIfTI labels, have besides the one that both share: /CT of
        case1/CT, _seg of case1_seg.nii.gz.
    rescale
        Apply RescaleSlope and RescaleIntercept; no keeps stored values.
    segments
        The names of the segments that are classes 1, 2, …, like Liver,Tumor; others are
        background. By default all are classes, by their lowest segment number.
    names_from
        Where a segment's name is: label (SegmentLabel), or type (the meaning of its property
        type). Segments of one name are one class, in whichever SEG they are.
    threshold
        Of fractional segments: from which fraction on a pixel belongs to one.
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
        Background and the names of segments; None of NIfTI labels, and with a mask map.
    left_out
        Series without labels on their pixels, labels without a series, unreadable files; and why.
    remarks
        Files of an image that another file holds, too, which are passed over; and slices of one
        series at the same place, which are packed.

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
        self._common = np.result_type(
            *{
                one.packed(rescale=rescale)
                for labelled in self._labelled
                for one in labelled.series.slices
            }
        )

    @property
    def keys(self) -> Sequence[str]:
        """A series' name, and the number of the slice in it, from 0."""
        return self._keys

    def describe(self) -> JSON:
        """Describe where the series come from, as JSON."""
        return {
            "kind": "dicom",
            **self.arguments,
            **self._options.describe(),
            "facts": self._facts,
        }

    def names(self, sample: int) -> tuple[str, ...]:
        """Name the files, and the slice in those that have several."""
        one, number, labels = self._locate(sample)
        return (one.name, labels.name(number)) if labels else (one.name,)

    def probe(self, sample: int) -> Header:
        """Return what the slice's header says."""
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
        """List the samples; look only at masks that may be empty, or whose segments may overlap."""
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
