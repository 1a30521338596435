"""What does a row of a batch hold? A draw says it, as plain numbers in the batch's slot.

A draw of a whole sample has an ``id``, the number of the sample in the store, and a ``repeat``: how
often the epoch has drawn it before. A draw of a patch says in addition where the patch lies::

    id          number of the draw within the epoch
    repeat      0
    case        number of the case (of the sample, in a split of samples)
    first_tile  row of the case's first tile (of the sample)
    size        size of the case in pixels
    origin      index of the patch's first pixel in the case; it may be beyond the border
    tile        row of the tile that holds the drawn pixel of a class; -1 if the draw is free.
                Otherwise `origin` is relative to this pixel, which the reader looks up in the mask:
    label       the class of the pixel; -1 if the draw is free
    nth         the pixel is the n-th one of the class in the tile, from 0 on, in C order
    pixels      number of pixels of the class in the tile; the reader checks it
    orientation bit k: flipped along axis k; bits 4 and 5: number of turns by 90 degrees
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from zarrfeed.arrays import Ids

Draws: TypeAlias = NDArray[np.void]

FREE = -1  # `tile` and `label` of a patch that need not contain a class

SAMPLE_DRAW = np.dtype([("id", np.int64), ("repeat", np.int64)])


def patch_draw(axes: int) -> np.dtype[np.void]:
    """Return the dtype of a draw of a patch with 2 or 3 axes."""
    names = ("id", "repeat", "case", "first_tile", "tile", "label", "nth", "pixels", "orientation")
    vectors = [(name, np.int64, (axes,)) for name in ("size", "origin")]
    return np.dtype([*((name, np.int64) for name in names), *vectors])


def sample_draws(ids: NDArray[np.int64]) -> Draws:
    """Return the draws of samples that are each drawn for the first time."""
    draws = np.zeros(ids.size, SAMPLE_DRAW)
    draws["id"] = ids
    return draws


class Sampler(Protocol):
    """Determines what an epoch consists of, if it is not every sample once.

    Attributes
    ----------
    length
        Number of draws per epoch, over all ranks; the same in every epoch.
    dtype
        Data type of a draw.
    shuffled
        Whether the draws are in random order by themselves, so that places need no shuffle.
    """

    @property
    def length(self) -> int:
        """Number of draws per epoch."""
        ...

    @property
    def dtype(self) -> np.dtype[np.void]:
        """Data type of a draw."""
        ...

    @property
    def shuffled(self) -> bool:
        """Whether places need no shuffle."""
        ...

    def draws(self, places: NDArray[np.int64], *, seed: int, epoch: int) -> Draws:
        """Return the draws at some places of an epoch.

        Parameters
        ----------
        places
            (b,) int64 from 0 to ``length - 1``, after the shuffle.
        seed, epoch
            Seed of the sequence, and number of the epoch.

        Returns
        -------
        (b,) array of :attr:`dtype`
        """
        ...

    def described(self) -> dict[str, Any]:
        """Return what the draws depend on in JSON, to compare it with that of a saved state."""
        ...


@runtime_checkable
class ResumableSampler(Sampler, Protocol):
    """A sampler whose draws depend on what has changed in the run so far, which states save."""

    def saved(self) -> dict[str, Any]:
        """Return what a state must save, in JSON."""
        ...

    def before(self, saved: Any) -> ResumableSampler:
        """Return the sampler of the run that has saved this.

        Raises
        ------
        ValueError
            It is something else, or of other data; the message says what differs.
        """
        ...

    def changes(self, before: ResumableSampler) -> list[str]:
        """Say what has changed since `before`, for the log."""
        ...

    def after(self, before: ResumableSampler, draw: int) -> ResumableSampler:
        """Return a sampler that draws as `before` up to a draw, and goes on like this one.

        Parameters
        ----------
        before
            What :meth:`before` returned.
        draw
            Number of the next draw, over all epochs.
        """
        ...


def ids_digest(ids: Ids) -> str:
    """Return a short text that tells samples, and their order, from others.

    Examples
    --------
    >>> ids_digest(range(0, 5, 2)), ids_digest(np.array([0, 2, 4]))
    ('0:6:2', '0:6:2')
    >>> ids_digest(np.array([0, 2, 3])) == ids_digest(np.array([3, 2, 0]))
    False
    """
    if not isinstance(ids, range):
        step = int(ids[1] - ids[0]) if len(ids) > 1 else 1
        if not len(ids) or not step or (np.diff(ids) != step).any():
            return blake2b(np.ascontiguousarray(ids, "<i8").data, digest_size=8).hexdigest()
        ids = range(int(ids[0]), int(ids[0]) + step * len(ids), step)
    step = ids.step if len(ids) > 1 else 1
    return f"{ids.start}:{ids.start + step * len(ids)}:{step}"


def ids_at(ids: Ids, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ``ids[places]``, of a range without making it an array."""
    if isinstance(ids, range):
        return ids.start + ids.step * places
    return ids[places]
