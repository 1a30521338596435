"""One process of a distributed run: ``python ranks_client.py WAY STORE RANK PORT OUT``.

Every pixel of the store's images and masks is the sample's id, and the model hands its input on, so
that a metric counts which samples the model met, and with which weight. The sequences are made
before the processes know of each other.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

WAY, STORE, RANK, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
SAMPLES = 21
PROCESSES = 2

if WAY == "legacy":
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    hosts = [f"127.0.0.1:{port}" for port in PORT.split(",")]
    os.environ["TF_CONFIG"] = json.dumps(
        {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": RANK}}
    )
    import tensorflow as tf
    import tf_keras as keras

    STRATEGY = tf.distribute.MultiWorkerMirroredStrategy()  # before anything else of TensorFlow
else:
    import keras

import zarrfeed  # noqa: E402 - after the choice of Keras


class Met(keras.metrics.Metric):  # type: ignore[misc]
    """Adds up the weights with which the model met each sample."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.counts = self.add_weight(name="counts", shape=(SAMPLES,), initializer="zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        if WAY == "legacy":
            counts = tf.one_hot(tf.cast(y_pred[:, 0, 0, -1], "int32"), SAMPLES)
            if sample_weight is not None:
                counts *= tf.cast(sample_weight[:, 0, 0], "float32")[:, None]
            self.counts.assign_add(tf.reduce_sum(counts, axis=0))
            return
        ops = keras.ops
        counts = ops.one_hot(ops.cast(y_pred[:, 0, 0, -1], "int32"), SAMPLES)
        if sample_weight is not None:
            counts = counts * ops.cast(sample_weight[:, 0, 0], "float32")[:, None]
        self.counts.assign_add(ops.sum(counts, axis=0))

    def result(self) -> Any:
        return tf.reduce_sum(self.counts) if WAY == "legacy" else keras.ops.sum(self.counts)

    def reset_state(self) -> None:
        if WAY == "legacy":
            self.counts.assign(self.counts * 0.0)
        else:
            self.counts.assign(keras.ops.zeros(SAMPLES))

    def counted(self) -> list[int]:
        if WAY == "legacy":
            return [int(n) for n in self.counts.numpy()]
        return [int(n) for n in keras.ops.convert_to_numpy(self.counts.value)]


def model_and_metrics() -> tuple[Any, Met, Met]:
    """A model whose output is its input; it has a weight to train all the same."""
    rows, weighed = Met("rows"), Met("weighed")
    model = keras.Sequential(
        [
            keras.Input((8, 6, 3)),
            keras.layers.Conv2D(1, 1, kernel_initializer="zeros", use_bias=False),
        ]
    )
    inputs = keras.Input((8, 6, 3))
    outputs = keras.layers.Concatenate()([model(inputs), inputs[..., :1]])
    model = keras.Model(inputs, outputs)
    model.compile(
        loss=lambda y_true, y_pred: (y_pred[..., 0] - 1.0) ** 2,
        optimizer=keras.optimizers.SGD(0.0),
        metrics=[rows],
        weighted_metrics=[weighed],
    )
    return model, rows, weighed


class Epochs(keras.callbacks.Callback):  # type: ignore[misc]
    """Writes down what was met in each epoch."""

    def __init__(self, met: Met) -> None:
        super().__init__()
        self.met = met
        self.counts: list[list[int]] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.counts.append(self.met.counted())


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")


def meet() -> Any:
    """Let the processes find each other; returns the scope that a model is made in."""
    if WAY == "jax":
        keras.distribution.initialize(f"127.0.0.1:{PORT}", PROCESSES, RANK)
        look()
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(auto_shard_dataset=False)
        )
        look()
        keras.distribution.set_distribution(keras.distribution.DataParallel())
    elif WAY == "jax-model":
        keras.distribution.initialize(f"127.0.0.1:{PORT}", PROCESSES, RANK)
        # The first process has the first half of the model, for all rows of a batch, the second
        # the other half: both want the same data, which Keras' own data_shard_id does not see.
        mesh = keras.distribution.DeviceMesh((2, 2), ("model", "batch"))
        layouts = keras.distribution.LayoutMap(mesh)
        keras.distribution.set_distribution(
            keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch")
        )
    elif WAY == "jax-devices":
        keras.distribution.set_distribution(keras.distribution.DataParallel())
    elif WAY == "torch":
        import torch

        os.environ |= {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": str(PROCESSES)}  # as torchrun does
        look()
        torch.distributed.init_process_group(
            "gloo",
            init_method=f"tcp://127.0.0.1:{PORT}",
            rank=RANK,
            world_size=PROCESSES,
            timeout=timedelta(seconds=60),
        )


def leave() -> None:
    """Wait for the others: JAX aborts a process that still runs when the first one ends."""
    if WAY in ("jax", "jax-model"):
        import jax

        jax.distributed.shutdown()  # which an interpreter calls at exit


def look() -> None:
    """Take a batch too early."""
    with zarrfeed.ZarrSequence(STORE, 4) as sequence:
        next(iter(sequence))


def scope() -> Any:
    if WAY == "legacy":
        return STRATEGY.scope()
    if WAY == "mirrored":
        import tensorflow as tf

        cpus = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(
            cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2
        )
        return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope()
    from contextlib import nullcontext

    return nullcontext()


def main() -> dict[str, Any]:
    logger, handler = logging.getLogger("zarrfeed"), Lines()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    # TensorFlow takes five batches ahead, where it looks at one to build the model.
    size = 2 if WAY == "mirrored" else 4
    train = zarrfeed.ZarrSequence(STORE, size, seed=1, drop_remainder=WAY != "torch")
    test = zarrfeed.ZarrSequence(STORE, 4, shuffle=False, pad_remainder=True)
    images = zarrfeed.ZarrSequence(STORE, 4, shuffle=False, pad_remainder=True, fields="image")
    found: dict[str, Any] = {"len before": [len(train), len(test)]}
    meet()
    with scope():
        model, rows, weighed = model_and_metrics()
    epochs = Epochs(rows)
    found["len"] = [len(train), len(test)]
    monitored: list[str] = []
    callbacks = [epochs, zarrfeed.FeedMonitor(train, monitored.append)]
    if WAY in ("jax", "torch"):  # one journal for all
        callbacks.append(
            zarrfeed.ResumeCallback(train, Path(sys.argv[5]).with_name("journal.json"))
        )
    model.fit(train, epochs=2, verbose=0, callbacks=callbacks)
    found["fit"] = epochs.counts
    found["monitored"] = len(monitored)
    found["state"] = train.state_dict()
    found["stats"] = [(passed.batches, passed.samples) for passed in train.stats()][-2:]
    model.evaluate(test, verbose=0)
    found["evaluate"] = weighed.counted()
    found["rows"] = sum(rows.counted())
    found["samples"] = test.samples
    found["keys"] = [test.batch_keys(i) for i in range(len(test))]
    if WAY in ("torch", "jax-devices", "mirrored"):  # Keras gathers no predictions of processes
        predicted = model.predict(images, verbose=0)[: images.samples, 0, 0, -1]
        found["predict"] = [int(sample) for sample in predicted]
    found["log"] = list(handler.lines)
    for sequence in (train, test, images):
        sequence.close()
    if WAY == "legacy":
        found["refused"] = [refused(model, rank=RANK, world_size=PROCESSES)]
    if WAY == "jax-devices":
        found["refused"] = [refused(model), refused(model, batch_size=5)]
    if WAY == "jax":
        try:
            test.to_tf_dataset()
        except ValueError as error:
            found["refused"] = [str(error)]
    return found


def refused(model: Any, **arguments: Any) -> str:
    with zarrfeed.ZarrSequence(STORE, **{"batch_size": 4, **arguments}) as sequence:
        try:
            model.fit(sequence, verbose=0)
        except ValueError as error:
            return str(error)
    return "nothing"


if __name__ == "__main__":
    Path(sys.argv[5]).write_text(json.dumps(main()))  # gloo writes to standard output
    leave()
    os._exit(0)  # threads of the frameworks have been seen to crash at exit
