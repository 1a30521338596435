"""A Keras user on one backend: ``python keras_client.py STORE``; prints what each call saw as JSON.

The store's masks hold their sample id, so a metric can count how often each sample came. One
process per backend, because two frameworks in one can crash.
"""

from __future__ import annotations

import json
import os
import sys
from functools import cache
from typing import Any

import keras
import numpy as np
from keras import ops

import zarrfeed
from traced_model import traced_model

SAMPLES = 22
SHAPE = (8, 6, 3)


class Seen(keras.metrics.Metric):
    """Counts how often each sample came."""

    def __init__(self) -> None:
        super().__init__(name="seen")
        self.counts = self.add_weight(shape=(SAMPLES,), initializer="zeros", name="counts")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        ids = ops.cast(y_true[:, 0, 0], "int32")
        self.counts.assign_add(ops.sum(ops.one_hot(ids, SAMPLES), axis=0))

    def result(self) -> Any:
        return ops.sum(self.counts)


class Record(keras.callbacks.Callback):
    """Writes down the counts of every epoch and every evaluation."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.seen = seen
        self.epochs: list[list[int]] = []
        self.tests: list[list[int]] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if not self.tests:  # a validation resets the metric
            self.epochs.append(self._counts())

    def on_test_begin(self, logs: Any = None) -> None:
        self.epochs.append(self._counts())

    def on_test_end(self, logs: Any = None) -> None:
        self.tests.append(self._counts())

    def _counts(self) -> list[int]:
        return [int(n) for n in ops.convert_to_numpy(self.seen.counts.value)]


@cache
def small_model(**compiled: Any) -> tuple[keras.Model, Seen]:
    """Made and traced once for all kinds of workers: what a model has learnt plays no part."""
    seen = Seen()
    model = keras.Sequential(
        [
            keras.Input(SHAPE, dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(SAMPLES, 1),
        ]
    )
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer="sgd",
        metrics=[seen],
        jit_compile=False,
        **compiled,
    )
    return model, seen


def fit(path: str, workers: dict[str, Any], steps_per_execution: int = 1, **run: Any) -> Record:
    model, seen = small_model(steps_per_execution=steps_per_execution)
    record = Record(seen)
    with zarrfeed.ZarrSequence(path, 4, seed=1, **workers) as train:
        model.fit(train, epochs=3, verbose=0, callbacks=[record], **run)
    return record


class Around(keras.utils.PyDataset):
    """A user's own dataset, which takes our batches by their index and tells us nothing."""

    def __init__(self, sequence: zarrfeed.ZarrSequence) -> None:
        super().__init__()
        self.sequence = sequence

    def __len__(self) -> int:
        return len(self.sequence)

    def __getitem__(self, index: int) -> Any:
        return self.sequence[index]


class Stops(keras.callbacks.Callback):  # type: ignore[misc]
    """Has had enough after three batches."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.model.stop_training = batch == 2


def order_of(dataset: Any, **run: Any) -> list[list[int]]:
    """Train, twice, a model that has to be built first; the second ``fit`` builds none."""
    log: list[list[int]] = []
    model = traced_model(keras, log)
    model.fit(dataset, epochs=2, verbose=0, **run)
    model.fit(dataset, verbose=0, **run)
    return log


def main(path: str) -> None:
    seen: dict[str, Any] = {"backend": keras.backend.backend()}
    for name, workers in {
        "inline": {"workers": 0},
        "threads": {"workers": 2},
        "processes": {"workers": 2, "use_multiprocessing": True},
    }.items():
        with zarrfeed.ZarrSequence(path, 5, shuffle=False, **workers) as validation:
            record = fit(path, workers, validation_data=validation)
            seen[f"{name}: fit"] = record.epochs
            seen[f"{name}: validation"] = record.tests
            record = fit(path, workers, validation_data=validation, validation_steps=2)
            seen[f"{name}: validation_steps=2"] = record.tests

            model, met = small_model(steps_per_execution=1)
            record = Record(met)
            model.evaluate(validation, verbose=0, callbacks=[record])
            seen[f"{name}: evaluate"] = record.tests
            predicted = model.predict(validation, verbose=0)
            direct = model.predict(np.concatenate([batch[0] for batch in validation]), verbose=0)
            seen[f"{name}: predict"] = [
                list(predicted.shape), bool(np.allclose(predicted, direct, atol=1e-5)),
            ]  # fmt: skip
        seen[f"{name}: steps_per_epoch=2"] = fit(path, workers, steps_per_epoch=2).epochs
        at_once = 1 if keras.backend.backend() == "torch" else 3  # Keras refuses it on torch
        seen[f"{name}: steps_per_execution"] = fit(path, workers, at_once).epochs

        order: list[list[int]] = []
        with zarrfeed.ZarrSequence(path, 4, seed=1, **workers) as train:
            traced_model(keras, order).fit(train, epochs=2, verbose=0)
        seen[f"{name}: order"] = order

    whole = zarrfeed.ZarrSequence(path, 22, seed=1)
    seen["one batch: order"] = order_of(whole)
    seen["two batches: order"] = order_of(zarrfeed.ZarrSequence(path, 11, seed=1))
    seen["around: order"] = order_of(Around(zarrfeed.ZarrSequence(path, 4, seed=1)), shuffle=False)
    seen["around, shuffled: order"] = order_of(Around(zarrfeed.ZarrSequence(path, 4, seed=1)))
    seen["short fits: order"] = order_of(zarrfeed.ZarrSequence(path, 4, seed=1), steps_per_epoch=3)
    stopped = {"callbacks": [Stops()]}
    seen["stopped fits: order"] = order_of(zarrfeed.ZarrSequence(path, 4, seed=1), **stopped)
    around = Around(zarrfeed.ZarrSequence(path, 4, seed=1))
    seen["around, short fits: order"] = order_of(around, steps_per_epoch=3, shuffle=False)

    with zarrfeed.ZarrSequence(path, 4, class_weight={1: 0.0}, workers=1) as weighted:
        model, met = small_model(steps_per_execution=1)
        record = Record(met)
        model.fit(weighted, verbose=0, callbacks=[record])
        seen["weights: fit"] = record.epochs
        if seen["backend"] == "jax":
            import jax

            image = weighted[0][0]
            shared = jax.device_put(image).unsafe_buffer_pointer() == image.ctypes.data
            seen["jax shares memory"] = shared
    json.dump(seen, sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # torch and TensorFlow threads have been seen to crash at exit


if __name__ == "__main__":
    main(sys.argv[1])
