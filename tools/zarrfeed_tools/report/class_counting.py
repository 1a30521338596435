"""What do the pixels of each class, unit by unit, say of the classes and masks of a split?

Pure: blocks of counts come in. Exact, in bounded memory: the shares of classes, of which medians
are taken, are collected for few classes at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

MOST_TOGETHER = 64  # classes of a co-occurrence matrix
_MOST_SHARES = 1 << 23  # that are held at a time, 16 bytes each


class Counts(NamedTuple):
    """The classes of some units that follow each other.

    Attributes
    ----------
    first
        Number of the first of them.
    classes
        (n, K) int64: number of pixels of each class.
    pixels
        (n,) int64: number of all pixels, ignored ones included.
    """

    first: int
    classes: NDArray[np.int64]
    pixels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Labelling:
    """How masks say which class a pixel has.

    Attributes
    ----------
    classes
        Number of classes, K.
    ignore
        The id that counts as no class, which may be below K; None if there is none.
    multi_hot
        Whether a pixel may have several classes, or none.
    """

    classes: int
    ignore: int | None
    multi_hot: bool


@dataclass(slots=True)
class MaskTotals:
    """What was counted of all units.

    Attributes
    ----------
    pixels
        Number of pixels.
    of_class
        (K,) int64: number of pixels of each class.
    having
        (K,) int64: number of units that have each class.
    kinds
        Kind of masks, as in :class:`zarrfeed_tools.report.facts.MaskFindings` → numbers of units.
    """

    pixels: int
    of_class: NDArray[np.int64]
    having: NDArray[np.int64]
    kinds: dict[str, NDArray[np.int64]] = field(default_factory=dict)


def total_of(blocks: Iterable[Counts], labelling: Labelling) -> MaskTotals:
    """Count the pixels of classes, the units that have them, and masks that say little.

    Examples
    --------
    >>> counts = np.array([[4, 0], [3, 1], [0, 4], [0, 0]])
    >>> blocks = [Counts(0, counts, np.full(4, 4))]
    >>> total = total_of(blocks, Labelling(2, ignore=255, multi_hot=False))
    >>> total.of_class.tolist(), total.having.tolist()
    ([7, 5], [2, 2])
    >>> {kind: units.tolist() for kind, units in total.kinds.items()}
    {'background': [0], 'ignored': [3], 'no_class': [], 'one_class': [2]}
    """
    zeros = np.zeros(labelling.classes, np.int64)
    total = MaskTotals(0, zeros, zeros.copy())
    kinds: dict[str, list[NDArray[np.int64]]] = {}
    for first, classes, pixels in blocks:
        total.pixels += int(pixels.sum())
        total.of_class += classes.sum(axis=0)
        total.having += np.count_nonzero(classes, axis=0)
        for kind, which in kinds_of(classes, pixels, labelling).items():
            kinds.setdefault(kind, []).append(np.flatnonzero(which) + first)
    total.kinds = {kind: np.concatenate(found) for kind, found in kinds.items()}
    return total


def kinds_of(
    classes: NDArray[np.int64], pixels: NDArray[np.int64], labelling: Labelling
) -> dict[str, NDArray[np.bool_]]:
    """Say which masks have nothing to learn from, or one class alone.

    Parameters
    ----------
    classes, pixels
        As in :class:`Counts`.
    labelling
        What the counts mean.

    Returns
    -------
    dict
        ``background``, ``ignored``, ``no_class``, ``one_class`` → (n,) bool; at most one is true.
    """
    own = classes
    if labelling.ignore is not None and labelling.ignore < labelling.classes:
        own = classes.copy()
        own[:, labelling.ignore] = 0
    present = np.count_nonzero(own, axis=1)
    nothing = (present == 0) & (pixels > 0)
    one = present == 1
    if labelling.multi_hot:
        one &= own.sum(axis=1) == pixels
    never = np.zeros(len(classes), np.bool_)
    # Where there is one class only, all masks are of it.
    several = labelling.classes - (own is not classes) > 1
    background = never
    if several and not labelling.multi_hot and labelling.classes:
        background = one & (own[:, 0] > 0)
    return {
        "background": background,
        "ignored": never if labelling.multi_hot else nothing,
        "no_class": nothing if labelling.multi_hot else never,
        "one_class": one & ~background if several else never,
    }


class Shares(NamedTuple):
    """The units that have a class.

    Attributes
    ----------
    class_id
        The class.
    units
        (m,) int64: their numbers, ascending.
    shares
        (m,) float64: the share of each unit's pixels that the class covers, in (0, 1].
    """

    class_id: int
    units: NDArray[np.int64]
    shares: NDArray[np.float64]


def shares_of(
    blocks: Callable[[], Iterable[Counts]], having: NDArray[np.int64]
) -> Iterator[Shares]:
    """Collect the shares of each class, by id.

    Parameters
    ----------
    blocks
        Reads all counts, and is called again for every few classes.
    having
        (K,) int64: number of units that have each class.
    """
    for some in _in_parts(having.tolist()):
        units: dict[int, list[NDArray[np.int64]]] = {each: [] for each in some}
        shares: dict[int, list[NDArray[np.float64]]] = {each: [] for each in some}
        for first, classes, pixels in blocks():
            for each in some:
                which = np.flatnonzero(classes[:, each])
                units[each].append(which + first)
                shares[each].append(classes[which, each] / pixels[which])
        for each in some:
            yield Shares(each, np.concatenate(units.pop(each)), np.concatenate(shares.pop(each)))


def _in_parts(sizes: Sequence[int]) -> Iterator[range]:
    """Divide classes into runs of few shares."""
    start = held = 0
    for each, size in enumerate(sizes):
        if held and held + size > _MOST_SHARES:
            yield range(start, each)
            start, held = each, 0
        held += size
    if start < len(sizes):
        yield range(start, len(sizes))


def together(
    blocks: Iterable[Counts], having: NDArray[np.int64]
) -> tuple[tuple[int, ...], NDArray[np.int64]]:
    """Count the units that have two classes.

    Parameters
    ----------
    blocks
        All counts.
    having
        (K,) int64: number of units that have each class.

    Returns
    -------
    ids, counts
        Ids of the classes, :data:`MOST_TOGETHER` at most, and an (n, n) int64 matrix.

    Examples
    --------
    >>> counts = np.array([[4, 0, 1], [3, 1, 0]])
    >>> together([Counts(0, counts, np.full(2, 5))], np.array([2, 1, 1]))[1].tolist()
    [[2, 1, 1], [1, 1, 0], [1, 0, 1]]
    """
    ids = np.sort(np.argsort(-having, kind="stable")[:MOST_TOGETHER])
    both = np.zeros((len(ids), len(ids)), np.int64)
    for _, classes, _ in blocks:
        # float32 counts exactly up to 2**24, more than a block has units.
        here = (classes[:, ids] > 0).astype(np.float32)
        both += (here.T @ here).astype(np.int64)
    return tuple(ids.tolist()), both
