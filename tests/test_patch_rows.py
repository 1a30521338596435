"""The tiles that are asked for ahead are those that patches need, and no others."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed.feed.workers.batch_spec import PatchSpec
from zarrfeed.feed.workers.patch_reader import PatchReader
from zarrfeed.feed.workers.patch_rows import patch_rows
from zarrfeed.order.draws import FREE, patch_draw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zarrfeed.order.draws import Draws

CASE, FIRST = (11, 7), 100  # pixels of a case, and its first row


def begins(draw: Any, spec: PatchSpec) -> Iterator[tuple[int, ...]]:
    """Yield where a patch may begin, for each pixel of the tile that it must contain one of."""
    if draw["tile"] == FREE:
        yield tuple(draw["origin"])
        return
    grid = [-(-extent // part) for extent, part in zip(CASE, spec.tile, strict=True)]
    at = np.unravel_index(draw["tile"] - FIRST, grid)
    tile = [
        range(place * part, min((place + 1) * part, extent))
        for place, part, extent in zip(at, spec.tile, CASE, strict=True)
    ]
    for pixel in product(*tile):
        begin = []
        for first, patch, extent in zip(pixel + draw["origin"], spec.size, CASE, strict=True):
            inside = (
                min(max(first, 0), extent - patch) if patch <= extent else -((patch - extent) // 2)
            )
            begin.append(inside if spec.shift else first)
        yield tuple(begin)


def touched(begin: tuple[int, ...], spec: PatchSpec) -> set[int]:
    """Return the rows of all tiles that have a pixel of a patch."""
    pixels = product(*(
        [at for at in range(first, first + patch) if 0 <= at < extent]
        for first, patch, extent in zip(begin, spec.size, CASE, strict=True)
    ))  # fmt: skip
    across = -(-CASE[1] // spec.tile[1])
    return {FIRST + y // spec.tile[0] * across + x // spec.tile[1] for y, x in pixels}


def pairs(least: int, most: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(least, most), st.integers(least, most))


@st.composite
def drawn(draw: st.DrawFn) -> tuple[Draws, PatchSpec]:
    spec = PatchSpec(draw(pairs(1, 13)), draw(pairs(2, 8)), draw(st.booleans()), (), False)
    draws = np.zeros(draw(st.integers(0, 3)), patch_draw(2))
    draws["first_tile"], draws["size"], draws["label"] = FIRST, CASE, FREE
    tiles = int(np.prod([-(-extent // part) for extent, part in zip(CASE, spec.tile, strict=True)]))
    for one in draws:
        one["origin"] = draw(pairs(-14, 14))
        one["tile"] = draw(st.just(FREE) | st.integers(FIRST, FIRST + tiles - 1))
    return draws, spec


@given(drawn())
def test_rows_are_those_of_every_place_that_a_patch_may_have(
    given: tuple[Draws, PatchSpec],
) -> None:
    draws, spec = given
    needed = [
        (number, row)
        for number, draw in enumerate(draws)
        for row in sorted(
            ({draw["tile"]} - {FREE}).union(*(touched(at, spec) for at in begins(draw, spec)))
        )
    ]
    found = list(zip(*map(np.ndarray.tolist, patch_rows(draws, spec)), strict=True))
    assert found == needed


@given(drawn())
def test_of_a_patch_with_a_class_only_its_own_tile_is_prefetched(
    given: tuple[Draws, PatchSpec],
) -> None:
    draws, spec = given
    needed = {
        row
        for draw in draws
        for row in (
            {draw["tile"]} if draw["tile"] != FREE else touched(tuple(draw["origin"]), spec)
        )
    }
    asked: list[list[int]] = []
    reader = PatchReader.__new__(PatchReader)
    reader._spec, reader._reader = spec, _Asked(asked)
    reader.prefetch(draws)
    assert asked == [sorted(needed)]


class _Asked:
    """Notes what is prefetched."""

    def __init__(self, asked: list[list[int]]) -> None:
        self._asked = asked

    def prefetch(self, rows: np.ndarray) -> None:
        self._asked.append(rows.tolist())
