"""Scores of predictions are those of whole masks, however masks and predictions are stored."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import zarrfeed
from ome_images import write_ome
from prediction_stores import NAMES, mistaken, plain_scores, probabilities_of, write_dataset
from stores import write_split
from zarrfeed import (
    Evaluation,
    SplitReader,
    StoreError,
    evaluate,
    open_split,
)
from zarrfeed.evaluation import comparison, overlap
from zarrfeed.evaluation.case_boxes import CaseBoxes, box_size
from zarrfeed.evaluation.overlap import add_overlaps, overlap_of_channels, overlap_of_ids
from zarrfeed.store.tile_grid import TileGrid


@given(
    st.data(),
    st.sampled_from(["?", "u1", "u2"]),
    st.sampled_from(["u1", "u2"]),
    st.integers(1, 300),
    st.none() | st.integers(0, 300),
)
def test_counts_are_those_of_each_class_by_itself(data, dtype, other, pixels, ignore):
    top = {"?": 1, "u1": data.draw(st.sampled_from([2, 20, 255])), "u2": 299}[dtype]
    rng = np.random.default_rng(pixels)
    truth = rng.integers(0, top, pixels, dtype, endpoint=True)
    predicted = rng.integers(0, min(top, 255), pixels, other, endpoint=True)
    piece = data.draw(st.integers(1, 400))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlap, "_PIECE", piece)
        counts = overlap_of_ids(truth, predicted, classes=3, ignore=ignore)
    assert len(counts) >= 3
    valid = np.full(pixels, True) if ignore is None else truth != ignore
    for number, found in enumerate(counts.tolist()):
        one, of_other = (truth == number) & valid, (predicted == number) & valid
        right = [(one & of_other).sum(), (~one & of_other).sum(), (one & ~of_other).sum()]
        assert found == ([0, 0, 0] if number == ignore else right)
    beyond = [values[valid & (values != ignore)] for values in (truth, predicted)]
    assert max(int(values.max(initial=0)) for values in beyond) < len(counts)


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 9), st.integers(0, 99))
def test_channels_are_counted_each_by_itself(classes, height, width, seed):
    rng = np.random.default_rng(seed)
    truth, predicted = rng.random((2, height, width, classes)) < 0.5
    found = overlap_of_channels(truth, predicted)
    for number in range(classes):
        ids = truth[..., number].astype(np.uint8), predicted[..., number].astype(np.uint8)
        assert found[number].tolist() == overlap_of_ids(*ids, classes=2)[1].tolist()


@given(st.lists(st.integers(1, 40), min_size=2, max_size=3), st.data(), st.integers(1, 5000))
def test_boxes_hold_whole_tiles_or_no_more_pixels_than_asked_for(size, data, pixels):
    axes = len(size)
    tiles = [tuple(data.draw(st.integers(1, 50)) for _ in range(axes)) for _ in range(2)]
    box = box_size(tuple(size), tiles, pixels)
    within = [math.prod(map(min, size, tile)) for tile in tiles]
    assert math.prod(box) <= max(pixels, *within)
    assert all(1 <= extent <= whole for extent, whole in zip(box, size, strict=True))
    assert TileGrid(tuple(size), box).tiles <= math.prod(size)


@st.composite
def pairs(draw):
    """Masks and predictions of some cases, and how they are stored."""
    axes, classes = draw(st.sampled_from([2, 3])), draw(st.integers(1, 4))
    extents = st.tuples(*[st.integers(1, 9)] * axes)
    sizes = draw(st.lists(extents, min_size=1, max_size=3))
    of_samples = draw(st.booleans())
    ignore = draw(st.sampled_from([None, None, 0, classes, 255]))
    seed = draw(st.integers(0, 999))
    rng = np.random.default_rng(seed)
    truth = {}
    for number, size in enumerate(sizes):
        mask = rng.integers(0, classes, sizes[0] if of_samples else size, np.uint8)
        if ignore is not None:
            mask[rng.random(mask.shape) < 0.2] = ignore
        truth[f"case{number}"] = mask
    tiles = [draw(extents), draw(extents)]
    if of_samples:
        tiles[draw(st.integers(0, 1))] = None
        tiles[0] = draw(st.sampled_from([None, tiles[0]]))
    return truth, classes, ignore, tiles, draw(st.sampled_from(["ids", "channel", "scores"])), seed


@given(pairs(), st.integers(1, 300))
@settings(max_examples=15)
def test_scores_are_those_of_whole_masks(stored, nbytes):
    truth, classes, ignore, tiles, kind, seed = stored
    ids = {key: mistaken(mask, classes, seed + 1) for key, mask in truth.items()}
    field, written = "prediction", ids
    if kind == "channel":
        written = {key: one[..., None].astype("u2") for key, one in ids.items()}
    if kind == "scores" and classes > 1:
        field = "probabilities"
        written = {key: probabilities_of(one, classes, seed) for key, one in ids.items()}
    labels = {"classes": NAMES[:classes], "ignore": ignore}
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "_BOX_NBYTES", nbytes)
        store = write_dataset(Path(folder) / "t", truth, tile=tiles[0], **labels)
        backwards = dict(reversed(written.items()))
        predictions = write_dataset(Path(folder) / "p", backwards, field=field, tile=tiles[1])
        found = evaluate(store / "val", predictions)
    kept = [number for number in range(classes) if number != ignore]
    assert found.keys == tuple(truth)
    assert (found.classes, found.ids) == (tuple(NAMES[k] for k in kept), tuple(kept))
    right = [plain_scores(truth[key], ids[key], classes, ignore) for key in truth]
    dice, iou = np.moveaxis(np.array(right)[..., kept], 1, 0)
    assert np.allclose(found.dice, dice, rtol=1e-12, equal_nan=True)
    assert np.allclose(found.iou, iou, rtol=1e-12, equal_nan=True)
    for number, mean in enumerate(found.class_dice):
        of_class = dice[~np.isnan(dice[:, number]), number]
        assert found.class_cases[number] == len(of_class)
        assert math.isclose(mean, of_class.mean()) if len(of_class) else math.isnan(mean)
    flat = [np.concatenate([arrays[key].ravel() for key in truth]) for arrays in (truth, ids)]
    pooled = plain_scores(*flat, classes, ignore)
    assert np.allclose(found.pooled_dice, np.array(pooled[0])[kept], equal_nan=True)
    assert np.allclose(found.pooled_iou, np.array(pooled[1])[kept], equal_nan=True)


@pytest.fixture(scope="module")
def truth():
    rng = np.random.default_rng(0)
    blobs = np.repeat(np.repeat(rng.integers(0, 3, (2, 5, 4, 4), np.uint8), 4, 2), 4, 3)
    return {"a": blobs[0], "b": blobs[1, :, :13, :11]}


@pytest.fixture(scope="module")
def predicted(truth):
    return {key: mistaken(mask, 3, 7) for key, mask in truth.items()}


@pytest.fixture(scope="module")
def store(truth, tmp_path_factory):
    folder = tmp_path_factory.mktemp("truth") / "ct.zarr"
    return write_dataset(folder, truth, tile=(4, 8, 8), classes=NAMES[:3])


def test_scores_are_those_of_simpleitk(store, truth, predicted, tmp_path):
    found = evaluate(
        store, write_dataset(tmp_path / "p", predicted, field="prediction", tile=(3, 9, 5))
    )
    for case, key in enumerate(truth):
        measure = SimpleITK.LabelOverlapMeasuresImageFilter()
        # It takes 0 for the background.
        both = [SimpleITK.GetImageFromArray(one[key] + np.uint8(1)) for one in (predicted, truth)]
        measure.Execute(*both)
        for number in range(3):
            assert math.isclose(found.dice[case, number], measure.GetDiceCoefficient(number + 1))
            assert math.isclose(found.iou[case, number], measure.GetJaccardCoefficient(number + 1))


def test_every_pixel_is_read_once_in_boxes_of_bounded_size(store, predicted, tmp_path, monkeypatch):
    path = write_dataset(tmp_path / "p", predicted, field="prediction", tile=(3, 9, 5))
    boxes = []
    read = CaseBoxes.read
    monkeypatch.setattr(comparison, "_BOX_NBYTES", 1200)  # 600 pixels of two masks
    monkeypatch.setattr(
        CaseBoxes, "read", lambda self, key, box: boxes.append((key, box)) or read(self, key, box)
    )
    evaluate(store, path)
    for key, mask in predicted.items():
        seen = np.zeros(mask.shape, int)
        for box in (box for number, (of, box) in enumerate(boxes) if of == key and number % 2):
            assert seen[box].size <= 600
            seen[box] += 1
        assert (seen == 1).all()
    assert boxes[::2] == boxes[1::2], "of truth and prediction the same"


@pytest.mark.parametrize("ignore", [None, 1, 255])
def test_the_mean_of_pooled_ious_is_keras_mean_iou(truth, predicted, ignore, tmp_path):
    keras = pytest.importorskip("keras")
    masks = {key: np.where(mask == 2, np.uint8(255 if ignore == 255 else 2), mask)
             for key, mask in truth.items()}  # fmt: skip
    store = write_dataset(tmp_path / "t", masks, tile=(4, 8, 8), classes=NAMES[:3], ignore=ignore)
    found = evaluate(
        store, write_dataset(tmp_path / "p", predicted, field="prediction", tile=(8, 8, 8))
    )
    metric = keras.metrics.IoU(3, target_class_ids=found.ids, ignore_class=ignore)
    for key, mask in masks.items():
        metric.update_state(mask, predicted[key])
    assert math.isclose(float(metric.result()), found.pooled_iou.mean(), rel_tol=1e-6)


def test_an_example_that_can_be_checked_by_hand(tmp_path):
    truth = {"one": np.array([[0, 0, 1, 1], [0, 0, 1, 9]], np.uint8)}
    predicted = {"one": np.array([[0, 1, 1, 1], [0, 0, 0, 1]], np.uint8)}
    store = write_dataset(tmp_path / "t", truth, classes=NAMES[:4], ignore=9)
    found = evaluate(store, write_dataset(tmp_path / "p", predicted))
    # Background: 3 shared, 1 too many, 1 missed. Liver: 2 shared, 1 too many, 1 missed.
    assert found.counts[0].tolist() == [[3, 1, 1], [2, 1, 1], [0, 0, 0], [0, 0, 0]]
    assert found.dice[0, :2].tolist() == [6 / 8, 4 / 6]
    assert found.iou[0, :2].tolist() == [3 / 5, 2 / 4]
    assert np.isnan(found.dice[0, 2:]).all(), "there is no tumour, and none was predicted"
    assert found.mean_dice == (6 / 8 + 4 / 6) / 2
    assert str(found) == "Dice 0.708, IoU 0.550: means over 4 classes and 1 case"


def test_a_class_that_is_missed_or_invented_scores_0(tmp_path):
    truth = {"missed": np.array([[1, 0]], np.uint8), "invented": np.array([[0, 0]], np.uint8)}
    predicted = {"missed": np.array([[0, 0]], np.uint8), "invented": np.array([[0, 1]], np.uint8)}
    store = write_dataset(tmp_path / "t", truth, classes=NAMES[:2])
    found = evaluate(store, write_dataset(tmp_path / "p", predicted))
    assert found.dice[:, 1].tolist() == found.iou[:, 1].tolist() == [0, 0]


def test_multi_hot_masks_are_compared_channel_by_channel(tmp_path):
    rng = np.random.default_rng(3)
    truth = (rng.random((3, 6, 5, 2)) < 0.4).astype(np.uint8)
    scores = rng.random((3, 6, 5, 2)).astype(np.float32)
    keys = ("a", "b", "c")
    store = write_dataset(tmp_path / "t", dict(zip(keys, truth, strict=True)), classes=NAMES[1:3])
    group = zarr.open_group(str(store / "val"))
    group.create_array("image", data=np.zeros((3, 6, 5, 3), np.uint8))  # so masks are multi-hot
    group.attrs["zarrfeed"] = {"fields": ["image", "mask"]}
    for number, (field, values) in enumerate(
        {"probabilities": scores, "prediction": scores > 0.5, "mask": truth}.items()
    ):
        values = values.astype("u1") if values.dtype == bool else values
        path = write_dataset(
            tmp_path / f"p{number}", dict(zip(keys, values, strict=True)), field=field
        )
        found = evaluate(store, path)
        likely = values > 0.5
        for case in range(3):
            for k in range(2):
                dice, _ = plain_scores(truth[case, ..., k], likely[case, ..., k], 2)
                assert found.dice[case, k] == dice[1]
    ids = write_dataset(tmp_path / "ids", dict(zip(keys, truth[..., 0], strict=True)))
    with pytest.raises(
        StoreError, match=r"mask: needed a last axis of 2 channels .* multi-hot, fo"
    ):
        evaluate(store, ids)


def test_one_channel_of_probabilities_means_the_second_of_two_classes(tmp_path):
    truth = {"a": np.array([[0, 1, 1]], np.uint8)}
    store = write_dataset(tmp_path / "t", truth, classes=NAMES[:2])
    scores = {"a": np.array([[[0.1], [0.5], [0.51]]], np.float16)}
    found = evaluate(store, write_dataset(tmp_path / "p", scores, field="probabilities"))
    assert found.counts[0].tolist() == [[1, 1, 0], [1, 0, 1]], "0.5 is not above 0.5"


def test_stores_of_others_are_compared_row_by_row(tmp_path, truth, predicted):
    paths = [
        write_split(tmp_path / name, {field: np.stack([arrays["a"]] * 2)}, chunk=2, shard=None)
        for name, field, arrays in (("t", "mask", truth), ("p", "prediction", predicted))
    ]
    found = evaluate(*paths)
    assert found.keys == ("sample 0", "sample 1")
    assert found.classes == ("0", "1", "2"), "those that there are"
    assert np.allclose(found.dice[0], plain_scores(truth["a"], predicted["a"], 3)[0])
    assert evaluate(*paths, exclude="0").classes == ("1", "2")
    split = open_split(paths[0])
    assert evaluate(split, split, field="mask").dice.tolist() == [[1, 1, 1]] * 2


def test_labels_of_ome_zarr_images_are_compared_where_they_are(truth, predicted, tmp_path):
    labels = {name: (arrays["a"], "zyx") for name, arrays in (("t", truth), ("p", predicted))}
    both = write_ome(tmp_path / "a.ome.zarr", np.zeros((5, 16, 16), np.uint8), "zyx", labels)
    one = write_ome(tmp_path / "b" / "a.ome.zarr", np.zeros((5, 16, 16), np.uint8), "zyx",
                    {"p": labels["p"]})  # fmt: skip
    right = plain_scores(truth["a"], predicted["a"], 3)[0]
    for predictions, field in ((both, "p"), (one, None), (one.parent, None)):
        found = evaluate(both, predictions, truth="t", field=field)
        assert np.allclose(found.dice, [right])
        assert found.keys == ("a",)
    store = write_dataset(
        tmp_path / "p.zarr", {"a": predicted["a"]}, field="prediction", tile=(3, 4, 5)
    )
    assert np.allclose(evaluate(both, store / "val", truth="t").dice, [right])


@pytest.mark.parametrize("backwards", [False, True])
def test_small_samples_are_read_many_at_a_time(tmp_path, monkeypatch, backwards):
    rng = np.random.default_rng(0)
    masks = {f"s{number:02}": rng.integers(0, 3, (4, 5), np.uint8) for number in range(30)}
    store = write_dataset(tmp_path / "t", masks, classes=NAMES[:3])
    others = dict(reversed(masks.items())) if backwards else masks
    path = write_dataset(tmp_path / "p", others)
    reads = []
    read = SplitReader.read
    monkeypatch.setattr(SplitReader, "read", lambda self, ids: reads.append(ids) or read(self, ids))
    assert (evaluate(store, path).dice == 1).all()
    of_keys = 2
    assert len(reads) == of_keys + 1 + (30 if backwards else 1)


def test_the_ignored_id_of_predictions_is_no_class(store, truth, predicted, tmp_path):
    some = {key: np.where(mask == 2, np.uint8(99), mask) for key, mask in predicted.items()}
    path = write_dataset(tmp_path / "p", some, tile=(8, 8, 8), ignore=99)
    found = evaluate(store, path)
    assert found.counts[:, 2, :2].sum() == 0
    assert found.counts[:, 2, 2].sum() == sum((mask == 2).sum() for mask in truth.values())


def test_classes_may_be_left_out(store, predicted, tmp_path):
    path = write_dataset(tmp_path / "p", predicted, tile=(8, 8, 8))
    every, some = evaluate(store, path), evaluate(store, path, exclude=["background"])
    assert (some.classes, some.ids) == (NAMES[1:3], (1, 2))
    assert np.array_equal(some.dice, every.dice[:, 1:])
    assert some.mean_dice == every.class_dice[1:].mean()
    with pytest.raises(ValueError, match="found 'tumor': did you mean 'tumour'"):
        evaluate(store, path, exclude=["tumor"])
    with pytest.raises(ValueError, match="needed a class that is left, found all 3 excluded"):
        evaluate(store, path, exclude=NAMES[:3])


def test_cases_that_one_of_both_lacks_are_left_out_if_asked_for(store, predicted, tmp_path):
    renamed = {"a": predicted["a"], "c": predicted["b"]}
    path = write_dataset(tmp_path / "p", renamed, tile=(8, 8, 8))
    with pytest.raises(StoreError, match=r"found none of b, and predictions without masks: c"):
        evaluate(store, path)
    found = evaluate(store, path, allow_missing=True)
    assert (found.keys, found.unpredicted, found.unknown) == (("a",), ("b",), ("c",))
    none = write_dataset(tmp_path / "n", {"a.nii": predicted["a"]}, tile=(8, 8, 8))
    with pytest.raises(StoreError, match=r"predictions of a\.nii, and masks of a, b.* same keys"):
        evaluate(store, none, allow_missing=True)


def test_progress_is_told_case_by_case(store, predicted, tmp_path):
    told = []
    path = write_dataset(tmp_path / "p", predicted, tile=(8, 8, 8))
    evaluate(store, path, progress=lambda *step: told.append(step))
    assert told == [("evaluating", 1, 2), ("evaluating", 2, 2)]


@given(st.lists(st.integers(0, 9), min_size=3, max_size=9), st.integers(0, 4))
def test_counts_of_parts_add_up(values, more):
    one = np.array(values[: len(values) // 3 * 3]).reshape(-1, 3)
    other = np.pad(one, ((0, more), (0, 0)), constant_values=1)
    assert np.array_equal(add_overlaps(one, other), add_overlaps(other, one))
    assert add_overlaps(one, other).sum() == one.sum() + other.sum()


def test_the_page_has_what_is_documented():
    assert zarrfeed.evaluate is evaluate
    assert zarrfeed.Evaluation is Evaluation
    assert evaluate.__doc__
    assert Evaluation.__doc__
