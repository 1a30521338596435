"""What the loader says of samples is true of the tiles of cases, and padding never counts."""

from __future__ import annotations

import itertools
import pickle
from dataclasses import replace

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from case_stores import tiles_of, write_cases
from cases import CaseArrays, pair
from zarrfeed import (
    FrontEnd,
    StoreError,
    ZarrSequence,
    class_pixels,
    open_cases,
    open_split,
    stitch,
)
from zarrfeed.store import case_reading
from zarrfeed.store.descriptive_arrays import normalization_of, sample_names
from zarrfeed_convert import convert

IMAGES = {f"p{n}": pair(size, n) for n, size in enumerate([(5, 9), (1, 1), (8, 4)])}
VOLUMES = {f"v{n}": pair(size, n) for n, size in enumerate([(3, 5, 9), (1, 4, 1)])}
OPTIONS = {"shard_size": 500, "workers": 1, "classes": 3}


@pytest.fixture(params=[(IMAGES, (4, 4)), (VOLUMES, (2, 4, 4))], ids=["images", "volumes"])
def packed(request, tmp_path):
    cases, tile = request.param
    convert(CaseArrays(cases), tmp_path / "o", split="s", tile=tile, pad_value=9, **OPTIONS)
    return cases, open_split(tmp_path / "o/s")


def own_tiles(cases, split):
    """Yield, in the order of the store: the key, the origin and the own part of each tile."""
    for key in open_cases(split):
        size = cases[key]["mask"].shape
        for origin in itertools.product(
            *(range(0, extent, step) for extent, step in zip(size, split.tile_size, strict=True))
        ):
            own = tuple(
                slice(at, at + step) for at, step in zip(origin, split.tile_size, strict=True)
            )
            yield key, origin, {field: values[own] for field, values in cases[key].items()}


def test_tiles_are_named_by_case_and_origin(packed):
    cases, split = packed
    wanted = [f"{key}#{','.join(map(str, origin))}" for key, origin, _ in own_tiles(cases, split)]
    assert sample_names(split, range(split.tiles)) == wanted
    assert sample_names(split, np.array([3, 0, 3])) == [wanted[3], wanted[0], wanted[3]]


def test_the_table_of_cases_is_read_once_for_an_opened_split(packed, monkeypatch):
    _, split = packed
    read = []
    of_table = case_reading.SplitReader
    monkeypatch.setattr(case_reading, "SplitReader", lambda *a: read.append(a) or of_table(*a))
    for row in range(split.tiles):
        sample_names(split, [row])
    class_pixels(split, range(split.tiles))
    normalization_of(split, range(split.tiles))
    assert len(read) == 1
    other = open_split(split.path)
    assert other == split, "what was computed is not compared"
    assert sample_names(other, [0]) == sample_names(split, [0])
    assert len(read) == 2
    sent = pickle.loads(pickle.dumps(split))
    assert sent == split
    assert not sent.computed
    assert not replace(split, attributes={}).computed


@pytest.mark.parametrize("name", ["case_key", "case_size", "case_first_tile"])
def test_foreign_samples_with_an_array_of_such_a_name_are_samples(tmp_path, name):
    group = zarr.open_group(str(tmp_path / "s"), mode="w")
    group.create_array("image", data=np.zeros((6, 8, 8, 3), np.uint8), chunks=(1, 8, 8, 3))
    group.create_array("mask", data=np.zeros((6, 8, 8), np.uint8), chunks=(1, 8, 8))
    values = np.zeros((6, 2), np.uint8 if name == "case_key" else np.int64)
    group.create_array(name, data=values[:, 0] if name == "case_first_tile" else values)
    split = open_split(tmp_path / "s")
    assert split.tile_size is None
    assert sample_names(split, [1, 4]) == ["sample 1", "sample 4"]
    with FrontEnd(tmp_path / "s", 2, shuffle=False) as batches:
        assert len(list(batches)) == 3
        assert batches.batch_keys(0) == ["sample 0", "sample 1"]


def test_foreign_samples_whose_arrays_describe_no_cases_have_numbers_for_names(tmp_path):
    group = zarr.open_group(str(tmp_path / "s"), mode="w")
    group.create_array("image", data=np.zeros((6, 8, 8, 3), np.uint8), chunks=(1, 8, 8, 3))
    group.create_array("case_key", data=np.ones((6, 2), np.uint8))
    group.create_array("case_size", data=np.ones((6, 2), np.int64))
    group.create_array("case_first_tile", data=np.zeros(6, np.int64))
    split = open_split(tmp_path / "s")
    assert sample_names(split, [1, 4]) == ["sample 1", "sample 4"]


def test_statistics_of_any_tiles_are_those_of_their_own_pixels(packed):
    cases, split = packed
    tiles = [own for _, _, own in own_tiles(cases, split)]
    rng = np.random.default_rng(0)
    for count in (1, 3, len(tiles)):
        ids = rng.permutation(len(tiles))[:count]
        pixels = np.concatenate([tiles[row]["image"].reshape(-1, 3) for row in ids]).astype(float)
        mean, variance = normalization_of(split, ids)
        assert np.allclose(mean, pixels.mean(axis=0), rtol=1e-12)
        assert np.allclose(variance, pixels.var(axis=0), rtol=1e-9)
        masks = np.concatenate([tiles[row]["mask"].ravel() for row in ids])
        assert class_pixels(split, ids).tolist() == np.bincount(masks, minlength=3).tolist()
    assert class_pixels(split, range(split.tiles)).sum() < split.tiles * np.prod(split.tile_size)


def test_more_pixels_of_a_class_than_a_case_has_are_refused(tmp_path):
    convert(CaseArrays({"a": pair((5, 4))}), tmp_path, split="s", tile=(4, 4), **OPTIONS)
    zarr.open_array(str(tmp_path / "s/class_pixels"))[1, 2] = 5  # more than 4, less than 16
    with pytest.raises(StoreError, match="needed counts from 0 to 4"):
        class_pixels(open_split(tmp_path / "s"), [1])


def test_a_sequence_feeds_tiles_as_samples(packed):
    cases, split = packed
    tiles = [
        np.concatenate([tiles_of(cases[key][field], split.tile_size) for key in open_cases(split)])
        for field in ("image", "mask")
    ]
    with ZarrSequence(split.path, 2, shuffle=False, workers=0) as sequence:
        assert len(sequence) == -(-split.tiles // 2)
        read = [np.concatenate(field) for field in zip(*sequence, strict=True)]
    inside = [
        np.concatenate(
            [tiles_of(np.ones_like(cases[key][f]), split.tile_size) for key in open_cases(split)]
        )
        for f in ("image", "mask")
    ]
    for found, wanted, own, padding in zip(read, tiles, inside, (9, 0), strict=True):
        assert np.array_equal(found, np.where(own, wanted, padding))


def test_errors_of_transforms_name_the_tile(packed):
    _, split = packed
    names = sample_names(split, range(split.tiles))

    def fail(image, mask, rng):
        if (mask == 2).all():
            raise RuntimeError("no")
        return image, mask

    zarr.open_array(str(split.path / "mask"))[4] = 2
    with (
        pytest.raises(RuntimeError, match=names[4]),
        ZarrSequence(split.path, 1, shuffle=False, workers=0, transform=fail) as sequence,
    ):
        list(sequence)


@settings(deadline=None, max_examples=30)
@given(
    st.integers(2, 3).flatmap(
        lambda axes: st.tuples(
            st.lists(st.tuples(*[st.integers(1, 9)] * axes), min_size=1, max_size=3),
            st.tuples(*[st.integers(1, 5)] * axes),
        )
    ),
    st.sampled_from(["float32", "uint8", "bool"]),
    st.sampled_from([(), (3,)]),
)
def test_predictions_of_tiles_are_stitched_without_padding(tmp_path_factory, drawn, dtype, classes):
    sizes, tile = drawn
    rng = np.random.default_rng(0)
    scores = {
        f"c{n}": {"image": (rng.random((*size, *(classes or (1,)))) * 99).astype(dtype)}
        for n, size in enumerate(sizes)
    }
    store = write_cases(tmp_path_factory.mktemp("s") / "s", scores, tile)
    tiles = np.concatenate([tiles_of(case["image"], tile) for case in scores.values()])
    found = list(stitch(store, tiles if classes else tiles[..., 0]))
    assert [key for key, _ in found] == list(scores)
    for key, whole in found:
        right = scores[key]["image"] if classes else scores[key]["image"][..., 0]
        assert whole.dtype == right.dtype
        assert np.array_equal(whole, right)


@pytest.mark.parametrize(
    "wrong", [(7, 4, 4), (8, 4, 3), (8, 4), (8, 4, 4, 1, 1)], ids=lambda shape: f"{shape}"
)
def test_predictions_of_other_tiles_are_refused(tmp_path, wrong):
    store = write_cases(tmp_path / "s", IMAGES, (4, 4))
    assert open_split(store).tiles == 9
    with pytest.raises(ValueError, match=r"needed predictions \(9, 4, 4\) or \(9, 4, 4, 'K'\)"):
        stitch(store, np.zeros(wrong, np.float32))


def test_a_split_of_samples_has_no_tiles(tmp_path):
    convert([pair((4, 4))] * 3, tmp_path, split="s", workers=1, classes=3)
    split = open_split(tmp_path / "s")
    assert (split.tile_size, split.tiles) == (None, 0)
