"""The benchmark of patches measures what it says, here on tiny cases."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import patch_data
import patch_limits
import patch_state
import patches
from patch_data import Data, Work
from patch_limits import touched
from patch_way import Ways, way_of
from zarrfeed import open_case
from zarrfeed.store.tile_grid import TileGrid

TINY = Work("V", (12, 43, 55), 1, 2, "int16", (8, 16, 16), 2, (8, 8, 8))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    made = patch_data.make(TINY, tmp_path_factory.mktemp("patches"))
    for codec in ("raw", "lz4"):
        patch_data.pack(made, codec)
    return made


def test_all_ways_cut_the_same_cases(data):
    for number, (image, mask) in enumerate(data.arrays(in_memory=False)):
        made = patch_data.case(TINY, number)
        assert np.array_equal(image, made[0])
        assert np.array_equal(mask, made[1])
        assert set(np.unique(mask)) == {0, 1, patch_data.LESION}
        for codec in ("raw", "lz4"):
            key = TINY.keys[number]
            assert np.array_equal(open_case(data.store(codec), key), image)
            assert np.array_equal(open_case(data.store(codec), key, field="mask"), mask)
    assert Data.from_json(data.to_json()) == data


@pytest.mark.parametrize(
    "name",
    [
        patches.SLICES,
        patches.DECODED,
        patches.MEMMAP,
        "zarr-python, a file per tile",
        "tensorstore, tiles cached, batch at once",
        "zarrfeed, raw, no worker",
    ],
)
def test_a_way_makes_batches_for_ever(data, name, monkeypatch):
    batches = []
    monkeypatch.setattr("patch_peers.empty_batch", lambda of: kept(batches, of))
    monkeypatch.setattr("patch_limits.empty_batch", lambda of: kept(batches, of))
    monkeypatch.setattr("patch_sequences._PER_EPOCH", 6)
    made = way_of(name)(data)
    assert list(islice(made, 5)) == [TINY.batch_size] * 5
    made.close()
    if batches:  # the fifth batch is the second one of the second epoch
        boxes = patch_limits.boxes(data)[2:4]
        for row, (case, box) in enumerate(boxes):
            for field, array in enumerate(data.arrays(in_memory=False)[case]):
                assert np.array_equal(batches[0][field][row], array[box])


def kept(batches: list, data: Data) -> tuple[np.ndarray, np.ndarray]:
    shape = data.work.batch_size, *data.work.patch
    batches.append(
        (np.zeros((*shape, data.work.channels), data.work.dtype), np.zeros(shape, np.uint8))
    )
    return batches[-1]


@given(st.data())
def test_the_touched_tiles_are_those_of_the_parts(data):
    size = data.draw(st.lists(st.integers(1, 20), min_size=1, max_size=3))
    tile = [data.draw(st.integers(1, 8)) for _ in size]
    starts = [data.draw(st.integers(0, extent - 1)) for extent in size]
    box = tuple(
        slice(start, data.draw(st.integers(start + 1, extent)))
        for start, extent in zip(starts, size, strict=True)
    )
    parts = TileGrid(tuple(size), tuple(tile)).parts(box)
    assert touched(size, tile, box) == [part.tile for part in parts]


@pytest.mark.soak
def test_peers_that_are_not_installed_are_skipped_and_others_take_turns(data, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "nowhere"))
    names = [patches.MEMMAP, "nnU-Net, in the process"]
    with Ways(data, names) as opened:
        assert opened.rate(patches.MEMMAP, 0.01) > 0
        if opened.skipped:
            assert list(opened.skipped) == names[1:]
            assert opened.skipped[names[1]].startswith("not installed: ")


def test_the_memory_of_shares_is_measured(tmp_path):
    patch_state.make(tmp_path / "s", cases=20)
    found = patch_state.measure(tmp_path / "s", per_epoch=40)
    assert 0 <= found["mb"] < 100
    assert found["seconds"] > 0
