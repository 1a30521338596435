"""Several devices of one machine by MirroredStrategy: python mirrored.py EPOCHS."""

import os
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"
import keras
import tensorflow as tf
from zarrfeed import ResumeCallback, ZarrSequence

strategy = tf.distribute.MirroredStrategy()
keras.utils.set_random_seed(0)

# TensorFlow splits every batch: 8 samples per step, over all devices.
train = ZarrSequence("cells.zarr/train", 8, workers=2)
val = ZarrSequence("cells.zarr/val", 8, shuffle=False, pad_remainder=True)
with strategy.scope():
    model = keras.Sequential(
        [
            keras.Input(train[0][0].shape[1:]),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(3, 5, padding="same"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, weighted_metrics=["accuracy"])
devices = strategy.num_replicas_in_sync
print(f"{devices} devices: {train.samples} samples in {len(train)} batches", flush=True)

callbacks = [
    keras.callbacks.BackupAndRestore("backup", save_freq=4),
    ResumeCallback(train, "backup"),
]
model.fit(train, epochs=int(sys.argv[1]), callbacks=callbacks, verbose=2)
accuracy = model.evaluate(val, verbose=0, return_dict=True)["accuracy"]
print(f"{devices} devices: {accuracy:.4f} of all pixels are right", flush=True)
train.close()
val.close()
