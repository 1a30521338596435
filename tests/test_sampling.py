"""Samples are drawn in proportion to weights: each exactly n_i times in an epoch."""

from __future__ import annotations

import itertools
import json
import math
import pickle
import tracemalloc
from dataclasses import FrozenInstanceError, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zarrfeed import Balanced, RepeatFactor, Shares, Weights
from zarrfeed.order.class_shares import ClassShare, ClassShares
from zarrfeed.order.pattern_shares import pattern_shares
from zarrfeed.order.repeated_samples import RepeatedSamples, apportioned
from zarrfeed.order.sample_weights import frequency_weights, given_weights, grouped, share_weights
from zarrfeed.order.sampling import MOST_DRAWS
from zarrfeed.order.user_values import described

if TYPE_CHECKING:
    from numpy.typing import NDArray

seeds, epochs = st.integers(0, 2**40), st.integers(0, 1000)
lengths = st.integers(1, 2000) | st.integers(1, MOST_DRAWS)
some_weights = arrays(
    np.float64,
    st.integers(1, 60),
    elements=st.floats(1e-12, 1) | st.sampled_from([0.0, 0.1, 1 / 3, 1.0, 2.0, 1e6, 1e-9]),
).filter(np.any)


def presences(classes: st.SearchStrategy[int]) -> st.SearchStrategy[NDArray[np.bool_]]:
    return classes.flatmap(
        lambda count: arrays(np.bool_, st.tuples(st.integers(1, 40), st.just(count)))
    )


def reached(presence: NDArray[np.bool_], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Which share of the draws contains each class."""
    found: NDArray[np.float64] = counts @ presence / counts.sum()
    return found


# -- n_i times ------------------------------------------------------------------------------------


@given(some_weights, lengths, st.integers(1, 5), seeds, epochs, st.data())
def test_each_sample_is_drawn_its_weight_rounded_up_or_down(
    weights: NDArray[np.float64], length: int, groups: int, seed: int, epoch: int,
    data: st.DataObject,
) -> None:  # fmt: skip
    of = data.draw(arrays(np.uint16, weights.size, elements=st.integers(0, groups - 1)))
    sampler = RepeatedSamples(range(weights.size), weights, length=length, groups=of)
    counts = sampler.counts(seed=seed, epoch=epoch)
    assert counts.sum() == length
    assert not counts[weights == 0].any()
    # Exact parts, to a unit: 2^-20 draws, or more of very many draws.
    exact, unit = length * weights / math.fsum(weights), max(2.0**-19, length * 2.0**-48)
    assert (counts > exact - 1 - unit).all()
    assert (counts < exact + 1 + unit).all()
    for first, last in itertools.combinations(range(groups + 1), 2):
        run = (first <= of) & (of < last)
        assert abs(counts[run].sum() - exact[run].sum()) < 1 + 2 * unit


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60).filter(any), seeds, epochs)
def test_a_weight_of_n_draws_is_exactly_n_draws(counts: list[int], seed: int, epoch: int) -> None:
    for scale in (1.0, 0.1, 1 / 3):
        sampler = RepeatedSamples(range(len(counts)), np.array(counts) * scale, length=sum(counts))
        assert sampler.counts(seed=seed, epoch=epoch).tolist() == counts


def test_equal_weights_draw_each_sample_once() -> None:
    sampler = RepeatedSamples(range(7), np.full(7, 0.1), length=7)
    draws = sampler.draws(np.arange(7), seed=3, epoch=5)
    assert draws["id"].tolist() == list(range(7))
    assert not draws["repeat"].any()


def test_each_sample_is_drawn_its_weight_on_average() -> None:
    """Over many epochs, to 4.5 standard deviations of the larger or smaller count."""
    weights = np.array([0.05, 0.5, 1.0, 1.25, 2.6, 0.3, 0.3])
    sampler = RepeatedSamples(range(7), weights, length=6)
    epochs = 4000
    total = sum(sampler.counts(seed=1, epoch=epoch) for epoch in range(epochs))
    part = weights % 1
    assert (abs(total / epochs - weights) <= 4.5 * np.sqrt(part * (1 - part) / epochs)).all()


def test_any_two_samples_come_together_as_often_as_by_chance() -> None:
    """Of 40 samples in stored order, a fixed step would draw the even ones, or the odd ones."""
    sampler = RepeatedSamples(range(40), np.ones(40), length=20)
    epochs = 2000
    drawn = np.array([sampler.counts(seed=0, epoch=epoch) for epoch in range(epochs)])
    together = (drawn.T @ drawn / epochs)[np.triu_indices(40, 1)]
    chance = 20 * 19 / (40 * 39)
    assert (abs(together - chance) < 5 * math.sqrt(chance * (1 - chance) / epochs)).all()


@given(some_weights, st.integers(1, 300), seeds, epochs, st.data())
def test_draws_come_as_stored_and_count_repeats(
    weights: NDArray[np.float64], length: int, seed: int, epoch: int, data: st.DataObject
) -> None:
    ids = data.draw(st.permutations(range(100, 100 + 3 * weights.size, 3)))
    sampler = RepeatedSamples(np.array(ids), weights, length=length)
    counts = sampler.counts(seed=seed, epoch=epoch).tolist()
    needed = [(i, n) for i, count in zip(ids, counts, strict=True) for n in range(count)]
    draws = sampler.draws(np.arange(length), seed=seed, epoch=epoch)
    assert draws.tolist() == needed
    places = np.array(data.draw(st.lists(st.integers(0, length - 1), max_size=9)), np.int64)
    again = RepeatedSamples(np.array(ids), weights, length=length)
    alone = again.draws(places, seed=seed, epoch=epoch)
    assert alone.tolist() == draws[places].tolist()


@given(some_weights, st.integers(0, 1 << 50))
def test_parts_of_a_whole_number_sum_up_to_it(weights: NDArray[np.float64], total: int) -> None:
    parts = apportioned(weights, total)
    assert parts.sum() == total
    assert (parts >= 0).all()
    assert not parts[weights == 0].any()


def test_orders_never_change_between_releases() -> None:
    sampler = RepeatedSamples(range(9), np.arange(9.0), length=10, groups=np.arange(9, dtype="u2"))
    assert sampler.counts(seed=1, epoch=2).tolist() == [0, 0, 0, 1, 1, 2, 1, 2, 3]
    loose = RepeatedSamples(range(9), np.arange(9.0), length=10)
    assert loose.counts(seed=1, epoch=2).tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 2]
    assert loose.described() == {"weights": "396578119528f647"}


def test_a_million_samples_of_twenty_classes_need_little_memory() -> None:
    samples, classes = 10**6, 20
    rng = np.random.default_rng(0)
    presence = np.empty((samples, classes), np.bool_, order="F")
    for label in range(classes):
        presence[:, label] = rng.random(samples, np.float32) < 0.6**label
    tracemalloc.start()
    try:
        found = share_weights(Shares({19: 0.5}), {19: 0.5}, presence, range(classes))
        sampler = RepeatedSamples(
            range(samples), found.weights, length=found.length, groups=found.groups
        )
        del found
        for epoch in range(3):
            assert sampler.counts(seed=0, epoch=epoch)[presence[:, 19]].sum() == samples / 2
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 30e6
    assert peak + presence.nbytes < 100e6


# -- shares of classes ----------------------------------------------------------------------------


@given(presences(st.integers(1, 4)), st.integers(1, 500), seeds, epochs, st.data())
def test_shares_are_reached_to_a_draw(
    presence: NDArray[np.bool_], length: int, seed: int, epoch: int, data: st.DataObject
) -> None:
    """Shares that some weights of the samples have, some of which may have to be 0."""
    some = data.draw(
        arrays(np.float64, len(presence), elements=st.integers(0, 5).map(float)).filter(np.any)
    )
    possible = {
        label: float(share)
        for label, share in enumerate(some @ presence / some.sum())
        if 0 < presence[:, label].sum() < len(presence)
    }
    if not possible:
        return
    sampling = Shares(dict(possible), per_epoch=length)
    found = share_weights(sampling, possible, presence, range(presence.shape[1]))
    sampler = RepeatedSamples(
        range(len(presence)), found.weights, length=found.length, groups=found.groups
    )
    achieved = reached(presence, sampler.counts(seed=seed, epoch=epoch))
    for nth, (label, share) in enumerate(possible.items()):
        draws = max(1, 2 ** (nth - 1))
        assert abs(achieved[label] - share) * length < draws + 1e-4
        if nth < 2 and float(share * length).is_integer():
            assert achieved[label] * length == pytest.approx(share * length, abs=1e-9)


def test_half_of_an_epoch_has_lesions_by_hand() -> None:
    presence = np.array([[True, False]] * 6 + [[True, True]] * 2)
    found = share_weights(Shares({"lesion": 0.5}), {1: 0.5}, presence, ["tissue", "lesion"])
    assert found.weights * 8 == pytest.approx([2 / 3] * 6 + [2] * 2)
    sampler = RepeatedSamples(range(8), found.weights, length=8, groups=found.groups)
    counts = sampler.counts(seed=0, epoch=0)
    assert counts[6:].tolist() == [2, 2]
    assert sorted(counts[:6].tolist()) == [0, 0, 1, 1, 1, 1]


@given(
    st.integers(1, 3).flatmap(lambda c: arrays(np.int64, 2**c, elements=st.integers(1, 50))),
    st.data(),
)
def test_shares_of_patterns_are_those_of_iterative_proportional_fitting(
    sizes: NDArray[np.int64], data: st.DataObject
) -> None:
    """Where every combination of classes occurs, fitting converges fast, and is an oracle."""
    count = sizes.size.bit_length() - 1
    patterns = np.array(list(itertools.product([False, True], repeat=count)))
    targets = data.draw(st.lists(st.floats(0.05, 0.95), min_size=count, max_size=count))
    fitted = sizes / sizes.sum()
    for _ in range(300):
        for column, target in zip(patterns.T, targets, strict=True):
            fitted[column] *= target / fitted[column].sum()
            fitted[~column] *= (1 - target) / fitted[~column].sum()
    found = pattern_shares(sizes, patterns, targets, range(count))
    assert np.allclose(found, fitted, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"tool": 0.5}, "no sample of the subset contains 'tool': leave it out of shares"),
        ({"tissue": 0.5}, "every sample of the subset contains 'tissue'"),
        (
            {"organ": 0.2, "lesion": 0.5},
            "cannot be reached together: needed 'organ' 0.2, 'lesion' 0.5, found 'organ' 0.",
        ),
        ({"organ": 0, "lesion": 1}, "cannot be reached together: needed 'organ' 0, 'lesion' 1"),
    ],
)
def test_shares_that_cannot_be_reached_name_the_class(
    shares: dict[str | int, float], message: str
) -> None:
    names = ["tissue", "organ", "lesion", "tool"]
    presence = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]], bool)  # no lesion elsewhere
    targets = {names.index(str(name)): share for name, share in shares.items()}
    with pytest.raises(ValueError, match=message):
        share_weights(Shares(shares), targets, presence, names)


def test_shares_of_nested_classes_may_leave_out_samples() -> None:
    """Every lesion lies in an organ: if both shares are equal, no organ without it is drawn."""
    presence = np.repeat(np.array([[0, 0], [1, 0], [1, 1]], bool), [5, 3, 2], axis=0)
    for organ, lesion in ((0.5, 0.5), (1.0, 0.25), (0.25, 0.0)):
        found = share_weights(
            Shares({0: organ, 1: lesion}), {0: organ, 1: lesion}, presence, range(2)
        ).weights
        assert found @ presence == pytest.approx([organ, lesion], abs=1e-9)


@given(presences(st.integers(1, 6)), st.data())
def test_samples_of_a_group_contain_the_same_classes(
    presence: NDArray[np.bool_], data: st.DataObject
) -> None:
    labels = data.draw(st.permutations(range(presence.shape[1])))
    groups, patterns = grouped(presence, labels)
    assert (patterns[groups] == presence[:, labels]).all()
    assert len(set(map(tuple, patterns.tolist()))) == len(patterns) == groups.max() + 1
    for column in patterns[:, :2].T:  # the first two classes lie together each
        assert (np.diff(np.r_[False, column, False].astype(int)) == 1).sum() <= 1


# -- by classes ------------------------------------------------------------------------------------


def test_balanced_draws_every_class_equally_often() -> None:
    labels = np.array([0] * 70 + [1] * 25 + [3] * 5)
    found = frequency_weights(Balanced(per_epoch=99), labels[:, None] == np.arange(5))
    sampler = RepeatedSamples(range(100), found.weights, length=99, groups=found.groups)
    for epoch in range(5):
        drawn = np.repeat(labels, sampler.counts(seed=0, epoch=epoch))
        assert np.bincount(drawn).tolist() == [33, 33, 0, 33]


@given(presences(st.integers(1, 6)))
def test_balanced_weights_are_those_of_choosing_a_class_and_then_a_sample(
    presence: NDArray[np.bool_],
) -> None:
    if not presence.any():
        with pytest.raises(ValueError, match="needs samples that contain a class, found none"):
            frequency_weights(Balanced(), presence)
        return
    found = frequency_weights(Balanced(), presence)
    present = [column / column.sum() for column in presence.T if column.any()]
    assert np.allclose(found.weights / found.weights.sum(), np.mean(present, axis=0))
    assert found.length == len(presence)


@given(presences(st.integers(0, 6)), st.floats(1e-3, 1), seeds, epochs)
def test_repeat_factors_are_those_of_lvis(
    presence: NDArray[np.bool_], threshold: float, seed: int, epoch: int
) -> None:
    """In the words of detectron2's ``repeat_factors_from_category_frequency``."""
    category_freq = {c: n / len(presence) for c, n in enumerate(presence.sum(axis=0)) if n}
    category_rep = {c: max(1.0, math.sqrt(threshold / f)) for c, f in category_freq.items()}
    rep_factors = [
        max({category_rep[c] for c in np.flatnonzero(row)}, default=1.0) for row in presence
    ]
    found = frequency_weights(RepeatFactor(threshold), presence)
    assert found.weights.tolist() == pytest.approx(rep_factors)
    assert found.length == math.ceil(math.fsum(found.weights))
    sampler = RepeatedSamples(
        range(len(presence)), found.weights, length=found.length, groups=found.groups
    )
    assert sampler.counts(seed=seed, epoch=epoch).min() >= 1


# -- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Shares({}), r"shares must be \{class: share\}, not \{\}"),
        (lambda: Shares(["a"]), "shares must be {class: share}"),  # type: ignore[arg-type]
        (lambda: Shares({"a": 1.5}), r"shares\['a'\] must be from 0 to 1, not 1.5"),
        (lambda: Shares({"a": math.nan}), r"shares\['a'\] must be from 0 to 1, not nan"),
        (lambda: Shares(dict.fromkeys(range(17), 0.1)), "at most 16 classes, not 17"),
        (lambda: Shares({"a": 0.5}, per_epoch=0), "per_epoch must be at least 1, not 0"),
        (lambda: Balanced(per_epoch=2**41), "per_epoch must be at most"),
        (lambda: Balanced(per_epoch=1.5), "per_epoch must be a whole number"),  # type: ignore[arg-type]
        (lambda: RepeatFactor(0), "threshold must be above 0 and at most 1, not 0"),
        (lambda: Weights([[1.0]]), r"one axis, not float64 of shape \(1, 1\)"),
        (lambda: Weights(["a"]), "must be numbers"),
        (lambda: Weights([1, -1]), r"weights\[1\] is -1"),
        (lambda: Weights([1, math.inf]), r"weights\[1\] is inf"),
        (lambda: Weights([0, 0]), "must not all be 0"),
        (lambda: Weights([]), "must not all be 0"),
    ],
)
def test_values_are_checked_when_they_are_made(make: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_values_are_frozen_and_can_be_copied() -> None:
    for sampling in (Balanced(), Shares({"a": 0.5}), RepeatFactor(), Weights([1, 2])):
        with pytest.raises(FrozenInstanceError):
            sampling.per_epoch = 5  # type: ignore[misc]
        copy = pickle.loads(pickle.dumps(replace(sampling, per_epoch=9)))
        assert copy.per_epoch == 9
        json.dumps(described(copy))
    assert pickle.loads(pickle.dumps(Shares({"a": 0.5}))) == Shares({"a": 0.5})
    assert repr(Weights([1, 2])) == "Weights(2 weights, per_epoch=None)"


def test_weights_need_one_of_each_sample() -> None:
    with pytest.raises(ValueError, match="one weight for each of the 3 samples of the subset, not"):
        given_weights(Weights([1, 2]), 3)


def test_huge_weights_have_a_finite_sum() -> None:
    found = given_weights(Weights([1e308] * 4), 4)
    sampler = RepeatedSamples(range(4), found.weights, length=4)
    assert sampler.counts(seed=0, epoch=0).tolist() == [1] * 4


def test_shares_are_shown_as_a_table() -> None:
    shares = ClassShares({"road": ClassShare(None, 0.4567), 11: ClassShare(1 / 3, 1.0)})
    assert repr(shares).split("\n") == [
        "class   target  achieved",
        "road         –   45.67 %",
        "11     33.33 %  100.00 %",
    ]
