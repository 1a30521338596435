"""What do decoded values mean, whichever format they come from?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zarrfeed_convert.decoding.pixels import CHANNELS, Pixels, as_image, shown_channels
from zarrfeed_convert.mask_map import MaskMap, mask_ids, parse_mask_map

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

        Raises
        ------
        SourceError
            They are colours that the map does not name, or no integers.
        """
        pixels = values if isinstance(values, Pixels) else Pixels(values)
        return mask_ids(pixels, self.mask_map, name=name)
