"""Data parallelism on JAX, in any number of processes: python jax_data_parallel.py EPOCHS."""

import os
import shutil
import sys

os.environ["KERAS_BACKEND"] = "jax"
import jax
import keras
from zarrfeed import ResumeCallback, ZarrSequence

keras.distribution.initialize()  # finds the other processes
keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=True))
keras.utils.set_random_seed(0)  # the same weights everywhere
rank, first = jax.process_index(), jax.process_index() == 0

# 4 samples per process and step. JAX needs full batches, hence the padding.
train = ZarrSequence("cells.zarr/train", 4, workers=2, pad_remainder=True)
val = ZarrSequence("cells.zarr/val", 4, shuffle=False, pad_remainder=True)
model = keras.Sequential(
    [
        keras.Input(train[0][0].shape[1:]),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(3, 5, padding="same"),
    ]
)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile("adam", loss, weighted_metrics=["accuracy"])
print(f"rank {rank}: {train.samples} samples in {len(train)} batches", flush=True)

# Keras on JAX saves weights in all processes at once, hence in different folders. All go on from
# the backup of the first process.
if not first:
    shutil.rmtree(f"backup/{rank}", ignore_errors=True)
    if os.path.exists("backup/0"):
        shutil.copytree("backup/0", f"backup/{rank}")
callbacks = [
    keras.callbacks.BackupAndRestore(f"backup/{rank}", save_freq=4),
    ResumeCallback(train, "backup"),
]
model.fit(train, epochs=int(sys.argv[1]), callbacks=callbacks, verbose=2 if first else 0)
accuracy = model.evaluate(val, verbose=0, return_dict=True)["accuracy"]
print(f"rank {rank}: {accuracy:.4f} of all pixels are right", flush=True)
train.close()
val.close()
