"""What samples do multi-page TIFFs hold: images, with stacks of masks or alone, page by page?"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.decoding.tiff import PALETTE, arrange_page
from zarrfeed_convert.source import IMAGES_ONLY, PAIR, Source
from zarrfeed_convert.sources.axes import ALL, Axes
from zarrfeed_convert.sources.cache import Cache
from zarrfeed_convert.sources.file_discovery import list_stacks
from zarrfeed_convert.sources.file_pairs import Pair, pair_stacks, slice_keys
from zarrfeed_convert.sources.item_index import ItemIndex
from zarrfeed_convert.sources.option_checks import masks_given
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

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.pixels import Color, Pixels
    from zarrfeed_convert.header import Header
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON, Mask

_EXTENSIONS = (".tif", ".tiff", ".btf", ".tf8")
_TWO_PARTS = (*_EXTENSIONS, ".ome", *(f".ome{end}" for end in _EXTENSIONS))
_OPEN = 32  # stacks whose pages a process remembers; some 200 KiB for 500 pages


@dataclass(frozen=True, slots=True)
class _Stack:
    """A stack of images and its stack of masks, if there is one."""

    pair: Pair
    images: Axes
    masks: Axes | None
    header: Header

    def mask_page(self, page: int) -> int:
        """Find the page of the masks that belongs to one of the images."""
        assert self.masks
        return mask_sample(self.images, self.masks, page)


@source_errors
class TiffStacks(Source):
    """Multi-page TIFF stacks, with stacks of masks or alone: a sample per page.

    Reads plain multi-page TIFF, BigTIFF, ImageJ hyperstacks and OME-TIFF, compressed or not, one
    page at a time. Z, T and all other axes except channels (C, and S for the samples of a pixel)
    count samples. Images keep their dtype; integers of 64 bits become 32, if these hold them.

    Parameters
    ----------
    images, masks
        A stack, a folder of stacks, or a glob. Stacks pair by name, without the extension; a
        single stack of images and a single stack of masks pair whatever their names. If `masks` is
        left out or ``none``, images are packed alone.
    image_suffix, mask_suffix
        What names have after the part that both share, like _mask.
    axis
        The letters of the axes that count samples, like TZ, if those are not all except channels;
        C or S if pages were saved as channels.
    channel
        The only channel to pack, counted from 0; -1 for all.
    color
        auto keeps the channels that the stacks have; grey, rgb, rgba convert.
    mask_map
        What mask values mean, like 255=1 or '#FF0000=1,*=0'.
    limits
        What files may claim, and name besides themselves; see :class:`zarrfeed_convert.Limits`.

    Attributes
    ----------
    left_out
        Stacks without a stack of as many masks, masks without images, and unreadable files, as
        (path, reason).

    Raises
    ------
    SourceError
        No stack is found, or none has a stack of as many masks.

    Examples
    --------
    >>> cells = TiffStacks("train-volume.tif", "train-labels.tif")  # doctest: +SKIP
    """

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str] = "",
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
        where = os.fspath(masks)
        masked = masks_given(where, mask_suffix=mask_suffix, mask_map=mask_map)
        self.fields = PAIR if masked else IMAGES_ONLY
        found = pair_stacks(
            _stacks(os.fspath(images), "images"),
            _stacks(where, "masks") if masked else None,
            image_suffixes=[image_suffix],
            mask_suffix=mask_suffix,
        )
        left_out, self._left_aside = list(found.left_out), found.left_aside
        self._stacks: list[_Stack] = []
        for pair in found.pairs:
            try:
                self._stacks.append(self._measured(pair))
            except SourceError as error:
                left_out.append(place_and_reason(error, pair.files))
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
        """Return the location and the options of the stacks, as JSON."""
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

    def names(self, sample: int) -> tuple[str, ...]:
        """Name the files, each with the page, like ``scan.tif[z=12]``."""
        stack, page = self._locate(sample)
        name = f"{stack.pair.images[0]}[{label_of(stack.images, page)}]"
        if stack.masks is None:
            return (name,)
        return name, f"{stack.pair.mask}[{label_of(stack.masks, stack.mask_page(page))}]"

    def probe(self, sample: int) -> Header:
        """Return the header of a page, by the header of its stack."""
        return self._locate(sample)[0].header

    def read(self, sample: int) -> tuple[NDArray[Any], ...]:
        """Decode a page of the images, and that of the masks."""
        stack, page = self._locate(sample)
        name = self.names(sample)[0]
        channel = self._channel
        pixels = self._page(stack.pair.images[0], stack.images, page, channel, name)
        image = self._options.image(pixels, name=name)
        return (image, self.read_mask(sample)) if stack.masks else (image,)

    def read_mask(self, sample: int) -> Mask:
        """Decode a page of the stack of masks."""
        return self._options.mask(self._mask_page(sample), name=self.names(sample)[1])

    def shown_colors(self, sample: int) -> dict[int, int]:
        """Return the colours of the palette indices that a page of masks uses."""
        return self._options.shown_colors(self._mask_page(sample))

    def _locate(self, sample: int) -> tuple[_Stack, int]:
        number, page = self._index.locate(sample)
        return self._stacks[number], page

    def _mask_page(self, sample: int) -> Pixels:
        stack, page = self._locate(sample)
        assert stack.pair.mask
        assert stack.masks
        name, page = self.names(sample)[1], stack.mask_page(page)
        return self._page(stack.pair.mask, stack.masks, page, ALL, name)

    def _page(self, path: str, axes: Axes, page: int, channel: int, name: str) -> Pixels:
        with naming_errors(name):
            try:
                opened = self._pages(path)
                values = opened.read(axes.index(page, channel))
            except SourceError as error:  # it names the file, not the page
                raise SourceError(f"{name}: {str(error).removeprefix(f'{path}: ')}") from error
            return arrange_page(axes.arrange(values, channel), opened.page)

    def _pages(self, path: str) -> TiffPages:
        """Return the pages of a stack, from the cache if the file has not changed."""
        about = os.stat(path)  # noqa: PTH116
        key = (path, about.st_mtime_ns, about.st_size)
        return self._open.get(key, lambda: TiffPages(path, self._limits))

    def _measured(self, pair: Pair) -> _Stack:
        path, channel = pair.images[0], self._channel
        found = []
        for name in pair.files:
            with naming_errors(name):
                found.append(pages := self._pages(name))
                pages_count = prod(pages.sizes) // (pages.page.size or 1)
                self._limits.require_count(pages_count, name, "pages")
        images, *masks = found
        stored = [(pages.letters, pages.sizes) for pages in found]
        axes, mask_axes = axes_of_pair(
            stored[0],
            stored[1] if masks else None,
            along=self._axis,
            channel=channel,
            names=pair.files,
            one_hot=self._options.mask_map.by_channel,
        )
        image, channels = images.measured, count_channels(axes, channel, path)
        if images.page.photometric != PALETTE and channels != images.page.samplesperpixel:
            image = replace(image, channels=channels)
        mask = None
        if mask_axes is not None:
            mask = replace(masks[0].measured, channels=mask_axes.channel_count)
        header = self._options.header(image, mask, name=path)
        return _Stack(pair, axes, mask_axes, header)


def _stacks(where: str, what: str) -> dict[str, str]:
    return list_stacks(where, what=what, extensions=_EXTENSIONS, endings=_TWO_PARTS)


def _one(_: TiffPages) -> int:
    return 1
