"""How is a patch flipped and turned? One number per patch, which readers turn into a view.

Bit k: flipped along axis k; the bits from `TURN_BIT` on: the number of turns by 90 degrees in the
plane of the last two axes, after the flips.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.order.random_words import Purpose, random_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

TURN_BIT = 4


def random_orientations(
    draws: NDArray[np.int64], *, seed: int, epoch: int, flips: tuple[bool, ...], turns: bool
) -> NDArray[np.int64]:
    """Draw orientations.

    Parameters
    ----------
    draws
        (n,) int64: numbers of the draws.
    seed, epoch
        Seed of the sequence, and number of the epoch.
    flips
        For each axis, whether half of the patches are flipped along it.
    turns
        Whether to turn patches.

    Returns
    -------
    (n,) int64
    """
    allowed = sum(flip << axis for axis, flip in enumerate(flips)) | (3 << TURN_BIT) * turns
    if not allowed:
        return np.zeros(draws.size, np.int64)
    words = random_words((seed, epoch, Purpose.ORIENTATION), draws, 1)[:, 0] >> np.uint64(32)
    return words.astype(np.int64) & allowed


def unoriented(patch: NDArray[Any], orientation: int, axes: int) -> NDArray[Any]:
    """Return a view of a patch in which its pixels lie as they do in the case.

    Writing a box of a case to the view flips and turns the box on its way.

    Parameters
    ----------
    patch
        Array whose first axes are those of the patch.
    orientation
        A number that :func:`random_orientations` returned.
    axes
        Number of spatial axes, 2 or 3.

    Examples
    --------
    >>> patch = np.zeros((2, 2), int)
    >>> unoriented(patch, 1 << TURN_BIT, axes=2)[:] = [[1, 2], [3, 4]]
    >>> (patch == np.rot90([[1, 2], [3, 4]])).all()
    np.True_
    """
    if not orientation:
        return patch
    turns = orientation >> TURN_BIT
    if turns:
        patch = np.rot90(patch, -turns, (axes - 2, axes - 1))
    flipped = tuple(axis for axis in range(axes) if orientation >> axis & 1)
    return np.flip(patch, flipped) if flipped else patch


def flips_of(orientation: int, axes: int) -> tuple[bool, ...]:
    """Return for each axis whether it is flipped."""
    return tuple(bool(orientation >> axis & 1) for axis in range(axes))
