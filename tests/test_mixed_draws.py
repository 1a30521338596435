"""Draws from several stores: exact shares, exactly-once passes, and weights that change."""

from __future__ import annotations

import json
import pickle
from collections import Counter, defaultdict
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed.order.mix import Mix
from zarrfeed.order.mixed_draws import MixedDraws
from zarrfeed.order.repeated_samples import RepeatedSamples
from zarrfeed.order.schedule import Schedule
from zarrfeed.order.store_draws import StoreDraws
from zarrfeed.order.weight_history import WeightHistory

SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=5)
WEIGHT = st.integers(1, 9) | st.floats(0.01, 9)
HALF = Fraction(1, 2)


def stores_of(sizes: list[int], **options: Any) -> list[StoreDraws]:
    """Stores of some sizes, whose rows follow each other."""
    how = {"shuffle": True, "block": 2, "first_case": 0, **options}
    first = np.cumsum([0, *sizes]).tolist()
    return [
        StoreDraws(
            f"store {k}", range(size), None, first_row=first[k], identity={"rows": size}, **how
        )
        for k, size in enumerate(sizes)
    ]


def mixed(sizes: list[int], weights: list[float], length: int, **options: Any) -> MixedDraws:
    shares = Mix({str(k): weight for k, weight in enumerate(weights)}).shares
    return MixedDraws(stores_of(sizes, **options), WeightHistory([(0, shares)]), length=length)


def rows_of(draws: MixedDraws, start: int, stop: int, seed: int = 0) -> list[int]:
    """The rows that are drawn from draw `start` on, whatever epochs they are in."""
    found = []
    for number in range(start, stop):
        epoch, place = divmod(number, draws.length)
        found.append(int(draws.draws(np.array([place]), seed=seed, epoch=epoch)["id"][0]))
    return found


def by_store(rows: list[int], sizes: list[int]) -> list[list[int]]:
    firsts = np.cumsum(sizes) - sizes
    found: list[list[int]] = [[] for _ in sizes]
    for row in rows:
        found[int(np.searchsorted(firsts, row, side="right")) - 1].append(row)
    return found


def require_passes(drawn: list[int], size: int) -> None:
    """Each pass visits every row once, and the last one none twice."""
    for start in range(0, len(drawn), size):
        part = drawn[start : start + size]
        assert len(set(part)) == len(part)


# -- laws -----------------------------------------------------------------------------------------


@given(data=st.data(), sizes=SIZES, start=st.integers(0, 10**6), count=st.integers(1, 150))
def test_every_window_has_its_share_of_each_store(
    data: st.DataObject, sizes: list[int], start: int, count: int
) -> None:
    weights = data.draw(st.lists(WEIGHT, min_size=len(sizes), max_size=len(sizes)))
    draws = mixed(sizes, weights, 37)
    drawn = by_store(rows_of(draws, start, start + count), sizes)
    for rows, share in zip(drawn, draws.history.shares, strict=True):
        assert abs(len(rows) - count * share) < (1 if len(sizes) <= 2 else 4)


@given(data=st.data(), sizes=SIZES, shuffle=st.sampled_from([True, False, "block"]))
def test_every_pass_over_a_store_visits_each_of_its_samples_once(
    data: st.DataObject, sizes: list[int], shuffle: Any
) -> None:
    weights = data.draw(st.lists(WEIGHT, min_size=len(sizes), max_size=len(sizes)))
    draws = mixed(sizes, weights, data.draw(st.integers(1, 50)), shuffle=shuffle)
    for rows, size in zip(by_store(rows_of(draws, 0, 150), sizes), sizes, strict=True):
        require_passes(rows, size)


@given(sizes=SIZES, length=st.integers(1, 40), seed=st.integers(0, 99), data=st.data())
def test_any_draw_is_the_same_whatever_was_drawn_before(
    sizes: list[int], length: int, seed: int, data: st.DataObject
) -> None:
    weights: list[float] = [1 + k for k in range(len(sizes))]
    draws = mixed(sizes, weights, length)
    epoch = data.draw(st.integers(0, 50))
    whole = draws.draws(np.arange(length), seed=seed, epoch=epoch)
    places = data.draw(st.permutations(range(length)))
    again = mixed(sizes, weights, length)
    for place in places:
        assert again.draws(np.array([place]), seed=seed, epoch=epoch)[0] == whole[place]


@given(sizes=SIZES, length=st.integers(1, 60), epoch=st.integers(0, 9))
def test_no_two_draws_of_an_epoch_share_a_generator(
    sizes: list[int], length: int, epoch: int
) -> None:
    draws = mixed(sizes, [2.0] * len(sizes), length)
    found = draws.draws(np.arange(length), seed=0, epoch=epoch)
    assert len(set(found.tolist())) == length
    assert draws.counts(seed=0, epoch=epoch).tolist() == [
        Counter(found["id"].tolist())[row] for row in range(sum(sizes))
    ]


@given(data=st.data(), sizes=SIZES, changes=st.lists(st.integers(1, 40), max_size=4))
def test_weights_change_without_loss_or_repetition(
    data: st.DataObject, sizes: list[int], changes: list[int]
) -> None:
    """Resumed again and again with other weights, every store still goes on pass by pass."""
    weights = st.lists(WEIGHT, min_size=len(sizes), max_size=len(sizes))
    draws, at, rows = mixed(sizes, data.draw(weights), 23), 0, list[int]()
    for count in changes:
        rows += rows_of(draws, at, at + count)
        at += count
        state = json.loads(json.dumps(draws.saved()))
        now = mixed(sizes, data.draw(weights), 23)
        draws = now.after(now.before(state), at)
    rows += rows_of(draws, at, at + 40)
    assert rows == rows_of(draws, 0, at + 40), "the past is still known"
    for drawn, size in zip(by_store(rows, sizes), sizes, strict=True):
        require_passes(drawn, size)
    window = by_store(rows[at:], sizes)
    for drawn, share in zip(window, draws.history.shares, strict=True):
        assert abs(len(drawn) - 40 * share) < (1 if len(sizes) <= 2 else 4)


@given(sizes=SIZES, world=st.integers(1, 5), batch=st.integers(1, 6), epoch=st.integers(0, 3))
def test_ranks_together_read_every_draw_once(
    sizes: list[int], world: int, batch: int, epoch: int
) -> None:
    draws = mixed(sizes, [1.0 + k for k in range(len(sizes))], 47)
    of = {"batch_size": batch, "shuffle": True, "block": 1, "seed": 3, "drop_remainder": False}
    whole = Counter(draws.draws(np.arange(47), seed=3, epoch=epoch).tolist())
    ranks = [
        Schedule(range(sum(sizes)), **of, rank=rank, world_size=world, pad_remainder=True,
                 sampler=draws)
        for rank in range(world)
    ]  # fmt: skip
    read = Counter(
        draw
        for rank in ranks
        for number in range(rank.batches)
        for draw in rank.batch_draws(epoch, number)[: rank.real_rows(epoch, number)].tolist()
    )
    assert read == whole


def test_stores_of_one_size_do_not_share_an_order():
    draws = mixed([64, 64], [1, 1], 128)
    first, second = by_store(rows_of(draws, 0, 128), [64, 64])
    assert first != [row - 64 for row in second]
    assert sorted(first) == list(range(64))


def test_draws_by_weight_keep_their_counts_in_every_pass():
    sampler = RepeatedSamples(range(3), np.array([1.0, 0.0, 2.0]), length=6)
    options = {"shuffle": True, "block": 1, "first_case": 0, "identity": {}}
    stores = [
        StoreDraws("a", range(3), sampler, first_row=0, **options),
        StoreDraws("b", range(2), None, first_row=3, **options),
    ]
    draws = MixedDraws(stores, WeightHistory([(0, (HALF, HALF))]), length=12)
    for epoch in range(2):
        found = draws.draws(np.arange(12), seed=1, epoch=epoch)
        assert draws.counts(seed=1, epoch=epoch).tolist() == [2, 0, 4, 3, 3]
        assert len(set(found.tolist())) == 12
    assert draws.expected.tolist() == [2, 0, 4, 3, 3]
    other = pickle.loads(pickle.dumps(draws))
    assert (other.draws(np.arange(12), seed=1, epoch=1) == found).all()


# -- by hand --------------------------------------------------------------------------------------


def test_an_example_on_paper():
    """Weights 3 and 1, stores of 4 (rows 0-3) and 2 (rows 4-5), not shuffled, 6 draws an epoch.

    Draw j is from the first store iff ⌊3(j + 1)/4⌋ > ⌊3j/4⌋: draws 1, 2, 3, 5, 6, 7, 9, 10, 11.
    """
    draws = mixed([4, 2], [3, 1], 6, shuffle=False)
    assert draws.draws(np.arange(6), seed=0, epoch=0).tolist() == [
        (4, 0), (0, 0), (1, 0), (2, 0), (5, 0), (3, 0),
    ]  # fmt: skip
    assert draws.draws(np.arange(6), seed=0, epoch=1).tolist() == [
        (0, 0), (1, 0), (4, 0), (2, 0), (3, 0), (0, 1),
    ]  # fmt: skip


def test_weights_that_change_on_paper():
    """After 4 draws with 3 and 1, three of the first store, equal weights go on alternately."""
    draws = mixed([4, 4], [3, 1], 8, shuffle=False)
    assert rows_of(draws, 0, 4) == [4, 0, 1, 2]
    equal = mixed([4, 4], [1, 1], 8, shuffle=False)
    changed = equal.after(equal.before(draws.saved()), 4)
    assert rows_of(changed, 4, 10) == [5, 3, 6, 0, 7, 1]
    assert changed.saved()["weights"] == [[0, ["3/4", "1/4"]], [4, ["1/2", "1/2"]]]


# -- states ---------------------------------------------------------------------------------------


def test_equal_weights_add_nothing_to_the_history():
    draws = mixed([4, 4], [3, 1], 8)
    same = mixed([4, 4], [6, 2], 8)
    assert same.after(same.before(draws.saved()), 5).saved() == draws.saved()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s["stores"].pop(), "of 1 stores, and this one has 2: weights may change"),
        (lambda s: s["stores"][1].update(rows=9), r"place of store 1 \(number 2 .*rows was 9 and"),
        (lambda s: s["stores"][0].update(shuffle=False), "store 0 .*shuffle was False and is Tr"),
        (lambda s: s.pop("stores"), "needed the stores of a Mix"),
        (lambda s: s.update(stores=[1, 2]), "needed the stores of a Mix"),
        (lambda s: s.update(weights=[]), "needed weights of 2 stores"),
        (lambda s: s.update(weights=[[0, ["1/2", "1/4"]]]), "needed weights of 2 stores"),
        (lambda s: s.update(weights=[[1, ["1/2", "1/2"]]]), "needed weights of 2 stores"),
        (lambda s: s.update(weights=[[0, ["3/2", "-1/2"]]]), "needed weights of 2 stores"),
        (lambda s: s.update(weights=[[0, ["1e999999999", "1"]]]), "needed weights from"),
        (lambda s: s.update(weights=[[0, ["1/0", "1"]]]), "needed weights from"),
        (lambda s: s.update(weights=7), "needed weights from"),
    ],
)
def test_a_state_of_something_else_is_refused(change: Any, said: str) -> None:
    draws = mixed([4, 4], [3, 1], 8)
    state = json.loads(json.dumps(draws.saved()))
    change(state)
    with pytest.raises(ValueError, match=said):
        draws.before(state)


# -- the user's value -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stores", "error", "said"),
    [
        ({}, TypeError, "at least one store"),
        (["a"], TypeError, "at least one store"),
        ({1: 2}, TypeError, "needs paths"),
        ({"a": "3"}, TypeError, "must be a number"),
        ({"a": True}, TypeError, "must be a number"),
        ({"a": 0}, ValueError, "above 0 and finite"),
        ({"a": -1.5}, ValueError, "above 0 and finite"),
        ({"a": float("nan")}, ValueError, "above 0 and finite"),
        ({"a": float("inf")}, ValueError, "above 0 and finite"),
        ({"a": 1, Path("a"): 3, "b": 4}, ValueError, "names a twice: add its weights"),
        ({Mix({"a": 1}): 1}, TypeError, "not a Mix: name its stores"),
        ({"a": Decimal("NaN")}, ValueError, "above 0 and finite"),
        ({"a": Decimal("1e999999999")}, ValueError, "above 0 and finite"),
        ({"a": np.True_}, TypeError, "must be a number"),
        ({"a": 1.0, "b": 1e-9}, ValueError, "less than a millionth"),
    ],
)
def test_wrong_weights_are_refused(stores: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        Mix(stores)


@pytest.mark.parametrize("classes", ["car", 3, [], [""], [1], ["a", "a"]])
def test_wrong_classes_are_refused(classes: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="classes"):
        Mix({"a": 1}, classes=classes)


@given(weights=st.lists(WEIGHT, min_size=1, max_size=6))
def test_shares_sum_to_one(weights: list[float]) -> None:
    shares = Mix({str(k): weight for k, weight in enumerate(weights)}).shares
    assert sum(shares) == 1
    for share, weight in zip(shares, weights, strict=True):
        assert float(share) == pytest.approx(weight / sum(weights), abs=1e-5)


def test_decimals_mean_what_they_say():
    assert Mix({"a": 0.7, "b": 0.2, "c": 0.1}).shares == tuple(Fraction(n, 10) for n in (7, 2, 1))
    assert Mix({"a": 1e308, "b": 1e308}).shares == (HALF, HALF)


def test_numbers_of_other_types_are_weights():
    numbers = {"a": np.int64(3), "b": Decimal("0.5"), "c": Fraction(1, 2)}
    assert Mix(numbers).shares == (Fraction(3, 4), Fraction(1, 8), Fraction(1, 8))
    assert Mix({"a": np.float32(0.75), "b": Decimal("0.25")}).shares == (HALF * 3 / 2, HALF / 2)
    with pytest.raises(TypeError, match="per_epoch must be a whole number, not True"):
        Mix({"a": 1}, per_epoch=True)


def test_changed_weights_are_told():
    then, now = mixed([4, 4], [3, 1], 8), mixed([4, 4], [1, 1], 8)
    assert now.changes(then) == [
        "share of store 0 from 3/4 to 1/2",
        "share of store 1 from 1/4 to 1/2",
    ]
    assert then.changes(then) == []


def test_far_in_a_run_a_batch_takes_no_longer():
    """Closed form: the draws before are not counted one by one."""
    draws = mixed([7, 1 << 23], [3, 1], 1 << 30)
    found = draws.draws(np.arange(64), seed=0, epoch=1 << 20)
    stores = defaultdict[bool, int](int)
    for row in found["id"].tolist():
        stores[row < 7] += 1
    assert stores == {True: 48, False: 16}
