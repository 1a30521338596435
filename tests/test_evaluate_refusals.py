"""What cannot be compared is refused, with what differs and the way out."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from prediction_stores import NAMES, mistaken, write_dataset
from zarrfeed import StoreError, evaluate


@pytest.fixture(scope="module")
def truth():
    rng = np.random.default_rng(0)
    return {
        "a": rng.integers(0, 3, (5, 16, 16), np.uint8),
        "b": rng.integers(0, 3, (5, 13, 11), np.uint8),
    }


@pytest.fixture(scope="module")
def predicted(truth):
    return {key: mistaken(mask, 3, 7) for key, mask in truth.items()}


@pytest.fixture(scope="module")
def store(truth, tmp_path_factory):
    folder = tmp_path_factory.mktemp("truth") / "ct.zarr"
    return write_dataset(folder, truth, tile=(4, 8, 8), classes=NAMES[:3])


def written(field="prediction", *, change=lambda mask: mask, **labels):
    """Make predictions of a changed kind."""

    def write(root, predicted):
        changed = {key: change(mask) for key, mask in predicted.items()}
        return write_dataset(root, changed, field=field, tile=(8, 8, 8), **labels)

    return write


@pytest.mark.parametrize(
    ("write", "said"),
    [  # how predictions are changed, and what is said of it
        (written(change=lambda mask: mask[:, 1:]), r"needed \(5, 16, 16\) pixels for 'a'.*\(5, 15"),
        (written(change=lambda mask: mask + np.uint8(mask == 2)),
         r"prediction: needed ids of the 3 classes, 0 … 2, found 3 at [0-9,]+ pixels of 'a'"),
        (written(change=lambda mask: mask.astype("i2") - 1), r"class ids 0 … 65535, found -1"),
        (written(change=lambda mask: mask.astype("f4")), r"class ids, .* found float32 without"),
        (written(change=lambda mask: mask[..., None].astype("f4")), r"of 3 channels, found float"),
        (written(change=lambda mask: np.stack([mask] * 2, -1)), r"found uint8 with a last axis of"),
        (written(change=lambda mask: mask[..., None].astype("f4")), r"2 classes.* of 3 channels$"),
        (written("probabilities", change=lambda mask: np.full((*mask.shape, 3), np.nan)),
         r"probabilities: needed probabilities, found NaN.* \(in 'a'\)"),
        (written(classes=("background", "tumour", "liver")), r"found .*: class 1 differs; store"),
        (written(classes=NAMES[:4]), "class 3 differs"),
        (written("depth"), "needed a field prediction, probabilities or mask, found depth: name"),
        (written(split="train"), "needed predictions of the split 'val', found train: name"),
    ],
)  # fmt: skip
def test_errors_say_what_differs(store, predicted, tmp_path, write, said):
    with pytest.raises(StoreError, match=said) as caught:
        evaluate(store, write(tmp_path / "p", predicted))
    assert str(tmp_path / "p") in str(caught.value)


def test_which_split_is_meant_is_asked_for(store, truth, predicted, tmp_path):
    both = tmp_path / "both.zarr"
    for split in ("train", "val"):
        write_dataset(both, truth, tile=(8, 8, 8), split=split)
    with pytest.raises(StoreError, match=r"found train, val: name it, such as .*/train"):
        evaluate(both, both, field="mask")
    of_val = write_dataset(tmp_path / "p", predicted, tile=(8, 8, 8))
    assert evaluate(both, of_val).keys == ("a", "b")
    assert evaluate(both / "train", of_val / "val").keys == ("a", "b")
    with pytest.raises(StoreError, match=r"no such split; .* has val"):
        evaluate(both, of_val / "vall")
    floats = {key: mask.astype("f4") for key, mask in truth.items()}
    others = write_dataset(tmp_path / "f", floats, tile=(8, 8, 8))
    with pytest.raises(StoreError, match=r"mask: needed masks of class ids.* found float32"):
        evaluate(others, of_val)


@pytest.mark.parametrize("allow_missing", [False, True])
def test_predictions_of_other_cases_are_refused(store, predicted, tmp_path, allow_missing):
    others = {f"other_{key}": mask for key, mask in predicted.items()}
    path = write_dataset(tmp_path / "p", others, tile=(8, 8, 8), field="prediction")
    said = r"no case in common: there are predictions of other_a, other_b, and masks of a, b: name"
    with pytest.raises(StoreError, match=said):
        evaluate(store, path, allow_missing=allow_missing)


def test_samples_of_one_key_are_refused(predicted, tmp_path):
    path = write_dataset(tmp_path / "p", {"a": predicted["a"], "b": predicted["a"]})
    keys = zarr.open_array(str(path / "val/key"))
    keys[1] = keys[0]
    with pytest.raises(StoreError, match=r"needed samples of different keys, .* found 'a' twice"):
        evaluate(path, path)


def test_ids_of_the_truth_that_are_no_class_are_found_there(predicted, tmp_path):
    path = write_dataset(tmp_path / "t", predicted, tile=(8, 8, 8), classes=NAMES[:2])
    with pytest.raises(StoreError, match=r"t/val/mask: needed ids of the 2 classes.*found 2 at"):
        evaluate(path, path)
