"""How much does each pixel of a patch's prediction weigh where patches overlap? Pure."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Window: TypeAlias = Literal["gaussian", "constant"]

_SIGMA = 0.125  # in sizes of a patch
_LEAST = 1e-3  # weight in the corners, where a Gaussian of three axes would almost vanish


def blending_window(size: tuple[int, ...], window: Window) -> NDArray[np.float32]:
    """Return the weight of each pixel of a patch, as MONAI's ``compute_importance_map`` does.

    Parameters
    ----------
    size
        Size of a patch in pixels.
    window
        "gaussian": a Gaussian with a standard deviation of 1/8 of the patch along each axis, at
        least 0.001. "constant": 1 everywhere.

    Returns
    -------
    array of shape `size`, float32

    Examples
    --------
    >>> blending_window((1, 3), "gaussian").round(3)
    array([[0.029, 1.   , 0.029]], dtype=float32)
    """
    if window == "constant":
        return np.ones(size, np.float32)
    along = [
        np.exp(-(((np.arange(extent) - (extent - 1) / 2) / (_SIGMA * extent)) ** 2) / 2)
        for extent in size
    ]
    weights = reduce(np.multiply.outer, along)
    return np.maximum(weights, max(weights.min(), _LEAST)).astype(np.float32)
