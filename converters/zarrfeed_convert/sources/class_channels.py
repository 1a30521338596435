"""Which classes do pixels have by a mask with one channel per class?

Pure: decoded values in, ids or ones out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError, look_up
from zarrfeed_convert.mask_map import shown_value
from zarrfeed_convert.sources.values import packed_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.pixels import Pixels
    from zarrfeed_convert.source import Mask

_ONES = (0, 1, 255, 65535)  # how 1, 8 and 16 bits say true, and 0


def ones_of_multi_hot(pixels: Pixels, name: str) -> Mask:
    """Convert a mask with one channel per class, of which a pixel may have several, to 0 and 1.

    Parameters
    ----------
    pixels
        Decoded mask, (H, W) or (H, W, K). Channels hold 0, and 1, 255 or 65535, the same number
        everywhere.
    name
        Name of the mask, for errors.

    Returns
    -------
    ndarray
        (H, W, K) uint8, 0 and 1.

    Raises
    ------
    SourceError
        There are other values, or channels that are no classes.
    """
    packed_dtype(pixels.values.dtype, name)
    alpha = pixels.values.ndim == 3 and pixels.values.shape[2] == 2 and not pixels.bands
    if pixels.palette is not None or alpha:
        found = "grey with an alpha channel" if alpha else "indices of a palette"
        raise SourceError(
            f"{name}: needed a channel for each class, found {found}; leave out --mask-map "
            "multi-hot, or save masks as RGB, TIFF of any number of bands, or arrays"
            f"{look_up('mask-channels')}"
        )
    shown = pixels.values.max(initial=0) == 255  # with few bits, 1 is stored as 1 or as white
    values = pixels.values if shown else pixels.stored
    for nodata in filter(None, pixels.nodata):
        count = int(np.count_nonzero(values == nodata))
        if count:
            raise SourceError(
                f"{name}: needed 0 and 1, found {count:,} of the value {shown_value(nodata)}, "
                "which the file declares as no data; set them to 0, and exclude them by an array "
                "of weights"
            )
    ones = values != 0
    top = values.max(initial=0)
    if top not in _ONES or not np.array_equal(values, ones * top):
        others = [value for value in np.unique(values).tolist() if value not in _ONES]
        found = f"values like {others[0]}" if others else f"besides 0 both 1 and {top}"
        raise SourceError(
            f"{name}: needed a multi-hot mask, in each channel 0 and 1 (or 255), found {found}; "
            "make all of a class 1; masks of ids need no --mask-map multi-hot"
            f"{look_up('mask-channels')}"
        )
    return np.asarray(ones if ones.ndim == 3 else ones[:, :, np.newaxis], np.uint8)


def ids_of_one_hot(
    values: NDArray[Any], name: str, *, first: int = 0, none: int | None = None
) -> NDArray[Any]:
    """Convert a mask with one channel per class to class ids.

    Parameters
    ----------
    values
        (H, W, K). In every pixel, one channel is 1, or another number that is the same everywhere,
        such as 255; the others are 0.
    name
        Name of the mask, for errors.
    first
        Id of the first channel.
    none
        Id of pixels that are 0 in every channel; None if there must be no such pixels.

    Returns
    -------
    ndarray
        (H, W) uint8 or uint16: index of the channel that is not 0, plus `first`.

    Raises
    ------
    SourceError
        A pixel has no class or several, or a value is neither 0 nor the maximum.
    """
    packed_dtype(values.dtype, name)
    hot = values != 0
    top = values.max(initial=0)
    if np.isnan(top) or not np.array_equal(values, hot * top):
        between = next(value for value in np.unique(values).tolist() if value not in (0, top))
        raise SourceError(
            f"{name}: needed a one-hot mask, found values like {between} besides 0 and {top}; "
            "store the index of the largest channel (argmax) instead"
            f"{look_up('mask-channels')}"
        )
    classes = hot.sum(axis=-1)
    missing, several = int((classes == 0).sum()), int((classes > 1).sum())
    if several or (missing and none is None):
        advice = "use --mask-map multi-hot if a pixel may have several classes, or none"
        if not several:
            advice = "if these are background, which has no channel, use --mask-map 'one-hot=1,*=0'"
        raise SourceError(
            f"{name}: needed a one-hot mask, one class in every pixel, found {missing} pixels of "
            f"no class and {several} of several; {advice}"
            f"{look_up('mask-channels')}"
        )
    ids: NDArray[Any] = hot.argmax(axis=-1) + first
    if none is not None:
        ids[classes == 0] = none
    return ids.astype(np.uint8 if ids.max(initial=0) <= 255 else np.uint16)
