"""What samples do multi-page TIFFs hold: stacks of images and of masks, page by page?"""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.georeference import require_same_place
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.decoding.tiff import PALETTE, arrange_page
from zarrfeed_convert.source import Header, Source
from zarrfeed_convert.sources.axes import ALL, Axes
from zarrfeed_convert.sources.cache import Cache
from zarrfeed_convert.sources.file_discovery import list_stacks
from zarrfeed_convert.sources.file_pairs import Pair, pair_stacks, slice_keys
from zarrfeed_convert.sources.item_index import ItemIndex
from zarrfeed_convert.sources.read_errors import (
    naming_errors,
    place_and_reason,
    require_any,
    source_errors,
)
from zarrfeed_convert.sources.stacks.tiff_axes import (
    axes_of_pair,
    count_channels,
    label_of,
    mask_sample,
)
from zarrfeed_convert.sources.stacks.tiff_pages import TiffPages
from zarrfeed_convert.sources.value_options import ValueOptions
from zarrfeed_convert.sources.values import packed_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.decoding.pixels import Color, Pixels
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON, Image, Mask

_EXTENSIONS = (".tif", ".tiff", ".btf", ".tf8")
_TWO_PARTS = (*_EXTENSIONS, ".ome", *(f".ome{end}" for end in _EXTENSIONS))
_OPEN = 32  # stacks whose pages a process remembers; some 200 KiB for 500 pages


@dataclass(frozen=True, slots=True)
class _Stack:
    """A stack's two files, as their headers say."""

    pair: Pair
    images: Axes
    masks: Axes
    header: Header


@source_errors
class TiffStacks(Source):
    """Multi-page TIFF stacks: a sample per page.

    Reads plain multi-page TIFF, BigTIFF, ImageJ hyperstacks and OME-TIFF, compressed or not; a
    page at a time. Samples are counted along Z, T and every other axis but channels (C and the
    samples of a pixel). Integers other than uint8 and uint16 become float32 where that holds
    them exactly, as does float64, rounded.

    Parameters
    ----------
    images, masks
        A stack, a folder of stacks, or a glob. Stacks pair by their names without extension;
        one stack of images and one of masks pair whatever their names.
    image_suffix, mask_suffix
        What a name has besides the one that both share, like _mask.
    axis
        The letters of the axes that count samples, where those are not all but channels, like TZ;
        S where the pages were saved as samples of a pixel.
    channel
        The one channel to take, counted from 0; -1 for all.
    color
        auto keeps the channels that the stacks have; grey, rgb, rgba convert.
    mask_map
        What mask values mean, like 255=1 or '#FF0000=1,*=0'.
    limits
        What files may claim, and name besides themselves; see :class:`zarrfeed_convert.Limits`.

    Attributes
    ----------
    left_out
        Stacks without a stack of as many masks, masks without a stack, unreadable files; and why.

    Raises
    ------
    SourceError
        Nothing is found, or no stack of images has a stack of as many masks.

    Examples
    --------
    >>> cells = TiffStacks("train-volume.tif", "train-labels.tif")  # doctest: +SKIP
    """

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str],
        *,
        image_suffix: str = "",
        mask_suffix: str = "",
        axis: str = "",
        channel: int = ALL,
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        self.arguments["axis"] = self._axis = axis.upper()
        self._channel = channel
        self._options = ValueOptions.of(color, mask_map)
        self._limits = limits or Limits()
        self._open: Cache[TiffPages] = Cache(_OPEN, _one)
        found = pair_stacks(
            *(
                list_stacks(where, what=what, extensions=_EXTENSIONS, endings=_TWO_PARTS)
                for where, what in ((os.fspath(images), "images"), (os.fspath(masks), "masks"))
            ),
            image_suffixes=[image_suffix],
            mask_suffix=mask_suffix,
        )
        left_out, self._left_aside = list(found.left_out), found.left_aside
        self._stacks: list[_Stack] = []
        for pair in found.pairs:
            try:
                self._stacks.append(self._measured(pair))
            except SourceError as error:
                left_out.append(place_and_reason(error, (*pair.images, pair.mask)))
        require_any(self._stacks, left_out)
        self.left_out = tuple(left_out)
        self._index = ItemIndex.of(stack.images.count for stack in self._stacks)
        self._keys = [
            key
            for stack in self._stacks
            for key in slice_keys(stack.pair.key, range(stack.images.count), stack.images.count)
        ]

    @property
    def keys(self) -> Sequence[str]:
        """A stack's name, and the number of the page among its samples, from 0."""
        return self._keys

    def describe(self) -> JSON:
        """Describe where the stacks come from, as JSON."""
        images, masks = self._left_aside
        return {
            "kind": "tiff",
            **self.arguments,
            **self._options.describe(),
            "facts": {
                "stacks": len(self._stacks),
                "left_aside": {"images": images, "masks": masks},
            },
        }

    def names(self, sample: int) -> tuple[str, str]:
        """Name the files and the places in them, like ``scan.tif[z=12]``."""
        stack, page = self._locate(sample)
        mask_page = mask_sample(stack.images, stack.masks, page)
        return (
            f"{stack.pair.images[0]}[{label_of(stack.images, page)}]",
            f"{stack.pair.mask}[{label_of(stack.masks, mask_page)}]",
        )

    def probe(self, sample: int) -> Header:
        """Return what the stack's header says of every page."""
        return self._locate(sample)[0].header

    def read(self, sample: int) -> tuple[Image, Mask]:
        """Decode a page of both stacks."""
        stack, page = self._locate(sample)
        name = self.names(sample)[0]
        channel = self._channel
        pixels = self._page(stack.pair.images[0], stack.images, page, channel, name)
        return self._options.image(pixels, name=name), self.read_mask(sample)

    def read_mask(self, sample: int) -> Mask:
        """Decode a page of the stack of masks."""
        return self._options.mask(self._mask_page(sample), name=self.names(sample)[1])

    def shown_colors(self, sample: int) -> dict[int, int]:
        """Return what the palette of a page of masks shows where it is used."""
        return self._options.shown_colors(self._mask_page(sample))

    def _locate(self, sample: int) -> tuple[_Stack, int]:
        number, page = self._index.locate(sample)
        return self._stacks[number], page

    def _mask_page(self, sample: int) -> Pixels:
        stack, page = self._locate(sample)
        mask_page = mask_sample(stack.images, stack.masks, page)
        return self._page(stack.pair.mask, stack.masks, mask_page, ALL, self.names(sample)[1])

    def _page(self, path: str, axes: Axes, page: int, channel: int, name: str) -> Pixels:
        with naming_errors(name):
            try:
                opened = self._pages(path)
                values = opened.read(axes.index(page, channel))
            except SourceError as error:  # it names the file, not the page
                raise SourceError(f"{name}: {str(error).removeprefix(f'{path}: ')}") from error
            return arrange_page(axes.arrange(values, channel), opened.page)

    def _pages(self, path: str) -> TiffPages:
        """Find a stack's pages, unless it's known where they are and the file is the same."""
        about = os.stat(path)  # noqa: PTH116
        key = (path, about.st_mtime_ns, about.st_size)
        return self._open.get(key, lambda: TiffPages(path, self._limits))

    def _measured(self, pair: Pair) -> _Stack:
        path, channel = pair.images[0], self._channel
        with naming_errors(path):
            images = self._pages(path)
            image = images.measured
            dtype = packed_dtype(np.dtype(image.dtype), path)
        with naming_errors(pair.mask):
            masks = self._pages(pair.mask)
            mask = masks.measured
        for pages, name in ((images, path), (masks, pair.mask)):
            self._limits.require_count(prod(pages.sizes) // (pages.page.size or 1), name, "pages")
        axes = axes_of_pair(
            (images.letters, images.sizes),
            (masks.letters, masks.sizes),
            along=self._axis,
            channel=channel,
            names=(path, pair.mask),
            one_hot=self._options.mask_map.one_hot is not None,
        )
        channels = count_channels(axes[0], channel, path)
        if images.page.photometric == PALETTE or channels == images.page.samplesperpixel:
            channels = image.channels
        shown = self._options.channels(channels, name=path)
        colors = self._options.mask_colors(mask.palette)
        require_same_place(image.place, mask.place, (image.height, image.width), name=path)
        header = Header.of_pair(
            (image.height, image.width, shown),
            dtype,
            (mask.height, mask.width),
            mask_colors=colors,
            nodata=image.nodata,
        )
        return _Stack(pair, *axes, header)


def _one(_: TiffPages) -> int:
    return 1
