"""How fast does a U-Net train? The limit is a constant batch, for which it never waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from compare.clock import Clock

if TYPE_CHECKING:
    from compare.peer import Loader
    from compare.workloads import Workload

_EPOCHS = 3  # after the first one, in which the model is traced
_CLASSES = 256  # because the samples' numbers are in the masks, too


def train(loader: Loader, work: Workload, *, steps: int | None) -> dict[str, Any]:
    """Train for some epochs on Keras' current backend.

    Parameters
    ----------
    loader, work
        The loader and its workload of images (H, W, C) and masks (H, W).
    steps
        Steps per epoch; None for all batches.

    Returns
    -------
    dict
        ``rates``: batches per second of every epoch after the first.
    """
    from zarrfeed_tools.unet import build_unet

    height, width, channels = work.image
    model = build_unet((height, width, channels), _CLASSES)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    clock, count = Clock(), work.batches if steps is None else steps
    model.fit(
        loader.keras(), epochs=1 + _EPOCHS, steps_per_epoch=count, verbose=0, callbacks=[clock]
    )
    spent = np.diff(clock.began)[1:]
    return {
        "rates": (count / spent).tolist(),
        "whole": count == work.batches,
        "batches": count * _EPOCHS,
        "wrong": "",
    }
