"""What do a store and the user's request determine of the draws?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zarrfeed.arrays import Ids
    from zarrfeed.feed.workers.batch_spec import PatchSpec
    from zarrfeed.order.draws import Sampler


@dataclass(frozen=True, slots=True, eq=False)
class OpenedDraws:
    """What an epoch consists of.

    Attributes
    ----------
    rows
        Rows of the fields to draw from.
    sampler
        What an epoch consists of; None for every row once.
    patches
        What workers need to know of patches; None for whole samples.
    """

    rows: Ids
    sampler: Sampler | None
    patches: PatchSpec | None
