"""The arithmetic of tiles: NumPy's padding, indexing and `ravel_multi_index` are its oracles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed.store.box_plan import BoxPlan
from zarrfeed.store.case_table import CaseTable
from zarrfeed.store.tile_arrays import count_tiles, own_sizes
from zarrfeed.store.tile_grid import TileGrid


@st.composite
def grids(draw, most: int = 20) -> TileGrid:
    axes = draw(st.integers(2, 3))
    extents = st.integers(1, most)
    size = draw(st.tuples(*[extents] * axes))
    return TileGrid(size, draw(st.tuples(*[extents] * axes)))


@st.composite
def boxes(draw, size: tuple[int, ...]) -> tuple[slice, ...]:
    box = []
    for extent in size:
        start = draw(st.integers(0, extent))
        step = draw(st.none() | st.integers(1, extent + 2))
        box.append(slice(start, draw(st.integers(start, extent)), step))
    return tuple(box)


def numbered(grid: TileGrid) -> np.ndarray:
    return np.arange(np.prod(grid.size)).reshape(grid.size)


def padded_tiles(grid: TileGrid, case: np.ndarray) -> np.ndarray:
    """Cut a case into its tiles by NumPy: pad with -1, then split every axis in two."""
    ends = [(0, -extent % tile) for extent, tile in zip(grid.size, grid.tile, strict=True)]
    whole = np.pad(case, ends, constant_values=-1)
    split = [
        n
        for extent, tile in zip(whole.shape, grid.tile, strict=True)
        for n in (extent // tile, tile)
    ]
    axes = range(len(grid.size))
    order = [2 * axis for axis in axes] + [2 * axis + 1 for axis in axes]
    return whole.reshape(split).transpose(order).reshape(-1, *grid.tile)


def test_the_example_of_the_documentation():
    case = np.arange(35).reshape(5, 7)
    tiles = padded_tiles(TileGrid((5, 7), (2, 3)), case)
    assert tiles[5].tolist() == [[20, -1, -1], [27, -1, -1]]


@given(grids())
def test_tiles_are_numbered_in_c_order(grid):
    places = list(np.ndindex(grid.shape))
    assert grid.tiles == len(places)
    for tile, place in enumerate(places):
        assert grid.place(tile) == place
        assert grid.number(place) == tile == np.ravel_multi_index(place, grid.shape)


@given(grids())
def test_every_pixel_is_in_the_own_part_of_exactly_one_tile(grid):
    case = numbered(grid)
    seen = np.zeros(grid.size, int)
    for tile, stored in enumerate(padded_tiles(grid, case)):
        seen[grid.window(tile)] += 1
        own = stored[grid.own_part(tile)]
        assert own.shape == grid.own_size(tile)
        assert np.array_equal(own, case[grid.window(tile)])
        assert own[(0,) * own.ndim] == case[grid.origin(tile)]
        assert (stored >= 0).sum() == own.size, "all else is padding"
    assert (seen == 1).all()


@given(grids().flatmap(lambda grid: st.tuples(st.just(grid), boxes(grid.size))))
def test_parts_put_together_are_the_box(given_box):
    grid, box = given_box
    case = numbered(grid)
    tiles = padded_tiles(grid, case)
    wanted = case[box]
    out = np.full(wanted.shape, -2)
    parts = grid.parts(box)
    for part in parts:
        assert (out[part.lands] == -2).all(), "parts do not overlap"
        assert tiles[part.tile][part.inside].size > 0, "no tile is read in vain"
        out[part.lands] = tiles[part.tile][part.inside]
    assert np.array_equal(out, wanted)
    numbers = [part.tile for part in parts]
    assert numbers == sorted(set(numbers)), "each tile once, in the order of the store"
    plan = BoxPlan.of_box(10, grid, box)
    assert plan.parts == parts
    assert plan.rows == BoxPlan(10, parts).rows == [10 + number for number in numbers]


@given(st.lists(grids(), min_size=1, max_size=5))
def test_tiles_of_many_cases_are_counted_as_those_of_one(cases):
    of_volumes = [grid for grid in cases if len(grid.size) == len(cases[0].size)]
    tile = of_volumes[0].tile
    grids_here = [TileGrid(grid.size, tile) for grid in of_volumes]
    sizes = np.array([grid.size for grid in grids_here])
    counts = count_tiles(sizes, tile)
    assert counts.tolist() == [grid.tiles for grid in grids_here]
    each = np.repeat(np.arange(len(grids_here)), counts)
    numbers = np.concatenate([np.arange(count) for count in counts])
    own = own_sizes(sizes[each], numbers, tile)
    assert own.tolist() == [list(g.own_size(t)) for g in grids_here for t in range(g.tiles)]
    table = CaseTable.of_sizes(sizes, tile)
    every = np.arange(table.tiles)
    assert [row for case in range(len(table)) for row in table.rows(case)] == every.tolist()
    assert np.array_equal(table.cases_of(every), each)
    assert np.array_equal(table.own_sizes(every), own)
    origins = [list(g.origin(t)) for g in grids_here for t in range(g.tiles)]
    assert table.origins(every).tolist() == origins


@pytest.mark.parametrize(
    ("size", "tile"), [((0, 4), (2, 2)), ((4, 4), (2, 0)), ((4, 4), (2, 2, 2))]
)
def test_sizes_that_make_no_grid_are_refused(size, tile):
    with pytest.raises(ValueError, match="at least 1 each, found"):
        TileGrid(size, tile)


@pytest.mark.parametrize(
    "box",
    [
        (slice(0, 5),),
        (slice(0, 6), slice(0, 7)),
        (slice(-1, 5), slice(0, 7)),
        (slice(3, 2), slice(0, 7)),
        (slice(0, 5, -1), slice(0, 7)),
        (slice(0, 5), slice(0, 7), slice(0, 1)),
    ],
)
def test_boxes_outside_the_case_are_refused(box):
    with pytest.raises(ValueError, match="needed a box inside a case of"):
        TileGrid((5, 7), (2, 3)).parts(box)


def test_a_grid_without_axes_has_one_tile():
    grid = TileGrid((), ())
    assert (grid.tiles, grid.place(0), grid.parts(())) == (1, (), [(0, (), ())])


def test_tiles_and_places_beyond_the_grid_are_refused():
    grid = TileGrid((5, 7), (2, 3))
    for tile in (-1, 9):
        with pytest.raises(ValueError, match=f"needed a tile 0 … 8, found {tile}"):
            grid.origin(tile)
    for place in ((3, 0), (0, -1), (0,)):
        with pytest.raises(ValueError, match="needed a place in a grid of"):
            grid.number(place)


def test_claimed_sizes_that_overflow_are_refused():
    huge = np.iinfo(np.int64).max
    assert count_tiles(np.array([[huge, 1]]), (4, 4)).tolist() == [-(-huge // 4)]
    for sizes in ([[huge, huge]], [[huge, 1]] * 9, [[huge, huge, huge]]):
        with pytest.raises(ValueError, match="needed at most"):
            count_tiles(np.array(sizes), (4, 4, 4)[: len(sizes[0])])
    with pytest.raises(
        ValueError, match=r"at least 1 pixel along each axis, found \[3, 0\] for case 1"
    ):
        count_tiles(np.array([[3, 3], [3, 0]]), (4, 4))
