"""What samples do multi-page TIFFs hold: pages or volumes, with stacks of masks or alone?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError, look_up
from zarrfeed.spelling import plural
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.source import IMAGES_ONLY, PAIR, Source, whole_window
from zarrfeed_convert.sources.axes import ALL
from zarrfeed_convert.sources.file_discovery import list_stacks
from zarrfeed_convert.sources.file_pairs import pair_stacks
from zarrfeed_convert.sources.item_index import ItemIndex
from zarrfeed_convert.sources.name_differences import remarks_on_names
from zarrfeed_convert.sources.option_checks import masks_given
from zarrfeed_convert.sources.read_errors import place_and_reason, require_any, source_errors
from zarrfeed_convert.sources.stacks.page_reader import PageReader
from zarrfeed_convert.sources.stacks.paired_stack import PairedStack, measured
from zarrfeed_convert.sources.value_options import ValueOptions
from zarrfeed_convert.sources.volume_options import VOLUMES, WARN, require_volume_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.pixels import Color, Pixels
    from zarrfeed_convert.header import Header
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON, Mask, Window
    from zarrfeed_convert.sources.file_pairs import Pair
    from zarrfeed_convert.sources.volume_options import Agreement, Arrangement

_EXTENSIONS = (".tif", ".tiff", ".btf", ".tf8")
_TWO_PARTS = (*_EXTENSIONS, ".ome", *(f".ome{end}" for end in _EXTENSIONS))


@source_errors
class TiffStacks(Source):
    """Multi-page TIFF stacks, with stacks of masks or alone: a sample per page or volume.

    Reads plain multi-page TIFF, BigTIFF, ImageJ hyperstacks and OME-TIFF, compressed or not, one
    page at a time. Z, T and all other axes except channels (C, and S for the samples of a pixel)
    count samples. Images keep their dtype; integers of 64 bits become 32, if these hold them.

    A volume (D, H, W, C) has Z as its depth, else the only axis of pages; a T alone is refused,
    because a time series is no volume. Other axes count volumes. ImageJ's and OME's distances of
    voxels, if they are in a unit of length, give the affine in millimetres. TIFFs say nothing of
    orientation: x is taken to grow with columns, y with rows, z with pages. Only the pages of a
    window are decoded, unless a page holds several planes.

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
        C or S if pages were saved as channels. Of volumes, the letter of the depth.
    channel
        The only channel to pack, counted from 0; -1 for all.
    as_
        Pack pages (``slices``) or ``volumes``.
    geometry
        ``strict`` leaves out volumes whose masks say other distances of voxels, by a tenth of a
        voxel over the volume; ``warn`` takes those of the image, and a remark says so.
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
    remarks
        In what names of pairs differ; volumes whose masks say other distances of voxels.

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
        as_: Arrangement = "slices",
        geometry: Agreement = "strict",
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        self.arguments["axis"] = self._axis = axis.upper()
        self._channel = channel
        require_volume_options(as_=as_, geometry=geometry)
        self._in_volumes, self._strict = as_ == VOLUMES, geometry != WARN
        self._options = ValueOptions.of(color, mask_map)
        self._limits = limits or Limits()
        self._reader = PageReader(self._limits)
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
        self.remarks = remarks_on_names(found.partners, os.fspath(images), where)
        self._unequal: list[str] = []
        self._stacks: list[PairedStack] = []
        for pair in found.pairs:
            try:
                self._add(pair)
            except SourceError as error:
                left_out.append(place_and_reason(error, pair.files))
        require_any(self._stacks, left_out)
        self.left_out = tuple(left_out)
        self._index = ItemIndex.of(stack.count for stack in self._stacks)
        self._keys = [key for stack in self._stacks for key in stack.keys]
        if self._unequal:
            why = f"such as {self._unequal[0]}; those of the images are taken"
            count = f"{plural(len(self._unequal), 'mask')} elsewhere"
            self.remarks = (*self.remarks, ("geometry", count, why))

    @property
    def keys(self) -> Sequence[str]:
        """A stack's name, and the number of the page or volume among its samples, from 0.

        The only volume of a stack has the name of the stack.
        """
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
        stack, number = self._locate(sample)
        return stack.names(number)

    def probe(self, sample: int) -> Header:
        """Return the header of a page or a volume, by the header of its stack."""
        return self._locate(sample)[0].header

    def read(self, sample: int) -> tuple[NDArray[Any], ...]:
        """Decode a page or a volume of the images, and that of the masks."""
        if self._in_volumes:
            header = self.probe(sample)
            self.require_whole(sample, header)
            return self.read_window(sample, whole_window(header.size))
        stack, page = self._locate(sample)
        pixels = self._reader.read(stack.pair.images[0], stack.images, page, self._channel)
        image = self._options.image(pixels, name=stack.names(page)[0])
        return (image, self.read_mask(sample)) if stack.masks else (image,)

    def require_whole(self, sample: int, header: Header) -> None:
        """Refuse a volume that is too large to be decoded as a whole."""
        if self._in_volumes:
            name = self.names(sample)[0]
            self._limits.require(header.image.shape, header.dtype, name, "a volume")

    def reads_windows(self, sample: int) -> bool:
        """Return whether samples are volumes of which single pages can be decoded."""
        return self._locate(sample)[0].in_parts

    def decoded_together(self, sample: int) -> tuple[int, ...]:
        """Return the size of a page."""
        return (1, *self.probe(sample).size[1:]) if self._in_volumes else ()

    def read_window(self, sample: int, window: Window) -> tuple[NDArray[Any], ...]:
        """Decode the pages of a window of a volume, and those of its masks."""
        if not self._in_volumes:
            return super().read_window(sample, window)
        stack, volume = self._locate(sample)
        depth, *within = window
        image = self._reader.read_several(
            stack.pair.images[0],
            stack.images,
            stack.pages(volume)[depth],
            self._channel,
            lambda pixels, name: self._options.image(pixels, name=name)[tuple(within)],
        )
        return (image, self.read_mask_window(sample, window)) if stack.masks else (image,)

    def read_mask_window(self, sample: int, window: Window) -> Mask:
        """Decode the pages of a window of the masks of a volume alone."""
        if not self._in_volumes:
            return super().read_mask_window(sample, window)
        stack, volume = self._locate(sample)
        assert stack.masks
        depth, *within = window
        return self._reader.read_several(
            str(stack.pair.mask),
            stack.masks,
            [stack.mask_page(page) for page in stack.pages(volume)[depth]],
            ALL,
            lambda pixels, name: self._options.mask(pixels, name=name)[tuple(within)],
        )

    def read_mask(self, sample: int) -> Mask:
        """Decode a page or a volume of the stack of masks."""
        if self._in_volumes:
            return self.read_mask_window(sample, whole_window(self.probe(sample).size))
        return self._options.mask(self._mask_page(sample), name=self.names(sample)[1])

    def shown_colors(self, sample: int) -> dict[int, int]:
        """Return the colours of the palette indices that the masks of a sample use."""
        stack, number = self._locate(sample)
        assert stack.masks
        colors: dict[int, int] = {}
        for page in stack.pages(number):
            pixels = self._reader.read(
                str(stack.pair.mask), stack.masks, stack.mask_page(page), ALL
            )
            colors |= self._options.shown_colors(pixels)
        return colors

    def _add(self, pair: Pair) -> None:
        stack = measured(pair, self._reader, self._options, self._limits, axis=self._axis,
                         channel=self._channel, in_volumes=self._in_volumes)  # fmt: skip
        if stack.unequal and self._strict:
            raise SourceError(
                f"{pair.images[0]}: needed voxels at the same distances in images and masks, found "
                f"{stack.unequal}; correct one of them, or take the image's by --geometry warn"
                f"{look_up('geometry')}"
            )
        self._unequal += [stack.unequal] if stack.unequal else []
        self._stacks.append(stack)

    def _locate(self, sample: int) -> tuple[PairedStack, int]:
        number, place = self._index.locate(sample)
        return self._stacks[number], place

    def _mask_page(self, sample: int) -> Pixels:
        stack, page = self._locate(sample)
        assert stack.masks
        return self._reader.read(str(stack.pair.mask), stack.masks, stack.mask_page(page), ALL)


def _stacks(where: str, what: str) -> dict[str, str]:
    return list_stacks(where, what=what, extensions=_EXTENSIONS, endings=_TWO_PARTS)
