"""The base classes of peers, which convert the samples once and then feed them.

A peer is one short module in :mod:`compare.peers`. At its top it imports only NumPy and this
package. The measured library is imported where it is used, so that listing peers is fast and works
without it.
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

Setting: TypeAlias = dict[str, Any]  # JSON values, among which the sweep chooses
Batch: TypeAlias = tuple[Any, Any]  # NumPy arrays of images (b, *image) and masks (b, *mask)
Level: TypeAlias = Literal["read", "fit", "train"]


class Loader(ABC):
    """An opened peer, which delivers epoch after epoch. Use it as a context manager.

    Parameters
    ----------
    work
        The workload.
    """

    def __init__(self, work: Workload) -> None:
        self.work = work

    @abstractmethod
    def epoch(self, number: int) -> Iterator[Batch]:
        """Iterate over one epoch, shuffled differently from every other epoch.

        A batch only needs to stay valid until the next one is requested. A partial last batch may
        be left out.
        """

    def keras(self) -> Any:
        """Return data for Keras' ``fit``: by default a ``tf.data.Dataset`` of the epochs.

        On Keras' other backends, which do not need TensorFlow, an endless generator.
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
        """Stop threads and processes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Peer(ABC):
    """One way of storing samples and feeding them.

    Attributes
    ----------
    name
        Name in tables.
    stored
        Name of its folder. Peers of the same format share a folder and are converted once.
    needs
        Modules that it needs, which a measuring process imports before the clock starts.
    levels
        Levels at which it can be measured.
    ours, limit
        Whether it is zarrfeed, or a bound that no loader can exceed and that cannot train.
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

    def supports(self, work: Workload) -> bool:  # noqa: ARG002
        """Whether it can store such samples."""
        return True

    def settings(self, work: Workload, level: Level, cores: int) -> list[Setting]:  # noqa: ARG002
        """Return the settings to sweep, the most promising first."""
        return [{}]

    @abstractmethod
    def convert(self, samples: Samples, folder: Path) -> None:
        """Write all samples into an empty folder, in this peer's format."""

    @abstractmethod
    def open(self, folder: Path, work: Workload, setting: Setting) -> Loader:
        """Open what :meth:`convert` wrote."""


def shuffled(work: Workload, epoch: int) -> np.ndarray:
    """Return a random order of an epoch.

    Returns
    -------
    (batches, batch_size) int64
        Sample ids, without a partial last batch.
    """
    order = np.random.default_rng(epoch).permutation(work.samples)
    return order[: work.batches * work.batch_size].reshape(work.batches, work.batch_size)


def aligned_batch(work: Workload) -> tuple[np.ndarray, np.ndarray]:
    """Allocate a batch on 64-byte boundaries, so that TensorFlow takes it without a copy."""
    return (
        aligned_empty((work.batch_size, *work.image), work.dtype),
        aligned_empty((work.batch_size, *work.mask), "uint8"),
    )


def aligned_empty(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Allocate an array that starts on a 64-byte boundary, and touch all of its pages."""
    kind = np.dtype(dtype)
    nbytes = int(np.prod(shape)) * kind.itemsize
    memory = np.ones(nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + nbytes].view(kind).reshape(shape)
