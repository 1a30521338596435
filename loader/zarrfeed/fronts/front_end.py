"""The public door: the arguments of a sequence, its batches by iterator and by index, its copies.

Knows no Keras. :mod:`zarrfeed.fronts.keras_sequence` and :mod:`zarrfeed.fronts.tf_keras_sequence`
make of it what Keras 3 and tf_keras take.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import how_to_install
from zarrfeed.feed.request import Request
from zarrfeed.feed.stream import Stream
from zarrfeed.fronts.base_sequence import BaseSequence
from zarrfeed.order.ranks import DetectedRank
from zarrfeed.spelling import named
from zarrfeed.store.files import require_same

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    import tensorflow as tf

    from zarrfeed.arrays import Arrays, Batch
    from zarrfeed.feed.batch_structure import FieldNames
    from zarrfeed.feed.class_weights import ClassWeight
    from zarrfeed.feed.request import Subset
    from zarrfeed.feed.workers.batch_spec import Transform
    from zarrfeed.order.ranks import Auto
    from zarrfeed.order.sample_order import Shuffle


def torch_rank() -> DetectedRank:
    """Ask torch, where the program uses it, which rank this process has."""
    if "torch" not in sys.modules:
        return DetectedRank()
    from zarrfeed.fronts.torch_loader import process_group

    return process_group()


# What a subclass would replace in vain.
_NOT_TO_OVERRIDE = ("__getitem__", "__iter__", "__len__", "num_batches")


class FrontEnd(BaseSequence):
    """Batches of images and masks from one split of a packed dataset: a ``keras.utils.Sequence``.

    Give it to ``model.fit``, ``evaluate`` or ``predict``, iterate over it, or take ``seq[i]``.
    Batch i of epoch e depends on the store, `subset`, `batch_size`, `seed`, `rank`, `world_size`
    and the transforms alone: the number and kind of workers can not change it.

    Parameters
    ----------
    path
        A split, such as ``camvid.zarr/train``, or any Zarr group of arrays aligned on axis 0.
    batch_size
        Samples per batch (per rank). The last batch may be smaller.
    shuffle
        True: globally, anew in every epoch. "block": keep storage neighbours together, for cold or
        remote data. False: in storage order. ``fit(shuffle=…)`` changes nothing.
    seed
        Of the order and of the transforms' generators.
    fields
        Array names, in batch order. By default those that a packed split names, ``("image",
        "mask")``, or the only array; other names must be given. One name gives batches of one
        array, for ``predict``. Keras takes a third array as sample weights, so for ``fit`` it must
        have "weight" in its name. With `inputs`, arrays that transforms take besides those of a
        batch.
    inputs, targets, weights
        What the model gets, for several inputs or outputs, in place of `fields`: an array name, a
        tuple of names, or a dict ``{model input or output: name}``. Batches are then ``(x,)``,
        ``(x, y)`` or ``(x, y, w)``, nested alike. Weights are nested as the targets, and may leave
        some out of the dict, which then weigh 1; one name weighs all targets. Names that the split
        lacks are those of arrays that a transform makes.
    subset
        Sample ids, a slice or a boolean mask; all by default.
    transform
        ``transform(image, mask, rng) -> (image, mask)`` for one sample: (H, W, C) and (H, W)
        arrays, one per field, and a ``numpy.random.Generator`` seeded by (seed, epoch, sample id).
        The shape and dtype it returns must be the same for every sample. Every worker has its own
        copy of all that it refers to, such as a pipeline that is seeded for every sample; several
        threads refuse what cannot be copied. It gets every array once, in the order of `fields`, or
        of `inputs`, `targets` and `weights`; it may return others, as a dict ``{name: array}``.
    batch_transform
        ``batch_transform(images, masks, rng) -> (images, masks)`` for a whole batch, (b, H, W, C)
        and (b, H, W), after `transform`; its generator is seeded by (seed, epoch, batch).
    class_weight
        ``{class: weight}`` by name or id (others weigh 1), one weight for every class, or
        "balanced": total pixels / (classes × the class's pixels). Every batch gets a third array,
        the float32 weight of each pixel, (b, H, W), which Keras takes as sample weights; the
        dataset's ignore id weighs 0. (Keras would silently ignore ``fit(class_weight=…)``.) Of
        several `targets` exactly one may be a mask; the others weigh 1.
    drop_remainder
        Leave out a last batch that is not full.
    workers
        How many workers read ahead; 0 reads in the caller. Only tf_keras takes ``fit(workers=…)``.
    use_multiprocessing
        Whether they are processes, for transforms that hold the GIL, instead of threads.
    max_queue_size
        Batches read ahead at most; as many as help, because few stay in the processor's cache.
        Memory for as many and 4 more, which the model may hold, is set aside, and used again.
    pad_remainder
        Fill a last batch that is not full with samples of weight 0, so that every batch of every
        rank is full and no sample is left out: for exact evaluation and prediction, and for JAX,
        which cannot split a partial batch over devices. Every batch then has weights as third
        array: of each pixel of an integer mask, else (b, 1, …); 0 in the rows that are padding.
        With `class_weight` these are its weights; a third field or `weights` are taken as they
        are; each of several `targets` has its own; inputs alone get none. Transforms work on the
        padding, too. It follows the `samples` that count, at the end: cut
        ``model.predict(seq)[: seq.samples]``.
    rank, world_size
        This process of a distributed run, and how many there are: disjoint, equally long shares of
        one global order. "auto" takes them from the current ``keras.distribution`` on JAX (the
        data shard: equal for processes that share a model replica), else from torch's process
        group, else there is one process. Decided when iteration begins, and logged. The up to
        ``world_size - 1`` samples left over differ from epoch to epoch.
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

    _detect_rank = staticmethod(torch_rank)

    @named
    def __init__(
        self,
        path: str | os.PathLike[str],
        batch_size: int,
        *,
        shuffle: Shuffle = True,
        seed: int = 0,
        fields: str | Sequence[str] | None = None,
        inputs: FieldNames | None = None,
        targets: FieldNames | None = None,
        weights: FieldNames | None = None,
        subset: Subset = None,
        transform: Transform | None = None,
        batch_transform: Transform | None = None,
        class_weight: ClassWeight | None = None,
        drop_remainder: bool = False,
        workers: int = 1,
        use_multiprocessing: bool = False,
        max_queue_size: int = 10,
        pad_remainder: bool = False,
        rank: Auto = "auto",
        world_size: Auto = "auto",
        timeout: float = 300.0,
    ) -> None:
        for name in _NOT_TO_OVERRIDE:
            if getattr(type(self), name) is not getattr(FrontEnd, name):
                raise TypeError(
                    f"{type(self).__name__} overrides {name}, which fit and iteration do not call: "
                    "give ZarrSequence(transform=…) a function of one sample, or batch_transform=… "
                    "one of a batch; or write a keras.utils.PyDataset that takes its batches from "
                    "a ZarrSequence"
                )
        super().__init__()  # Keras' own class, where there is one; it starts no workers
        self._made_in = os.getpid()
        self._request = Request(
            path=path, batch_size=batch_size, shuffle=shuffle, seed=seed, fields=fields,
            inputs=inputs, targets=targets, weights=weights, subset=subset,
            transform=transform, batch_transform=batch_transform,
            class_weight=class_weight, drop_remainder=drop_remainder, workers=workers,
            use_multiprocessing=use_multiprocessing, max_queue_size=max_queue_size,
            pad_remainder=pad_remainder, rank=rank, world_size=world_size, timeout=timeout,
        )  # fmt: skip
        self._stream = Stream(self._request, self._detect_rank)

    def __getstate__(self) -> dict[str, Any]:
        """Say what a copy is made of: no worker and no memory, but where iteration stands."""
        state = {name: value for name, value in self.__dict__.items() if name != "_stream"}
        return {
            **state,
            "_position": self._stream.position.reached,
            "_stamps": self._stream.batch_spec.stamps,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the store, for a copy; it may be another process that does."""
        epoch, batch = state.pop("_position")
        stamps = state.pop("_stamps")
        self.__dict__.update(state)
        self._stream = Stream(self._request, self._detect_rank)
        for name, stamp in stamps.items():  # the split may be another one by now
            require_same(self._stream.split.path / name, stamp)
        later, first = divmod(batch, len(self))
        self._stream.position.seek(epoch + later, first)

    def __getitem__(self, index: int) -> Batch:
        """Read one batch of the coming epoch, into fresh memory.

        After all batches have been taken, in any order, the next one is of the next epoch, and so
        is an iterator: loops over ``range(len(seq))`` advance, or after :meth:`load_state_dict`
        over ``range(seq.batch, len(seq))``; ``seq[-1]`` is a look, and does not count. Where
        Keras takes them, through a ``PyDataset`` that keeps the sequence in an attribute, our
        epochs are Keras'.
        """
        self._refuse_loaders()
        return self._stream.read(index)

    def _refuse_loaders(self) -> None:
        if self._made_in != os.getpid() and "torch.utils.data" in sys.modules:
            from zarrfeed.fronts.torch_loader import refuse_in_worker

            refuse_in_worker(type(self).__name__)

    def __iter__(self) -> Generator[Batch, None, None]:
        """Iterate over the coming epoch, reading ahead.

        The next iterator begins the next epoch as soon as the last batch was handed out, so that
        ``zip``, ``islice(seq, len(seq))`` and counted calls of ``next`` advance, too. An iterator
        that is given up before has no effect: the next one begins the same epoch again.
        """
        self._refuse_loaders()
        return self._stream.batches()

    def to_tf_dataset(self) -> tf.data.Dataset:
        """Make a ``tf.data.Dataset`` of the same batches, to map, zip or batch further.

        Returns
        -------
        tf.data.Dataset
            Of batches, of known shapes and cardinality (after :meth:`load_state_dict` it is
            unknown, because the first pass is shorter). Every full pass goes on to the next epoch.
            Tensors share the batches' memory, without a copy.
        """
        # In the middle of an epoch the first pass is shorter than the others.
        count = None if self.batch else len(self)
        return self._tf_dataset(self._flat_batches, count=count, final=False)

    def _flat_batches(self) -> Iterator[Arrays]:
        self._refuse_loaders()
        return self._stream.batches(nested=False)

    def _tf_dataset(
        self, batches: Callable[[], Iterator[Arrays]], *, count: int | None, final: bool
    ) -> tf.data.Dataset:
        try:
            from zarrfeed.fronts.tf_dataset import stream_dataset
        except ImportError as error:
            raise ImportError(
                f"a tf.data.Dataset needs TensorFlow ({error}): {how_to_install('tensorflow')}; or "
                "iterate over the sequence, which needs none",
                name=error.name,
                path=error.path,
            ) from error

        return stream_dataset(
            batches,
            self._stream.specs,
            self._stream.batch_spec.structure.nest,
            rows=None if self.has_partial_batch else self.batch_size,
            length=lambda: len(self) - self.batch,
            count=count,
            ranks=self._stream.schedule.world_size,
            final=final,
        )
