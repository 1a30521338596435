"""Index and arrange give each sample of an array, whatever order its axes are stored in."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed_convert.sources.axes import Axes

LENGTHS = st.integers(1, 4)


@st.composite
def arrays(draw: st.DrawFn) -> Axes:
    counting = draw(st.lists(st.sampled_from("TZN"), max_size=3, unique=True))
    channels = draw(st.sampled_from(["", "C"]))
    spatial = draw(st.sampled_from(["HW", "DHW"]))
    letters = "".join(draw(st.permutations([*counting, *spatial, *channels])))
    sizes = [draw(LENGTHS) for _ in letters]
    axes = Axes.named(letters, sizes, samples="".join(counting))
    flipped = draw(st.frozensets(st.sampled_from([*axes.samples, *axes.spatial])))
    return Axes(letters, axes.sizes, axes.samples, axes.spatial, axes.channels, flipped)


def values(axes: Axes) -> np.ndarray:
    return np.arange(np.prod(axes.sizes)).reshape(axes.sizes)


@given(arrays())
def test_law_samples_are_the_array_with_its_axes_in_order(axes: Axes) -> None:
    array = np.flip(values(axes), tuple(axes.flipped))
    order = [*axes.samples, *axes.spatial, *([] if axes.channels is None else [axes.channels])]
    expected = array.transpose(order).reshape(axes.count, *axes.size, axes.channel_count)
    for sample in range(axes.count):
        found = axes.arrange(values(axes)[axes.index(sample)])
        np.testing.assert_array_equal(found.reshape(expected.shape[1:]), expected[sample])


@given(arrays())
def test_law_one_channel_is_that_of_all(axes: Axes) -> None:
    array = values(axes)
    for sample in range(axes.count):
        whole = axes.arrange(array[axes.index(sample)])
        for channel in range(axes.channel_count):
            one = axes.arrange(array[axes.index(sample, channel)], channel)
            expected = whole if axes.channels is None else whole[..., channel]
            np.testing.assert_array_equal(one, expected)


@given(arrays(), st.data())
def test_law_a_window_is_that_part_of_the_sample(axes: Axes, data: st.DataObject) -> None:
    window = []
    for size in axes.size:
        start = data.draw(st.integers(0, size - 1))
        window.append(slice(start, data.draw(st.integers(start + 1, size))))
    array = values(axes)
    for sample in range(axes.count):
        whole = axes.arrange(array[axes.index(sample)])
        part = axes.arrange(array[axes.index(sample, window=window)])
        np.testing.assert_array_equal(part, whole[tuple(window)])


@given(arrays())
def test_law_every_sample_has_a_place_of_its_own(axes: Axes) -> None:
    places = {axes.place(sample) for sample in range(axes.count)}
    assert len(places) == axes.count
    assert all(at < size for place in places for at, size in zip(place, axes.counts, strict=True))
