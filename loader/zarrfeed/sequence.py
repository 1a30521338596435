"""The Keras 3 front end: :class:`ZarrSequence` as ``keras.utils.Sequence`` and as data adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zarrfeed.choice import no_keras
from zarrfeed.front import FrontEnd, share_by_torch

try:
    import keras
except ImportError as error:
    raise no_keras("ZarrSequence", error) from error


def _adapter_class() -> Any:
    """Find the class by which Keras, from 3.7 on, takes a data source as it is.

    Keras then keeps its own worker pool out of the way. The import is private: where it fails, the
    sequence is a plain ``PyDataset``, slower and as exact.
    """
    try:
        from keras.src.trainers.data_adapters.data_adapter import DataAdapter
    except ImportError:
        return object
    return DataAdapter


_DataAdapter: Any = _adapter_class()

if TYPE_CHECKING:
    from collections.abc import Iterator

    import tensorflow as tf
    import torch

    from zarrfeed.ranks import Found
    from zarrfeed.slot import Arrays


def _find_share() -> Found:
    """Ask the backend that Keras computes with; by hand, batches may go to torch under any."""
    if keras.backend.backend() == "jax":
        from zarrfeed.distribution import data_shard

        found = data_shard(keras.distribution.distribution())
        if found.source or found.doubt:
            return found
    return share_by_torch()


class ZarrSequence(FrontEnd, keras.utils.Sequence, _DataAdapter):  # type: ignore[misc]  # noqa: D101
    __doc__ = FrontEnd.__doc__  # as help() shows it; a class does not inherit it

    _within_epoch = False
    _find_share = staticmethod(_find_share)

    def on_epoch_begin(self) -> None:
        """Keras begins an epoch."""
        self._within_epoch = True

    def on_epoch_end(self) -> None:
        """Keras ends an epoch, or says so: also before the first one, and after a probe."""
        current = self._stream.current
        if self._within_epoch and not (current is not None and current.probed):
            self.set_epoch(self.epoch + 1)
        self._within_epoch = False

    def get_numpy_iterator(self) -> Iterator[Arrays]:
        """Iterate over the coming epoch as NumPy arrays."""
        return self._stream.batches()

    def get_jax_iterator(self) -> Iterator[Arrays]:
        """Iterate over the coming epoch as NumPy arrays, which JAX takes without a copy."""
        distribution = keras.distribution.distribution()
        if distribution is not None:
            from zarrfeed.distribution import parts_of_batch

            self._expect_whole_parts(parts_of_batch(distribution))
        return self._stream.batches()

    def _expect_whole_parts(self, parts: int) -> None:
        """Refuse batches that JAX could not split over the devices of this process."""
        if self.batch_size % parts:
            raise ValueError(
                f"JAX cannot split batch_size={self.batch_size} over {parts} devices: needed a "
                f"multiple of {parts}"
            )
        rows = self.partial_batch_size
        if rows is not None and rows % parts:
            raise ValueError(
                f"JAX cannot split the last batch, of {rows}, over {parts} devices: give "
                "pad_remainder=True, which fills it with samples of weight 0, or "
                "drop_remainder=True"
            )

    def get_tf_dataset(self) -> tf.data.Dataset:
        """Make a ``tf.data.Dataset`` of the coming epochs, one for each iterator on it."""
        return self._tf_dataset(self._stream.batches, count=None, final=True)

    def get_torch_dataloader(self) -> torch.utils.data.DataLoader[Any]:
        """Make a torch ``DataLoader`` of the coming epochs, one for each iterator on it."""
        from zarrfeed.torchdata import stream_loader

        return stream_loader(self._stream.batches)
