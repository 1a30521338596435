"""A user who trains on masks of overlapping classes: ``python multi_hot_client.py STORE``.

On the backend of ``KERAS_BACKEND``; prints what was seen as JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import keras
import numpy as np

from transforms import noisy
from zarrfeed import ZarrSequence, open_split, read_samples
from zarrfeed_tools.unet import build_unet

KINDS: dict[str, dict[str, Any]] = {
    "inline": {"workers": 0},
    "processes": {"workers": 2, "use_multiprocessing": True},
}


def main(path: str) -> None:
    keras.utils.set_random_seed(1)
    split = open_split(path)
    ids = range(split.layouts["image"].shape[0])
    images, masks = (read_samples(split, field, ids) for field in ("image", "mask"))
    unet = build_unet(images.shape[1:], masks.shape[-1], filters=4, depth=1)
    outputs = keras.layers.Activation("sigmoid")(unet.outputs[0])
    model = keras.Model(unet.inputs, outputs)
    model.compile(keras.optimizers.Adam(0.02), loss="binary_crossentropy", metrics=["accuracy"])
    with ZarrSequence(path, 6, transform=noisy, **KINDS["processes"]) as train:
        losses = model.fit(train, epochs=16, verbose=0).history["loss"]
    seen: dict[str, Any] = {"losses": losses}
    theirs = model.evaluate(images, masks, batch_size=5, verbose=0)
    for name, workers in KINDS.items():
        with ZarrSequence(path, 5, shuffle=False, **workers) as val:
            seen[name] = bool(np.allclose(model.evaluate(val, verbose=0), theirs, atol=1e-4))
    with ZarrSequence(path, 8, shuffle=False, pad_remainder=True) as val:
        whole, rest = val[0], val[len(val) - 1]
        seen["weights"] = [list(np.shape(whole[2])), float(np.sum(np.asarray(rest[2]) > 0))]
    found = model.predict(images, verbose=0) > 0.5
    seen["right"] = float((found == masks).mean())
    print(json.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1])
