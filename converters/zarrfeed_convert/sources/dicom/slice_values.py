"""How do slices and their labels become images and masks, one by one or as a volume?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zarrfeed_convert.header import Header
from zarrfeed_convert.sources.read_errors import naming_errors
from zarrfeed_convert.sources.values import fitted, packed_dtype, stacked

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from zarrfeed_convert.source import Image, Mask, Window
    from zarrfeed_convert.sources.dicom.frames import FrameReader
    from zarrfeed_convert.sources.dicom.labels import SliceLabels
    from zarrfeed_convert.sources.dicom.slices import Series, Slice
    from zarrfeed_convert.sources.stacks.nifti_file import VolumeReader
    from zarrfeed_convert.sources.value_options import ValueOptions


@dataclass(frozen=True, slots=True)
class SliceValues:
    """Decodes slices and their labels. Picklable.

    Attributes
    ----------
    frames, volumes
        What decodes frames of DICOM files and parts of label volumes.
    options
        The options of every format.
    rescale
        Whether slope and intercept are applied.
    """

    frames: FrameReader
    volumes: VolumeReader
    options: ValueOptions
    rescale: bool

    def header(self, one: Slice, common: np.dtype[Any], *, has_mask: bool) -> Header:
        """Return the header of a slice; `common` is the dtype for the values of all slices."""
        shape = (*one.size, self.options.channels(one.channels, name=one.name))
        mask, nodata = one.size if has_mask else None, one.padding_shown(rescale=self.rescale)
        return Header.of_pair(shape, packed_dtype(common, one.name), mask, nodata=nodata)

    def image(self, one: Slice, common: np.dtype[Any], within: tuple[slice, ...] = ()) -> Image:
        """Decode a slice, (H, W, C), or its rows and columns `within`."""
        with naming_errors(one.name):
            values = self.frames.read_slice(one, rescale=self.rescale, within=within)
        values = fitted(values, one.packed(rescale=self.rescale), one.name)
        return self.options.image(values.astype(common, copy=False), name=one.name)

    def mask(self, one: Slice, number: int, labels: SliceLabels) -> tuple[Mask, int]:
        """Decode the labels of a slice, (H, W), and count the pixels that have several.

        Parameters
        ----------
        one, number
            The slice, and its number in the series.
        labels
            The labels of the series.
        """
        name = labels.name(number)
        with naming_errors(name):
            ids, overlapping = labels.read(number, one.size, self.frames, self.volumes)
        return self.options.mask(ids, name=name), overlapping

    def volume_header(self, series: Series, common: np.dtype[Any], *, has_mask: bool) -> Header:
        """Return the header of a volume by those of its slices, which are alike."""
        first, *others = series.slices
        said, depth = self.header(first, common, has_mask=False), len(series.slices)
        nodata = {*said.nodata}.union(*(one.padding_shown(rescale=self.rescale) for one in others))
        return Header.of_pair(
            (depth, *said.image.shape),
            said.dtype,
            (depth, *said.size) if has_mask else None,
            nodata=tuple(sorted(nodata)),
            affine=series.affine,
        )

    def volume(self, series: Series, window: Window, common: np.dtype[Any]) -> Image:
        """Decode a part of a volume, (D, H, W, C), slice by slice."""
        depth, *within = window
        slices = series.slices[depth]
        return stacked((self.image(one, common, tuple(within)) for one in slices), len(slices))

    def volume_mask(self, series: Series, labels: SliceLabels, window: Window) -> Mask:
        """Decode a part of a volume's labels, (D, H, W), slice by slice."""
        depth, *within = window
        numbers: Sequence[int] = range(len(series.slices))[depth]
        masks = (self.mask(series.slices[number], number, labels)[0] for number in numbers)
        return stacked((mask[tuple(within)] for mask in masks), len(numbers))
