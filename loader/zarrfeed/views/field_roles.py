"""Which field is the image, which the mask, and what do their axes mean? Pure.

Splits that zarrfeed packed say it. Of others, and of what a transform returns, names and shapes
tell: ``(H, W)``, ``(H, W, C)``, ``(C, H, W)``, and the same with D.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from zarrfeed.pictures.palette import Palette

Shape: TypeAlias = tuple[int, ...]

_MASKS = re.compile(r"mask|label|seg|annot|target|truth|^gt|^y$", re.IGNORECASE)
_WEIGHTS = re.compile("weight", re.IGNORECASE)
_IMAGE, _MASK = "image", "mask"
_MOST_CHANNELS = 16  # of an image (H, W, C) whose mask does not say that it has channels


class Roles(NamedTuple):
    """Names of the fields that a picture shows; None for what there is not."""

    image: str | None
    mask: str | None


def find_roles(
    fields: Mapping[str, tuple[Shape, np.dtype]], said: Mapping[str, str] | None = None
) -> Roles:
    """Choose the fields that a picture shows.

    Parameters
    ----------
    fields
        Shape of one sample, and dtype, by name.
    said
        The role of each field, ``image``, ``mask`` or ``target``, if it is known.

    Examples
    --------
    >>> import numpy as np
    >>> byte = np.dtype("uint8")
    >>> find_roles({"raw": ((9, 9, 3), byte), "labels": ((9, 9), byte), "id": ((), byte)})
    Roles(image='raw', mask='labels')
    """
    drawable = {
        name: dtype
        for name, (shape, dtype) in fields.items()
        if 2 <= len(shape) <= 4 and dtype.kind in "biufc" and 0 not in shape
    }
    said = said or {}
    masks = [name for name in drawable if said.get(name) == _MASK]
    images = [name for name in drawable if said.get(name) == _IMAGE]
    if not masks:
        masks = [
            name
            for name, dtype in drawable.items()
            if name not in images and dtype.kind != "c" and _MASKS.search(name)
        ]
    if not images:
        images = [name for name in drawable if name not in masks and not _WEIGHTS.search(name)]
    return Roles(_first(images, _IMAGE), _first(masks, _MASK))


def _first(names: list[str], best: str) -> str | None:
    return best if best in names else next(iter(names), None)


class Axes(NamedTuple):
    """What the axes of an array mean.

    Attributes
    ----------
    spatial
        2 or 3.
    channels
        The axis of channels, or of classes: 0 or `spatial`; None if there is none.
    """

    spatial: int
    channels: int | None

    def size(self, shape: Shape) -> Shape:
        """Return the extents of the spatial axes."""
        first = 1 if self.channels == 0 else 0
        return shape[first : first + self.spatial]


def image_axes(shape: Shape, mask: Shape | None = None, spatial: int | None = None) -> Axes:
    """Say what the axes of an image mean.

    Parameters
    ----------
    shape
        Its shape, of 2 to 4 axes.
    mask
        Shape of its mask, if there is one.
    spatial
        Number of its spatial axes, if that is known.

    Examples
    --------
    >>> image_axes((3, 64, 80)), image_axes((64, 80, 3)), image_axes((30, 64, 80))
    (Axes(spatial=2, channels=0), Axes(spatial=2, channels=2), Axes(spatial=3, channels=None))
    """
    axes = len(shape)
    if axes == 2 or spatial == axes:
        return Axes(axes, None)
    last, first = Axes(axes - 1, axes - 1), Axes(axes - 1, 0)
    if spatial == axes - 1 and mask is None:
        return last
    if mask is not None and len(mask) == axes - 1:
        if mask == shape[:-1]:
            return last
        if mask == shape[1:]:
            return first
    if spatial == axes - 1 or axes == 4:
        return first if shape[0] < shape[-1] and shape[0] <= 4 else last
    if mask == shape and shape[-1] > _MOST_CHANNELS:
        return Axes(3, None)
    if shape[-1] <= _MOST_CHANNELS and shape[-1] <= min(shape[:-1]):
        return last
    return first if shape[0] <= 4 else Axes(3, None)


def mask_axes(shape: Shape, spatial: int, palette: Palette) -> Axes | None:
    """Say what the axes of a mask mean; None if it has too few or too many.

    Parameters
    ----------
    shape
        Its shape.
    spatial
        Number of spatial axes of its image.
    palette
        The classes.

    Examples
    --------
    >>> from zarrfeed.pictures.palette import Palette
    >>> mask_axes((64, 80), 2, Palette()), mask_axes((3, 64, 80), 2, Palette(("a", "b", "c")))
    (Axes(spatial=2, channels=None), Axes(spatial=2, channels=0))
    """
    if len(shape) == spatial:
        return Axes(spatial, None)
    if len(shape) != spatial + 1:
        return None
    classes = {1, len(palette.names)}
    return Axes(spatial, 0 if shape[0] in classes and shape[-1] not in classes else spatial)
