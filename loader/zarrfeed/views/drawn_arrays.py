"""How are an image and its mask drawn, whether they are planes or volumes, in memory or stored?

Pure but for reading what is given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.pictures.large_images import MiddleOf, PlaneOf, fit_image, fit_mask
from zarrfeed.pictures.overlays import mask_colors, overlaid
from zarrfeed.pictures.planes import even_slices, middle_planes
from zarrfeed.pictures.thumbnails import thumbnail_size
from zarrfeed.pictures.windows import to_rgb, window_of
from zarrfeed.views.field_roles import image_axes, mask_axes

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from zarrfeed.pictures.large_images import Image
    from zarrfeed.pictures.palette import Palette
    from zarrfeed.pictures.planes import Plane

_SEARCHED_NBYTES = 64 << 20  # of a mask in which the fullest planes are looked for
_MOST_IDS = 64  # of one mask that are named


@dataclass(frozen=True, slots=True)
class Panel:
    """An image, or a plane of a volume.

    Attributes
    ----------
    picture
        (h, w, 3) uint8.
    overlay
        The same with the colours of the mask; None if there is no mask.
    plane
        Which plane of a volume it is; None for an image.
    """

    picture: NDArray[np.uint8]
    overlay: NDArray[np.uint8] | None
    plane: Plane | None = None


@dataclass(frozen=True, slots=True)
class View:
    """What a sample, a case or a patch looks like.

    Attributes
    ----------
    title
        Its key.
    caption
        Its size and dtype.
    panels
        One for an image; for a volume three planes.
    slices
        Evenly spaced planes of a volume across z.
    size
        Its spatial extents in pixels.
    ids
        Class ids that the pictures have, sorted, the first 64.
    """

    title: str
    caption: str
    panels: tuple[Panel, ...]
    slices: tuple[Panel, ...]
    size: tuple[int, ...]
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """How large pictures are, and in which colours.

    Attributes
    ----------
    palette
        Colours of the classes.
    most
        Largest extent of a picture in pixels.
    slices
        Number of slices of a volume; 0 for none.
    looked_for
        Class ids through which planes of volumes are laid; None for all but the background.
    spatial
        Number of spatial axes, if that is known.
    most_nbytes
        Bytes of an image that may be read. Of a larger one, the middle is shown. None for any.
    """

    palette: Palette
    most: int = 320
    slices: int = 0
    looked_for: Collection[int] | None = None
    spatial: int | None = None
    most_nbytes: int | None = None


def draw(
    image: Image | None,
    mask: Image | None,
    drawing: Drawing,
    *,
    title: str,
    spacing: Sequence[float] | None = None,
    at: Sequence[int] | None = None,
) -> View:
    """Draw an image, its mask, or both.

    Parameters
    ----------
    image, mask
        What is shown; one may be None.
    drawing
        How.
    title
        Key of the sample.
    spacing
        Of the voxels of a volume along its axes; None if unknown.
    at
        The voxel through which planes are laid if the mask is too large to look where it has most
        pixels; None for the middle.
    """
    shown = image if image is not None else mask
    assert shown is not None
    caption = f"{' × '.join(map(str, shown.shape))} {shown.dtype}"
    palette, spatial = drawing.palette, drawing.spatial
    if image is not None:
        axes = image_axes(image.shape, None if mask is None else mask.shape, spatial)
        image, spatial = _channels_last(image, axes.channels), axes.spatial
    if mask is not None:
        if spatial is None:
            axes_of_mask = len(mask.shape)
            spatial = axes_of_mask - 1 if palette.multi_hot and axes_of_mask > 2 else axes_of_mask
            spatial = min(spatial, 3)
        found = mask_axes(mask.shape, spatial, palette)
        if found is None:  # of other axes than the image's
            mask = None
        else:
            mask = _channels_last(mask, found.channels)
            hot = len(mask.shape) > spatial and (mask.shape[-1] > 1 or palette.multi_hot)
            palette = replace(palette, multi_hot=hot)
    base = image if image is not None else mask
    assert base is not None
    assert spatial is not None
    size = base.shape[:spatial]
    if spatial == 2:
        nbytes = math.prod(base.shape) * base.dtype.itemsize
        if drawing.most_nbytes is not None and nbytes > drawing.most_nbytes:
            shown_size = [min(extent, 4 * drawing.most) for extent in size]
            caption += f", the middle {' × '.join(map(str, shown_size))}"
            image = None if image is None else MiddleOf(image, shown_size)
            mask = None if mask is None or mask.shape[:2] != size else MiddleOf(mask, shown_size)
            size = tuple(shown_size)
        panels, ids = _panels([(None, image, mask, thumbnail_size(size, drawing.most))], palette)
        return View(title, caption, panels, (), size, ids)
    if mask is not None and mask.shape[:3] != size:
        mask = None
    if mask is not None:
        at = _fullest(mask, palette, drawing.looked_for) or at
    planes = middle_planes(size, spacing, at=at)
    slices = even_slices(size, drawing.slices, spacing) if drawing.slices else []
    panels, ids = _panels([_cut(image, mask, plane, drawing.most) for plane in planes], palette)
    montage, more = _panels(
        [_cut(image, mask, plane, drawing.most // 2) for plane in slices], palette
    )
    return View(title, caption, panels, montage, size, tuple(sorted({*ids, *more}))[:_MOST_IDS])


def _channels_last(image: Image, channels: int | None) -> Image:
    if channels == 0:
        whole = np.asarray(image)
        return np.moveaxis(whole, 0, -1)
    return image


def _cut(image: Image | None, mask: Image | None, plane: Plane, most: int) -> Any:
    size = thumbnail_size(plane.size, most)
    cut = (None if each is None else PlaneOf(each, plane) for each in (image, mask))
    return (plane, *cut, size)


def _panels(parts: Sequence[Any], palette: Palette) -> tuple[tuple[Panel, ...], tuple[int, ...]]:
    """Read and colour planes, all with the same window."""
    images = [None if image is None else fit_image(image, size) for _, image, _, size in parts]
    masks = [
        None if mask is None else fit_mask(mask, size, palette.background)
        for _, _, mask, size in parts
    ]
    window = None
    several = [image for image in images if image is not None]
    if len(several) > 1 and several[0].dtype not in (np.uint8, np.bool_):
        deep = [each.reshape(-1, each.shape[2] if each.ndim == 3 else 1) for each in several]
        values = np.concatenate(deep)
        window = window_of(values, together=values.shape[-1] == 3)
    panels, ids = [], set[int]()
    for (plane, *_), image, mask in zip(parts, images, masks, strict=True):
        if image is None:
            assert mask is not None
            panels.append(Panel(mask_colors(mask, palette)[0], None, plane))
        else:
            picture = to_rgb(image, window)
            over = None if mask is None else overlaid(picture, mask, palette)
            panels.append(Panel(picture, over, plane))
        ids |= set() if mask is None else _ids(mask, palette)
    return tuple(panels), tuple(sorted(ids))[:_MOST_IDS]


def _ids(mask: NDArray[Any], palette: Palette) -> set[int]:
    if palette.multi_hot:
        return set(np.flatnonzero((mask >= 0.5).any(axis=(0, 1))).tolist())
    found = np.unique(mask)[: 4 * _MOST_IDS]
    return {int(value) for value in found.tolist() if math.isfinite(value)}


def _fullest(
    mask: Image, palette: Palette, looked_for: Collection[int] | None
) -> tuple[int, ...] | None:
    """Return, along each axis, the plane in which a mask has most pixels; None if it has none."""
    if math.prod(mask.shape) * mask.dtype.itemsize > _SEARCHED_NBYTES:
        return None
    values = np.asarray(mask)
    if palette.multi_hot:
        ids = range(values.shape[-1]) if looked_for is None else looked_for
        kept = [id_ for id_ in ids if id_ != palette.background and id_ < values.shape[-1]]
        hit = (values[..., kept] >= 0.5).any(axis=-1)
    else:
        values = values[..., 0] if values.ndim == 4 else values
        if looked_for is not None:
            hit = np.isin(values, list(looked_for))
        elif palette.background is None:
            return None
        else:
            hit = values != palette.background
        if palette.ignore is not None:
            hit &= values != palette.ignore
    if not hit.any():
        return None
    others = ((1, 2), (0, 2), (0, 1))
    return tuple(int(np.argmax(hit.sum(axis=axes))) for axes in others)
