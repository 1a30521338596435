"""Near duplicates are found as by comparing all pairs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zarrfeed_tools.report import hamming, hash_links
from zarrfeed_tools.report.hamming import near_pairs, set_bits
from zarrfeed_tools.report.hash_links import Tiles, case_links, sample_links, tells
from zarrfeed_tools.report.linked import components

NEAR = 3


def differing(one, other):
    return (int(one) ^ int(other)).bit_count()


@st.composite
def clusters(draw, least=0, most=40):
    """Hashes of which many are near others, in any bits."""
    centres = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4))
    flips = st.lists(st.integers(0, 63), max_size=5)
    drawn = st.tuples(st.sampled_from(centres), flips)
    found = []
    for centre, bits in draw(st.lists(drawn, min_size=least, max_size=most)):
        for bit in bits:
            centre ^= 1 << bit
        found.append(centre)
    return found


def all_near(hashes, among=None):
    among = among or [0] * len(hashes)
    return {
        (one, other): differing(hashes[one], hashes[other])
        for one, other in itertools.combinations(range(len(hashes)), 2)
        if among[one] == among[other] and differing(hashes[one], hashes[other]) <= NEAR
    }


def as_dict(pairs):
    keys = zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)
    return dict(zip(keys, pairs.distance.tolist(), strict=True))


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_set_bits_are_counted(words):
    assert set_bits(np.array(words, np.uint64)).tolist() == [word.bit_count() for word in words]


@given(clusters(), st.integers(1, 200), st.data())
@example([0, 2**16 + 2**32 + 2**48, 7, 2**64 - 1], 1, None)
def test_pairs_are_those_of_comparing_all(hashes, many, data):
    hashes = list(dict.fromkeys(hashes))
    places = st.lists(st.integers(0, 2), min_size=len(hashes), max_size=len(hashes))
    among = data.draw(places) if data else [0] * len(hashes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming, "_MANY", many)  # so that buckets are divided again
        patch.setattr(hamming, "_BLOCK", 7)
        pairs = near_pairs(np.array(hashes, np.uint64), np.array(among, np.int64))
    assert pairs.complete
    assert as_dict(pairs) == all_near(hashes, among)


def test_very_many_alike_end_the_search_and_it_says_so():
    hashes = np.arange(1 << 10, dtype=np.uint64) << np.uint64(20)
    pairs = near_pairs(hashes, most_compared=10_000)
    assert not pairs.complete
    assert (pairs.distance <= NEAR).all()
    every = near_pairs(hashes)
    assert every.complete
    assert len(every.first) == 512 * (10 + 45 + 120)


@given(st.integers(1, 30), st.data())
def test_linked_things_have_one_label(count, data):
    place = st.integers(0, count - 1)
    links = data.draw(st.lists(st.tuples(place, place)))
    expected = list(range(count))
    for _ in range(count):
        for one, other in links:
            expected[one] = expected[other] = min(expected[one], expected[other])
    sides = np.array(links, np.int64).reshape(-1, 2)
    assert components(count, sides[:, 0], sides[:, 1]).tolist() == expected


def grouped(count, first, second):
    labels = components(count, np.asarray(first), np.asarray(second))
    return [np.flatnonzero(labels == label).tolist() for label in np.unique(labels)]


@given(clusters())
def test_samples_are_grouped_as_by_comparing_all(hashes):
    words = np.array(hashes, np.uint64)
    telling = [NEAR < word.bit_count() < 64 - NEAR for word in hashes]
    assert tells(words).tolist() == telling
    links = sample_links(words, np.arange(len(words)))
    assert links.plain == len(hashes) - sum(telling)
    near = [pair for pair in all_near(hashes) if telling[pair[0]] and telling[pair[1]]]
    first, second = zip(*near, strict=True) if near else ([], [])
    expected = grouped(len(hashes), np.array(first, int), np.array(second, int))
    assert grouped(len(hashes), links.first, links.second) == expected


def are_near(one, other):
    """Whether two cases are near duplicates, as the docstring says it; and their mean distance."""
    said = [[NEAR < word.bit_count() < 64 - NEAR for word in case] for case in (one, other)]
    both = [place for place, pair in enumerate(zip(*said, strict=True)) if all(pair)]
    either = sum(any(pair) for pair in zip(*said, strict=True))
    if not both or 2 * len(both) < either:
        return None
    mean = sum(differing(one[place], other[place]) for place in both) / len(both)
    return mean if mean <= NEAR else None


@given(st.data(), st.integers(1, 4), st.integers(0, 7), st.integers(1, 1 << 20))
def test_cases_are_linked_as_by_comparing_all(data, tiles, cases, block):
    count = tiles * cases
    hashes = data.draw(clusters(count, count))
    hashes = data.draw(st.permutations(hashes)) if hashes else hashes
    grid = data.draw(st.lists(st.integers(0, 1), min_size=cases, max_size=cases))
    of_case = [hashes[tiles * case : tiles * case + tiles] for case in range(cases)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hash_links, "_MOST_TILES", block)
        links = case_links(
            Tiles(
                np.array(hashes, np.uint64),
                np.full(cases, tiles),
                np.array(grid, np.int64),
                np.arange(cases) + 100,
            )
        )
    expected = {
        (one + 100, other + 100): pytest.approx(mean)
        for one, other in itertools.combinations(range(cases), 2)
        if grid[one] == grid[other] and (mean := are_near(of_case[one], of_case[other])) is not None
    }
    found = zip(links.first.tolist(), links.second.tolist(), strict=True)
    assert dict(zip(found, links.distance.tolist(), strict=True)) == expected
    assert links.complete
