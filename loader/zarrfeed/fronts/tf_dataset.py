"""The one module that runs TensorFlow: a stream of batches as a ``tf.data.Dataset``.

``Dataset.from_generator`` would do, but checks and converts every batch in Python: a plain
``numpy_function`` hands over a fifth more batches a second (measured, a constant batch in ``fit``).
"""

from __future__ import annotations

import itertools
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from zarrfeed.arrays import Arrays
    from zarrfeed.feed.slot import Spec

# Passes that are remembered: TensorFlow does not say when it drops an iterator. One that is not
# iterated over holds no batch, so they cost nothing, and nobody has so many at once.
_PASSES_KEPT = 64


class _Passes:
    """The passes that TensorFlow's iterators go through, by number, for that is all they can hold.

    Lives as long as the dataset: TensorFlow's graph keeps the functions in it for good.
    """

    def __init__(self, start: Callable[[], Iterator[Arrays]], length: Callable[[], int]) -> None:
        self._start = start
        self._length = length
        self._numbers = itertools.count()
        self._passes: OrderedDict[int, Iterator[Arrays]] = OrderedDict()

    def begin(self) -> tuple[np.int64, np.int64]:
        """Begin a pass: its number and its length."""
        number, length = next(self._numbers), self._length()
        self._passes[number] = self._start()
        if len(self._passes) > _PASSES_KEPT:
            self._passes.popitem(last=False)
        return np.int64(number), np.int64(length)

    def next(self, number: np.int64, last: np.bool_) -> Arrays:
        """Take the next batch of a pass; after the last one, let the pass end."""
        if not last:
            return next(self._passes[int(number)])
        ending = self._passes.pop(int(number))
        batch = next(ending)
        next(ending, None)
        return batch


def stream_dataset(
    batches: Callable[[], Iterator[Arrays]],
    specs: Sequence[Spec],
    nest: Callable[[Sequence[tf.Tensor]], tuple[Any, ...]],
    *,
    rows: int | None,
    length: Callable[[], int],
    count: int | None,
    ranks: int,
    final: bool,
) -> tf.data.Dataset:
    """Wrap a stream without copying: TensorFlow aliases 64-byte aligned arrays.

    Parameters
    ----------
    batches
        Starts a pass: tuples of arrays.
    specs
        One sample of each array.
    nest
        Makes inputs, targets and weights of the arrays.
    rows
        Samples per batch where all are full; None where the last is smaller.
    length
        Says how many batches the coming pass has.
    count
        The cardinality: of every pass, or the dataset is in error; None where lengths differ.
    ranks
        How many processes share the data, each with a stream of its own.
    final
        Whether a model takes the batches as they are. Then TensorFlow does not tune the dataset:
        there is nothing to tune, and its measurements cost a step of `fit` more than our own work.
        These options would hold for all that users make of the dataset, too.

    Returns
    -------
    tf.data.Dataset
        Of what `nest` returns; every iterator on it starts a pass.

    Raises
    ------
    ValueError
        It is final and one of several shares, and the current strategy has several workers, too.
    """
    if final:
        _expect_one_rank(ranks)
    passes = _Passes(batches, length)
    reference = weakref.ref(passes)
    types = [tf.as_dtype(spec.dtype) for spec in specs]

    def alive() -> _Passes:
        found = reference()
        assert found is not None  # a dataset that is iterated over lives
        return found

    def one_pass(_: tf.Tensor) -> tf.data.Dataset:
        number, steps = tf.numpy_function(lambda: alive().begin(), [], [tf.int64, tf.int64])
        number.set_shape(())
        steps.set_shape(())

        def one_batch(step: tf.Tensor) -> tuple[Any, ...]:
            arrays = tf.numpy_function(
                lambda number, last: alive().next(number, last), [number, step == steps - 1], types
            )
            for array, spec in zip(arrays, specs, strict=True):
                array.set_shape((rows, *spec.shape))
            return nest(arrays)

        return tf.data.Dataset.range(steps).map(one_batch)

    stream: Any = tf.data.Dataset.from_tensors(0).flat_map(one_pass)
    stream.zarrfeed_passes = passes
    if count is not None:
        stream = stream.apply(tf.data.experimental.assert_cardinality(count))
    stream = stream.prefetch(1)
    options = tf.data.Options()
    if final:
        options.autotune.enabled = False
    if ranks > 1:  # a share is not shared out once more
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return stream.with_options(options)


def _expect_one_rank(ranks: int) -> None:
    """Refuse a share of the data where a model takes a share of each batch by itself."""
    resolver = tf.distribute.get_strategy().cluster_resolver
    cluster = resolver.cluster_spec().as_dict() if resolver is not None else {}
    workers = sum(len(cluster.get(job, ())) for job in ("chief", "master", "worker"))
    if ranks > 1 and workers > 1:
        raise ValueError(
            f"the sequence was given world_size={ranks}, but under tf.distribute's "
            f"MultiWorkerMirroredStrategy TensorFlow itself shares out every batch among its "
            f"{workers} workers: samples would be lost. Leave rank and world_size out; batch_size "
            "then counts over all workers"
        )
