"""A sequence's samples as a Grain ``MapDataset``. The only module that imports Grain."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import grain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed.arrays import Batch
    from zarrfeed.feed.sample_access import SampleAccess


class Samples(grain.MapDataset):  # type: ignore[misc]
    """The samples of every epoch of a sequence.

    An index beyond the length belongs to a later epoch, as in Grain's own shuffle. That is what
    ``repeat``, ``batch`` and slices ask for. (``grain.MapDataset.source`` would give every epoch
    the order of the first.)

    Parameters
    ----------
    samples
        The samples, by index.
    """

    def __init__(self, samples: SampleAccess) -> None:
        super().__init__()
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __str__(self) -> str:
        return f"zarrfeed({self._samples!r})"

    __repr__ = __str__

    def __getitem__(self, index: Any) -> Any:
        """Return a sample, or a dataset of the samples of a slice."""
        if isinstance(index, slice):
            return self.slice(index)
        return self._getitems([index])[0]

    def _getitems(self, indices: Sequence[int]) -> list[Batch]:
        """Return several samples; Grain calls this to make a batch."""
        numbers = [operator.index(index) for index in indices]
        # As in Grain, a negative index counts from the end of the first epoch.
        return self._samples.read([n if n >= 0 else n % len(self) for n in numbers])
