"""What is a dataset that can be packed?

A :class:`Source` lists its samples, measures one without decoding it, and reads one. It is
pickled once to every packing process, so it carries addresses (paths), never open files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

JSON: TypeAlias = dict[str, Any]
Image: TypeAlias = NDArray[Any]
Mask: TypeAlias = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of a sample before it is decoded.

    Attributes
    ----------
    height, width, channels
        Of the image as :meth:`Source.read` will return it.
    dtype
        Of the image: ``uint8``, ``uint16`` or ``float32``.
    mask_height, mask_width
        Of the mask.
    mask_colors
        What the indices of the mask's palette show, ``0xRRGGBB``; inverted (``~0xRRGGBB``) where a
        mask map knows the class. Empty where there is no palette, or it knows all of them.
    turned
        Whether the image's file says that it is to be shown turned, and the mask's does not.
    nodata
        Values of the image that its file declares to be none.
    """

    height: int
    width: int
    channels: int
    dtype: str
    mask_height: int
    mask_width: int
    mask_colors: tuple[int, ...] = field(default=(), compare=False)
    turned: bool = field(default=False, compare=False)
    nodata: tuple[float, ...] = field(default=(), compare=False)


@runtime_checkable
class Source(Protocol):
    """Images and masks that are to be packed. Picklable.

    A source may also have these, and is asked by ``getattr``:

    - ``classes``: the class names by id, a tuple of str, where the format itself says them;
    - ``ignore``: the id of pixels of no class, an int or None;
    - ``left_out``: inputs that make no sample, as (name, why) pairs of str. They end a conversion,
      unless it is told to skip what it can't pack;
    - ``remarks``: what else whoever packs it should be told, as (what, how many, why) of str;
    - ``shown_colors(sample)``: of a mask that has `mask_colors`, the indices that it uses, and
      their colours, in the same way;
    - ``memory_nbytes``: the bytes that it keeps in memory, at most, in each process.
    """

    @property
    def keys(self) -> Sequence[str]:
        """Name every sample; the names are unique."""
        ...

    def describe(self) -> JSON:
        """Say where the samples come from, as JSON; the store records it.

        ``kind`` is the format, ``facts`` what else is worth knowing; the rest are the arguments
        by which :func:`zarrfeed_convert.formats.source_of` opens it again.
        """
        ...

    def names(self, sample: int) -> tuple[str, str]:
        """Name a sample's image and mask as a person would look for them."""
        ...

    def probe(self, sample: int) -> Header:
        """Measure a sample without decoding it."""
        ...

    def read(self, sample: int) -> tuple[Image, Mask]:
        """Decode a sample: image (H, W, C) in its header's dtype, mask (H, W) of class ids."""
        ...

    def read_mask(self, sample: int) -> Mask:
        """Decode only a sample's mask."""
        ...
