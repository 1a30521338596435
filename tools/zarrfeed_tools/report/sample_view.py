"""What is seen of one sample: a small picture, some pixels, and what is odd about it.

Pure: arrays come in, small values go out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from zarrfeed.pictures.overlays import transparent
from zarrfeed.pictures.planes import plane_size
from zarrfeed.pictures.thumbnails import pick, thumbnail_size
from zarrfeed.pictures.windows import to_rgb
from zarrfeed_tools.report.bounded_box import middle_box, plane_with_most
from zarrfeed_tools.report.distributions import MOST_CHANNELS
from zarrfeed_tools.report.encoding import resized
from zarrfeed_tools.report.islands import Islands, can_find_islands, find_islands

if TYPE_CHECKING:
    from collections.abc import Container

    from numpy.typing import NDArray

    from zarrfeed.pictures.palette import Palette
    from zarrfeed.store.tile_grid import Box

MOST_EDGE = 256  # pixels of a thumbnail's longer side
_MOST_PIXELS = 4096  # of a sample, for the distributions
_MOST_SEARCHED = 1 << 21  # pixels of a mask in which islands are looked for


@dataclass(frozen=True, slots=True)
class Seen:
    """A sample, or a part of it, that has been read.

    Attributes
    ----------
    image
        (H, W, C) or (D, H, W, C).
    mask
        (H, W) or (D, H, W) class ids; multi-hot with a last axis; None if there is none.
    box
        Where it lies in the sample.
    size
        (H, W) or (D, H, W) of the whole sample.
    spacing
        Length of a step along each axis; None if unknown.
    elsewhere
        Further pixels (m, C) of a sample of which only a part has been read.
    """

    image: NDArray[Any]
    mask: NDArray[Any] | None
    box: Box
    size: tuple[int, ...]
    spacing: tuple[float, ...] | None = None
    elsewhere: NDArray[Any] | None = None

    @property
    def whole(self) -> bool:
        """Whether it is all of the sample."""
        extents = (along.stop - along.start for along in self.box)
        return tuple(extents) == self.size


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What is seen of one sample.

    Attributes
    ----------
    key
        Its name.
    size
        (H, W) or (D, H, W) in pixels.
    shown
        Which part the picture shows; empty if it shows everything.
    picture
        (h, w, 3) uint8; None if the sample could not be read.
    overlay
        (h, w, 4) uint8: the colours of its mask; None if it has no mask.
    pixels
        (m, C): some of its pixels, of at most eight channels.
    channels
        Number of all channels.
    constant
        Whether all pixels that were read have one value, in every channel.
    not_finite
        Number of NaN and infinite values among those read.
    islands
        The components of each class in its mask, whose places are in the part that was read.
    plane, extent
        The number of the plane, of that part, that the picture shows, or None for an image; and its
        (height, width).
    image_hash, mask_hash
        Of all pixels of the image, and of the mask; empty if only a part was read.
    error
        Why it could not be read.
    """

    key: str
    size: tuple[int, ...] = ()
    shown: str = ""
    picture: NDArray[np.uint8] | None = None
    overlay: NDArray[np.uint8] | None = None
    pixels: NDArray[Any] | None = None
    channels: int = 0
    constant: bool = False
    not_finite: int = 0
    islands: tuple[Islands, ...] = ()
    plane: int | None = None
    extent: tuple[int, int] = (0, 0)
    image_hash: bytes = b""
    mask_hash: bytes = b""
    error: str = ""

    def marks(self, left_out: Container[int] = ()) -> list[tuple[float, float]]:
        """Return where islands are in the picture: (x, y) each, 0 … 1.

        Parameters
        ----------
        left_out
            Classes whose islands are not marked.
        """
        height, width = self.extent
        return [
            ((place[-1] + 0.5) / width, (place[-2] + 0.5) / height)
            for found in self.islands
            if found.class_id not in left_out
            for place in found.places.tolist()
            if self.plane is None or place[0] == self.plane
        ]


def view_of(key: str, seen: Seen, palette: Palette, classes: int) -> View:
    """Make a view of a sample.

    Parameters
    ----------
    key
        Name of the sample.
    seen
        What has been read of it.
    palette
        Colours of the classes.
    classes
        Number of classes; higher ids of the mask do not count.
    """
    image, mask = seen.image, seen.mask
    values = image.reshape(-1, image.shape[-1])
    finite = np.isfinite(values) if values.dtype.kind in "fc" else None
    read = values if seen.elsewhere is None else np.concatenate([values, seen.elsewhere])
    plane, title = _plane_of(seen, classes, multi_hot=palette.multi_hot)
    flat = image if plane is None else image[plane]
    flat_mask = mask if mask is None or plane is None else mask[plane]
    picture, overlay = _pictures(flat, flat_mask, seen, palette)
    return View(
        key,
        seen.size,
        title,
        picture,
        overlay,
        read[:: max(1, math.ceil(len(read) / _MOST_PIXELS)), :MOST_CHANNELS].copy(),
        values.shape[1],
        constant=bool((values[:1] == values).all()),
        not_finite=0 if finite is None else int(finite.size - np.count_nonzero(finite)),
        islands=_islands(seen, plane, classes, multi_hot=palette.multi_hot),
        plane=plane,
        extent=(flat.shape[0], flat.shape[1]),
        image_hash=_hash(image) if seen.whole else b"",
        mask_hash=_hash(mask) if seen.whole and mask is not None else b"",
    )


def _plane_of(seen: Seen, classes: int, *, multi_hot: bool) -> tuple[int | None, str]:
    """Return the number of the plane that the picture shows, and which part of the sample it is."""
    part = [] if seen.whole else [seen.box[-2], seen.box[-1]]
    names = [
        f"{name} {along.start:,}–{along.stop - 1:,}"
        for name, along, extent in zip(("y", "x"), part, seen.size[-2:], strict=False)
        if along.stop - along.start < extent
    ]
    if len(seen.size) == 2:
        return None, ", ".join(names)
    depth = len(seen.image)
    place = depth // 2
    if seen.mask is not None and seen.mask.dtype.kind in "iub":
        place = plane_with_most(seen.mask, classes, multi_hot=multi_hot)
    title = f"z = {seen.box[0].start + place:,} of {seen.size[0]:,}"
    return place, ", ".join([title, *names])


def _islands(
    seen: Seen, plane: int | None, classes: int, *, multi_hot: bool
) -> tuple[Islands, ...]:
    """Look for islands in a mask, or in the middle of a large one."""
    mask = seen.mask
    if mask is None or mask.dtype.kind not in "iub" or not can_find_islands():
        return ()
    size = mask.shape[: len(seen.size)]
    around = [extent // 2 for extent in size]
    if plane is not None:
        around[0] = plane
    box = middle_box(size, around, most_pixels=_MOST_SEARCHED)
    part = mask[box]
    whole = seen.whole and part.shape == mask.shape
    found = find_islands(part, classes, multi_hot=multi_hot, whole=whole)
    first = [along.start for along in box]
    return tuple(each._replace(places=each.places + first) for each in found)


def _pictures(
    image: NDArray[Any], mask: NDArray[Any] | None, seen: Seen, palette: Palette
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Draw a plane (h, w, C) and its mask in few pixels."""
    size: tuple[int, ...] = image.shape[:2]
    if len(seen.size) == 3:
        size = plane_size((1, *size), 0, seen.spacing)
    size = thumbnail_size(size, MOST_EDGE)
    picture = resized(to_rgb(image), size)
    return picture, None if mask is None else transparent(pick(mask, size), palette)


def _hash(array: NDArray[Any]) -> bytes:
    """Return a hash of the values, the dtype and the shape of an array."""
    found = xxhash.xxh3_128(f"{array.dtype} {array.shape}".encode())
    found.update(np.ascontiguousarray(array).data)
    return found.digest()
