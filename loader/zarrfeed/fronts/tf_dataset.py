"""A stream of batches as a ``tf.data.Dataset``. The only module that imports TensorFlow.

``Dataset.from_generator`` would work, but checks and converts every batch in Python. A plain
``numpy_function`` hands over a fifth more batches per second (measured with a constant batch in
``fit``).
"""

from __future__ import annotations

import itertools
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from zarrfeed.errors import look_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from zarrfeed.arrays import Arrays, Nest
    from zarrfeed.feed.slot import Spec

# Number of passes to keep. TensorFlow does not tell when it drops an iterator. A pass that is not
# iterated over holds no batch, so that many can be kept, and no program has that many at once.
_PASSES_KEPT = 64


class _Passes:
    """The passes of TensorFlow's iterators, by number, because an iterator can hold only tensors.

    The dataset owns this object. The functions in TensorFlow's graph, which is never freed, have
    only a weak reference to it.
    """

    def __init__(
        self,
        start: Callable[[], Iterator[Arrays]],
        length: Callable[[], int],
        rows: int | None,
    ) -> None:
        self._start = start
        self._length = length
        self._rows = rows
        self._numbers = itertools.count()
        self._passes: OrderedDict[int, Iterator[Arrays]] = OrderedDict()

    def begin(self) -> tuple[np.int64, np.int64]:
        """Begin a pass, and return its number and its length."""
        number, length = next(self._numbers), self._length()
        self._passes[number] = self._start()
        if len(self._passes) > _PASSES_KEPT:
            self._passes.popitem(last=False)
        return np.int64(number), np.int64(length)

    def next(self, number: np.int64, last: np.bool_) -> Arrays:
        """Return the next batch of a pass. After the last one, end the pass."""
        if not last:
            return next(self._passes[int(number)])
        ending = self._passes.pop(int(number))
        batch = next(ending)
        next(ending, None)
        if self._rows not in (None, len(batch[0])):
            raise ValueError(
                f"this dataset promised batches of {self._rows}, but the last one has "
                f"{len(batch[0])}, because the sequence goes on in the middle of an epoch: make "
                "the dataset after load_state_dict"
                f"{look_up('resume')}"
            )
        return batch


def stream_dataset(
    batches: Callable[[], Iterator[Arrays]],
    specs: Sequence[Spec],
    nest: Nest,
    *,
    rows: int | None,
    length: Callable[[], int],
    count: int | None,
    ranks: int,
    final: bool,
) -> tf.data.Dataset:
    """Wrap a stream without copying, because TensorFlow aliases 64-byte aligned arrays.

    Parameters
    ----------
    batches
        Function that starts a pass, which yields tuples of arrays.
    specs
        Name, shape and dtype of one sample of each array.
    nest
        Function that nests arrays as inputs, targets and weights.
    rows
        Number of samples per batch if all batches are full; None if the last one may be smaller.
    length
        Function that returns the number of batches of the next pass.
    count
        Cardinality of the dataset, which every pass must have; None if lengths differ.
    ranks
        Number of processes that share the data, each with its own stream.
    final
        Whether a model takes the batches as they are. TensorFlow then does not tune the dataset,
        because its measurements cost a step of `fit` more time than the dataset itself. These
        options would also affect all datasets that users derive from this one.

    Returns
    -------
    tf.data.Dataset
        A dataset of what `nest` returns. Every iterator on it starts a pass.

    Raises
    ------
    ValueError
        `final` is True and `ranks` above 1, but the current strategy has several workers, too.
    """
    if final:
        _require_one_rank(ranks)
    passes = _Passes(batches, length, rows)
    reference = weakref.ref(passes)
    types = [tf.as_dtype(spec.dtype) for spec in specs]

    def alive() -> _Passes:
        found = reference()
        assert found is not None  # the dataset is alive while it is iterated over
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
    if ranks > 1:  # the data of a rank must not be sharded again
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return stream.with_options(options)


def _require_one_rank(ranks: int) -> None:
    """Refuse several ranks if TensorFlow itself divides every batch among workers."""
    resolver = tf.distribute.get_strategy().cluster_resolver
    cluster = resolver.cluster_spec().as_dict() if resolver is not None else {}
    workers = sum(len(cluster.get(job, ())) for job in ("chief", "master", "worker"))
    if ranks > 1 and workers > 1:
        raise ValueError(
            f"the sequence was given world_size={ranks}, but under tf.distribute's "
            f"MultiWorkerMirroredStrategy TensorFlow itself shares out every batch among its "
            f"{workers} workers: samples would be lost. Leave rank and world_size out; batch_size "
            "then counts over all workers"
            f"{look_up('rank')}"
        )
