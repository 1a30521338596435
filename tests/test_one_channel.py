"""Losses of outputs (b, H, W, 1) weigh every pixel of targets (b, H, W), on every backend."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from one_channel_arrays import ARRAYS, COUNT, SIZE
from stores import write_split
from zarrfeed import ZarrSequence

CLIENT = Path(__file__).with_name("one_channel_client.py")
BATCH_SIZES = (1, SIZE[0], 16)
CASES = (
    *(
        f"{name} {size}"
        for name in (
            "binary", "accuracy", "class_weight", "mse", "sparse", "subclassed", "sequential"
        )
        for size in BATCH_SIZES
    ),
    "dict of outputs", "tuple of outputs", "padded", "fit",
)  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_split(tmp_path_factory.mktemp("one_channel") / "train", ARRAYS)


@pytest.fixture(scope="module", params=["tensorflow", "jax", "torch"])
def seen(request: pytest.FixtureRequest, store: Path) -> dict[str, Any]:
    """What a user on one backend saw; one process for each."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"needs {request.param}: pip install -e '.[backends]'")
    done = subprocess.run(
        [sys.executable, str(CLIENT), str(store)],
        capture_output=True, text=True, timeout=400, check=False,
        env={
            **os.environ,
            "KERAS_BACKEND": request.param,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "CUDA_VISIBLE_DEVICES": "",
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert result.keys() == set(CASES)
    return result


@pytest.mark.parametrize("case", CASES)
def test_the_loss_is_that_of_numpy(seen: dict[str, Any], case: str) -> None:
    ours, right = seen[case]
    assert ours == pytest.approx(right, rel=1e-4)


def test_a_loss_of_volumes_is_that_of_numpy(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    arrays = {
        "image": random.random((4, 4, 4, 4, 1), np.float32),
        "mask": random.integers(0, 2, (4, 4, 4, 4), np.uint8),
    }
    path = write_split(tmp_path / "s", arrays)
    volume = keras.Input((4, 4, 4, 1))
    model = keras.Model(volume, keras.layers.Conv3D(1, 1, activation="sigmoid")(volume))
    model.compile("sgd", "binary_crossentropy")
    p, mask = model.predict(arrays["image"], verbose=0)[..., 0], arrays["mask"]
    right = (-np.log(np.where(mask == 1, p, 1 - p)) * np.where(mask == 1, 3, 1)).mean()
    for size in (1, 4):
        with ZarrSequence(path, size, class_weight={1: 3.0}, shuffle=False) as val:
            assert model.evaluate(val, verbose=0) == pytest.approx(right, rel=1e-4)


def test_the_same_sequence_feeds_models_of_either_output_in_turn(store: Path) -> None:
    """A callback may evaluate another model while the first one is in training."""

    def one_pixel(channels: int, loss: str) -> Any:
        image = keras.Input((*SIZE, 3))
        layer = keras.layers.Conv2D(channels, 1, activation="softmax" if channels > 1 else None)
        model = keras.Model(image, layer(keras.layers.Rescaling(1 / 255)(image)))
        model.compile(keras.optimizers.SGD(0.0), loss)
        return model

    one, many = one_pixel(1, "mse"), one_pixel(2, "sparse_categorical_crossentropy")
    with ZarrSequence(store, 8, inputs="image", targets="mask", weights="weight") as seq:
        alone = many.evaluate(seq, verbose=0)
        first = one.evaluate(seq, verbose=0)
        losses: list[float] = []
        between = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda *_: losses.append(many.evaluate(seq, verbose=0))
        )
        trained = one.fit(seq, epochs=2, verbose=0, callbacks=[between]).history["loss"]
    assert losses == pytest.approx([alone] * 2, rel=1e-4)
    assert trained == pytest.approx([first] * 2, rel=1e-4)


def test_batches_by_hand_stay_as_they_are(store: Path) -> None:
    with ZarrSequence(store, 8, inputs="image", targets="mask", weights="weight") as seq:
        assert seq[0][1].shape == next(iter(seq))[1].shape == (8, *SIZE)
        assert seq.to_tf_dataset().element_spec[1].shape == (8, *SIZE)


def test_a_loss_of_ones_own_step_gets_what_is_stored(store: Path) -> None:
    shapes = []

    class Own(keras.Sequential):  # type: ignore[misc]
        def compute_loss(self, x: Any, y: Any, y_pred: Any, *_: Any, **__: Any) -> Any:
            shapes.append(tuple(y.shape[1:]))
            return keras.ops.mean(y_pred)

    model = Own([keras.Input((*SIZE, 3)), keras.layers.Conv2D(1, 1)])
    model.compile("sgd")
    with ZarrSequence(store, 8, inputs="image", targets="mask", weights="weight") as seq:
        model.fit(seq, verbose=0)
    assert set(shapes) == {SIZE}


class TestWeightsOfMoreAxesThanLosses:
    def test_of_an_output_without_channels_are_refused(self, store: Path) -> None:
        image = keras.Input((*SIZE, 3))
        flat = keras.layers.Reshape(SIZE)(keras.layers.Conv2D(1, 1, activation="sigmoid")(image))
        model = keras.Model(image, flat)
        model.compile("sgd", "binary_crossentropy")
        with (
            ZarrSequence(store, 8, inputs="image", targets="mask", weights="weight") as seq,
            pytest.raises(ValueError, match=r"\('b', 8, 8\).*'weight'.*give the output a channel"),
        ):
            model.fit(seq, verbose=0)

    def test_are_left_to_a_loss_of_ones_own(self, store: Path) -> None:
        def absolute(y: Any, predicted: Any) -> Any:
            return keras.ops.abs(keras.ops.cast(y, "float32") - predicted)

        image = keras.Input((*SIZE, 3))
        flat = keras.layers.Reshape(SIZE)(keras.layers.Conv2D(1, 1, activation="sigmoid")(image))
        model = keras.Model(image, flat)
        model.compile("sgd", absolute)
        predicted = model.predict(ARRAYS["image"], verbose=0)
        right = (np.abs(ARRAYS["mask"] - predicted) * ARRAYS["weight"]).mean()
        with ZarrSequence(store, 8, inputs="image", targets="mask", weights="weight") as seq:
            assert model.evaluate(seq, verbose=0) == pytest.approx(right, rel=1e-4)
        assert COUNT % 8 == 0
