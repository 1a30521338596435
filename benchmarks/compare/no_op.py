"""How fast is Keras' ``fit`` of a model that does nothing, and does every sample reach it?"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from compare.clock import Clock

WARM_UP = 2  # epochs: the first traces the model


class NoOpModel(keras.Model):
    """A model whose step reads one pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = self.add_weight(shape=(), name="weight")

    def call(self, x: Any) -> Any:  # noqa: ARG002
        """Return a constant."""
        return self.weight

    def train_step(self, data: Any) -> dict[str, Any]:
        """Return one pixel as the loss."""
        return {"loss": tf.cast(tf.reshape(data[0], [-1])[0], tf.float32)}


class SampleCounter(NoOpModel):
    """A model that counts samples by the numbers in the first pixels of images and masks."""

    def __init__(self, samples: int) -> None:
        super().__init__()
        self._samples = samples
        self.seen = tf.Variable(tf.zeros([samples], tf.int32), trainable=False)
        self.apart = tf.Variable(0, trainable=False)

    def train_step(self, data: Any) -> dict[str, Any]:
        """Count the samples of a batch."""
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


def fit_no_op(data: Any, *, steps: int | None, epochs: int) -> list[float]:
    """Return the seconds of every epoch after the warm-up, including the time between epochs."""
    model, clock = NoOpModel(), Clock()
    model.compile(jit_compile=False)
    model.fit(
        data, epochs=WARM_UP + epochs, steps_per_epoch=steps, verbose=0, callbacks=[clock],
        shuffle=False,
    )  # fmt: skip
    return np.diff(clock.began)[WARM_UP:].tolist()


def count_samples(data: Any, samples: int, *, steps: int | None) -> np.ndarray:
    """Count the samples of one epoch of ``fit``.

    Returns
    -------
    (samples,) int
        Number of occurrences of each sample.

    Raises
    ------
    ValueError
        Images came with the masks of other samples.
    """
    model = SampleCounter(samples)
    model.compile(jit_compile=False)
    model.fit(data, epochs=1, steps_per_epoch=steps, verbose=0, shuffle=False)
    if apart := int(model.apart.numpy()):
        raise ValueError(
            f"needed images with their own masks, found {apart} images with other masks"
        )
    return np.asarray(model.seen.numpy())
