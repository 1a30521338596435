"""The Keras front end: a ``keras.utils.Sequence`` that reads a packed split.

This is the one module that knows Keras; the batches themselves come from :mod:`zarrfeed.stream`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zarrfeed.request import whole
from zarrfeed.stream import open_stream

try:
    import keras
except ImportError as error:
    raise ImportError(
        "ZarrSequence needs Keras with a backend: pip install 'zarrfeed[tensorflow]' "
        "(or [jax], or [torch])"
    ) from error


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
    import os
    from collections.abc import Callable, Generator, Iterator, Sequence

    import tensorflow as tf
    import torch

    from zarrfeed.request import ClassWeight, Subset
    from zarrfeed.schedule import Shuffle
    from zarrfeed.slot import Arrays
    from zarrfeed.workers.recipe import Transform


class ZarrSequence(keras.utils.Sequence, _DataAdapter):  # type: ignore[misc]
    """Batches of images and masks from one split of a packed dataset.

    Give it to ``model.fit``, ``evaluate`` or ``predict``, iterate over it, or take ``seq[i]``.
    Batch i of epoch e depends on the store, `subset`, `batch_size`, `seed`, `rank`, `world_size`
    and the transforms alone: the number and kind of workers can not change it.

    Parameters
    ----------
    path
        A split, such as ``camvid.zarr/train``, or any Zarr v3 group of arrays aligned on axis 0.
    batch_size
        Samples per batch (per rank). The last batch may be smaller.
    shuffle
        True: globally, anew in every epoch. "block": keep storage neighbours together, for cold or
        remote data. False: in storage order. ``fit(shuffle=…)`` changes nothing.
    seed
        Of the order and of the transforms' generators.
    fields
        Array names, in batch order; ``("image", "mask")`` by default. One name gives batches of
        one array, for ``predict``.
    subset
        Sample ids, a slice or a boolean mask; all by default.
    transform
        ``transform(image, mask, rng) -> (image, mask)`` for one sample: (H, W, C) and (H, W)
        arrays, one per field, and a ``numpy.random.Generator`` seeded by (seed, epoch, sample id).
        The shape and dtype it returns must be the same for every sample.
    batch_transform
        ``batch_transform(images, masks, rng) -> (images, masks)`` for a whole batch, (b, H, W, C)
        and (b, H, W), after `transform`; its generator is seeded by (seed, epoch, batch).
    class_weight
        ``{class: weight}`` by name or id (others weigh 1), one weight for every class, or
        "balanced": total pixels / (classes × the class's pixels). Every batch gets a third array,
        the float32 weight of each pixel, (b, H, W), which Keras takes as sample weights; the
        dataset's ignore id weighs 0. (Keras would silently ignore ``fit(class_weight=…)``.)
    drop_remainder
        Leave out a last batch that is not full.
    workers
        How many workers read ahead; 0 reads in the caller.
    use_multiprocessing
        Whether they are processes, for transforms that hold the GIL, instead of threads.
    max_queue_size
        Batches read ahead at most. Memory for as many and 4 more, which the model may hold, is
        taken once.
    rank, world_size
        This process of a distributed run, and how many there are: disjoint, equally long shares of
        one global order. The up to ``world_size - 1`` samples left over differ from epoch to epoch.
    timeout
        Seconds to wait for one batch before giving up with an error.

    Attributes
    ----------
    epoch
        The epoch that the next iterator will go through.
    classes
        Class names by id; empty where the store does not say.
    ignore
        The mask id that counts as no class, or None.

    Raises
    ------
    StoreError
        There is no such split, or it lacks a field.
    TypeError, ValueError
        An argument is out of range.

    Examples
    --------
    >>> train = ZarrSequence("camvid.zarr/train", batch_size=32, workers=2)  # doctest: +SKIP
    >>> model.fit(train, epochs=20)  # doctest: +SKIP
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        batch_size: int,
        *,
        shuffle: Shuffle = True,
        seed: int = 0,
        fields: str | Sequence[str] | None = None,
        subset: Subset = None,
        transform: Transform | None = None,
        batch_transform: Transform | None = None,
        class_weight: ClassWeight | None = None,
        drop_remainder: bool = False,
        workers: int = 1,
        use_multiprocessing: bool = False,
        max_queue_size: int = 10,
        rank: int = 0,
        world_size: int = 1,
        timeout: float = 300.0,
    ) -> None:
        # Keras must not start workers of its own, whatever ours are.
        super().__init__(workers=1, use_multiprocessing=False, max_queue_size=max_queue_size)
        self._stream = open_stream(
            path,
            batch_size,
            shuffle=shuffle,
            seed=seed,
            fields=fields,
            subset=subset,
            transform=transform,
            batch_transform=batch_transform,
            class_weight=class_weight,
            drop_remainder=drop_remainder,
            workers=workers,
            use_multiprocessing=use_multiprocessing,
            max_queue_size=max_queue_size,
            rank=rank,
            world_size=world_size,
            timeout=timeout,
        )
        self._within_epoch = False

    @property
    def epoch(self) -> int:
        """The epoch that the next iterator goes through."""
        return self._stream.epoch

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by id; empty where the store does not say."""
        return self._stream.split.classes

    @property
    def ignore(self) -> int | None:
        """The mask id that counts as no class, or None."""
        return self._stream.split.ignore

    @property
    def samples(self) -> int:
        """Samples per epoch, before a remainder is dropped."""
        return self._stream.schedule.samples

    def __repr__(self) -> str:
        specs = ", ".join(
            f"{spec.name} {spec.dtype}{list(spec.shape)}" for spec in self._stream.specs
        )
        return (
            f"ZarrSequence({str(self._stream.split.path)!r}: {self.samples} samples in {len(self)} "
            f"batches of {self.batch_size}; {specs})"
        )

    def __len__(self) -> int:
        return self._stream.schedule.batches

    def __getitem__(self, index: int) -> Arrays:
        """Read one batch of the coming epoch, into fresh memory."""
        return self._stream.read(index)

    def __iter__(self) -> Generator[Arrays, None, None]:
        """Iterate over the coming epoch, reading ahead; a full pass advances to the next."""
        epoch = self.epoch
        yield from self._stream.batches()
        if self.epoch == epoch:
            self.set_epoch(epoch + 1)

    def to_tf_dataset(self) -> tf.data.Dataset:
        """Make a ``tf.data.Dataset`` of the same batches, to map, zip or batch further.

        Returns
        -------
        tf.data.Dataset
            Of tuples, of known shapes and cardinality. Every full pass goes on to the next epoch.
            Tensors share the batches' memory, without a copy.
        """
        return self._tf_dataset(lambda: iter(self))

    def batch_keys(self, index: int, *, epoch: int | None = None) -> list[str]:
        """Name the samples of a batch.

        Parameters
        ----------
        index
            Which batch; negative counts from the end.
        epoch
            Of which epoch; the coming one by default.

        Returns
        -------
        list of str
            One key per row of the batch: the path of the source file, without its extension.
        """
        return self._stream.names(index, self.epoch if epoch is None else epoch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iterator goes through.

        Parameters
        ----------
        epoch
            From 0 on. ``fit`` and full iterations advance it by one each.
        """
        self._stream.epoch = whole("epoch", epoch, at_least=0)

    def close(self) -> None:
        """Stop the workers and free the memory that no batch is using; iterating starts anew."""
        self._stream.close()

    def __enter__(self) -> ZarrSequence:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- what Keras asks for ---------------------------------------------------------------------

    @property
    def num_batches(self) -> int:
        """Batches per epoch."""
        return len(self)

    @property
    def batch_size(self) -> int:
        """Samples per full batch."""
        return self._stream.schedule.batch_size

    @property
    def has_partial_batch(self) -> bool:
        """Whether the last batch is smaller."""
        return self.partial_batch_size is not None

    @property
    def partial_batch_size(self) -> int | None:
        """Samples in the last batch, or None if it is full."""
        rows = self._stream.schedule.rows(len(self) - 1)
        size = rows.stop - rows.start
        return None if size == self.batch_size else size

    def on_epoch_begin(self) -> None:
        """Keras begins an epoch."""
        self._within_epoch = True

    def on_epoch_end(self) -> None:
        """Keras ends an epoch, or says so: it also calls this before the first one."""
        if self._within_epoch:
            self.set_epoch(self.epoch + 1)
        self._within_epoch = False

    def get_numpy_iterator(self) -> Iterator[Arrays]:
        """Iterate over the coming epoch as NumPy arrays."""
        return self._stream.batches()

    def get_jax_iterator(self) -> Iterator[Arrays]:
        """Iterate over the coming epoch as NumPy arrays, which JAX takes without a copy."""
        return self._stream.batches()

    def get_tf_dataset(self) -> tf.data.Dataset:
        """Make a ``tf.data.Dataset`` of the coming epochs, one for each iterator on it."""
        return self._tf_dataset(self._stream.batches)

    def _tf_dataset(self, batches: Callable[[], Iterator[Arrays]]) -> tf.data.Dataset:
        from zarrfeed.tfdata import stream_dataset

        rows = None if self.has_partial_batch else self.batch_size
        return stream_dataset(batches, self._stream.specs, rows=rows, count=len(self))

    def get_torch_dataloader(self) -> torch.utils.data.DataLoader[Any]:
        """Make a torch ``DataLoader`` of the coming epochs, one for each iterator on it."""
        from zarrfeed.torchdata import stream_loader

        return stream_loader(self._stream.batches)
