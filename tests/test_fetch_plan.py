"""Fetches come in the order of use; with a limit, as few as by the best of all orders."""

from __future__ import annotations

import itertools
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed.feed.fetching.fetch_plan import FetchPlan
from zarrfeed.feed.fetching.next_uses import NEVER, NextUses, following_uses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed.feed.fetching.fetch_plan import Fetch

Batches = list[set[int]]
NONE = np.zeros(0, np.int64)


def batches_of(most: int, length: int) -> st.SearchStrategy[Batches]:
    blocks = st.sets(st.integers(0, 5), min_size=1, max_size=most)
    return st.lists(blocks, min_size=1, max_size=length)


def uses_of(
    batches: Sequence[set[int]], blocks: int, *, chunk: int = 0, first: int = 0
) -> NextUses:
    """Uses, appended `chunk` batches at a time."""
    uses = NextUses(blocks, first)
    for start in range(0, len(batches), chunk or len(batches)):
        part = batches[start : start + (chunk or len(batches))]
        at = [first + start + i for i, each in enumerate(part) for _ in each]
        used = [block for each in part for block in sorted(each)]
        uses.append(np.array(at, np.int64), np.array(used, np.int64), first + start + len(part))
    return uses


def least(batches: Batches, limit: int) -> int:
    """The fewest fetches, by trying everything that could stay."""

    @cache
    def best(at: int, held: frozenset[int]) -> int:
        if at == len(batches):
            return 0
        needed = frozenset(batches[at])
        there = held | needed
        most = min(len(there), limit) - len(needed)
        stay = itertools.combinations(sorted(there - needed), most)
        return len(needed - held) + min(best(at + 1, needed | {*each}) for each in stay)

    return best(0, frozenset())


def belady(batches: Batches, limit: int) -> int:
    """The fewest fetches: of what is there, the block goes that is used last."""
    held: set[int] = set()
    fetched = 0
    for at, needed in enumerate(batches):
        fetched += len(needed - held)
        held |= needed

        def next_use(block: int, after: int = at) -> int:
            later = range(after + 1, len(batches))
            return next((n for n in later if block in batches[n]), len(batches))

        spare = sorted(held - needed, key=next_use)
        held = needed | {*spare[: limit - len(needed)]}
    return fetched


class Cache:
    """Carries out what a plan decides, and checks that nothing it says is impossible."""

    def __init__(self, limit: int | None, blocks: int = 6, nbytes: int = 1) -> None:
        self.plan = FetchPlan(limit)
        self.plan.add_blocks(np.full(blocks, nbytes), np.zeros(blocks, np.bool_))
        self.fetched = 0
        self.limit, self.nbytes = limit, nbytes

    @property
    def there(self) -> set[int]:
        return {*np.flatnonzero(self.plan.present).tolist()}

    def do(self, fetch: Fetch | None) -> bool:
        if fetch is None:
            return False
        assert not self.plan.present[fetch.blocks].any()
        assert self.plan.coming[fetch.blocks].all()
        self.fetched += fetch.blocks.size
        self.plan.arrived(fetch.blocks)
        assert self.plan.taken == len(self.there) * self.nbytes
        assert self.limit is None or self.plan.taken <= self.limit
        return True

    def read(self, name: object, batch: int, needed: set[int]) -> None:
        """Read a batch as a worker does: what is missing is planned, or else required."""
        wanted = np.array(sorted(needed), np.int64)
        self.plan.pin(name, wanted)
        while not needed <= self.there and self.do(self.plan.next_fetch()):
            pass
        if not needed <= self.there:
            assert self.do(self.plan.require(wanted))
        assert needed <= self.there
        self.plan.unpin(name)
        self.plan.advance(name, batch + 1)


@given(batches_of(3, 7), st.integers(3, 5))
def test_beladys_algorithm_is_the_best(batches: Batches, limit: int) -> None:
    assert belady(batches, limit) == least(batches, limit)


@given(
    batches_of(4, 40), st.integers(4, 6), st.integers(1, 50),
    st.lists(st.integers(0, 9), min_size=40, max_size=40),
)  # fmt: skip
def test_as_few_blocks_are_fetched_as_by_the_best_order_however_early(
    batches: Batches, limit: int, chunk: int, early: list[int]
) -> None:
    cache = Cache(limit)
    cache.plan.add_reader("reader", uses_of(batches, 6))
    for at, needed in enumerate(batches):
        for _ in range(early[at]):
            cache.do(cache.plan.next_fetch())
        for _ in range(20):  # planned exchanges suffice: nothing is left to be required
            if needed <= cache.there or not cache.do(cache.plan.next_fetch()):
                break
        assert needed <= cache.there
        cache.plan.advance("reader", at + 1)
    assert cache.fetched == belady(batches, limit)


@given(batches_of(4, 30), st.integers(1, 9))
def test_without_a_limit_blocks_come_once_in_the_order_of_use(batches: Batches, chunk: int) -> None:
    cache = Cache(None)
    cache.plan.add_reader("reader", uses_of(batches, 6, chunk=chunk))
    order = []
    while (fetch := cache.plan.next_fetch()) is not None:
        order += fetch.blocks.tolist()
        cache.do(fetch)
    expected = dict.fromkeys(block for each in batches for block in sorted(each))
    assert order == list(expected)


@given(batches_of(3, 20), st.integers(1, 9), st.integers(0, 3))
def test_uses_that_are_appended_later_change_nothing(
    batches: Batches, chunk: int, first: int
) -> None:
    whole = uses_of(batches, 6, first=first)
    parts = uses_of(batches, 6, chunk=chunk, first=first)
    every = np.arange(6)
    for at in range(len(batches)):
        assert parts.plan_batch().tolist() == whole.plan_batch().tolist() == sorted(batches[at])
        assert parts.after_plan(every).tolist() == whole.after_plan(every).tolist()
        parts.advance(first + at + 1)
        later = [[n for n in range(at + 1, len(batches)) if b in batches[n]] for b in range(6)]
        due = [first + found[0] if found else NEVER for found in later]
        assert parts.after_reader(every).tolist() == due


@given(batches=batches_of(4, 12), window=st.integers(1, 5), chunk=st.integers(1, 4))
def test_the_widest_window_is_that_found_by_looking_also_in_parts(
    batches: Batches, window: int, chunk: int
) -> None:
    nbytes = np.array([5, 1, 7, 2, 9, 3])

    def widest(known: int) -> int:
        windows = [set().union(*batches[at:known][:window]) for at in range(known)]
        return max(int(nbytes[[*each]].sum()) for each in windows)

    assert uses_of(batches, 6).widest(window, nbytes) == widest(len(batches))
    found, since = 0, 0
    for stop in range(chunk, len(batches) + chunk, chunk):
        uses = uses_of(batches[:stop], 6)
        found = max(found, uses.widest(window, nbytes, since=since))
        since = max(0, uses.known - window + 1)
        assert found == widest(uses.known)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), unique=True))
def test_following_uses_are_those_found_by_looking(pairs: list[tuple[int, int]]) -> None:
    pairs.sort()
    batch, block = np.array(pairs, np.int64).reshape(-1, 2).T
    expected = [
        next((later for later, other in pairs if other == b and later > at), NEVER)
        for at, b in pairs
    ]
    assert following_uses(batch, block).tolist() == expected


@given(
    st.lists(batches_of(3, 12), min_size=2, max_size=3),
    st.integers(6, 9),
    st.randoms(use_true_random=False),
)
def test_readers_at_any_pace_get_what_they_need_within_the_limit(
    readers: list[Batches], limit: int, random: object
) -> None:
    cache = Cache(limit)
    for name, batches in enumerate(readers):
        cache.plan.add_reader(name, uses_of(batches, 6))
    places = dict.fromkeys(range(len(readers)), 0)
    while places:
        name = random.choice(list(places))  # type: ignore[attr-defined]
        if random.random() < 0.1:  # type: ignore[attr-defined]
            cache.plan.align([name])
        cache.do(cache.plan.next_fetch())
        cache.read(name, places[name], readers[name][places[name]])
        places[name] += 1
        if places[name] == len(readers[name]):
            del places[name]
            cache.plan.remove_reader(name)


@given(batches_of(3, 20), batches_of(2, 20), st.integers(5, 6))
def test_what_nobody_planned_is_there_when_it_is_required(
    planned: Batches, others: Batches, limit: int
) -> None:
    cache = Cache(limit)
    cache.plan.add_reader("planned", uses_of(planned, 6))
    for at, (needed, other) in enumerate(zip(planned, others, strict=False)):
        cache.read("other", 0, other)
        cache.read("planned", at, needed)


def test_what_is_pinned_stays() -> None:
    cache = Cache(2)
    cache.do(cache.plan.require(np.array([0, 1])))
    cache.plan.pin("a", np.array([0, 1]))
    assert cache.plan.require(np.array([2])) is None
    cache.plan.pin("a", np.array([1]))
    fetch = cache.plan.require(np.array([2]))
    assert fetch is not None
    assert fetch.evicted.tolist() == [0]


def test_what_failed_or_was_damaged_comes_again() -> None:
    cache = Cache(3)
    fetch = cache.plan.require(np.array([0, 1]))
    assert fetch is not None
    cache.plan.failed(fetch.blocks)
    assert cache.plan.taken == 0
    cache.do(cache.plan.require(np.array([0, 1])))
    cache.plan.gone(np.array([1]))
    fetch = cache.plan.require(np.array([0, 1]))
    assert fetch is not None
    assert fetch.blocks.tolist() == [1]


def test_the_rest_comes_without_a_limit_alone() -> None:
    assert Cache(6).plan.rest_of(0, 6, 9) is None
    cache = Cache(None)
    cache.do(cache.plan.require(np.array([2])))
    fetch = cache.plan.rest_of(0, 6, 3)
    assert fetch is not None
    assert fetch.blocks.tolist() == [0, 1, 3]
