"""What do decoded values mean, whichever format they come from?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed_convert.decoding.pixels import CHANNELS, Pixels, as_image, shown_channels
from zarrfeed_convert.mask_ids import mask_ids
from zarrfeed_convert.mask_map import MaskMap, parse_mask_map
from zarrfeed_convert.sources.values import ids_of_one_hot, packed_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.source import JSON, Image, Mask


@dataclass(frozen=True, slots=True)
class Meaning:
    """How decoded values become images and masks: the two options that every source has.

    Attributes
    ----------
    color
        ``auto`` keeps the channels that images have; ``grey``, ``rgb``, ``rgba`` convert.
    mask_map
        What mask values mean; see :func:`zarrfeed_convert.mask_map.parse_mask_map`.
    """

    color: Color
    mask_map: MaskMap

    @classmethod
    def of(cls, color: Color, mask_map: str | MaskMap) -> Meaning:
        """Take the options as a source's constructor is given them.

        Raises
        ------
        SourceError
            The mask map's text says nothing.
        """
        return cls(color, parse_mask_map(mask_map) if isinstance(mask_map, str) else mask_map)

    def one_hot(self) -> Meaning:
        """Mean masks with a channel for each class, if the map does not say so already."""
        if self.mask_map.one_hot is not None:
            return self
        return replace(self, mask_map=replace(self.mask_map, one_hot=0))

    def describe(self) -> JSON:
        """Give both options as a source's constructor takes them."""
        return {"color": self.color, "mask_map": str(self.mask_map)}

    def channels(self, found: int) -> int:
        """Count the channels of an image that has so many before conversion."""
        return shown_channels(found) if self.color == "auto" else CHANNELS[self.color]

    def image(self, values: Pixels | NDArray[Any]) -> Image:
        """Make an image of decoded values, (H, W) or (H, W, C): (H, W, C), C-contiguous."""
        return as_image(values if isinstance(values, Pixels) else Pixels(values), self.color)

    def mask(self, values: Pixels | NDArray[Any], *, name: str) -> Mask:
        """Make a mask of decoded values: (H, W) of class ids.

        Whatever a format holds comes here: truth values, integers of any kind, floats, grey values,
        palette indices and colours mean the same in all of them.

        Raises
        ------
        SourceError
            They are colours that the map does not name, or values that are no ids.
        """
        pixels = values if isinstance(values, Pixels) else Pixels(values)
        if pixels.palette is None:
            pixels = Pixels(self._numbers(pixels.values, name))
        return mask_ids(pixels, self._of_ids, name=name)

    def _numbers(self, values: NDArray[Any], name: str) -> NDArray[Any]:
        """Give a value for every pixel, or its colour."""
        packed_dtype(values.dtype, name)
        if values.ndim == 3 and values.shape[2] == 1:
            values = values[:, :, 0]
        if self.mask_map.one_hot is None:
            return values
        if values.ndim == 2:
            values = values[:, :, np.newaxis]
        return ids_of_one_hot(values, name, first=self.mask_map.one_hot, none=self.mask_map.rest)

    @property
    def _of_ids(self) -> MaskMap:
        """What is left of the map once channels have become ids."""
        return self.mask_map if self.mask_map.one_hot is None else MaskMap(self.mask_map.values)
