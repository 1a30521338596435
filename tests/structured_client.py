"""A user with two inputs, two outputs and weights: ``python structured_client.py STORE``.

On the backend of ``KERAS_BACKEND``, or on tf_keras; prints what each call saw as JSON. Every array
of the store tells its sample, so that a model can check in its own step that all of them agree.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numpy as np

from structured_arrays import ARRAYS
from transforms import edges, with_edges
from zarrfeed import ZarrSequence

if os.environ.get("TF_USE_LEGACY_KERAS"):
    import tf_keras as keras
else:
    import keras  # type: ignore[no-redef]

INPUTS = {"rgb": "image", "elevation": "depth"}
TARGETS = {"seg": "mask", "height": "depth"}
KINDS: dict[str, dict[str, Any]] = {
    "inline": {"workers": 0},
    "threads": {"workers": 4},
    "processes": {"workers": 2, "use_multiprocessing": True},
}


def numbers(value: Any) -> Any:
    """The same nesting, of NumPy arrays."""
    if isinstance(value, dict):
        return {key: numbers(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return tuple(numbers(item) for item in value)
    return np.asarray(value.detach() if hasattr(value, "detach") else value)


def two_by_two(steps: list[Any]) -> Any:
    """A functional model of two inputs and two outputs, which writes down what it is trained on."""

    class Traced(keras.Model):  # type: ignore[misc, name-defined]
        def train_step(self, *args: Any) -> Any:
            steps.append(numbers(args[-1]))
            return super().train_step(*args)

    keras.utils.set_random_seed(1)
    rgb = keras.Input((8, 6, 3), name="rgb")
    elevation = keras.Input((8, 6, 1), name="elevation")
    scaled = keras.layers.Rescaling(1 / 255)(rgb)
    joined = keras.layers.Concatenate()([scaled, elevation])
    seg = keras.layers.Conv2D(22, 1, name="seg")(joined)
    height = keras.layers.Conv2D(1, 1, name="height")(joined)
    model = Traced(
        inputs={"rgb": rgb, "elevation": elevation}, outputs={"seg": seg, "height": height}
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        optimizer=keras.optimizers.SGD(1e-3),
        loss={"seg": loss, "height": keras.losses.MeanSquaredError()},
        run_eagerly=True,
    )
    return model


def agree(step: Any, *, edge: bool) -> list[int]:
    """The samples of a step; -1 where an array is not that of its sample, or has no place."""
    x, y, w = step
    ids = y["seg"][:, 0, 0].astype(int)
    right = (
        x.keys() == INPUTS.keys()
        and y.keys() == TARGETS.keys()
        and w.keys() == TARGETS.keys()
        and np.array_equal(x["rgb"], ARRAYS["image"][ids])
        and np.array_equal(x["elevation"], ARRAYS["depth"][ids])
        and np.array_equal(y["seg"], ARRAYS["mask"][ids])
        and np.array_equal(y["height"], ARRAYS["depth"][ids])
        and np.array_equal(w["seg"], edges(ARRAYS["mask"])[ids] if edge else ARRAYS["border"][ids])
        and np.allclose(np.broadcast_to(w["height"], y["height"].shape), 1)
    )
    return [int(sample) if right else -1 for sample in ids]


def same(ours: Any, theirs: Any) -> bool:
    ours, theirs = numbers(ours), numbers(theirs)
    if isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(same(ours[k], theirs[k]) for k in theirs)
    return bool(np.allclose(ours, theirs, atol=1e-4))


def main(path: str) -> None:
    seen: dict[str, Any] = {}
    structure: dict[str, Any] = {"inputs": INPUTS, "targets": TARGETS}
    for name, workers in KINDS.items():
        steps: list[Any] = []
        model = two_by_two(steps)
        common = {**structure, "seed": 1, **workers}
        with ZarrSequence(path, 4, weights={"seg": "border"}, **common) as train:
            model.fit(train, epochs=2, verbose=0)
        seen[f"{name}: fit"] = [agree(step, edge=False) for step in steps]

        steps.clear()
        with ZarrSequence(
            path, 4, weights={"seg": "edge"}, transform=with_edges, **common
        ) as train:
            model.fit(train, epochs=1, verbose=0)
        seen[f"{name}: fit, transform"] = [agree(step, edge=True) for step in steps]

        x = {key: ARRAYS[field] for key, field in INPUTS.items()}
        y = {key: ARRAYS[field] for key, field in TARGETS.items()}
        w = {"seg": ARRAYS["border"], "height": np.ones((22, 1, 1, 1), "f4")}
        given = {**structure, "shuffle": False, **workers}
        with ZarrSequence(path, 11, weights={"seg": "border"}, **given) as val:
            ours = model.evaluate(val, verbose=0, return_dict=True)
        theirs = model.evaluate(x, y, sample_weight=w, batch_size=11, verbose=0, return_dict=True)
        seen[f"{name}: evaluate"] = same(ours, theirs)

        del given["targets"]
        with ZarrSequence(path, 4, **given) as test:
            ours = model.predict(test, verbose=0)
        seen[f"{name}: predict"] = same(ours, model.predict(x, verbose=0))

    # Padding weighs nothing: 22 samples in batches of 8 evaluate as in batches of 22.
    losses = []
    for batch_size, pad in ((8, True), (22, False)):
        with ZarrSequence(path, batch_size, pad_remainder=pad, shuffle=False, **structure) as val:
            losses += [(np.add.reduce([len(v["rgb"]) for v, *_ in val]), summed(model, val))]
    seen["padded"] = [int(losses[0][0]), same(losses[0][1], losses[1][1])]
    print(json.dumps(seen))


def summed(model: Any, val: ZarrSequence) -> dict[str, float]:
    """The weighted sum of the errors of an epoch: by hand, as a loss is a mean over batches."""
    total = {"seg": 0.0, "height": 0.0}
    for x, y, *weights in val:
        predicted = numbers(model(x))
        w = weights[0] if weights else {"seg": 1.0, "height": 1.0}
        total["height"] += float(((predicted["height"] - y["height"]) ** 2 * w["height"]).sum())
        total["seg"] += float((predicted["seg"].argmax(-1) * w["seg"]).sum())
    return total


if __name__ == "__main__":
    main(sys.argv[1])
