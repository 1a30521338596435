"""Run one ``fit`` of a model that does nothing.

    python keras_fit.py WAY TRIAL

Prints ``fitting`` when the warm-up is over, and at the end one JSON line with the batches per
second: the median over the epochs after the warm-up, including the time between epochs.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import tensorflow as tf

from compare.clock import Clock
from compare.no_op import WARM_UP, NoOpModel
from limits import aligned, load
from trial import AHEAD, Trial, Workload
from zarrfeed import ZarrSequence

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

_BATCHES = 1500  # to measure, at least
_LEAST_EPOCHS = 8


class Constant(keras.utils.PyDataset):
    """Repeats one aligned batch that is always ready, to measure the overhead of Keras alone."""

    def __init__(self, work: Workload) -> None:
        super().__init__()  # without workers: Keras requests batches serially
        shape = work.batch_size, work.size, work.size
        self._batch = aligned((*shape, 3)), aligned(shape)
        self._batches = work.batches

    def __len__(self) -> int:
        return self._batches

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self._batch


class AnnouncingClock(Clock):
    """Prints ``fitting`` when the warm-up is over, for the process that measures memory."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Record the time."""
        super().on_epoch_begin(epoch, logs)
        if epoch == WARM_UP:
            print("fitting", flush=True)


def slices(work: Workload) -> tf.data.Dataset:
    """Hold all samples in RAM, and slice, shuffle and batch them."""
    dataset = tf.data.Dataset.from_tensor_slices(_in_memory(work))
    dataset = dataset.shuffle(work.samples).batch(work.batch_size, drop_remainder=True)
    return dataset.prefetch(tf.data.AUTOTUNE)


def gathered(work: Workload, *, parallel: bool) -> tf.data.Dataset:
    """Hold all samples in RAM, shuffle the ids, and gather one batch at a time."""
    images, masks = _in_memory(work)

    def gather(ids: Any) -> tuple[Any, Any]:
        return tf.gather(images, ids), tf.gather(masks, ids)

    ids = tf.data.Dataset.range(work.samples).shuffle(work.samples)
    dataset = ids.batch(work.batch_size, drop_remainder=True)
    if parallel:
        dataset = dataset.map(gather, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False)
    else:
        dataset = dataset.map(gather)
    return dataset.prefetch(tf.data.AUTOTUNE)


def _in_memory(work: Workload) -> tuple[tf.Tensor, tf.Tensor]:
    # One field after the other, so that only one array exists in addition to the tensors.
    return tuple(tf.convert_to_tensor(load(work.raw, field)) for field in ("image", "mask"))


@contextmanager
def data_of(way: str, work: Workload) -> Iterator[Any]:
    """Yield the data for ``fit``."""
    if way in AHEAD:
        with ZarrSequence(work.raw, work.batch_size, drop_remainder=True, **AHEAD[way]) as train:
            yield train
    elif way == "constant":
        yield Constant(work)
    elif way == "tf.data, slices":
        yield slices(work)
    elif way == "tf.data, gather":
        yield gathered(work, parallel=False)
    elif way == "tf.data, parallel gather":
        yield gathered(work, parallel=True)
    else:
        raise ValueError(f"no way {way!r} to fit")


def fit(data: Any, batches: int) -> float:
    """Fit a model that does nothing, and return the batches per second."""
    model, clock = NoOpModel(), AnnouncingClock()
    model.compile(jit_compile=False)
    epochs = WARM_UP + max(_LEAST_EPOCHS, -(-_BATCHES // batches))
    model.fit(data, epochs=epochs, verbose=0, callbacks=[clock], shuffle=False)
    spent = [after - before for before, after in zip(clock.began, clock.began[1:], strict=False)]
    return batches / statistics.median(spent[WARM_UP:])


def main(way: str, trial: str) -> None:
    """Measure one way."""
    work = Trial.from_json(trial).workload
    if way == "nothing":  # to measure the memory of the imports alone
        print("fitting", flush=True)
        time.sleep(1)
        print(json.dumps({"batches_per_second": 0.0}))
        return
    with data_of(way, work) as data:
        print(json.dumps({"batches_per_second": fit(data, work.batches)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
