"""Pixels between instances weigh what the U-Net paper says."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zarrfeed_convert.sources.instances import border_weights as room
from zarrfeed_convert.sources.instances.border_weights import border_weights

ndimage = pytest.importorskip("scipy.ndimage")
MASKS = arrays(
    np.uint16,
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    elements=st.sampled_from([0, 0, 0, 0, 1, 2, 3, 300, 65535]),
)


def by_formula(ids, w0, sigma):
    """Compute the map from the distance to every instance, as the paper writes it."""
    numbers = [number for number in np.unique(ids) if number]
    if len(numbers) < 2:
        return np.ones(ids.shape, np.float32)
    distances = [ndimage.distance_transform_edt(ids != number) for number in numbers]
    d1, d2, *_ = np.sort(distances, axis=0)
    return (1 + w0 * np.exp(-((d1 + d2) ** 2) / (2 * sigma**2))).astype(np.float32)


@settings(deadline=None)
@given(MASKS, st.sampled_from([0.0, 0.5, 10.0, 1e6]), st.sampled_from([0.1, 1.0, 5.0, 40.0]))
def test_weights_are_those_of_the_formula(ids, w0, sigma):
    np.testing.assert_array_max_ulp(
        border_weights(ids, w0=w0, sigma=sigma), by_formula(ids, w0, sigma), maxulp=1
    )


def discs(shape, count, seed=0):
    rng, ids = np.random.default_rng(seed), np.zeros(shape, np.uint16)
    y, x = np.ogrid[: shape[0], : shape[1]]
    for number in range(1, count + 1):
        centre, radius = rng.uniform(0, shape), rng.uniform(1, 15)
        ids[(y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2] = number
    return ids


@pytest.mark.parametrize("block", [16, 128])
def test_blocks_see_as_far_as_weights_reach(block, monkeypatch):
    monkeypatch.setattr(room, "_BLOCK", block)
    ids = discs((150, 210), 25)
    for w0, sigma in ((10, 5), (100, 9), (1, 2)):
        np.testing.assert_array_max_ulp(
            border_weights(ids, w0=w0, sigma=sigma), by_formula(ids, w0, sigma), maxulp=1
        )


def test_a_pixel_between_two_cells_can_be_checked_on_paper():
    """Cells in columns 0 and 4: the middle is 2 from both, exp(-16 / 50) = 0.726."""
    ids = np.array([[7, 0, 0, 0, 9]], np.uint16)
    np.testing.assert_allclose(border_weights(ids, w0=10, sigma=5), [[8.261] * 5], atol=5e-4)
    # Inside, the nearest instance is at no distance: 1 pixel to the other one.
    touching = np.array([[1, 2]], np.uint16)
    np.testing.assert_allclose(border_weights(touching, w0=10, sigma=5), 1 + 10 * np.exp(-1 / 50))


def test_one_instance_weighs_nothing_more():
    for ids in (np.zeros((5, 4), np.uint16), np.full((5, 4), 3, np.uint16)):
        assert (border_weights(ids, w0=10, sigma=5) == 1).all()


def test_the_number_of_instances_costs_no_time():
    """65,535 scattered instances, each all over the image, would take a distance transform each."""
    rng = np.random.default_rng(0)
    few, many = (rng.integers(1, most, (256, 256), np.uint16) for most in (4, 65535))
    seconds = []
    for ids in (few, many):
        began = time.process_time()
        border_weights(ids, w0=10, sigma=5)
        seconds.append(time.process_time() - began)
    assert seconds[1] < 5 * seconds[0] + 1
