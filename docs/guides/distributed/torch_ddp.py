"""Keras on torch, in any number of processes: torchrun --nproc-per-node=2 torch_ddp.py EPOCHS."""

import os
import sys

os.environ["KERAS_BACKEND"] = "torch"
import keras
import torch
import torch.distributed as dist
from zarrfeed import ResumeCallback, ZarrSequence

if torch.cuda.is_available():
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
dist.init_process_group()  # before the first batch is taken
rank, first = dist.get_rank(), dist.get_rank() == 0
keras.utils.set_random_seed(rank)  # dropout differs; the weights do not, see below

train = ZarrSequence("cells.zarr/train", 4, workers=2)  # 4 samples per process and step
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


def average_gradient(weight):
    """Make the gradient of a weight the mean of those of all processes."""
    weight.grad /= dist.get_world_size()
    dist.all_reduce(weight.grad)


# Keras on torch trains in each process for itself. One model needs the same weights at the
# beginning, and in each step the mean of the gradients of all processes.
for variable in model.weights:
    dist.broadcast(variable.value.detach(), src=0)
for variable in model.trainable_variables:
    variable.value.register_post_accumulate_grad_hook(average_gradient)
print(f"rank {rank}: {train.samples} samples in {len(train)} batches", flush=True)

callbacks = [
    # All processes restore the backup of the first one.
    keras.callbacks.BackupAndRestore(
        "backup", save_freq=4 if first else sys.maxsize, delete_checkpoint=first
    ),
    ResumeCallback(train, "backup"),
]
model.fit(train, epochs=int(sys.argv[1]), callbacks=callbacks, verbose=2 if first else 0)

# Each process has the metrics of its own share; padding does not count.
accuracy = model.evaluate(val, verbose=0, return_dict=True)["accuracy"]
total = torch.tensor([accuracy * val.samples, val.samples], dtype=torch.float64)
dist.all_reduce(total)
print(f"rank {rank}: {total[0] / total[1]:.4f} of all pixels are right", flush=True)
train.close()
val.close()
dist.destroy_process_group()
