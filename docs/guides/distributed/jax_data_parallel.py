"""Data parallelism on JAX, in any number of processes: python jax_data_parallel.py EPOCHS."""

import os
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
        keras.Input((64, 64, 3)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(3, 5, padding="same", activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", weighted_metrics=["accuracy"])
print(f"rank {rank}: {train.samples} samples in {len(train)} batches", flush=True)

callbacks = [
    # All processes restore the backup of the first one, and begin when it is loaded.
    keras.callbacks.BackupAndRestore(
        "backup", save_freq=4 if first else sys.maxsize, delete_checkpoint=first
    ),
    ResumeCallback(train, "backup"),
]
model.fit(train, epochs=int(sys.argv[1]), callbacks=callbacks, verbose=2 if first else 0)
accuracy = model.evaluate(val, verbose=0, return_dict=True)["accuracy"]
print(f"rank {rank}: {accuracy:.4f} of all pixels are right", flush=True)
train.close()
val.close()
