"""What does a report say of the classes of a split?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class of the masks of a split.

    Attributes
    ----------
    id, name
        Id in masks (channel, in multi-hot masks), and name.
    pixels
        Number of its pixels.
    share
        `pixels` as a share of all pixels, 0 … 1.
    units
        Number of units that have it.
    median_share
        Median, over these units, of the share of their pixels that it covers; None if no unit has
        it.
    """

    id: int
    name: str
    pixels: int
    share: float
    units: int
    median_share: float | None


@dataclass(frozen=True, slots=True)
class ClassTable:
    """The classes of a split.

    Attributes
    ----------
    rows
        One for every class, by id.
    ignored
        Number of pixels that count as no class; None if no id does.
    together
        Ids of the classes in `cooccurrence`: all, or the 64 that most units have, by id.
    cooccurrence
        ``cooccurrence[i][j]`` is the number of units that have both ``together[i]`` and
        ``together[j]``.
    """

    rows: tuple[ClassRow, ...]
    ignored: int | None
    together: tuple[int, ...]
    cooccurrence: tuple[tuple[int, ...], ...]
