"""What ``zarrfeed.predict`` refuses at the start, and what it says of models and transforms."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

from case_stores import random_case, write_cases
from zarrfeed import GridPatches, StoreError, evaluate, predict
from zarrfeed.store import shard_writer
from zarrfeed_tools.cli import app

PATCHES = GridPatches((8, 8), 0.5)


class Dark:
    """A model that knows three classes, and may be interrupted."""

    def __init__(self, batches: int = 1_000) -> None:
        self._left = batches

    # By these it is told from others, and not by the batches that are left.
    def get_config(self):
        return {}

    def get_weights(self):
        return []

    def predict_on_batch(self, x):
        if not self._left:
            raise KeyboardInterrupt
        self._left -= 1
        scores = np.zeros((*x.shape[:-1], 3), np.float32)
        scores[..., 0] = 1
        return scores


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("store") / "s.zarr"
    zarr.open_group(str(root), mode="a").attrs["zarrfeed"] = {
        "format": 1, "classes": ["none", "one", "two"], "ignore": None,
    }  # fmt: skip
    cases = {key: random_case((24, 16), "uint8", 1, seed) for seed, key in enumerate("ab")}
    fields = {"format": 1, "fields": ["image", "mask"]}
    return write_cases(root / "val", cases, (8, 8), attributes=fields)


@pytest.mark.parametrize("model", ["unet.keras", Path("unet.keras"), np.sin])
def test_what_is_no_model_is_refused_at_the_start(store, tmp_path, model):
    with pytest.raises(TypeError, match=r"model must be a Keras model, .*predict_on_batch") as told:
        predict(model, store, tmp_path / "o", PATCHES)
    assert ("load_model(path)" in str(told.value)) == (model is not np.sin)
    assert not (tmp_path / "o").exists()


def test_a_path_inside_a_dataset_is_refused(store, tmp_path):
    with pytest.raises(StoreError, match=r"a path inside one; give .*new\.zarr as OUT"):
        predict(Dark(), store, tmp_path / "new.zarr" / "val", PATCHES)
    with pytest.raises(StoreError, match=r"a path inside one; give another, such as"):
        predict(Dark(), store, store.parent / "predicted", PATCHES)
    assert list(tmp_path.iterdir()) == []
    assert not (store.parent / "predicted").exists()


def test_an_interrupted_run_that_has_written_nothing_leaves_nothing(store, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        predict(Dark(3), store, tmp_path / "o", PATCHES)
    assert list(tmp_path.iterdir()) == []


def test_other_settings_are_refused_before_anything_is_written(store, tmp_path, monkeypatch):
    monkeypatch.setattr(shard_writer, "SHARD_NBYTES", 64)  # of a tile
    with pytest.raises(KeyboardInterrupt) as stopped:
        predict(Dark(7), store, tmp_path / "o", PATCHES)
    assert "keeps what is complete" in stopped.value.__notes__[0]
    shutil.rmtree(tmp_path / "o" / "val.partial" / "prediction" / "c")  # as if killed earlier
    for path in (tmp_path / "o" / "val", tmp_path / "o"):
        with pytest.raises(StoreError, match="repeat the same `zarrfeed predict`"):
            evaluate(store, path)
    with pytest.raises(StoreError, match="begun with other settings: patches="):
        predict(Dark(), store, tmp_path / "o", GridPatches((8, 8)))
    predict(Dark(), store, tmp_path / "o", PATCHES)
    assert evaluate(store, tmp_path / "o").keys == ("a", "b")
    predict(Dark(), store, tmp_path / "p", GridPatches((8, 8)))


def test_predictions_are_not_what_a_model_gets_by_default(store, tmp_path):
    done = predict(Dark(), store, tmp_path / "o", PATCHES)
    with pytest.raises(
        StoreError, match=r"needed a field 'image', found prediction: name .*inputs"
    ):
        predict(Dark(), done, tmp_path / "again", PATCHES)
    assert not (tmp_path / "again").exists()


def test_a_transform_that_changes_the_size_is_blamed(store, tmp_path):
    with pytest.raises(ValueError, match=r"transform that keeps .*\(8, 8\).* shape \(4, 4, 8, 1\)"):
        predict(Dark(), store, tmp_path / "o", PATCHES, transform=lambda image, rng: image[:4])
    assert not (tmp_path / "o").exists()


def test_what_a_model_raises_has_a_note_of_its_inputs(store, tmp_path):
    class Raises:
        def predict_on_batch(self, x):
            raise RuntimeError("incompatible")

    with pytest.raises(RuntimeError, match="incompatible") as raised:
        predict(Raises(), store, tmp_path / "o", PATCHES)
    assert raised.value.__notes__[0] == "patches of 'image' have shape (4, 8, 8, 1)"


def test_the_command_refuses_paths_before_it_loads_the_model(store, tmp_path):
    (tmp_path / "broken.keras").write_bytes(b"no model")
    done = predict(Dark(), store, tmp_path / "o", PATCHES)

    def error(path, out):
        arguments = ["predict", str(path), str(tmp_path / "broken.keras"), str(out)]
        return str(CliRunner().invoke(app, arguments).exception)

    for path in (store, store.parent):
        assert f"{done} has predictions already" in error(path, tmp_path / "o")
    assert "val: did you mean 'val'?" in error(store.with_name("vla"), tmp_path / "new")
    assert "is not a split of predictions" in error(store, store.parent)


def test_masks_of_plain_zarr_arrays_are_those_of_their_predictions(tmp_path):
    dark = {}
    for key in ("a", "b"):
        case = random_case((24, 16), "uint8", 2, ord(key))
        group = zarr.open_group(str(tmp_path / "folder" / f"{key}.zarr"), mode="w")
        for name, values in case.items():
            group.create_array(name, data=values)
        dark[key] = np.count_nonzero(case["mask"] == 0)
    folder = tmp_path / "folder"
    for path, keys in ((folder / "a.zarr", ("a",)), (folder, ("a", "b"))):
        done = predict(Dark(), path, tmp_path / "o", PATCHES)
        for predictions in (done, tmp_path / "o"):
            found = evaluate(path, predictions)
            assert found.keys == keys
            needed = [2 * dark[key] / (dark[key] + 24 * 16) for key in keys]
            np.testing.assert_allclose(found.dice[:, 0], needed)
