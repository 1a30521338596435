"""Losses of outputs (b, H, W, 1) weigh every pixel of targets (b, H, W), on every backend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

from one_channel_arrays import ARRAYS, COUNT, SIZE
from scripts import backends, output_on
from stores import write_split
from zarrfeed import ZarrSequence

if TYPE_CHECKING:
    from fork_server import ForkServers

CLIENT = Path(__file__).with_name("one_channel_client.py")
BATCH_SIZES = (1, SIZE[0], 16)
CASES = (
    *(
        f"{name} {size}"
        for name in ("binary", "accuracy", "mse", "sparse")
        for size in BATCH_SIZES
    ),
    "class_weight", "subclassed", "sequential",
    "dict of outputs", "tuple of outputs", "padded", "fit",
)  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_split(tmp_path_factory.mktemp("one_channel") / "train", ARRAYS)


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(1)
    arrays = {
        "image": ARRAYS["image"],
        "labels": random.integers(0, 2, (COUNT, 5), np.uint8),
        "score": random.random(COUNT, np.float32),
        "weight": random.random(COUNT, np.float32),
    }
    return write_split(tmp_path_factory.mktemp("labels") / "train", arrays)


@pytest.fixture(scope="module", params=backends("jax", soak=("tensorflow", "torch")))
def seen(
    request: pytest.FixtureRequest, store: Path, imported: ForkServers | None
) -> dict[str, Any]:
    """What a user on one backend saw; one process for each."""
    output = output_on(request.param, CLIENT, store, servers=imported)
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
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


@pytest.mark.parametrize("loss", [None, "mse"])
def test_a_loss_of_ones_own_step_gets_what_is_stored(store: Path, loss: str | None) -> None:
    shapes = []

    class Own(keras.Sequential):  # type: ignore[misc]
        def compute_loss(self, x: Any, y: Any, y_pred: Any, *_: Any, **__: Any) -> Any:
            shapes.append(tuple(y.shape[1:]))
            return keras.ops.mean(y_pred)

    model = Own([keras.Input((*SIZE, 3)), keras.layers.Conv2D(1, 1)])
    model.compile("sgd", loss)
    with ZarrSequence(store, 8, inputs="image", targets="mask", weights="weight") as seq:
        model.fit(seq, verbose=0)
    assert set(shapes) == {SIZE}


def test_a_step_that_leaves_the_loss_to_keras_gets_the_axis(store: Path) -> None:
    shapes = []

    class Logged(keras.Sequential):  # type: ignore[misc]
        def train_step(self, data: Any) -> Any:
            shapes.append(tuple(data[1].shape[1:]))
            return super().train_step(data)

    model = Logged([keras.Input((*SIZE, 3)), keras.layers.Conv2D(1, 1)])
    model.compile("sgd", "mse")
    with ZarrSequence(store, 8, inputs="image", targets="mask", weights="weight") as seq:
        model.fit(seq, verbose=0)
    assert set(shapes) == {(*SIZE, 1)}


class TestWeightsOfSamples:
    """Of outputs without spatial axes."""

    def model_of(self, *layers: Any) -> Any:
        pooled = [keras.layers.Rescaling(1 / 255), keras.layers.GlobalAveragePooling2D()]
        return keras.Sequential([keras.Input((*SIZE, 3)), *pooled, *layers])

    @pytest.mark.parametrize("given", [{"weights": "weight"}, {"pad_remainder": True}])
    def test_of_an_output_of_one_axis_are_taken(self, labels: Path, given: Any) -> None:
        model = self.model_of(keras.layers.Dense(1), keras.layers.Reshape(()))
        assert model.output_shape == (None,)
        model.compile("sgd", "mse")
        with ZarrSequence(labels, 5, inputs="image", targets="score", **given) as seq:
            assert np.isfinite(model.fit(seq, verbose=0).history["loss"]).all()

    def test_of_a_vector_of_labels_leave_padding_out(self, labels: Path) -> None:
        model = self.model_of(keras.layers.Dense(5, activation="sigmoid"))
        model.compile("sgd", "binary_crossentropy", weighted_metrics=["binary_accuracy"])
        keys = {"inputs": "image", "targets": "labels", "shuffle": False, "pad_remainder": True}
        with ZarrSequence(labels, COUNT - 1, **keys) as seq:
            assert [array.shape for array in seq[1][1:]] == [(COUNT - 1, 5), (COUNT - 1, 1)]
            got = model.evaluate(seq, verbose=0, return_dict=True)
            truth = np.concatenate([seq[0][1], seq[1][1][:1]])
        p = model.predict(ARRAYS["image"], verbose=0)
        losses = -np.log(np.where(truth == 1, p, 1 - p)).mean(axis=-1)
        two = [losses[:-1].mean(), losses[-1] / (COUNT - 1)]
        assert got["loss"] == pytest.approx(np.mean(two), rel=1e-4)
        assert got["binary_accuracy"] == pytest.approx(((p > 0.5) == truth).mean(), rel=1e-4)


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
