"""A joint transform of image and mask, as an example and for the demonstration.

It has its own module, which does not import Keras, so that worker processes start quickly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def flip(
    image: NDArray[Any], mask: NDArray[Any], rng: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Flip image and mask horizontally with a probability of one half.

    Parameters
    ----------
    image
        (H, W, C) array.
    mask
        (H, W) array.
    rng
        Generator, seeded by (seed, epoch, sample id).
    """
    if rng.random() < 0.5:
        return image[:, ::-1], mask[:, ::-1]
    return image, mask
