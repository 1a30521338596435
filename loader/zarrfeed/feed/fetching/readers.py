"""When does any reader need a block next? Pure.

Readers are aligned by their places: one that is k batches ahead of its place needs a block as soon
as another one that is k batches ahead of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.feed.fetching.next_uses import NEVER

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

    from numpy.typing import NDArray

    from zarrfeed.feed.fetching.next_uses import NextUses

_DRIFT = 8  # batches by which readers may get out of step


@dataclass(slots=True, eq=False)
class Reader:
    """One reader.

    Attributes
    ----------
    uses
        What it reads.
    offset
        From its batches to the time of all readers.
    """

    uses: NextUses
    offset: int


class Readers:
    """The readers of a plan, by their names."""

    def __init__(self) -> None:
        self._readers: dict[Hashable, Reader] = {}

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self._readers)

    def add(self, name: Hashable, uses: NextUses) -> None:
        """Add a reader, at the place of the one that is furthest."""
        now = max((r.uses.position + r.offset for r in self._readers.values()), default=0)
        self._readers[name] = Reader(uses, now - uses.position)

    def remove(self, name: Hashable) -> bool:
        """Remove a reader; False if there is no such one."""
        return self._readers.pop(name, None) is not None

    def grow(self, blocks: int) -> None:
        """Make room for more blocks, which nobody has used so far."""
        for reader in self._readers.values():
            reader.uses.grow(blocks)

    def advance(self, name: Hashable, batch: int) -> bool:
        """Note that a reader has gone on to a batch.

        Returns
        -------
        bool
            Whether it has overtaken what was planned.
        """
        reader = self._readers.get(name)
        if reader is None:
            return False
        overtaken = batch > reader.uses.planned
        reader.uses.advance(batch)
        return overtaken

    def align(self, resting: Iterable[Hashable]) -> bool:
        """Align readers anew by their places.

        Parameters
        ----------
        resting
            Readers that have not moved for long. They are expected to go on after all that is known
            of the others, such as an epoch of validation after one of training.

        Returns
        -------
        bool
            Whether their order has changed.
        """
        resting = set(resting)
        awake = [r.uses for name, r in self._readers.items() if name not in resting]
        after = max((uses.known - uses.position for uses in awake), default=0)
        offsets = {
            name: after * (name in resting) - reader.uses.position
            for name, reader in self._readers.items()
        }
        shifts = [offsets[name] - reader.offset for name, reader in self._readers.items()]
        if not shifts or max(shifts) - min(shifts) <= _DRIFT:
            return False
        for name, reader in self._readers.items():
            reader.offset = offsets[name]
        return True

    def plan_again(self) -> None:
        """Take nothing as planned from the readers' places on."""
        for reader in self._readers.values():
            reader.uses.plan_again()

    def next_to_plan(self) -> Reader | None:
        """Return the reader whose next batch to be planned is due first; None if none is known."""
        behind = [r for r in self._readers.values() if r.uses.planned < r.uses.known]
        return min(behind, key=lambda each: each.uses.planned + each.offset, default=None)

    def due(self, blocks: NDArray[np.int64], *, from_place: bool = False) -> NDArray[np.int64]:
        """Return when each block is next needed by any reader.

        Parameters
        ----------
        blocks
            (n,) int64.
        from_place
            Whether uses count from the places of the readers on, or from what is planned.

        Returns
        -------
        (n,) int64
            ``NEVER`` if it is not known to be needed.
        """
        due = np.full(blocks.size, NEVER)
        for reader in self._readers.values():
            uses = reader.uses
            next_use = uses.after_reader(blocks) if from_place else uses.after_plan(blocks)
            np.minimum(due, next_use + reader.offset, where=next_use < NEVER, out=due)
        return due
