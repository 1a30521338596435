"""Which few samples or cases of a dataset are looked at?

Pure. Some are named by what is known without pixels, such as duplicates; some have most pixels of a
class, so that every class is seen; the others lie evenly over the splits, so that they stand for
them. Nothing depends on chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


class Place(NamedTuple):
    """Where a sample or a case is.

    Attributes
    ----------
    split
        Name of its split.
    number
        Row of the sample; of a case its number, from 0 in the order of the store.
    """

    split: str
    number: int


@dataclass(frozen=True, slots=True)
class Choice:
    """The samples to be looked at.

    Attributes
    ----------
    spread
        Those that lie evenly over each split, and stand for it.
    of_classes
        Those that have most pixels of a class.
    named
        Those that were asked for.
    """

    spread: tuple[Place, ...]
    of_classes: tuple[Place, ...]
    named: tuple[Place, ...]

    @property
    def all(self) -> tuple[Place, ...]:
        """Every chosen sample once, split by split, in the order of the store."""
        return tuple(sorted({*self.spread, *self.of_classes, *self.named}))


def choose(
    counts: Mapping[str, int], richest: Sequence[Place], named: Sequence[Place], most: int
) -> Choice:
    """Choose samples.

    Parameters
    ----------
    counts
        Number of samples of each split, by its name.
    richest
        A sample for each class that has it, of the rarest class first.
    named
        Samples that are asked for, the most important first.
    most
        How many samples to choose at most: up to a third of them among `named`, up to a third among
        `richest`, the others evenly over the splits.

    Examples
    --------
    >>> chosen = choose({"train": 100, "val": 3}, [Place("train", 7)], [], 7)
    >>> [place.number for place in chosen.spread if place.split == "train"]
    [0, 49, 99]
    >>> [place.number for place in chosen.all if place.split == "val"]
    [0, 1, 2]
    >>> chosen.of_classes
    (Place(split='train', number=7),)
    """
    asked = tuple(dict.fromkeys(named))[: most // 3]
    of_classes = tuple(dict.fromkeys(richest))[: most // 3]
    left = most - len({*asked, *of_classes})
    spread = [
        Place(split, number)
        for split, share in _shares(counts, left).items()
        for number in evenly(counts[split], share).tolist()
    ]
    return Choice(tuple(spread), of_classes, asked)


def evenly(count: int, wanted: int) -> NDArray[np.int64]:
    """Return numbers that lie evenly in ``range(count)``, the first and the last among them.

    Parameters
    ----------
    count
        How many there are.
    wanted
        How many to return; all, if there are fewer.

    Examples
    --------
    >>> evenly(10, 3).tolist(), evenly(2, 3).tolist(), evenly(9, 1).tolist()
    ([0, 4, 9], [0, 1], [4])
    """
    wanted = min(count, wanted)
    if wanted == 1:
        return np.array([(count - 1) // 2])
    steps = np.arange(wanted, dtype=np.int64)
    return steps * (count - 1) // max(wanted - 1, 1)


def _shares(counts: Mapping[str, int], most: int) -> dict[str, int]:
    """Give every split the same number; what small ones do not need goes to the others."""
    shares: dict[str, int] = {}
    for done, split in enumerate(sorted(counts, key=lambda split: counts[split])):
        shares[split] = min(counts[split], most // (len(counts) - done))
        most -= shares[split]
    return {split: shares[split] for split in counts if shares[split]}
