"""Which class does each pixel have, by the ids, the channels or the scores that a field stores?

Pure. Truth and prediction are compared either as ids, one for each pixel, or as channels, one bool
for each pixel and class (multi-hot masks, whose classes may overlap).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from zarrfeed.errors import look_up

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_IDS = 1 << 16  # masks have 16 bits at most
_HALF = 0.5
_PIECE = 1 << 16  # pixels
# Turns the values of a box into ids or channels.
Decode: TypeAlias = Callable[["NDArray[Any]"], "NDArray[Any]"]


def decode_truth(dtype: np.dtype[Any], channels: tuple[int, ...], *, multi_hot: bool) -> Decode:
    """Choose how to read true masks.

    Parameters
    ----------
    dtype
        Their dtype.
    channels
        The extent of the axis after the spatial ones; () if there is none.
    multi_hot
        Whether this axis has one channel of 0 and 1 for each class.

    Returns
    -------
    function
        From a box of values to ids of one fewer axis, or to channels if `multi_hot`.

    Raises
    ------
    ValueError
        They are no masks.
    """
    if dtype.kind not in "bui" or not (multi_hot or channels in ((), (1,))):
        raise ValueError(
            f"needed masks of class ids, or packed multi-hot masks, found {dtype} "
            f"{_described(channels)}; name a field of masks"
        )
    if multi_hot:
        return as_channels
    return _ids_of_one_channel if channels else as_ids


def decode_predictions(
    dtype: np.dtype[Any], channels: tuple[int, ...], *, classes: int | None, multi_hot: bool
) -> Decode:
    """Choose how to read predictions.

    Parameters
    ----------
    dtype, channels
        As of :func:`decode_truth`.
    classes
        Number of classes; None if it is unknown.
    multi_hot
        Whether the true masks are multi-hot.

    Returns
    -------
    function
        From a box of values to ids, or to channels if `multi_hot`.

    Raises
    ------
    ValueError
        The predictions are of another kind than the true masks.
    """
    found = f"found {dtype} {_described(channels)}"
    if multi_hot:
        if channels == (classes,) and dtype.kind in "buif":
            return _likely if dtype.kind == "f" else as_channels
        if not channels and classes == 1 and dtype.kind in "bui":
            return lambda values: as_channels(values[..., np.newaxis])
        raise ValueError(
            f"needed a last axis of {classes} channels of 0 and 1, or of probabilities, because "
            f"the true masks are multi-hot, {found}; store probabilities"
        )
    if dtype.kind in "bui" and channels in ((), (1,)):
        return _ids_of_one_channel if channels else as_ids
    if dtype.kind == "f" and channels == (1,) and classes in (None, 2):
        return lambda values: _likely(values)[..., 0]
    if (
        dtype.kind == "f"
        and channels
        and channels[0] > 1
        and channels[0] == (classes or channels[0])
    ):
        return _likeliest
    many = "K" if classes is None else str(classes)
    one = " or (for the second of 2 classes) of 1" if classes in (None, 2) else ""
    advice = "store ids, such as scores.argmax(axis=-1)"
    if dtype.kind == "f" and channels == (1,):
        advice = f"one channel tells only 2 classes apart: predict with a model of {many} channels"
    raise ValueError(
        "needed class ids, such as uint8 without a last axis, or probabilities with a last axis "
        f"of {many} channels{one}, {found}; {advice}"
    )


def as_ids(values: NDArray[Any]) -> NDArray[Any]:
    """Return integers as ids of bool, uint8 or uint16.

    Raises
    ------
    ValueError
        A value is negative, or above 65535.
    """
    if values.dtype.kind == "b" or (values.dtype.kind == "u" and values.dtype.itemsize <= 2):
        return values
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    if low < 0 or high >= MOST_IDS:
        raise ValueError(
            f"needed class ids 0 … {MOST_IDS - 1}, found {low if low < 0 else high}; store what "
            "is no class as the ignored id"
        )
    return values.astype(np.uint16)


def as_channels(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return integers 0 and 1 as bool.

    Raises
    ------
    ValueError
        There are others.
    """
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    if low < 0 or high > 1:
        raise ValueError(
            f"needed channels of 0 and 1, found {low if low < 0 else high}; store values > 0"
        )
    return values.astype(np.bool_, copy=False)


def _ids_of_one_channel(values: NDArray[Any]) -> NDArray[Any]:
    return as_ids(values)[..., 0]


def _likely(values: NDArray[Any]) -> NDArray[np.bool_]:
    return _known(values) > _HALF


def _likeliest(values: NDArray[Any]) -> NDArray[np.uint16]:
    scores = _known(values).reshape(-1, values.shape[-1])
    ids = np.empty(len(scores), np.uint16)
    for start in range(0, len(ids), _PIECE):  # twice as fast as all at once, as they stay in cache
        ids[start : start + _PIECE] = scores[start : start + _PIECE].argmax(axis=-1)
    return ids.reshape(values.shape[:-1])


def _known(values: NDArray[Any]) -> NDArray[Any]:
    if np.isnan(values.min(initial=0)):  # faster than to look at each
        raise ValueError(
            f"needed probabilities, found NaN: the model's output was not finite{look_up('nan')}"
        )
    return values


def _described(channels: tuple[int, ...]) -> str:
    return f"with a last axis of {channels[0]}" if channels else "without a last axis of channels"
