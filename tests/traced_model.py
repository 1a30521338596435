"""A model that writes down what it is trained on, for either Keras: ``traced_model(keras)``."""

from __future__ import annotations

from typing import Any

import numpy as np


def traced_model(keras: Any, log: list[list[int]] | Any) -> Any:
    """Build and compile it.

    Parameters
    ----------
    keras
        keras or tf_keras.
    log
        Its ``append`` gets the sample ids of every batch; the masks hold them. The model runs
        eagerly so that it sees the numbers.
    """

    class Traced(keras.Sequential):  # type: ignore[misc, name-defined]
        def train_step(self, *args: Any) -> Any:
            mask = args[-1][1]
            ids = np.asarray(mask.numpy() if hasattr(mask, "numpy") else mask)[:, 0, 0]
            log.append([int(sample) for sample in ids])
            return super().train_step(*args)

    keras.utils.set_random_seed(1)
    model = Traced([keras.Input((8, 6, 3)), keras.layers.Conv2D(22, 1)])
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=True,
    )
    return model
