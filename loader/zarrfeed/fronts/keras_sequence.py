"""The Keras 3 front end: :class:`ZarrSequence` as ``keras.utils.Sequence`` and as data adapter."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, cast

from zarrfeed.errors import look_up
from zarrfeed.feed.passes import PEEK_LIMIT
from zarrfeed.fronts.front_end import FrontEnd, torch_rank
from zarrfeed.fronts.keras_rules import (
    check_given,
    follow_passes,
    model_with_loss,
    note_predictions,
)
from zarrfeed.fronts.keras_version import no_keras
from zarrfeed.fronts.target_axes import (
    nest_with_channels,
    require_weights_of_pixels,
    shapes_by_output,
    without_channel,
)

try:
    import keras
except ImportError as error:
    raise no_keras("ZarrSequence", error) from error

from zarrfeed.fronts.keras_outputs import averages_over_channels, output_shapes


def _adapter_class() -> Any:
    """Return the class of data sources that Keras, from 3.7 on, uses as they are.

    Keras then does not start a worker pool of its own. The import is private. If it fails, the
    sequence is a plain ``PyDataset``, which is slower but gives the same batches.
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

    from zarrfeed.arrays import Batch, Nest
    from zarrfeed.feed.passes import Pass
    from zarrfeed.order.ranks import DetectedRank


def _detect_rank() -> DetectedRank:
    """Return the rank that Keras' backend reports, else torch's, which any program may use."""
    if keras.backend.backend() == "jax":
        from zarrfeed.fronts.jax_distribution import data_shard

        found = data_shard(keras.distribution.distribution())
        if found.source or found.warning:
            return found
    return torch_rank()


class ZarrSequence(FrontEnd, keras.utils.Sequence, _DataAdapter):  # type: ignore[misc]  # noqa: D101
    __doc__ = FrontEnd.__doc__  # as help() shows it; a class does not inherit it

    _within_epoch = False
    _detect_rank = staticmethod(_detect_rank)
    # Keras on JAX and torch requests another iterator after a complete pass, but not after a peek.
    _requests_again = False
    _requested_after: Pass | None = None
    # With a strategy of tf.distribute, TensorFlow peeks, and takes any number of batches ahead.
    _fresh_dataset = False

    def on_epoch_begin(self) -> None:
        """Check the batch size on JAX; Keras calls this when an epoch begins."""
        if keras.backend.backend() == "jax":  # before Keras moves the weights out of the model
            self._require_whole_parts(keras.distribution.distribution())
        self._within_epoch = True

    def on_epoch_end(self) -> None:
        """Undo a peek that was counted as an epoch.

        Keras calls this when an epoch ends, but also before the first epoch and after a peek.
        Epochs advance when batches are handed out, so that nothing is left to do at their end. A
        peek at a sequence of one or two batches takes all of them, however; its epoch then begins
        again.
        """
        position, current = self._stream.position, self._stream.position.current
        if current is not None and current.peek_limit is not None:
            if not self._within_epoch:
                current.peek_limit = 0  # it was not a peek, because a new `fit` begins
            elif (self._fresh_dataset and not current.complete) or (
                current.complete
                and current.taken <= PEEK_LIMIT
                and current is not self._requested_after
                and self._requests_again
                and position.epoch == current.epoch + 1
            ):
                position.repeat(current)
        position.indexed.end(len(self))
        self._within_epoch = self._fresh_dataset = False

    def _confirm_pass(self) -> None:
        """Make the pass under way count although a callback ended the epoch."""
        self._requested_after = self._stream.position.current
        self._within_epoch = False

    def get_numpy_iterator(self, nest: Nest | None = None) -> Iterator[Batch]:
        """Iterate over the next epoch as NumPy arrays."""
        self._note_request()
        batches = self._stream.batches(peek_limit=PEEK_LIMIT, nested=nest is None)
        return batches if nest is None else map(nest, batches)

    def get_jax_iterator(self, nest: Nest | None = None) -> Iterator[Batch]:
        """Iterate over the next epoch as NumPy arrays, which JAX takes without a copy."""
        return self.get_numpy_iterator(nest)

    def _require_whole_parts(self, distribution: Any) -> None:
        """Refuse batches that JAX could not split over the devices of this process."""
        if distribution is None:
            return
        from zarrfeed.fronts.jax_distribution import parts_of_batch

        parts = parts_of_batch(distribution)
        if self.batch_size % parts:
            raise ValueError(
                f"JAX cannot split batch_size={self.batch_size} over {parts} devices: needed a "
                f"multiple of {parts}"
                f"{look_up('last-batch')}"
            )
        for rows in self._partial_batch_sizes:
            if not rows % parts:
                continue
            raise ValueError(
                f"JAX cannot split the last batch, of {rows}, over {parts} devices: give "
                "pad_remainder=True, which fills it with samples of weight 0, or "
                "drop_remainder=True"
                f"{look_up('last-batch')}"
            )

    def to_tf_dataset(self) -> tf.data.Dataset:  # noqa: D102 - FrontEnd's
        distribution = keras.distribution.distribution()
        if keras.backend.backend() == "jax" and distribution is not None:
            from zarrfeed.fronts.jax_distribution import shards_datasets

            if self._stream.schedule.world_size > 1 and shards_datasets(distribution):
                raise ValueError(
                    "Keras would shard a tf.data.Dataset of this process's share once more, and "
                    "lose samples: give the sequence itself to fit, with transform=, or set "
                    "keras.distribution's auto_shard_dataset=False and give rank and world_size"
                    f"{look_up('rank')}"
                )
        return super().to_tf_dataset()

    def get_tf_dataset(self, nest: Nest | None = None) -> tf.data.Dataset:
        """Return a ``tf.data.Dataset`` on which every iterator goes through one epoch."""
        self._requests_again, self._fresh_dataset = False, True
        self._within_epoch = False  # may be left from an earlier `fit` that was interrupted
        batches = functools.partial(self._stream.batches, peek_limit=PEEK_LIMIT, nested=False)
        return self._tf_dataset(batches, count=None, final=True, nest=nest)

    def get_torch_dataloader(self, nest: Nest | None = None) -> torch.utils.data.DataLoader[Any]:
        """Return a torch ``DataLoader`` on which every iterator goes through one epoch."""
        from zarrfeed.fronts.torch_loader import stream_loader

        self._note_request()
        batches = functools.partial(self._stream.batches, peek_limit=PEEK_LIMIT, nested=False)
        return stream_loader(batches, nest or self._stream.batch_spec.structure.nest)

    def _note_request(self) -> None:
        # With a distribution, Keras on JAX does not request an iterator before it needs a batch.
        self._requests_again = keras.distribution.distribution() is None
        self._requested_after = self._stream.position.current


class _WithChannels(_DataAdapter):  # type: ignore[misc]
    """A sequence for one model: targets get the channel axis that the model's output has."""

    def __init__(self, sequence: ZarrSequence, nest: Nest) -> None:
        for kind in ("numpy_iterator", "jax_iterator", "tf_dataset", "torch_dataloader"):
            method = getattr(sequence, f"get_{kind}")
            setattr(self, f"get_{kind}", functools.partial(method, nest))
        self.on_epoch_begin, self.on_epoch_end = sequence.on_epoch_begin, sequence.on_epoch_end
        self._sequence = sequence

    num_batches = property(lambda self: self._sequence.num_batches)
    batch_size = property(lambda self: self._sequence.batch_size)
    has_partial_batch = property(lambda self: self._sequence.has_partial_batch)
    partial_batch_size = property(lambda self: self._sequence.partial_batch_size)


def _adapter_for(sequence: ZarrSequence) -> Any:
    """Return an adapter whose targets have the axes that the losses of a model need."""
    # A `train_step` of its own still lets Keras compute the loss, most often.
    model = model_with_loss(keras.Model, ["compute_loss"])
    structure, specs = sequence._stream.batch_spec.structure, sequence._stream.specs
    if len(structure.parts) < 3 or model is None:
        return sequence  # no weights, or no loss that Keras computes
    arrays = [((sequence.batch_size, *spec.shape), str(spec.dtype)) for spec in specs]
    shapes = output_shapes(model, structure.nest(arrays)[0])
    if shapes is None:
        return sequence
    names = getattr(model, "output_names", None) or ()
    by_output = shapes_by_output(shapes, names, structure.parts[1])
    if averages_over_channels(model) and model_with_loss(keras.Model) is not None:
        require_weights_of_pixels(structure, specs, by_output)
    outputs = without_channel(structure, specs, by_output)
    return _WithChannels(sequence, nest_with_channels(structure, outputs)) if outputs else sequence


def _replace_choice_of_adapter() -> None:
    """Check what ``fit``, ``evaluate`` and ``predict`` get with a sequence.

    Keras uses a data adapter as it is and silently ignores the other arguments, which are checked
    here. If a user's dataset contains a sequence, every pass over the dataset becomes an epoch of
    the sequence. The replaced function is private. If it is not found, arguments are ignored, and a
    sequence in a dataset counts epochs by the batches taken.
    """
    try:
        from keras.src.trainers import data_adapters

        theirs = data_adapters.get_data_adapter
        parameters = inspect.signature(theirs)
    except (ImportError, AttributeError):
        return

    @functools.wraps(theirs)
    def get_data_adapter(*args: Any, **kwargs: Any) -> Any:
        given = parameters.bind(*args, **kwargs).arguments
        x = given.get("x")
        if isinstance(x, ZarrSequence):
            check_given(x, given, keras.Model)
        note_predictions(x, keras.utils.PyDataset)
        adapter = cast("Any", theirs(*args, **kwargs))
        if adapter is x:
            return _adapter_for(x)
        passes = getattr(adapter, "_get_iterator", None)
        if passes is not None and isinstance(x, keras.utils.PyDataset):
            adapter._get_iterator = follow_passes(
                x, keras.utils.PyDataset, passes, adapter.num_batches
            )
        return adapter

    data_adapters.get_data_adapter = get_data_adapter


_replace_choice_of_adapter()
