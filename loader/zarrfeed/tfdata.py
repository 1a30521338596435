"""The one module that knows TensorFlow: a stream of batches as a ``tf.data.Dataset``."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from zarrfeed.slot import Arrays, Spec


class _Source:
    """Lives as long as the dataset: TensorFlow's graph keeps the generator's function for good."""

    def __init__(self, start: Callable[[], Iterator[Arrays]]) -> None:
        self.start = start


def stream_dataset(
    batches: Callable[[], Iterator[Arrays]],
    specs: Sequence[Spec],
    *,
    rows: int | None,
    count: int | None,
) -> tf.data.Dataset:
    """Wrap a stream without copying: TensorFlow aliases 64-byte aligned arrays.

    Parameters
    ----------
    batches
        Starts a pass.
    specs
        One sample of each array.
    rows
        Samples per batch where all are full; None where the last is smaller.
    count
        Batches in a pass, and a pass of another length is an error; None where lengths differ.

    Returns
    -------
    tf.data.Dataset
        Of tuples; every iterator on it starts a pass.
    """
    signature = tuple(
        tf.TensorSpec((rows, *spec.shape), tf.as_dtype(spec.dtype), name=spec.name)
        for spec in specs
    )
    source = _Source(batches)
    reference = weakref.ref(source)

    def start() -> Iterator[Arrays]:
        alive = reference()
        assert alive is not None  # a dataset that is iterated over lives
        return alive.start()

    stream: Any = tf.data.Dataset.from_generator(start, output_signature=signature)
    stream.zarrfeed_source = source
    if count is not None:
        stream = stream.apply(tf.data.experimental.assert_cardinality(count))
    return stream.prefetch(1)
