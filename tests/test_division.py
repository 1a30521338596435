"""Draws are divided exactly: every prefix and every window has its share of each part."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed.order.division import Division, exact_share

SHARES = st.lists(
    st.fractions(min_value=Fraction(1, 1000), max_value=5, max_denominator=1000),
    min_size=1,
    max_size=9,
)
FAR = (1 << 61) + 5


def within(part: int, share: Fraction, window: np.ndarray, parts: int) -> bool:
    """Whether a window holds its share of a part to the stated bound."""
    off = abs(int((window == part).sum()) - window.size * share)
    return off < (1 if parts <= 2 else 4)


@given(shares=SHARES, start=st.integers(0, 10_000) | st.just(FAR), size=st.integers(1, 200))
def test_every_window_has_its_share_of_each_part(
    shares: list[Fraction], start: int, size: int
) -> None:
    part, _ = Division(shares).of(np.arange(start, start + size))
    for each, share in enumerate(shares):
        assert within(each, share / sum(shares), part, len(shares))


@given(shares=SHARES, size=st.integers(1, 300))
def test_the_draws_of_a_part_are_numbered_without_a_gap(shares: list[Fraction], size: int) -> None:
    part, number = Division(shares).of(np.arange(size))
    seen = Counter[int]()
    for each, ordinal in zip(part.tolist(), number.tolist(), strict=True):
        assert ordinal == seen[each]
        seen[each] += 1
    assert Division(shares).counts(size) == [seen[each] for each in range(len(shares))]


@given(shares=SHARES, places=st.lists(st.integers(0, 1 << 40), min_size=1, max_size=20))
def test_a_draw_is_computed_by_itself(shares: list[Fraction], places: list[int]) -> None:
    division = Division(shares)
    together = division.of(np.array(places))
    alone = [division.of(np.array([place])) for place in places]
    assert together[0].tolist() == [int(part[0]) for part, _ in alone]
    assert together[1].tolist() == [int(number[0]) for _, number in alone]


@given(shares=SHARES, draws=st.integers(0, 1 << 61))
def test_all_draws_are_counted(shares: list[Fraction], draws: int) -> None:
    counts = Division(shares).counts(draws)
    assert sum(counts) == draws
    part, number = Division(shares).of(np.array([draws]))
    assert number[0] == counts[int(part[0])]


def test_three_to_one_by_hand():
    """Of four draws, the second part gets the first one: ⌊3/4⌋ = 0, then 1, 2 and 3."""
    part, number = Division([Fraction(3), Fraction(1)]).of(np.arange(4))
    assert part.tolist() == [1, 0, 0, 0]
    assert number.tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize("share", [0.1, 0.7, 1 / 3])
def test_decimals_are_exact(share: float) -> None:
    assert exact_share(share).denominator <= 10
