"""Train, and be killed on the way.

``python resume_client.py STORE FOLDER KILL_AFTER SAVE_FREQ [BATCH_SIZE RANK WORLD_SIZE]``: after so
many batches, never if 0.
Every batch that the model was trained on is a line of sample ids in FOLDER/seen; the weights at
the end are FOLDER/weights.npy. The masks hold their sample id.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np

import zarrfeed
from traced_model import traced_model

EPOCHS = 3


class Lines:
    """A log on disk, which a kill cannot take back."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def append(self, ids: list[int]) -> None:
        print(*ids, file=self.file, flush=True)


class Killed(keras.callbacks.Callback):
    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main(
    store: str, folder: Path, kill_after: int, save_freq: str,
    batch_size: int = 4, rank: int = 0, world_size: int = 1,
) -> None:  # fmt: skip
    warnings.filterwarnings("error", "Your input ran out")
    train = zarrfeed.ZarrSequence(
        store, batch_size, seed=3, workers=2, rank=rank, world_size=world_size
    )
    often: Any = save_freq if save_freq == "epoch" else int(save_freq)
    with (folder / "seen").open("a") as log:
        model = traced_model(keras, Lines(log))
        model.fit(
            train,
            epochs=EPOCHS,
            verbose=0,
            callbacks=[
                keras.callbacks.BackupAndRestore(str(folder / "backup"), save_freq=often),
                zarrfeed.ResumeCallback(train, folder / "backup"),
                Killed(kill_after),
            ],
        )
    train.close()
    np.save(folder / "weights.npy", model.get_weights()[0])
    print("steps", int(keras.ops.convert_to_numpy(model.optimizer.iterations)), flush=True)
    os._exit(0)  # torch and TensorFlow threads have been seen to crash at exit


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], *map(int, sys.argv[5:]))
