"""Distributions of intensities, and when splits differ."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zarrfeed_tools.report.charts import bars, format_number, lines, ticks
from zarrfeed_tools.report.distributions import PERCENTILES, describe_intensities

DTYPES = st.sampled_from(["uint8", "int16", "uint16", "int32", "float16", "float32", "float64"])


@st.composite
def samples(draw):
    dtype, channels = draw(DTYPES), draw(st.integers(1, 3))
    shape = st.tuples(st.integers(1, 40), st.just(channels))
    return draw(st.lists(arrays(dtype, shape), min_size=1, max_size=6))


@given(st.dictionaries(st.sampled_from(["train", "val"]), samples(), min_size=1))
def test_any_numbers_are_described_and_drawn(by_split):
    found = describe_intensities(by_split)
    for each in found.distributions:
        assert each.shares.sum() == pytest.approx(1)
        assert np.isfinite(each.percentiles).all()
        low, high = found.ranges[each.channel]
        assert low < high
        drawn = lines([each.shares.tolist()], (low, high), styles=[0])
        assert "nan" not in drawn
        assert "inf" not in drawn


@given(arrays(np.int16, (50, 1)))
def test_percentiles_are_those_of_numpy(pixels):
    [found] = describe_intensities({"train": [pixels]}).distributions
    assert found.percentiles == pytest.approx(np.percentile(pixels.astype(float), PERCENTILES))


def test_nan_and_infinite_values_are_left_out():
    pixels = np.array([[1.0], [np.nan], [3.0], [np.inf], [2.0]])
    [found] = describe_intensities({"train": [pixels]}).distributions
    assert found.percentiles[1] == 2
    nothing = describe_intensities({"train": [np.full((3, 1), np.nan)]})
    assert (nothing.channels, nothing.distributions) == (1, ())


def noisy(rng, count, mean):
    """Samples that differ from each other by more than the pixels of one do, as photographs do."""
    return [
        rng.normal(mean + rng.normal(0, 20), 10, (500, 1)).round().astype(np.int16)
        for _ in range(count)
    ]


def test_samples_of_one_kind_rarely_make_splits_differ():
    rng = np.random.default_rng(1)
    differ = sum(
        bool(
            describe_intensities(
                {"train": noisy(rng, 30, 100), "val": noisy(rng, 8, 100)}
            ).differences
        )
        for _ in range(40)
    )
    assert differ <= 2  # 1 of 200 is expected by chance


def test_splits_that_differ_are_found_in_the_channel_that_differs():
    rng = np.random.default_rng(2)
    same = noisy(rng, 60, 100)
    train = [np.hstack([a, b]) for a, b in zip(noisy(rng, 30, 100), same[:30], strict=True)]
    val = [np.hstack([a, b]) for a, b in zip(noisy(rng, 30, 160), same[30:], strict=True)]
    found = describe_intensities({"train": train, "val": val})
    [difference] = found.differences
    assert (difference.channel, difference.splits) == (0, ("train", "val"))
    assert difference.medians == pytest.approx((100, 160), abs=15)


def test_few_samples_are_not_compared():
    few = {"train": [np.full((9, 1), 3)] * 3, "val": [np.full((9, 1), 9)] * 9}
    found = describe_intensities(few)
    assert (found.compared, found.differences) == ((), ())


def test_bins_of_whole_numbers_hold_equally_many_values():
    """Otherwise a flat distribution would look like a comb."""
    pixels = np.arange(256).reshape(-1, 1)
    [found] = describe_intensities({"train": [pixels]}).distributions
    inner = found.shares[1:-1]
    assert inner.min() == inner.max() > 0


def test_only_the_first_channels_of_many_are_described():
    found = describe_intensities({"train": [np.zeros((5, 200), np.uint8)]})
    assert (found.channels, found.left_out, len(found.distributions)) == (8, 192, 8)


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_ticks_lie_between_the_ends(low, width):
    assume(width > 1e-6 * abs(low))
    found = ticks(low, low + width)
    assert len(found) <= 6
    assert all(low - width * 1e-3 <= tick <= low + width * 1.001 for tick in found)
    assert all(format_number(tick) for tick in found)


def test_bars_of_one_among_very_many_are_seen():
    assert 'height="1.50"' in bars([1, 0, 10**9], (0, 3))
