"""The tf_keras (Keras 2) front end, for ``TF_USE_LEGACY_KERAS=1``.

tf_keras accepts ``workers`` and ``use_multiprocessing`` in ``fit`` and would start a pool of its
own, which forks with TensorFlow loaded and pickles every batch. Here a sequence provides its own
dataset instead, if tf_keras' private list of data adapters can be found.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from zarrfeed.fronts.front_end import FrontEnd
from zarrfeed.fronts.keras_rules import check_given, follow_passes, held_sequences, note_predictions
from zarrfeed.fronts.keras_version import no_keras

try:
    import tf_keras
except ImportError as error:
    raise no_keras("ZarrSequence", error) from error

if TYPE_CHECKING:
    import tensorflow as tf


class ZarrSequence(FrontEnd, tf_keras.utils.Sequence):  # type: ignore[misc]  # noqa: D101
    __doc__ = FrontEnd.__doc__  # as help() shows it; a class does not inherit it

    def on_epoch_end(self) -> None:
        """End an epoch of batches taken by index; other epochs end with their last batch."""
        self._stream.position.indexed.end(len(self))

    def legacy_dataset(self, *, workers: int, use_multiprocessing: bool) -> tf.data.Dataset:
        """Return the dataset for ``fit``, ``evaluate`` and ``predict`` of tf_keras.

        Parameters
        ----------
        workers, use_multiprocessing
            Arguments of ``fit``. If they differ from the defaults of ``fit``, they replace those of
            the sequence.
        """
        if workers != 1 or use_multiprocessing:
            self._stream.use_workers(workers, bool(use_multiprocessing and workers))
        batches = functools.partial(self._stream.batches, peek_limit=0, nested=False)
        return self._tf_dataset(batches, count=None, final=True)


def _replace_adapter() -> None:
    """Make tf_keras' adapter use the dataset of a ZarrSequence. Other sequences work as before.

    If another sequence takes its batches from a ZarrSequence, every pass over it becomes an epoch.
    """
    try:
        from tf_keras.src.engine import data_adapter

        adapters = data_adapter.ALL_ADAPTER_CLS
        theirs: Any = data_adapter.KerasSequenceAdapter
        place = adapters.index(theirs)
        get_data_handler = data_adapter.get_data_handler
    except (ImportError, AttributeError, ValueError):
        return  # tf_keras then reads item by item, which is slower but gives the same batches

    class SequenceAdapter(theirs):  # type: ignore[misc]
        """Bypasses tf_keras' pool for a ZarrSequence, but not for other sequences."""

        def __init__(self, x: Any, y: Any = None, **arguments: Any) -> None:
            if not isinstance(x, ZarrSequence):
                super().__init__(x, y, **arguments)
                return
            self._keras_sequence = x
            self._enqueuer = None
            self._first_batch_size = x.batch_size
            self._dataset = x.legacy_dataset(
                workers=arguments.get("workers", 1),
                use_multiprocessing=arguments.get("use_multiprocessing", False),
            )

        def _handle_multiprocessing(self, x: Any, *arguments: Any) -> Any:
            passes = super()._handle_multiprocessing(x, *arguments)
            return follow_passes(x, tf_keras.utils.Sequence, passes, len(x))

    @functools.wraps(get_data_handler)
    def checked(*args: Any, **kwargs: Any) -> Any:
        x = kwargs.get("x")
        if isinstance(x, ZarrSequence):
            check_given(x, kwargs, tf_keras.Model)
        note_predictions(x, tf_keras.utils.Sequence)
        handler = get_data_handler(*args, **kwargs)
        for sequence in held_sequences(x, tf_keras.utils.Sequence):
            # The handler may have peeked at a batch.
            sequence._stream.position.indexed.end(len(sequence))
        return handler

    adapters[place] = SequenceAdapter
    data_adapter.get_data_handler = checked


_replace_adapter()
