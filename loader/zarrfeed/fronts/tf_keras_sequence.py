"""The tf_keras (Keras 2) front end, for ``TF_USE_LEGACY_KERAS=1``.

tf_keras takes ``workers`` and ``use_multiprocessing`` in ``fit`` and would start a pool of its own
for them: forked with TensorFlow loaded, and every batch pickled. Its list of data adapters is
private; where it can be reached, a sequence of ours brings its own dataset instead.
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
        """End an epoch; epochs advance by what was handed out, where that can be seen."""
        self._stream.position.indexed.end(len(self))

    def legacy_dataset(self, *, workers: int, use_multiprocessing: bool) -> tf.data.Dataset:
        """Make the dataset that ``fit``, ``evaluate`` and ``predict`` of tf_keras read.

        Parameters
        ----------
        workers, use_multiprocessing
            As given to ``fit``: where they differ from its defaults, they replace those that the
            sequence was made with.
        """
        if workers != 1 or use_multiprocessing:
            self._stream.use_workers(workers, bool(use_multiprocessing and workers))
        batches = functools.partial(self._stream.batches, peek_limit=0, nested=False)
        return self._tf_dataset(batches, count=None, final=True)


def _replace_adapter() -> None:
    """Let tf_keras' own adapter ask a ZarrSequence for its dataset; others are as before.

    Where another sequence takes its batches from ours, its passes become our epochs.
    """
    try:
        from tf_keras.src.engine import data_adapter

        adapters = data_adapter.ALL_ADAPTER_CLS
        theirs: Any = data_adapter.KerasSequenceAdapter
        place = adapters.index(theirs)
        get_data_handler = data_adapter.get_data_handler
    except (ImportError, AttributeError, ValueError):
        return  # it has moved: tf_keras then reads item by item, slower and as exact

    class SequenceAdapter(theirs):  # type: ignore[misc]
        """A ZarrSequence goes past tf_keras' pool; any other sequence goes the usual way."""

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
            check_given(x, kwargs)
        note_predictions(x, tf_keras.utils.Sequence)
        handler = get_data_handler(*args, **kwargs)
        for sequence in held_sequences(x, tf_keras.utils.Sequence):
            sequence._stream.position.indexed.end(
                len(sequence)
            )  # the handler may have looked at a batch
        return handler

    adapters[place] = SequenceAdapter
    data_adapter.get_data_handler = checked


_replace_adapter()
