"""Training on a mix that was stopped goes on with other weights, and misses no sample."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import keras
import pytest

from stores import traced_pixels, write_split
from traced_model import traced_model
from zarrfeed import Mix, ResumeCallback, ZarrSequence

if TYPE_CHECKING:
    from pathlib import Path

FIRST, SAMPLES, PER_EPOCH = 10, 17, 16


class Stop(keras.callbacks.Callback):
    """Stop after six of eight batches."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if int(self.model.optimizer.iterations.numpy()) == 6:
            raise KeyboardInterrupt


def fit(stores: list[Path], weights: tuple[int, int], folder: Path, *more: Any) -> list[int]:
    seen: list[list[int]] = []
    mix = Mix(dict(zip(stores, weights, strict=True)), per_epoch=PER_EPOCH)
    with ZarrSequence(mix, 4, seed=3) as train:
        restore = keras.callbacks.BackupAndRestore(str(folder), save_freq=1)
        callbacks = [restore, ResumeCallback(train, folder), *more]
        try:
            traced_model(keras, seen).fit(train, epochs=2, verbose=0, callbacks=callbacks)
        except KeyboardInterrupt:
            assert more
    return [sample for batch in seen for sample in batch]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="reads TensorFlow's variables")
def test_fit_goes_on_with_other_weights(tmp_path: Path) -> None:
    pixels = traced_pixels(SAMPLES)
    parts = {"a": slice(FIRST), "b": slice(FIRST, None)}
    stores = [
        write_split(tmp_path / f"{name}.zarr/train", {n: v[part] for n, v in pixels.items()})
        for name, part in parts.items()
    ]
    before = fit(stores, (3, 1), tmp_path / "backup", Stop())
    after = fit(stores, (1, 1), tmp_path / "backup")
    assert (len(before), len(after)) == (24, 8)
    assert sum(sample < FIRST for sample in before) == 18
    assert sum(sample < FIRST for sample in after) == 4
    seen = Counter(before + after)
    for samples in (range(FIRST), range(FIRST, SAMPLES)):
        counts = [seen[sample] for sample in samples]
        assert max(counts) - min(counts) <= 1, "each pass visits each sample once"
