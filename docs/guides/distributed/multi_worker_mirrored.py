"""Several machines by tf_keras' MultiWorkerMirroredStrategy: python … EPOCHS, with TF_CONFIG."""

import json
import os
import sys

os.environ["TF_USE_LEGACY_KERAS"] = "1"
import tensorflow as tf
import tf_keras
from zarrfeed import ZarrSequence

strategy = tf.distribute.MultiWorkerMirroredStrategy()  # before anything else of TensorFlow
worker = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
tf_keras.utils.set_random_seed(0)

# TensorFlow splits every batch: 8 samples per step, over all workers. All have the same sequence.
train = ZarrSequence("cells.zarr/train", 8, drop_remainder=True)
val = ZarrSequence("cells.zarr/val", 8, shuffle=False, pad_remainder=True)
with strategy.scope():
    model = tf_keras.Sequential(
        [
            tf_keras.layers.InputLayer(train[0][0].shape[1:]),
            tf_keras.layers.Rescaling(1 / 255),
            tf_keras.layers.Conv2D(3, 5, padding="same"),
        ]
    )
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, weighted_metrics=["accuracy"])
print(f"worker {worker}: {train.samples} samples in {len(train)} batches", flush=True)

callbacks = [
    tf_keras.callbacks.BackupAndRestore("backup"),
    # It goes on with the epoch after the last complete one, and so must the order of the samples.
    tf_keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: train.set_epoch(
            int(model.optimizer.iterations.numpy()) // len(train)
        )
    ),
]
model.fit(train, epochs=int(sys.argv[1]), callbacks=callbacks, verbose=2 if worker == 0 else 0)
accuracy = model.evaluate(val, verbose=0, return_dict=True)["accuracy"]
print(f"worker {worker}: {accuracy:.4f} of all pixels are right", flush=True)
train.close()
val.close()
