"""A user whose images are of any dtype: ``python dtypes_client.py FOLDER``.

On the backend of ``KERAS_BACKEND``, or on tf_keras. ``FOLDER/dtypes`` has a split for each dtype,
named by it; prints how far training and predictions are from those with the same numbers in memory,
as JSON, and the same for patches of ``FOLDER/volumes/train``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

import patch_training
from zarrfeed import SplitReader, ZarrSequence, open_split

if os.environ.get("TF_USE_LEGACY_KERAS"):
    import tf_keras as keras
else:
    import keras  # type: ignore[no-redef]


# Models that get batches as they are, and take long to trace, are tried with some.
SUBCLASSED = ("int8", "uint16", "float16")


class Subclassed(keras.Model):  # type: ignore[misc, name-defined]
    """Its layers get batches as they are; functional models make floats of them."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scaled, self.conv = keras.layers.Rescaling(scale), keras.layers.Conv2D(3, 1)

    def call(self, inputs: Any) -> Any:
        return self.conv(self.scaled(inputs))


def models(scale: float, shape: tuple[int, ...]) -> dict[str, Any]:
    layers = [keras.layers.Rescaling(scale), keras.layers.Conv2D(3, 1)]
    return {
        "functional": keras.Sequential([keras.Input(shape), *layers]),
        "subclassed": Subclassed(scale),
    }


def compare(path: Path) -> dict[str, float]:
    """Give the largest differences of a split's losses and predictions, relative to these."""
    with SplitReader(open_split(path), ["image", "mask"]) as reader:
        stored = reader.read(range(12))
    images, masks = stored["image"].astype(np.float64), stored["mask"]
    scale = 1 / np.abs(images).max()
    found: dict[str, float] = {}
    for name, model in models(float(scale), images.shape[1:]).items():
        if name == "subclassed" and path.name not in SUBCLASSED:
            continue
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1), loss=loss)
        floats = (images.astype(np.float32), masks)
        model(floats[0][:1])  # makes the weights
        start = model.get_weights()
        needed = model.fit(*floats, batch_size=6, epochs=2, shuffle=False, verbose=0).history
        model.set_weights(start)
        with ZarrSequence(path, 6, shuffle=False, workers=2) as train:
            history = model.fit(train, epochs=2, verbose=0).history
        found[f"{name}: fit"] = float(np.abs(np.subtract(history["loss"], needed["loss"])).max())
        with ZarrSequence(path, 5, shuffle=False, workers=2) as test:
            predicted = model.predict(test, verbose=0)
        kernel, bias = (np.asarray(weights, np.float64) for weights in model.get_weights())
        by_hand = images * scale @ kernel[0, 0] + bias
        found[f"{name}: predict"] = float(np.abs(predicted - by_hand).max())
    return found


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    splits = sorted((folder / "dtypes").iterdir())
    found = {split.name: compare(split) for split in splits}
    found["patches"] = patch_training.compare(keras, folder / "volumes/train")
    print(json.dumps(found))
