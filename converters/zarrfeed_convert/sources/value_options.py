"""What do decoded values mean, whichever format they come from?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.georeference import require_same_place
from zarrfeed_convert.decoding.pixels import CHANNELS, Pixels, as_image
from zarrfeed_convert.mask_ids import mask_ids
from zarrfeed_convert.mask_map import MaskMap, parse_mask_map, within
from zarrfeed_convert.source import Header
from zarrfeed_convert.sources.values import ids_of_one_hot, packable, packed_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.pixels import Color, Measure
    from zarrfeed_convert.source import JSON, Image, Mask

_COLORS = 4  # channels that a colour may have


@dataclass(frozen=True, slots=True)
class Meaning:
    """How decoded values become images and masks: the two options that every source has.

    Attributes
    ----------
    color
        ``auto`` keeps the channels that images have; ``grey``, ``rgb``, ``rgba`` convert.
    mask_map
        What mask values mean; see :func:`zarrfeed_convert.mask_map.parse_mask_map`.
    known
        Whether the map is that of a known layout: the user did not say that indices are ids,
        whatever their palettes show.
    """

    color: Color
    mask_map: MaskMap
    known: bool = False

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

    def header(self, image: Measure, mask: Measure, *, name: str) -> Header:
        """Say what :meth:`image` will give, how large the mask is, and what its palette shows.

        Parameters
        ----------
        image, mask
            What the files say.
        name
            The image's, for errors.

        Raises
        ------
        SourceError
            Its numbers cannot be packed, it has too many channels for the colour, or the mask lies
            elsewhere.
        """
        require_same_place(image.place, mask.place, (image.height, image.width), name=name)
        channels = self.channels(image.channels, name=name)
        dtype = packed_dtype(np.dtype(image.dtype), name)
        colors = self.mask_colors(mask.palette)
        return Header(
            image.height,
            image.width,
            channels,
            dtype,
            mask.height,
            mask.width,
            colors,
            turned=image.turned and not mask.turned,
            nodata=image.nodata,
        )

    def channels(self, found: int, *, name: str) -> int:
        """Count the channels of an image that has so many before conversion.

        Raises
        ------
        SourceError
            They are no colours, which could be converted.
        """
        if self.color == "auto":
            return found
        if found > _COLORS:
            raise SourceError(
                f"{name}: needed 1 to {_COLORS} channels for --color {self.color}, found {found}; "
                "leave --color out"
            )
        return CHANNELS[self.color]

    def image(self, values: Pixels | NDArray[Any], *, name: str) -> Image:
        """Make an image of decoded values, (H, W) or (H, W, C): (H, W, C), C-contiguous.

        Two channels of an array are two channels; of an image file, they are grey and alpha.

        Raises
        ------
        SourceError
            Its numbers cannot be packed without changing them.
        """
        pixels = values if isinstance(values, Pixels) else Pixels(values, bands=True)
        if pixels.palette is None:
            pixels = replace(pixels, values=packable(pixels.values, name))
        return as_image(pixels, self.color)

    def mask(self, values: Pixels | NDArray[Any], *, name: str) -> Mask:
        """Make a mask of decoded values: (H, W) of class ids.

        Whatever a format holds comes here: truth values, integers of any kind, floats, grey values,
        palette indices and colours mean the same in all of them. Grey of 1, 2 or 4 bits is ids as
        the bits hold them (0 … 3), unless the map names what viewers show (85, 170, 255).

        Raises
        ------
        SourceError
            They are colours that the map does not name, or values that are no ids.
        """
        pixels = values if isinstance(values, Pixels) else Pixels(values)
        if pixels.palette is None:
            shown = pixels.step > 1 and self.mask_map.exceeds(255 // pixels.step)
            numbers = self._numbers(pixels.values if shown else pixels.stored, name)
            pixels = Pixels(numbers, nodata=() if shown else pixels.nodata)
        return mask_ids(pixels, self._of_ids, name=name)

    def mask_colors(self, palette: bytes) -> tuple[int, ...]:
        """Say what a palette shows, and where its indices are class ids for no other reason.

        Parameters
        ----------
        palette
            Red, green and blue of every index.

        Returns
        -------
        tuple of int
            ``0xRRGGBB``, inverted where the map knows the class; empty if it knows all of them.
        """
        bands = np.frombuffer(palette, np.uint8).reshape(-1, 3).astype(int)
        shown: list[int] = (bands @ [1 << 16, 1 << 8, 1]).tolist()
        if not str(self.mask_map):  # that of every mask, most often
            return tuple(shown)
        shown = [
            color if self._by_index(index, color) else ~color for index, color in enumerate(shown)
        ]
        return tuple(shown) if any(color >= 0 for color in shown) else ()

    def shown_colors(self, pixels: Pixels) -> dict[int, int]:
        """Say the same of the indices that a mask uses."""
        if pixels.palette is None:
            return {}
        shown = self.mask_colors(np.ascontiguousarray(pixels.palette[:, :3]).tobytes())
        used = np.flatnonzero(np.bincount(pixels.values.ravel())).tolist()
        return {index: shown[index] for index in used if index < len(shown)}

    def _by_index(self, index: int, color: int) -> bool:
        said = self.mask_map
        if said.alpha or said.one_hot is not None or color in said.colors:
            return False
        if self.known:
            return True
        mapped = index in said.values or any(within(index, *ends) for *ends, _ in said.ranges)
        return not (mapped or said.rest is not None or said.colors)

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
