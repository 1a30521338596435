"""The comparison notices every sample that a loader repeats, loses or gives another's mask."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compare.identity import SampleCounts, WrongSamplesError, numbers_of, stamp

# An epoch in whole batches: (batch size, the samples in the order in which they come).
epochs = st.integers(1, 6).flatmap(
    lambda size: st.tuples(
        st.just(size),
        st.integers(2, 8).flatmap(lambda count: st.permutations(range(count * size))),
    )
)


def batch_of(images: list[int], masks: list[int] | None = None) -> tuple[np.ndarray, np.ndarray]:
    image = np.zeros((len(images), 2, 2, 3), np.uint8)
    mask = np.zeros((len(images), 2, 2), np.uint8)
    for row, sample in enumerate(images):
        stamp(image[row], sample)
        stamp(mask[row], (masks or images)[row])
    return image, mask


def verdict(samples: int, size: int, order: list[int], *, whole: bool = True) -> str:
    counts = SampleCounts(samples)
    for start in range(0, len(order), size):
        counts.note(batch_of(order[start : start + size]))
    return counts.verdict(whole=whole)


@given(
    dtype=st.sampled_from(["uint8", "float32"]),
    samples=st.lists(st.integers(0, 1 << 24), min_size=1, max_size=5),
)
def test_a_stamp_is_read_as_it_was_written(dtype: str, samples: list[int]) -> None:
    batch = np.zeros((len(samples), 3, 2), dtype)
    for row, sample in enumerate(samples):
        stamp(batch[row], sample)
    assert numbers_of(batch).tolist() == samples


@given(epochs)
def test_a_shuffled_epoch_is_right(epoch: tuple[int, list[int]]) -> None:
    size, order = epoch
    assert verdict(len(order), size, order) == ""


@given(epochs, st.data())
def test_a_partial_last_batch_may_be_left_out(
    epoch: tuple[int, list[int]], data: st.DataObject
) -> None:
    size, order = epoch
    more = data.draw(st.integers(0, size - 1))
    assert verdict(len(order) + more, size, order) == ""


@given(epochs, st.data())
def test_a_repeated_sample_is_found(epoch: tuple[int, list[int]], data: st.DataObject) -> None:
    size, order = epoch
    first, second = data.draw(
        st.lists(st.integers(0, len(order) - 1), min_size=2, max_size=2, unique=True)
    )
    twice = list(order)
    twice[second] = order[first]
    assert "1 samples repeated" in verdict(len(order), size, twice)
    assert "repeated" in verdict(len(order), size, twice, whole=False)


@given(epochs, st.data())
def test_a_missing_sample_is_found(epoch: tuple[int, list[int]], data: st.DataObject) -> None:
    size, order = epoch
    lost = data.draw(st.integers(size, len(order) - 1))  # of any batch but the first
    assert "1 samples missing" in verdict(len(order), size, order[:lost] + order[lost + 1 :])
    assert verdict(len(order), size, order[:lost], whole=False) == ""


@given(epochs, st.data())
def test_a_mask_of_another_sample_is_found(
    epoch: tuple[int, list[int]], data: st.DataObject
) -> None:
    _, order = epoch
    first, second = data.draw(
        st.lists(st.integers(0, len(order) - 1), min_size=2, max_size=2, unique=True)
    )
    masks = list(order)
    masks[first], masks[second] = masks[second], masks[first]
    with pytest.raises(WrongSamplesError):
        SampleCounts(len(order)).note(batch_of(order, masks))


def test_an_epoch_without_a_batch_misses_everything() -> None:
    assert SampleCounts(8).verdict(whole=True) == "8 samples missing"


def test_a_sample_that_does_not_exist_is_found() -> None:
    assert "there are 4" in verdict(4, 2, [0, 1, 2, 4])
