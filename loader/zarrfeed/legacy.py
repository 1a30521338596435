"""The tf_keras (Keras 2) front end, for ``TF_USE_LEGACY_KERAS=1``.

tf_keras takes ``workers`` and ``use_multiprocessing`` in ``fit`` and would start a pool of its own
for them: forked with TensorFlow loaded, and every batch pickled. Its list of data adapters is
private; where it can be reached, a sequence of ours brings its own dataset instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zarrfeed.choice import no_keras
from zarrfeed.front import FrontEnd

try:
    import tf_keras
except ImportError as error:
    raise no_keras("ZarrSequence", error) from error

if TYPE_CHECKING:
    from collections.abc import Generator

    import tensorflow as tf

    from zarrfeed.slot import Arrays


class ZarrSequence(FrontEnd, tf_keras.utils.Sequence):  # type: ignore[misc]  # noqa: D101
    __doc__ = FrontEnd.__doc__  # as help() shows it; a class does not inherit it

    _within_epoch = False

    def on_epoch_end(self) -> None:
        """End an epoch; tf_keras says so twice after a validation."""
        if self._within_epoch:
            self.set_epoch(self.epoch + 1)
        self._within_epoch = False

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
        return self._tf_dataset(self._begun_batches, count=None, final=True)

    def _begun_batches(self) -> Generator[Arrays, None, None]:
        self._within_epoch = True
        yield from self._stream.batches()


def _replace_adapter() -> None:
    """Let tf_keras' own adapter ask a ZarrSequence for its dataset; others are as before."""
    try:
        from tf_keras.src.engine import data_adapter

        adapters = data_adapter.ALL_ADAPTER_CLS
        theirs: Any = data_adapter.KerasSequenceAdapter
        place = adapters.index(theirs)
    except (ImportError, AttributeError, ValueError):
        return  # it has moved: tf_keras then reads item by item, slower and as exact

    class SequenceAdapter(theirs):  # type: ignore[misc]
        """A ZarrSequence goes past tf_keras' pool; any other sequence goes the usual way."""

        def __init__(self, x: Any, y: Any = None, **arguments: Any) -> None:
            if not isinstance(x, ZarrSequence):
                super().__init__(x, y, **arguments)
                return
            if y is not None or arguments.get("sample_weights") is not None:
                raise ValueError("a ZarrSequence brings its own masks and weights: give no others")
            self._keras_sequence = x
            self._enqueuer = None
            self._first_batch_size = x.batch_size
            self._dataset = x.legacy_dataset(
                workers=arguments.get("workers", 1),
                use_multiprocessing=arguments.get("use_multiprocessing", False),
            )

    adapters[place] = SequenceAdapter


_replace_adapter()
