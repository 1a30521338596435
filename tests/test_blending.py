"""Predictions of overlapping patches become weighted means, a band of patches at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed.feed.blending import Blender, largest
from zarrfeed.order.grid_draws import GridDraws
from zarrfeed.order.patch_cases import PatchCases
from zarrfeed.order.patches import GridPatches
from zarrfeed.order.sweep import Sweep
from zarrfeed.order.window import blending_window
from zarrfeed.store.plane_tiles import PlaneTiles
from zarrfeed.store.tile_grid import TileGrid


def origins_of(sweep, extent):
    """Where each patch begins in the case, by what it covers of it."""
    for band in sweep.bands:
        for part in sweep.parts:
            inside, lands = (
                (sweep.inside, *part.inside),
                (slice(band.start, band.stop), *part.lands),
            )
            yield tuple(b.start - a.start for a, b in zip(inside, lands, strict=True))


def whole_case(size, patches, window, predictions):
    """Blend in float64, in memory for the whole case, padded by a patch on every side."""
    extent = patches.size
    wide = [whole + 2 * span for whole, span in zip(size, extent, strict=True)]
    sums, weights = np.zeros((*wide, predictions[0].shape[-1])), np.zeros(wide)
    for origin, prediction in zip(
        origins_of(Sweep(size, patches), extent), predictions, strict=True
    ):
        box = tuple(slice(at + n, at + 2 * n) for at, n in zip(origin, extent, strict=True))
        sums[box] += prediction * window[..., None].astype(float)
        weights[box] += window
    inner = tuple(slice(n, n + whole) for n, whole in zip(extent, size, strict=True))
    return sums[inner] / weights[inner][..., None]


def blended(blender, sweep, predictions):
    left, planes = np.stack(predictions), []
    for band in sweep.bands:
        parts = sweep.parts
        while parts:  # as batches come, of which one may have patches of two bands
            here = min(3, len(parts))
            blender.add(band, parts[:here], left[:here])
            parts, left = parts[here:], left[here:]
        planes += [part.copy() for part in blender.finish(band)]
        assert sum(map(len, planes)) == band.final
    assert not len(left)
    return np.concatenate(planes)


@st.composite
def sizes_and_patches(draw):
    axes = draw(st.sampled_from([2, 3]))
    extent = st.tuples(*[st.integers(1, 20 if axes == 2 else 8)] * axes)
    return draw(extent), GridPatches(draw(extent), draw(st.sampled_from([0, 0.25, 0.5, 0.8])))


@given(
    sizes_and_patches(),
    st.sampled_from(["gaussian", "constant"]),
    st.sampled_from([1, 2, 3, 14]),
    st.integers(0, 9),
)
def test_a_case_is_blended_as_in_memory(chosen, kind, channels, seed):
    size, patches = chosen
    sweep, window = Sweep(size, patches), blending_window(patches.size, kind)
    rng = np.random.default_rng(seed)
    predictions = [rng.random((*patches.size, channels), np.float32) for _ in range(sweep.patches)]
    needed = whole_case(size, patches, window, predictions)
    blender = Blender(sweep, window, channels=channels, classes="probabilities")
    for _ in range(2):  # a second case finds it empty
        np.testing.assert_allclose(blended(blender, sweep, predictions), needed, rtol=1e-5)
    ids = blended(Blender(sweep, window, channels=channels, classes="argmax"), sweep, predictions)
    assert ids.dtype == np.uint8
    if channels == 1:
        clear, right = abs(needed[..., 0] - 0.5) > 1e-5, needed[..., 0] > 0.5
    else:
        best = np.sort(needed, axis=-1)
        clear, right = best[..., -1] - best[..., -2] > 1e-5, needed.argmax(-1)
    assert (ids == right)[clear].all()
    assert clear.mean() > 0.9


@given(sizes_and_patches())
def test_planes_are_final_when_no_later_patch_covers_them(chosen):
    size, patches = chosen
    sweep = Sweep(size, patches)
    origins = [max(origin[0], 0) for origin in origins_of(sweep, patches.size)]
    starts = [*sorted(set(origins)), size[0]]
    assert [band.final for band in sweep.bands] == starts[1:]
    assert origins == sorted(origins)  # a band after the other
    for number, band in enumerate(sweep.bands):
        assert band.stop - band.start == sweep.bands[0].stop
        covering = [other for other in sweep.bands[: number + 1] if other.stop > band.start]
        assert sorted(band.covering) == sorted(band.start - other.start for other in covering)


@given(sizes_and_patches())
def test_a_sweep_has_the_patches_of_a_sequence_in_their_order(chosen):
    size, patches = chosen
    sizes, number = np.array([size]), np.array([0])
    sampler = GridDraws(patches, PatchCases(number, sizes, first_tile=number, tiles=number))
    draws = sampler.draws(np.arange(sampler.length), seed=0, epoch=0)
    found = list(origins_of(Sweep(size, patches), patches.size))
    assert found == list(map(tuple, draws["origin"].tolist()))


@pytest.mark.parametrize("count", [2, 3, 12, 13, 300])
def test_the_largest_is_the_first_of_equals(count):
    values = np.random.default_rng(0).integers(0, 4, (50, 7, count)).astype(np.float32)
    before = values.copy()
    found = largest(values)
    assert (found == before.argmax(-1)).all()
    assert (values == before).all()
    assert found.dtype == (np.uint8 if count <= 256 else np.uint16)


def test_a_gaussian_window_has_a_floor_and_its_deviation_is_an_eighth():
    window = blending_window((9, 65), "gaussian")
    assert window[4, 32] == window.max() == 1
    centre_to_one_deviation = window[4, 32 + 8] / window[4, 32]
    assert centre_to_one_deviation == pytest.approx(np.exp(-((8 / (65 / 8)) ** 2) / 2))
    assert window.min() == np.float32(1e-3)
    assert (blending_window((2, 3), "constant") == 1).all()


class Memory:
    """Rows in memory, which must be asked for in order."""

    def __init__(self, rows, shape, dtype):
        self.rows, self.sample_shape, self.dtype = np.zeros((rows, *shape), dtype), shape, dtype
        self.asked = []

    def row(self, row):
        self.asked.append(row)
        return None if row == 1 else self.rows[row]


@given(st.data())
def test_planes_become_tiles(data):
    axes = data.draw(st.sampled_from([2, 3]))
    extents = st.tuples(*[st.integers(1, 7)] * axes)
    size, tile = data.draw(extents), data.draw(extents)
    grid = TileGrid(size, tile)
    channels = data.draw(st.sampled_from([(), (2,)]))
    case = np.random.default_rng(0).integers(1, 99, (*size, *channels)).astype(np.uint8)
    memory = Memory(2 + grid.tiles, (*tile, *channels), np.dtype(np.uint8))
    tiles = PlaneTiles(memory, grid, first_tile=2)
    at = 0
    while at < size[0]:
        count = data.draw(st.integers(1, size[0] - at))
        tiles.append(case[at : at + count])
        at += count
    assert memory.asked == list(range(2, 2 + grid.tiles))
    for number in range(grid.tiles):
        needed = np.zeros((*tile, *channels), np.uint8)
        needed[grid.own_part(number)] = case[grid.window(number)]
        assert (memory.rows[2 + number] == needed).all()


def test_rows_that_need_not_be_filled_are_passed_over():
    memory = Memory(3, (1, 2), np.dtype(np.uint8))
    PlaneTiles(memory, TileGrid((3, 2), (1, 2)), 0).append(np.ones((3, 2), np.uint8))
    assert memory.asked == [0, 1, 2]
    assert memory.rows[:, 0, 0].tolist() == [1, 0, 1]
