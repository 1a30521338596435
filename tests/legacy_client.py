"""A tf_keras user: ``TF_USE_LEGACY_KERAS=1 python legacy_client.py STORE``; prints JSON."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numpy as np
import psutil
import tensorflow as tf
import tf_keras

import zarrfeed
from traced_model import traced_model

WORKERS: dict[str, dict[str, Any]] = {
    "alone": {},
    "threads": {"workers": 2},
    "processes": {"workers": 2, "use_multiprocessing": True},
}


def commands() -> list[str]:
    return [" ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)]


class Children(tf_keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen |= {"worker" if "zarrfeed.feed.workers" in c else c for c in commands()}


class Around(tf_keras.utils.Sequence):  # type: ignore[misc]
    """A user's own sequence, which takes our batches by their index and tells us nothing."""

    def __init__(self, sequence: zarrfeed.ZarrSequence) -> None:
        self.sequence = sequence

    def __len__(self) -> int:
        return len(self.sequence)

    def __getitem__(self, index: int) -> Any:
        return self.sequence[index]


def refusals(path: str) -> dict[str, str]:
    """What ``fit`` says to arguments that it would not use."""
    model = traced_model(tf_keras, [])
    said = {}
    given: Any
    for name, given in {
        "y": np.zeros((22, 8, 6)),
        "sample_weight": np.zeros(22),
        "class_weight": {0: 1.0, 1: 2.0},
        "validation_data": (zarrfeed.ZarrSequence(path, 4), np.zeros((22, 8, 6))),
    }.items():
        try:
            model.fit(zarrfeed.ZarrSequence(path, 4), verbose=0, **{name: given})
        except ValueError as error:
            said[name] = str(error)
    return said


def main(path: str) -> None:
    found: dict[str, Any] = {"refusals": refusals(path)}
    for shuffle in (False, True):
        order: list[list[int]] = []
        around = Around(zarrfeed.ZarrSequence(path, 4, seed=1))
        traced_model(tf_keras, order).fit(around, epochs=3, verbose=0, shuffle=shuffle)
        found[f"around, shuffle={shuffle}"] = order
    for name, workers in WORKERS.items():
        log: list[list[int]] = []
        children = Children()
        model = traced_model(tf_keras, log)
        with (
            zarrfeed.ZarrSequence(path, 4, seed=1) as train,
            zarrfeed.ZarrSequence(path, 5, shuffle=False) as validation,
        ):
            assert isinstance(train, tf.keras.utils.Sequence)
            model.fit(
                train, epochs=2, verbose=0, validation_data=validation, callbacks=[children],
                **workers,
            )  # fmt: skip
            found[f"{name}: fit"] = log
            found[f"{name}: children"] = sorted(children.seen)
            log = []
            train.set_epoch(0)
            model = traced_model(tf_keras, log)
            model.fit(train, epochs=3, steps_per_epoch=2, verbose=0, **workers)
            found[f"{name}: steps_per_epoch=2"] = log
            predicted = model.predict(validation, verbose=0, **workers)
            direct = model.predict(np.concatenate([batch[0] for batch in validation]), verbose=0)
            found[f"{name}: predict"] = bool(np.allclose(predicted, direct, atol=1e-5))
            model.evaluate(validation, verbose=0, **workers)
    json.dump(found, sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # TensorFlow threads have been seen to crash at exit


if __name__ == "__main__":
    main(sys.argv[1])
