"""The public class: arguments, batches by iterator and by index, and copies of a sequence.

It does not import Keras. :mod:`zarrfeed.fronts.keras_sequence` and
:mod:`zarrfeed.fronts.tf_keras_sequence` adapt it to Keras 3 and tf_keras.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from zarrfeed.feed.request import Request
from zarrfeed.feed.stream import Stream
from zarrfeed.fronts.datasets import Datasets
from zarrfeed.order.ranks import undetected
from zarrfeed.spelling import named
from zarrfeed.store.files import require_all_same
from zarrfeed.store.mirror.origin import Remote

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from zarrfeed.arrays import Batch
    from zarrfeed.feed.batch_structure import FieldNames
    from zarrfeed.feed.class_weights import ClassWeight
    from zarrfeed.feed.subset_ids import Subset
    from zarrfeed.feed.workers.batch_spec import Transform
    from zarrfeed.order.mix import Mix
    from zarrfeed.order.patches import Patches
    from zarrfeed.order.ranks import Auto, DetectedRank
    from zarrfeed.order.sampling import Sampling
    from zarrfeed.order.shuffle import Shuffle
    from zarrfeed.store.mirror.origin import StorageOptions


def torch_rank() -> DetectedRank:
    """Return the rank that torch reports, if the program has imported torch."""
    if "torch" in sys.modules:
        from zarrfeed.fronts.torch_loader import process_group

        found = process_group()
        if found.source:
            return found
    return undetected(os.environ)


# Overriding these has no effect, because `fit` and iteration do not call them.
_NOT_TO_OVERRIDE = ("__getitem__", "__iter__", "__len__", "num_batches")


class FrontEnd(Datasets):
    """Batches of images and masks from one split of a packed dataset: a ``keras.utils.Sequence``.

    Give it to ``model.fit``, ``evaluate`` or ``predict``, iterate over it, or take ``seq[i]``.
    Batch i of epoch e depends only on the store, `subset`, `patches`, `sampling`, `batch_size`,
    `seed`, `rank`, `world_size` and the transforms, never on the number and kind of workers.

    Parameters
    ----------
    path
        A split, such as ``camvid.zarr/train``, or any Zarr group of arrays aligned on axis 0. With
        `patches` also an OME-Zarr image with its labels, a folder of such, or a group of one image
        and its mask, chunked on any axes. It may be an address in an object store
        (``s3://bucket/camvid.zarr/train``; ``gs://``, ``az://``, ``abfs://``) or of a web server
        (``https://``). What batches need is then fetched into `cache` before they need it. Or a
        :class:`zarrfeed.Mix` of several.
    batch_size
        Samples per batch (per rank). The last batch may be smaller.
    shuffle
        Order of the samples. True: shuffled globally, differently in every epoch. "block": shuffled
        in blocks of neighbours, for stores that are not in the page cache. False: as stored.
        ``fit(shuffle=…)`` has no effect.
    seed
        Seed of the order and of the transforms' generators.
    fields
        Array names in batch order. By default ``("image", "mask")``; without one of these the
        fields of a packed split, or the only array. One name gives batches of one array, for
        ``predict``. Keras takes a third array as sample weights, so for ``fit`` its name must
        contain "weight". With `inputs`, the arrays that transforms take first; other arrays of a
        batch follow.
    inputs, targets, weights
        What the model gets, instead of `fields`, if it has several inputs or outputs: an array
        name, a tuple of names, or a dict ``{model input or output: name}``. Batches are then
        ``(x,)``, ``(x, y)`` or ``(x, y, w)``, nested in the same way. Weights are nested as the
        targets; targets that a dict leaves out, and those of None in a tuple, weigh 1. A single
        name weighs all targets. Transforms must make the arrays that the split lacks.
    subset
        Sample ids, keys (text, as of :meth:`batch_keys`), a slice or a boolean mask. By default,
        all samples. Of a :class:`zarrfeed.Mix`, ``{path: subset}``: stores that it leaves out are
        drawn from as a whole.
    patches
        :class:`zarrfeed.RandomPatches`, :class:`zarrfeed.CoverPatches` or
        :class:`zarrfeed.GridPatches`: cut boxes of one size out of the images or volumes of a split
        of cases, or out of the samples of another split. "Samples" of the other arguments are then
        patches; `subset` chooses cases, and the generators of `transform` are seeded by the numbers
        of the patches within the epoch. Random patches are in random order by themselves.
    sampling
        How often an epoch draws each sample: :class:`zarrfeed.Balanced`, :class:`zarrfeed.Shares`,
        :class:`zarrfeed.RepeatFactor` or :class:`zarrfeed.Weights`; None for once. "Samples" of the
        other arguments are then draws; without a shuffle, repeats follow each other. Each repeat
        has its own transform generator.
    transform
        ``transform(image, mask, rng) -> (image, mask)`` for one sample. It takes one array per
        field, such as (H, W, C) and (H, W), and a ``numpy.random.Generator`` seeded by (seed,
        epoch, sample id). It must return the same shapes and dtypes for every sample. Arrays come
        in the order of `fields`, or of `inputs`, `targets` and `weights`, each once. To return
        other arrays, return a dict ``{name: array}``. Every worker has its own copy of the function
        and of the objects that it refers to; with several worker threads it is an error if they
        cannot be copied.
    batch_transform
        ``batch_transform(images, masks, rng) -> (images, masks)`` for a whole batch, such as
        (b, H, W, C) and (b, H, W), called after `transform`. Its generator is seeded by (seed,
        epoch, batch).
    class_weight
        ``{class: weight}`` by name or id (others weigh 1), one weight per class, or "balanced":
        total pixels / (classes × pixels of the class), of the epoch that `sampling` draws on
        average. Every batch gets a third array, the (b, H, W) float32 weight of each pixel, which
        Keras takes as sample weights. The dataset's ignore id weighs 0. (Keras would silently
        ignore ``fit(class_weight=…)``.) One of several `targets` must be a mask, the only one;
        others weigh 1. For multi-hot masks give `weights`.
    drop_remainder
        Whether to leave out a last batch that is not full.
    workers
        Number of workers that read ahead; 0 reads in the caller's thread. Only tf_keras accepts
        ``fit(workers=…)``.
    use_multiprocessing
        Whether the workers are processes instead of threads, for transforms that hold the GIL.
    max_queue_size
        Upper bound on batches read ahead. zarrfeed uses fewer when more would not help, because
        fewer batches stay in the processor's cache. Memory for this number of batches and 4 more,
        which the model may hold, is allocated once and reused.
    pad_remainder
        Whether to fill a last batch that is not full with samples of weight 0, so that every batch
        of every rank is full and no sample is left out. Use it for exact evaluation and prediction,
        and on JAX, which cannot split a partial batch over devices. Every batch then has weights as
        third array: one per pixel of an integer mask, else (b, 1, …); they are 0 for padding. With
        `class_weight` these are its weights. A third field or `weights` are used as they are, each
        of several `targets` has its own weights, and inputs without targets get none. Transforms
        are called for padding, too. Padding comes last: cut predictions by
        ``model.predict(seq)[: seq.samples]``.
    rank, world_size
        Number of this process in a distributed run, and number of processes. Ranks read disjoint,
        equally long shares of one global order. "auto" takes both from the current
        ``keras.distribution`` on JAX (its data shard, which is equal for processes that share a
        model replica), else from torch's process group; else there is one process, with a
        warning if srun, torchrun or mpirun has started several. They are determined when iteration
        begins, and logged. The up to ``world_size - 1`` samples that are left out differ from epoch
        to epoch.
    timeout
        Seconds to wait for one batch before raising an error.
    cache
        Folder on a local disk in which remote stores are mirrored, by default ``$ZARRFEED_CACHE``
        or ``~/.cache/zarrfeed``. All sequences and programs of a user may share it. The second
        epoch is read from there. Local stores ignore this and the next two arguments.
    cache_limit
        Largest size of all mirrors in `cache`: a number of bytes or text such as "200GiB". What is
        needed last then makes room for what is needed next. By default there is no limit.
    storage_options
        How to reach the remote store: a dict of obstore's options, such as ``region``,
        ``endpoint``, ``access_key_id``, ``secret_access_key`` and ``skip_signature`` (of public
        buckets). By default, credentials are taken from the environment. They are neither printed
        nor written to files, but a pickled sequence contains them.

    Notes
    -----
    Batches have the dtypes of the store: those of CT scans are int16. A model that begins with
    ``keras.Input`` casts them to float32. The layers of a subclassed model get integers: begin with
    one that casts them, such as ``keras.layers.Rescaling``, as Conv2D does not.

    ``fit`` and ``evaluate`` give a weighted target (b, H, W) the last axis of an output (b, H, W,
    1); Keras' losses would else average over W before they weigh. For tf_keras, for datasets around
    the sequence and for outputs of unknown shape, return ``mask[..., None]`` from a transform.

    Attributes
    ----------
    epoch
        The epoch that the next iterator goes through.
    classes
        Class names by id; empty if the store has none.
    ignore
        The mask id that counts as no class; None if there is none.

    Raises
    ------
    StoreError
        There is no such split, or it lacks a field.
    TypeError, ValueError
        An argument has the wrong type or is out of range.

    Examples
    --------
    >>> train = ZarrSequence("camvid.zarr/train", batch_size=32, workers=2)  # doctest: +SKIP
    >>> model.fit(train, epochs=20)  # doctest: +SKIP
    """

    _detect_rank = staticmethod(torch_rank)

    @named
    def __init__(
        self,
        path: str | os.PathLike[str] | Mix,
        batch_size: int,
        *,
        shuffle: Shuffle = True,
        seed: int = 0,
        fields: str | Sequence[str] | None = None,
        inputs: FieldNames | None = None,
        targets: FieldNames | None = None,
        weights: FieldNames | None = None,
        subset: Subset | Mapping[str, Subset] = None,
        patches: Patches | None = None,
        sampling: Sampling | None = None,
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
        cache: str | os.PathLike[str] | None = None,
        cache_limit: int | str | None = None,
        storage_options: StorageOptions | None = None,
    ) -> None:
        for name in _NOT_TO_OVERRIDE:
            if getattr(type(self), name) is not getattr(FrontEnd, name):
                raise TypeError(
                    f"{type(self).__name__} overrides {name}, which fit and iteration do not call: "
                    "give ZarrSequence(transform=…) a function of one sample, or batch_transform=… "
                    "one of a batch, or write a keras.utils.PyDataset that takes its batches from "
                    "a ZarrSequence"
                )
        super().__init__()  # Keras' class in a subclass; it starts no workers
        self._made_in = os.getpid()
        self._request = Request(
            path=path, batch_size=batch_size, shuffle=shuffle, seed=seed, fields=fields,
            inputs=inputs, targets=targets, weights=weights, subset=subset, patches=patches,
            sampling=sampling, transform=transform, batch_transform=batch_transform,
            class_weight=class_weight, drop_remainder=drop_remainder, workers=workers,
            use_multiprocessing=use_multiprocessing, max_queue_size=max_queue_size,
            pad_remainder=pad_remainder, rank=rank, world_size=world_size, timeout=timeout,
            remote=Remote.of(cache, cache_limit, storage_options, timeout),
        )  # fmt: skip
        self._stream = Stream(self._request, self._detect_rank)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for a copy: the request and the position, without workers and memory."""
        state = {name: value for name, value in self.__dict__.items() if name != "_stream"}
        return {
            **state,
            "_position": self._stream.position.state(),
            "_stamps": self._stream.batch_spec.stamps,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the store for a copy, which may be in another process."""
        position = state.pop("_position")
        stamps = state.pop("_stamps")
        self.__dict__.update(state)
        self._stream = Stream(self._request, self._detect_rank)
        require_all_same(self._stream.split.path, stamps)  # the split may have been replaced
        self._stream.position.restore(position)

    def __getitem__(self, index: int) -> Batch:
        """Read one batch of the next epoch into new memory.

        Once all batches have been taken, in any order, the sequence moves on to the next epoch, as
        by a loop over ``range(seq.batch, len(seq))``. A negative index does not count. If Keras
        takes the batches through a ``PyDataset`` that holds the sequence, Keras counts the epochs.
        """
        self._refuse_loaders()
        return self._stream.read(index)

    def __iter__(self) -> Generator[Batch, None, None]:
        """Iterate over the next epoch, reading ahead.

        The epoch is over as soon as its last batch has been handed out, so that ``zip``,
        ``islice(seq, len(seq))`` and counted calls of ``next`` advance, too. If an iterator stops
        earlier, the next one begins the same epoch again.
        """
        self._refuse_loaders()
        return self._stream.batches()

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a table, and the first samples of the next epoch."""
        from zarrfeed.fronts.sequence_page import sequence_html  # imports Pillow

        return sequence_html(self)
