"""Model parallelism on JAX, in any number of processes: python jax_model_parallel.py EPOCHS."""

import os
import sys

os.environ["KERAS_BACKEND"] = "jax"
import jax
import keras
import numpy as np
from jax.experimental.multihost_utils import process_allgather
from zarrfeed import ResumeCallback, ZarrSequence

keras.distribution.initialize()  # finds the other processes
# Each process keeps a whole model, in parts on its own devices, and trains on its own samples.
mesh = keras.distribution.DeviceMesh(
    (jax.process_count(), jax.local_device_count()), ["batch", "model"]
)
layouts = keras.distribution.LayoutMap(mesh)
layouts[".*kernel"] = (None, None, None, "model")
keras.distribution.set_distribution(keras.distribution.ModelParallel(layout_map=layouts))
keras.utils.set_random_seed(0)
rank, first = jax.process_index(), jax.process_index() == 0

train = ZarrSequence("cells.zarr/train", 4, workers=2, pad_remainder=True)
val = ZarrSequence("cells.zarr/val", 4, shuffle=False, pad_remainder=True)
model = keras.Sequential(
    [
        keras.Input(train[0][0].shape[1:]),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(4, 5, padding="same"),  # 3 classes, and one to spare: 4 can be split
    ]
)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile("adam", loss, weighted_metrics=["accuracy"])
model.optimizer.build(model.trainable_variables)
print(f"rank {rank}: {train.samples} samples in {len(train)} batches", flush=True)


class Backup(keras.callbacks.Callback):
    """BackupAndRestore for weights that no process has as a whole."""

    def __init__(self, path, save_freq):
        super().__init__()
        self.path, self.save_freq, self.steps = path, save_freq, 0

    def on_train_begin(self, logs=None):
        self.variables = [*self.model.variables, *self.model.optimizer.variables]
        if os.path.exists(self.path):
            with np.load(self.path) as saved:
                for number, variable in enumerate(self.variables):
                    variable.assign(saved[f"{number}"])

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        if self.steps % self.save_freq == 0:
            self.model.jax_state_sync()  # Keras keeps the weights elsewhere within an epoch
            whole = [process_allgather(variable.value, tiled=True) for variable in self.variables]
            if first:
                np.savez(f"{self.path}.partial.npz", **{f"{n}": w for n, w in enumerate(whole)})
                os.replace(f"{self.path}.partial.npz", self.path)


callbacks = [Backup("backup.npz", save_freq=4), ResumeCallback(train, "backup.json")]
model.fit(train, epochs=int(sys.argv[1]), callbacks=callbacks, verbose=2 if first else 0)
accuracy = model.evaluate(val, verbose=0, return_dict=True)["accuracy"]
print(f"rank {rank}: {accuracy:.4f} of all pixels are right", flush=True)
train.close()
val.close()
