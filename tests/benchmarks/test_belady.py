"""The least that must be fetched is what trying all ways finds."""

from __future__ import annotations

from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from belady import least_fetched


def by_trying(items: tuple[int, ...], capacity: int) -> int:
    """Try every eviction."""

    @cache
    def least(at: int, held: frozenset[int]) -> int:
        if at == len(items):
            return 0
        if items[at] in held:
            return least(at + 1, held)
        kept = [held] if len(held) < capacity else [held - {gone} for gone in held]
        return 1 + min(least(at + 1, each | {items[at]}) for each in kept)

    return least(0, frozenset())


@given(st.lists(st.integers(0, 5), max_size=12), st.integers(1, 4), st.integers(1, 4))
def test_no_way_fetches_less(items: list[int], capacity: int, batch: int) -> None:
    batches = [items[first : first + batch] for first in range(0, len(items), batch)]
    assert sum(least_fetched(batches, capacity)) == by_trying(tuple(items), capacity)
