"""A user of one-channel outputs with weights: ``python one_channel_client.py STORE``.

On the backend of ``KERAS_BACKEND``; prints (loss of ``evaluate``, loss by NumPy) of each case as
JSON. Every batch is full, so that Keras' mean over batches is the mean over samples.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import keras
import numpy as np

from one_channel_arrays import ARRAYS, COUNT, SIZE
from zarrfeed import ZarrSequence

MASK, DEPTH, WEIGHT = (ARRAYS[name].astype(np.float64) for name in ("mask", "depth", "weight"))
BINARY = {"targets": "mask", "weights": "weight"}
# Of a batch of 1 and of SIZE[0] samples Keras' product of losses and weights would broadcast.
BATCH_SIZES = (1, SIZE[0], 16)


def cross_entropy(probability: Any, mask: Any) -> Any:
    probability = np.clip(probability.astype(np.float64), 1e-7, 1 - 1e-7)
    return -(mask * np.log(probability) + (1 - mask) * np.log(1 - probability))


def model_of(outputs: dict[str, tuple[int, str | None]], *, named: bool) -> Any:
    """A convolution per output, of channels and activation."""
    image = keras.Input((*SIZE, 3))
    x = keras.layers.Rescaling(1 / 255)(image)
    made = {
        name: keras.layers.Conv2D(channels, 1, activation=activation, name=name)(x)
        for name, (channels, activation) in outputs.items()
    }
    return keras.Model(image, made if named else next(iter(made.values())))


class Subclassed(keras.Model):  # type: ignore[misc]
    """Its layers are not built before it gets a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = keras.layers.Rescaling(1 / 255)
        self.convolution = keras.layers.Conv2D(1, 1, activation="sigmoid")

    def call(self, x: Any) -> Any:
        return self.convolution(self.scale(x))


def evaluated(model: Any, path: str, batch_size: int, **given: Any) -> Any:
    with ZarrSequence(path, batch_size, shuffle=False, inputs="image", **given) as val:
        return model.evaluate(val, verbose=0, return_dict=True)


def main(path: str) -> None:
    keras.utils.set_random_seed(1)
    seen: dict[str, Any] = {}
    images = ARRAYS["image"]
    one = model_of({"cell": (1, "sigmoid")}, named=False)
    depth = model_of({"depth": (1, None)}, named=False)
    many = model_of({"cell": (3, "softmax")}, named=False)
    subclassed: Any = Subclassed()
    unbuilt = keras.Sequential([subclassed.scale, keras.layers.Conv2D(1, 1, activation="sigmoid")])
    probability = one.predict(images, verbose=0)[..., 0]
    losses = cross_entropy(probability, MASK)
    right = ((probability > 0.5) == MASK) * WEIGHT
    errors = (depth.predict(images, verbose=0)[..., 0] - DEPTH) ** 2
    chosen = np.take_along_axis(
        many.predict(images, verbose=0), ARRAYS["mask"][..., None].astype(int), -1
    )[..., 0]
    for size in BATCH_SIZES:
        one.compile("sgd", "binary_crossentropy", weighted_metrics=["accuracy"])
        depth.compile("sgd", "mse")
        many.compile("sgd", "sparse_categorical_crossentropy")
        got = evaluated(one, path, size, **BINARY)
        seen[f"binary {size}"] = got["loss"], float((losses * WEIGHT).mean())
        seen[f"accuracy {size}"] = got["accuracy"], float(right.sum() / WEIGHT.sum())
        got = evaluated(depth, path, size, targets="depth", weights="weight")
        seen[f"mse {size}"] = got["loss"], float((errors * WEIGHT).mean())
        got = evaluated(many, path, size, **BINARY)
        seen[f"sparse {size}"] = got["loss"], float((-np.log(chosen) * WEIGHT).mean())

    got = evaluated(one, path, SIZE[0], targets="mask", class_weight={1: 3.0})
    seen["class_weight"] = got["loss"], float((losses * np.where(MASK == 1, 3, 1)).mean())
    for name, model in (("subclassed", subclassed), ("sequential", unbuilt)):
        model.compile("sgd", "binary_crossentropy")
        got = evaluated(model, path, SIZE[0], **BINARY)
        found = cross_entropy(model.predict(images, verbose=0)[..., 0], MASK)
        seen[name] = got["loss"], float((found * WEIGHT).mean())

    both = model_of({"cell": (1, "sigmoid"), "depth": (1, None)}, named=True)
    both.compile("sgd", {"cell": "binary_crossentropy", "depth": "mse"})
    predicted = both.predict(images, verbose=0)
    losses = (cross_entropy(predicted["cell"][..., 0], MASK) * WEIGHT).mean()
    losses += ((predicted["depth"][..., 0] - DEPTH) ** 2).mean()
    names = {"cell": "mask", "depth": "depth"}
    for kind in ("dict", "tuple"):
        model = both
        if kind == "tuple":
            model = keras.Model(both.inputs, [both.output["cell"], both.output["depth"]])
            model.compile("sgd", ["binary_crossentropy", "mse"])
        of = {
            "dict": {"targets": names, "weights": {"cell": "weight"}},
            "tuple": {"targets": ("mask", "depth"), "weights": ("weight", "one")},
        }[kind]
        got = evaluated(model, path, SIZE[0], **of)
        seen[f"{kind} of outputs"] = got["loss"], float(losses)

    # Padding weighs 0; Keras divides by all rows.
    one.compile("sgd", "binary_crossentropy")
    got = evaluated(one, path, COUNT - 1, targets="mask", pad_remainder=True)
    losses = cross_entropy(probability, MASK)
    two = [losses[: COUNT - 1].mean(), losses[COUNT - 1 :].sum() / (COUNT - 1) / losses[0].size]
    seen["padded"] = got["loss"], float(np.mean(two))

    # A step of training is that of the arrays themselves.
    whole = {"targets": "mask", "weights": "weight", "shuffle": False}
    weights = one.get_weights()
    one.compile(keras.optimizers.SGD(0.1), "binary_crossentropy")
    with ZarrSequence(path, COUNT, inputs="image", **whole) as train:
        one.fit(train, verbose=0)
    ours = one.get_weights()
    one.set_weights(weights)
    one.compile(keras.optimizers.SGD(0.1), "binary_crossentropy")
    one.fit(images, MASK[..., None], sample_weight=WEIGHT, batch_size=COUNT, verbose=0)
    seen["fit"] = [float(np.ravel(each[0])[0]) for each in (ours, one.get_weights())]
    print(json.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1])
