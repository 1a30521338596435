"""What is a peer? Something that converts the samples once, and then feeds them.

A peer is one short module in :mod:`compare.peers`. At its top it imports NumPy and this package
alone: what it measures is imported where it is used, so that a list of peers costs nothing, and
one that is not installed can still be named.
"""

from __future__ import annotations

import importlib.util
import itertools
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from compare.samples import Samples
    from compare.workloads import Workload

Setting: TypeAlias = dict[str, Any]  # plain JSON values; what the sweep chooses among
Batch: TypeAlias = tuple[Any, Any]  # images (b, *image) and masks (b, *mask), NumPy arrays
Level: TypeAlias = Literal["read", "fit", "train"]


class Loader(ABC):
    """An opened peer: hands out epoch after epoch. A context manager.

    Parameters
    ----------
    work
        What it feeds.
    """

    def __init__(self, work: Workload) -> None:
        self.work = work

    @abstractmethod
    def epoch(self, number: int) -> Iterator[Batch]:
        """Go through one epoch, fully shuffled and otherwise than any other epoch.

        A batch need only stay valid until the next one is asked for, and a partial last batch is
        left out, both as the peer likes it best.
        """

    def keras(self) -> Any:
        """Make what Keras' ``fit`` takes: by default the epochs as a ``tf.data.Dataset``.

        On Keras' other backends, which need no TensorFlow, as a generator without an end.
        """
        import keras

        if keras.backend.backend() != "tensorflow":
            return self._endless()
        return self._dataset()

    def _endless(self) -> Iterator[Batch]:
        for number in itertools.count(1):
            yield from self.epoch(number)

    def _dataset(self) -> Any:
        import tensorflow as tf

        work, epochs = self.work, itertools.count(1)
        signature = (
            tf.TensorSpec((work.batch_size, *work.image), work.dtype),
            tf.TensorSpec((work.batch_size, *work.mask), "uint8"),
        )
        dataset = tf.data.Dataset.from_generator(
            lambda: self.epoch(next(epochs)), output_signature=signature
        )
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(work.batches))
        return dataset.prefetch(2)

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Stop what was started."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Peer(ABC):
    """One way of storing samples and feeding them.

    Attributes
    ----------
    name
        As it stands in the table.
    stored
        Names its folder; peers of the same format share one, and are converted once.
    needs
        Modules that must be importable; a measuring process imports them before the clock starts.
    levels
        At which it can be measured.
    ours, limit
        Whether it is zarrfeed, or a bound that no loader passes and nobody could train with.
    """

    name: ClassVar[str]
    stored: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    levels: ClassVar[tuple[Level, ...]] = ("read", "fit", "train")
    ours: ClassVar[bool] = False
    limit: ClassVar[bool] = False

    @property
    def missing(self) -> tuple[str, ...]:
        """Modules that are not installed."""
        return tuple(name for name in self.needs if importlib.util.find_spec(name) is None)

    def takes(self, work: Workload) -> bool:  # noqa: ARG002
        """Say whether it can hold such samples at all."""
        return True

    def settings(self, work: Workload, level: Level, cores: int) -> list[Setting]:  # noqa: ARG002
        """List what the sweep tries, the most promising first."""
        return [{}]

    @abstractmethod
    def convert(self, samples: Samples, folder: Path) -> None:
        """Write all samples into an empty folder, in this peer's format."""

    @abstractmethod
    def open(self, folder: Path, work: Workload, setting: Setting) -> Loader:
        """Open what :meth:`convert` wrote."""


def shuffled(work: Workload, epoch: int) -> np.ndarray:
    """Order an epoch by chance.

    Returns
    -------
    (batches, batch_size) int64
        Sample numbers; a partial last batch is left out.
    """
    order = np.random.default_rng(epoch).permutation(work.samples)
    return order[: work.batches * work.batch_size].reshape(work.batches, work.batch_size)


def aligned_batch(work: Workload) -> tuple[np.ndarray, np.ndarray]:
    """Allocate a batch on 64-byte boundaries, from where TensorFlow takes it without a copy."""
    return (
        aligned_empty((work.batch_size, *work.image), work.dtype),
        aligned_empty((work.batch_size, *work.mask), "uint8"),
    )


def aligned_empty(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Allocate an array that begins on a 64-byte boundary, all its pages touched."""
    kind = np.dtype(dtype)
    nbytes = int(np.prod(shape)) * kind.itemsize
    memory = np.ones(nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + nbytes].view(kind).reshape(shape)
