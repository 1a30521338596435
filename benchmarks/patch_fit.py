"""Run one ``fit`` of a model that does nothing, on patches.

``python patch_fit.py WAY SECONDS DATA`` prints the batches per second as JSON: the median over
epochs, after two that warm up, the time between epochs included.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras

from compare.no_op import fit_no_op
from patch_data import Data
from patch_limits import empty_batch
from patch_sequences import sequence
from trial import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np


class Constant(keras.utils.PyDataset):
    """Repeats one aligned batch that is always ready."""

    def __init__(self, data: Data, batches: int) -> None:
        super().__init__()
        self._batch = empty_batch(data)
        self._batches = batches

    def __len__(self) -> int:
        return self._batches

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self._batch


@contextmanager
def data_of(way: str, data: Data) -> Iterator[Any]:
    """Yield the data for ``fit``, of as many batches in every way."""
    if way == "constant":
        with sequence(data, "raw", workers=0) as patches:
            batches = len(patches)
        yield Constant(data, batches)
        return
    with sequence(data, "raw", **SETTINGS[way]) as patches:
        yield patches


def main(way: str, seconds: float, data: Data) -> None:
    """Measure one way."""
    with data_of(way, data) as feed:
        batches = len(feed)
        epochs = max(3, round(seconds * 200 / batches))
        spent = fit_no_op(feed, steps=None, epochs=epochs)
    print(json.dumps({"batches_per_second": batches / statistics.median(spent)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), Data.from_json(sys.argv[3]))
