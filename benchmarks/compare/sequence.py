"""A plain Keras ``Sequence``, as people write it, over whatever reads batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from compare.peer import shuffled

if TYPE_CHECKING:
    from compare.by_index import ByIndex


class PlainSequence(keras.utils.Sequence):
    """Shuffles at the end of an epoch; leaves threads and processes to Keras."""

    def __init__(self, loader: ByIndex) -> None:
        super().__init__(
            workers=max(1, loader.workers),
            use_multiprocessing=loader.processes,
            max_queue_size=10,
        )
        self._loader = loader
        self._epoch = 0
        self._order = shuffled(loader.work, 0)

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self._loader.read(self._order[index])

    def on_epoch_end(self) -> None:
        """Shuffle anew."""
        self._epoch += 1
        self._order = shuffled(self._loader.work, self._epoch)


def sequence_of(loader: ByIndex) -> PlainSequence:
    """Wrap a loader."""
    return PlainSequence(loader)
