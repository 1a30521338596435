"""What is the least that a cache of a given size must fetch, if the future is known?"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def least_fetched(needed: Sequence[Sequence[int]], capacity: int) -> list[int]:
    """Count the fetches of Belady's rule: the item whose next use is furthest goes.

    No cache of this size fetches less over the whole of it, however far it looks ahead: what comes
    before it is needed takes the place of something else.

    Parameters
    ----------
    needed
        The items that each batch needs, all of one size.
    capacity
        How many items fit, at least 1.

    Returns
    -------
    list of int
        Fetches for each batch.

    Examples
    --------
    >>> least_fetched([[1, 2], [3], [1], [2]], capacity=2)
    [2, 1, 0, 1]
    """
    uses: dict[int, deque[int]] = defaultdict(deque)
    for time, item in enumerate(itertools.chain.from_iterable(needed)):
        uses[item].append(time)
    never = sum(map(len, needed))
    held: dict[int, int] = {}  # item -> its next use
    furthest: list[tuple[int, int]] = []  # (-next use, item), some of them out of date
    counts = []
    for batch in needed:
        fetched = 0
        for item in batch:
            uses[item].popleft()
            if item not in held:
                fetched += 1
                if len(held) == capacity:
                    _drop_furthest(held, furthest)
            held[item] = uses[item][0] if uses[item] else never
            heapq.heappush(furthest, (-held[item], item))
        counts.append(fetched)
    return counts


def _drop_furthest(held: dict[int, int], furthest: list[tuple[int, int]]) -> None:
    while True:
        use, item = heapq.heappop(furthest)
        if held.get(item) == -use:
            del held[item]
            return
