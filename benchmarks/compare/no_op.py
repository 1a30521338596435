"""How fast does Keras' ``fit`` go where the model does nothing? And does every sample reach it?"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from compare.clock import Clock

WARM_UP = 2  # epochs: the first traces the model


class Nothing(keras.Model):
    """A model whose step touches one pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = self.add_weight(shape=(), name="weight")

    def call(self, x: Any) -> Any:  # noqa: ARG002
        """Predict nothing."""
        return self.weight

    def train_step(self, data: Any) -> dict[str, Any]:
        """Learn nothing."""
        return {"loss": tf.cast(tf.reshape(data[0], [-1])[0], tf.float32)}


class RollCall(Nothing):
    """Counts the samples by the numbers in their first pixels, of image and of mask."""

    def __init__(self, samples: int) -> None:
        super().__init__()
        self._samples = samples
        self.seen = tf.Variable(tf.zeros([samples], tf.int32), trainable=False)
        self.apart = tf.Variable(0, trainable=False)

    def train_step(self, data: Any) -> dict[str, Any]:
        """Count."""
        image, mask = (_numbers(array) for array in data[:2])
        self.seen.assign_add(
            tf.math.bincount(image, minlength=self._samples, maxlength=self._samples)
        )
        self.apart.assign_add(tf.reduce_sum(tf.cast(image != mask, tf.int32)))
        return {"loss": 0.0}


def _numbers(batch: Any) -> Any:
    rows = tf.reshape(batch, [tf.shape(batch)[0], -1])
    if batch.dtype != tf.uint8:
        return tf.cast(rows[:, 0], tf.int32)
    places = tf.constant([1, 1 << 8, 1 << 16, 1 << 24])
    return tf.reduce_sum(tf.cast(rows[:, :4], tf.int32) * places, axis=1)


def fit_nothing(data: Any, *, steps: int | None, epochs: int) -> list[float]:
    """Fit; seconds of every epoch after those that warm up, what lies between them included."""
    model, clock = Nothing(), Clock()
    model.compile(jit_compile=False)
    model.fit(
        data, epochs=WARM_UP + epochs, steps_per_epoch=steps, verbose=0, callbacks=[clock],
        shuffle=False,
    )  # fmt: skip
    return np.diff(clock.began)[WARM_UP:].tolist()


def call_the_roll(data: Any, samples: int, *, steps: int | None) -> np.ndarray:
    """Fit one epoch of a model that counts.

    Returns
    -------
    (samples,) int
        How often each sample came.

    Raises
    ------
    ValueError
        Images came with the masks of other samples.
    """
    model = RollCall(samples)
    model.compile(jit_compile=False)
    model.fit(data, epochs=1, steps_per_epoch=steps, verbose=0, shuffle=False)
    if apart := int(model.apart.numpy()):
        raise ValueError(f"{apart} images came with the masks of other samples")
    return np.asarray(model.seen.numpy())
