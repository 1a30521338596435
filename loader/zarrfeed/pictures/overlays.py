"""How do masks look, alone and over their images? Pure.

Masks are class ids (H, W), or multi-hot (H, W, K): one channel per class, whose pixels may have
several. A mask of ids may have a last axis of one. A :class:`Palette` says which it is, and colours
it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed.pictures.palette import Palette

_MEMBER = 0.5  # the least value of a channel's pixels that have its class


def mask_colors(
    mask: NDArray[Any], palette: Palette
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Colour a mask.

    Parameters
    ----------
    mask
        (H, W), (H, W, 1) or (H, W, K), as in this module's docstring. Floats count, too.
    palette
        Colours of the classes. Where classes overlap, their colours are mixed.

    Returns
    -------
    (H, W, 3) uint8
        Colours; black where the mask has no class or the background.
    (H, W) bool
        Where it has another.

    Examples
    --------
    >>> from zarrfeed.pictures.palette import Palette
    >>> colors, covered = mask_colors(np.array([[0, 1]]), Palette(("background", "cell")))
    >>> colors.tolist(), covered.tolist()
    ([[[0, 0, 0], [85, 242, 131]]], [[False, True]])
    """
    if palette.multi_hot:
        return _multi_hot_colors(mask if mask.ndim == 3 else mask[..., None], palette)
    ids = mask[..., 0] if mask.ndim == 3 else mask
    known = np.ones(ids.shape, np.bool_)
    if ids.dtype.kind == "f":
        known = np.isfinite(ids)
        ids = np.rint(np.where(known, ids, -1))
        ids = np.clip(ids, -1, np.iinfo(np.int32).max).astype(np.int64)
    covered = known if palette.background is None else known & (ids != palette.background)
    return np.where(covered[..., None], palette.colors_of_ids(ids), np.uint8(0)), covered


def _multi_hot_colors(
    mask: NDArray[Any], palette: Palette
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    total = np.zeros((*mask.shape[:2], 3), np.uint32)
    counts = np.zeros(mask.shape[:2], np.uint32)
    for number, color in enumerate(palette.colors_of_ids(np.arange(mask.shape[-1]))):
        if number != palette.background:
            has = mask[..., number] >= _MEMBER
            counts += has
            total += has[..., None] * color.astype(np.uint32)
    colors = total // np.maximum(counts, 1)[..., None]
    return colors.astype(np.uint8), counts > 0


def overlaid(
    picture: NDArray[np.uint8], mask: NDArray[Any], palette: Palette, *, alpha: float = 0.5
) -> NDArray[np.uint8]:
    """Lay the colours of a mask over a picture.

    Parameters
    ----------
    picture
        (H, W, 3) uint8.
    mask, palette
        As for :func:`mask_colors`, of the size of `picture`.
    alpha
        Share of the mask's colours, 0 … 1.

    Returns
    -------
    (H, W, 3) uint8
        As `picture` where the mask has the background or no class.
    """
    colors, covered = mask_colors(mask, palette)
    mixed = picture * (1 - alpha) + colors * alpha
    return np.where(covered[..., None], mixed.astype(np.uint8), picture)


def transparent(mask: NDArray[Any], palette: Palette) -> NDArray[np.uint8]:
    """Make a picture of a mask that is to lie over another picture.

    Parameters
    ----------
    mask, palette
        As for :func:`mask_colors`.

    Returns
    -------
    (H, W, 4) uint8
        RGBA; transparent where the mask has the background or no class, else opaque.
    """
    colors, covered = mask_colors(mask, palette)
    return np.concatenate([colors, covered[..., None] * np.uint8(255)], axis=-1, dtype=np.uint8)
