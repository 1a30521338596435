"""How do the options ``color`` and ``mask_map`` convert decoded values to images and masks?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.georeference import require_same_place
from zarrfeed_convert.decoding.pixels import CHANNELS, Pixels, as_image
from zarrfeed_convert.header import Header
from zarrfeed_convert.mask_ids import mask_ids
from zarrfeed_convert.mask_map import MaskMap, parse_mask_map, within
from zarrfeed_convert.sources.class_channels import ids_of_one_hot, ones_of_multi_hot
from zarrfeed_convert.sources.values import packable, packed_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.pixels import Color, Measure
    from zarrfeed_convert.source import JSON, Image, Mask

_COLORS = 4  # maximum number of channels of a colour


@dataclass(frozen=True, slots=True)
class ValueOptions:
    """The options of every format that convert decoded values to images and masks.

    Attributes
    ----------
    color
        ``auto`` keeps the channels of images; ``grey``, ``rgb``, ``rgba`` convert them.
    mask_map
        Class ids of mask values; see :func:`zarrfeed_convert.mask_map.parse_mask_map`.
    known
        Whether the map is that of a known layout, and not the user's. The user then has not said
        that palette indices are ids.
    """

    color: Color
    mask_map: MaskMap
    known: bool = False

    @classmethod
    def of(cls, color: Color, mask_map: str | MaskMap) -> ValueOptions:
        """Parse the options of a source's constructor.

        Raises
        ------
        SourceError
            The mask map cannot be parsed.
        """
        return cls(color, parse_mask_map(mask_map) if isinstance(mask_map, str) else mask_map)

    def one_hot(self) -> ValueOptions:
        """Return options for masks with one channel per class.

        Raises
        ------
        SourceError
            The map is ``multi-hot``, so that pixels may have several classes.
        """
        if self.mask_map.multi_hot:
            raise SourceError(
                "option one_hot: needed masks with one class per pixel, found --mask-map "
                "multi-hot, for any number of classes; leave out one of both"
            )
        if self.mask_map.one_hot is not None:
            return self
        return replace(self, mask_map=replace(self.mask_map, one_hot=0))

    def describe(self) -> JSON:
        """Return both options as arguments of a source's constructor."""
        return {"color": self.color, "mask_map": str(self.mask_map)}

    def header(self, image: Measure, mask: Measure | None, *, name: str) -> Header:
        """Build a header: the image as :meth:`image` returns it, the mask's size and palette.

        Parameters
        ----------
        image, mask
            What the headers of the files say.
        name
            Name of the image, for errors.

        Raises
        ------
        SourceError
            The image's dtype cannot be packed, it has too many channels for `color`, or the mask
            is at another location.
        """
        channels = self.channels(image.channels, name=name)
        dtype = packed_dtype(np.dtype(image.dtype), name)
        shape = (*image.size, channels)
        if mask is None:
            return Header.of_pair(shape, dtype, None, nodata=image.nodata)
        size = image.height, image.width
        require_same_place(image.place, mask.place, size, name=name)
        return Header.of_pair(
            shape,
            dtype,
            self.mask_shape(mask.size, mask.channels),
            mask_colors=self.mask_colors(mask.palette),
            turned=image.turned and not mask.turned,
            nodata=image.nodata,
        )

    def channels(self, found: int, *, name: str) -> int:
        """Return the number of channels of an image after conversion.

        Raises
        ------
        SourceError
            The image has too many channels to be colours.
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
        """Convert decoded values, (H, W) or (H, W, C), to an image (H, W, C), C-contiguous.

        Two channels of an array are independent; two channels of an image file are grey and alpha.

        Raises
        ------
        SourceError
            Values cannot be packed without changing them.
        """
        pixels = values if isinstance(values, Pixels) else Pixels(values, bands=True)
        if pixels.palette is None:
            pixels = replace(pixels, values=packable(pixels.values, name))
        return as_image(pixels, self.color)

    def mask(self, values: Pixels | NDArray[Any], *, name: str) -> Mask:
        """Convert decoded values to a mask (H, W) of class ids, or (H, W, K) if it is multi-hot.

        Booleans, integers, floats, grey values, palette indices and colours have the same meaning
        in every format. Grey of 1, 2 or 4 bits is read as stored (0 … 3), unless the map has
        values that only viewers show (85, 170, 255).

        Raises
        ------
        SourceError
            A colour is not in the map, a value is not an id, or a mask is not multi-hot although
            the map says so.
        """
        pixels = values if isinstance(values, Pixels) else Pixels(values, bands=True)
        if self.mask_map.multi_hot:
            return ones_of_multi_hot(pixels, name)
        if pixels.palette is None:
            shown = pixels.step > 1 and self.mask_map.exceeds(255 // pixels.step)
            numbers = self._numbers(pixels.values if shown else pixels.stored, name)
            pixels = Pixels(numbers, nodata=() if shown else pixels.nodata)
        return mask_ids(pixels, self._of_ids, name=name)

    def mask_shape(self, size: tuple[int, ...], channels: int) -> tuple[int, ...]:
        """Return the shape of a mask after conversion, by its spatial size and channels."""
        return (*size, channels) if self.mask_map.multi_hot else size

    def require_ids(self, what: str) -> None:
        """Check that the map is not ``multi-hot``, for a format whose masks are class ids.

        Parameters
        ----------
        what
            What the masks of the format are, for errors.

        Raises
        ------
        SourceError
            The map is ``multi-hot``.
        """
        if self.mask_map.multi_hot:
            raise SourceError(
                f"--mask-map multi-hot: needed masks with a channel for each class, found {what}; "
                "leave it out, or save masks as arrays (--format npz)"
            )

    def mask_colors(self, palette: bytes) -> tuple[int, ...]:
        """Return the colours of a palette, marking indices whose class the map gives.

        Parameters
        ----------
        palette
            Red, green and blue of every index.

        Returns
        -------
        tuple of int
            ``0xRRGGBB`` per index, inverted (``~0xRRGGBB``) if the map gives its class; empty if
            it gives all of them.
        """
        bands = np.frombuffer(palette, np.uint8).reshape(-1, 3).astype(int)
        shown: list[int] = (bands @ [1 << 16, 1 << 8, 1]).tolist()
        if self.mask_map.multi_hot:
            return ()
        if not str(self.mask_map):  # the map is empty, as in most conversions
            return tuple(shown)
        shown = [
            color if self._by_index(index, color) else ~color for index, color in enumerate(shown)
        ]
        return tuple(shown) if any(color >= 0 for color in shown) else ()

    def shown_colors(self, pixels: Pixels) -> dict[int, int]:
        """Return :meth:`mask_colors` of the indices that a mask uses, by index."""
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
        """Return one value or colour per pixel."""
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
        """The part of the map that applies after channels were converted to ids."""
        return self.mask_map if self.mask_map.one_hot is None else MaskMap(self.mask_map.values)
