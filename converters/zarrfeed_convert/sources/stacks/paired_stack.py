"""What are the samples of a TIFF stack and its masks?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.affines import affine_of_spacing
from zarrfeed_convert.decoding.tiff import PALETTE
from zarrfeed_convert.header import Header
from zarrfeed_convert.sources.file_pairs import slice_keys
from zarrfeed_convert.sources.read_errors import naming_errors
from zarrfeed_convert.sources.stacks.agreement import difference
from zarrfeed_convert.sources.stacks.page_reader import page_name
from zarrfeed_convert.sources.stacks.tiff_axes import axes_of_pair, count_channels, mask_sample
from zarrfeed_convert.sources.stacks.tiff_volumes import volumes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.sources.axes import Axes
    from zarrfeed_convert.sources.file_pairs import Pair
    from zarrfeed_convert.sources.stacks.page_reader import PageReader
    from zarrfeed_convert.sources.stacks.tiff_pages import TiffPages
    from zarrfeed_convert.sources.stacks.tiff_volumes import PageVolumes
    from zarrfeed_convert.sources.value_options import ValueOptions


@dataclass(frozen=True, slots=True)
class PairedStack:
    """A stack of images and its stack of masks, if there is one.

    Attributes
    ----------
    pair
        The files.
    images, masks
        Their axes, of which pages are the samples.
    header
        The header of its samples: pages, or volumes.
    volumes
        Which pages make its volumes; None for pages.
    in_parts
        Whether pages are decoded without the others.
    unequal
        What distances of voxels images and masks say, if they differ; else empty.
    """

    pair: Pair
    images: Axes
    masks: Axes | None
    header: Header
    volumes: PageVolumes | None
    in_parts: bool
    unequal: str = ""

    @property
    def count(self) -> int:
        """The number of samples."""
        return self.images.count if self.volumes is None else self.volumes.count

    @property
    def keys(self) -> list[str]:
        """The names of the samples."""
        if self.volumes is not None and self.count == 1:
            return [self.pair.key]
        return slice_keys(self.pair.key, range(self.count), self.count)

    def pages(self, sample: int) -> list[int]:
        """Return the pages of a sample."""
        return [sample] if self.volumes is None else self.volumes.pages(sample)

    def mask_page(self, page: int) -> int:
        """Find the page of the masks that belongs to one of the images."""
        assert self.masks
        return mask_sample(self.images, self.masks, page)

    def names(self, sample: int) -> tuple[str, ...]:
        """Name the files of a sample, each with its place."""
        if self.volumes is not None:
            place = self.volumes.label(sample)
            return tuple(f"{path}[{place}]" if place else path for path in self.pair.files)
        name = page_name(self.pair.images[0], self.images, sample)
        if self.masks is None:
            return (name,)
        return name, page_name(str(self.pair.mask), self.masks, self.mask_page(sample))


def measured(
    pair: Pair,
    reader: PageReader,
    options: ValueOptions,
    limits: Limits,
    *,
    axis: str,
    channel: int,
    in_volumes: bool,
) -> PairedStack:
    """Read the headers of a stack and its masks.

    Parameters
    ----------
    pair, reader, options, limits
        The files, what reads them, the options of every format, and limits on what files may claim.
    axis, channel
        The options ``axis`` and ``channel``.
    in_volumes
        Whether its samples are volumes.

    Raises
    ------
    SourceError
        Images and masks do not belong together, or a file cannot be read.
    """
    found = []
    for name in pair.files:
        with naming_errors(name):
            found.append(pages := reader.pages(name))
            pages_count = prod(pages.sizes) // (pages.page.size or 1)
            limits.require_count(pages_count, name, "pages")
    images, *masks = found
    stored = [(pages.letters, pages.sizes) for pages in found]
    path = pair.images[0]
    axes, mask_axes = axes_of_pair(
        stored[0],
        stored[1] if masks else None,
        along=_counting(images.letters, axis) if in_volumes else axis,
        channel=channel,
        names=pair.files,
        one_hot=options.mask_map.by_channel,
    )
    image, channels = images.measured, count_channels(axes, channel, path)
    if images.page.photometric != PALETTE and channels != images.page.samplesperpixel:
        image = replace(image, channels=channels)
    mask = None
    if mask_axes is not None:
        mask = replace(masks[0].measured, channels=mask_axes.channel_count)
    page = options.header(image, mask, name=path)
    if not in_volumes:
        return PairedStack(pair, axes, mask_axes, page, None, in_parts=False)
    if page.mask is not None and page.mask.shape[: len(page.size)] != page.size:
        raise SourceError(
            f"{path}: needed masks of the size of the images, found {page.size[0]}x{page.size[1]} "
            f"and {page.mask.shape[0]}x{page.mask.shape[1]} in {pair.mask}; resample one"
        )
    volumes = volumes_of(axes, images.letters, along=axis, name=path)
    size = (volumes.depth, *page.size)
    spacing = images.spacing if volumes.is_spatial else None
    header = Header(
        {name: ((size[0], *each.shape), each.dtype) for name, each in page.arrays.items()},
        mask_colors=page.mask_colors,
        turned=page.turned,
        nodata=page.nodata,
        affine=None if spacing is None else affine_of_spacing(spacing),
    )
    of_both = zip(found, (axes, mask_axes), strict=False)
    in_parts = all(_is_by_page(pages, each) for pages, each in of_both if each is not None)
    unequal = _unequal(pair, found, size) if spacing else ""
    return PairedStack(pair, axes, mask_axes, header, volumes, in_parts, unequal)


def _counting(letters: str, axis: str) -> str:
    """Return the axes that count pages, if a depth along channels is one of them."""
    if axis not in ("C", "S") or axis not in letters:
        return ""
    return axis + "".join(letter for letter in letters if letter not in "YXSC")


def _is_by_page(pages: TiffPages, axes: Axes) -> bool:
    """Return whether no page holds more than one of the samples."""
    return pages.is_read_in_parts(prod(axes.size) * axes.channel_count * pages.page.dtype.itemsize)


def _unequal(pair: Pair, found: Sequence[TiffPages], size: Sequence[int]) -> str:
    spacings = [pages.spacing for pages in found if pages.spacing is not None]
    if len(spacings) < max(2, len(found)):
        return ""
    one, other = (np.array(affine_of_spacing(spacing)) for spacing in spacings)
    apart = difference(one, other, size)
    return "" if apart.tolerated else f"that {apart}, by {pair.images[0]} and {pair.mask}"
