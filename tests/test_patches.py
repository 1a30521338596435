"""Patches are boxes of the cases, flipped and turned as their places say, whoever reads them."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import CaseArrays, pair
from zarrfeed import CoverPatches, FrontEnd, GridPatches, RandomPatches, open_cases
from zarrfeed_convert import convert

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed.feed.workers.patch_reader import PatchPlace

SIZES = {2: [(9, 14), (20, 17), (5, 30)], 3: [(9, 14, 11), (4, 17, 20), (12, 5, 6)]}
TILES = {2: (6, 7), 3: (4, 6, 5)}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, str], Path]:
    """Splits of cases by their number of axes and codec."""
    folder = tmp_path_factory.mktemp("patches")
    found = {}
    for axes, codec in itertools.product((2, 3), ("raw", "lz4")):
        cases = {f"c{n}": pair(size, n, classes=4) for n, size in enumerate(SIZES[axes])}
        for number, case in enumerate(cases.values()):  # class 3 is rare, and absent in one case
            rare = case["mask"] == 3
            rare.reshape(-1)[np.flatnonzero(rare)[: 5 * number]] = False
            case["mask"][rare] = 0
        store = folder / f"{axes}-{codec}.zarr"
        convert(CaseArrays(cases), store, split="train", tile=TILES[axes], codec=codec, workers=1)
        found[axes, codec] = store / "train"
    return found


def cut(padded: NDArray[Any], place: PatchPlace, size: tuple[int, ...]) -> NDArray[Any]:
    """Cut a patch out of a whole case with margins of its size, the arithmetic written out."""
    axes = len(size)
    box = tuple(
        slice(first + extent, first + 2 * extent)
        for first, extent in zip(place.origin, size, strict=True)
    )
    patch = np.flip(padded[box], [axis for axis in range(axes) if place.flips[axis]])
    return np.rot90(patch, place.turns, (axes - 2, axes - 1))


def require_patches(sequence: FrontEnd, split: Path, size: tuple[int, ...], fill: Any) -> None:
    cases = open_cases(split)
    padded = {}
    for key, field in itertools.product(cases, fill):
        whole = np.asarray(cases.open(key, field))
        margins = [(extent, extent) for extent in size] + [(0, 0)] * (whole.ndim - len(size))
        padded[key, field] = np.pad(whole, margins, constant_values=fill[field])
    for epoch in range(2):
        places = [sequence.batch_places(n, epoch=epoch) for n in range(len(sequence))]
        for batch, rows in zip(sequence, places, strict=True):
            for row, place in enumerate(rows):
                for array, field in zip(batch, fill, strict=True):
                    assert np.array_equal(array[row], cut(padded[place.key, field], place, size))
                if place.forced is not None:
                    assert (batch[1][row] == place.forced).any()


@st.composite
def requests(draw: st.DrawFn) -> tuple[int, Any]:
    axes = draw(st.sampled_from([2, 3]))
    # Not thousands of tiny patches per epoch.
    sizes = st.tuples(*[st.integers(1, 16)] * axes).filter(lambda size: math.prod(size) >= 4**axes)
    size = draw(sizes)
    fill = draw(st.sampled_from([None, 7, {"image": 9, "mask": 2}]))
    turns = draw(st.booleans())
    if turns:
        size = (*size[:-1], size[-2])
    flips = draw(st.one_of(st.booleans(), st.tuples(*[st.booleans()] * axes)))
    kind = draw(st.sampled_from([RandomPatches, CoverPatches, GridPatches]))
    if kind is GridPatches:
        return axes, GridPatches(size, draw(st.sampled_from([0, 0.3, 0.5])), fill=fill)
    if kind is CoverPatches:
        return axes, CoverPatches(size, fill=fill, flips=flips, turns=turns)
    shares = st.sampled_from([None, {"1": 1 / 3}, {3: 0.5, 2: 0.25}, {3: 1.0}])
    return axes, RandomPatches(
        size,
        per_epoch=draw(st.integers(1, 12)),
        shares=draw(shares),
        jitter=draw(st.sampled_from([0.0, 0.4, 1.0])),
        by=draw(st.sampled_from(["size", "case"])),
        border=draw(st.sampled_from(["shift", "fill"])),
        fill=fill,
        flips=flips,
        turns=turns,
        per_case=draw(st.integers(1, 3)),
    )


@settings(max_examples=25)
@given(requests(), st.integers(1, 4), st.sampled_from(["raw", "lz4"]), st.booleans())
def test_patches_are_slices_of_the_whole_case(
    stores: Any, request_: tuple[int, Any], batch: int, codec: str, shuffle: bool
) -> None:
    axes, patches = request_
    fill = patches.fill
    values = {
        "image": 0 if fill is None else fill["image"] if isinstance(fill, dict) else fill,
        "mask": fill["mask"] if isinstance(fill, dict) else 0,
    }
    split = stores[axes, codec]
    with FrontEnd(split, batch, patches=patches, workers=0, shuffle=shuffle) as sequence:
        require_patches(sequence, split, patches.size, values)


@pytest.mark.parametrize("axes", [2, 3])
def test_cover_patches_hold_every_pixel_exactly_once(stores: Any, axes: int) -> None:
    split, size = stores[axes, "raw"], (5, 6, 7)[-axes:]
    cases = open_cases(split)
    origins = []
    with FrontEnd(split, 4, patches=CoverPatches(size), workers=0, fields="mask") as sequence:
        for epoch in range(3):
            seen = {key: np.zeros(case.shape[:axes], int) for key, case in cases.items()}
            at = Counter[tuple[Any, ...]]()
            for batch in range(len(sequence)):
                for place in sequence.batch_places(batch, epoch=epoch):
                    at[place.key, place.origin] += 1
                    box = tuple(
                        slice(max(first, 0), max(first + extent, 0))
                        for first, extent in zip(place.origin, size, strict=True)
                    )
                    seen[place.key][box] += 1
            assert all((counts == 1).all() for counts in seen.values())
            assert max(at.values()) == 1
            origins.append(frozenset(at))
    assert len(set(origins)) == 3  # other places in every epoch
