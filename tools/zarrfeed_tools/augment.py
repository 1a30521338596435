"""A joint transform of image and mask, as an example and for the demonstration.

It stands in a module of its own without Keras, so that worker processes start at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def flip(
    image: NDArray[Any], mask: NDArray[Any], rng: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Mirror both by chance, left to right.

    Parameters
    ----------
    image
        (H, W, C).
    mask
        (H, W).
    rng
        Seeded by (seed, epoch, sample id).
    """
    if rng.random() < 0.5:
        return image[:, ::-1], mask[:, ::-1]
    return image, mask
