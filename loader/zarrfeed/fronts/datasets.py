"""A sequence as a dataset of another library: tf.data, Grain."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from zarrfeed.errors import how_to_install, look_up
from zarrfeed.fronts.base_sequence import BaseSequence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import grain
    import tensorflow as tf

    from zarrfeed.arrays import Arrays, Batch, Nest


class Datasets(BaseSequence):
    """The part of a sequence that other libraries take."""

    _made_in: int  # the process in which the sequence was made

    def to_tf_dataset(self) -> tf.data.Dataset:
        """Return a ``tf.data.Dataset`` of the same batches, to map, zip or batch it further.

        Returns
        -------
        tf.data.Dataset
            A dataset of batches with known shapes and cardinality. (The cardinality is unknown
            after :meth:`load_state_dict`, because the first pass is shorter.) Every full pass
            advances to the next epoch. Tensors share the batches' memory without a copy.

        Raises
        ------
        ImportError
            TensorFlow is not installed.
        """
        # In the middle of an epoch, the first pass is shorter than the others.
        count = None if self.batch else len(self)
        return self._tf_dataset(self._flat_batches, count=count, final=False)

    def to_grain(self) -> grain.MapDataset[Batch]:
        """Return a Grain ``MapDataset`` of the same samples, to map, batch or mix it further.

        Element i is row i of the first epoch's batches on this rank, without the batch axis and
        nested in the same way, padding included: ``seq.to_grain().batch(seq.batch_size)`` has the
        batches of ``seq``. An index beyond the length belongs to a later epoch, with an order and
        random numbers of its own, so that ``repeat`` goes through the epochs.

        Returns
        -------
        grain.MapDataset
            A dataset that reads each element when it is taken, without this sequence's workers and
            whatever its position. It can be sent to other processes, which open the store
            themselves.

        Raises
        ------
        ImportError
            Grain is not installed.
        ValueError
            The sequence has a `batch_transform`.

        Examples
        --------
        >>> dataset = seq.to_grain().batch(32, drop_remainder=True).repeat(20)  # doctest: +SKIP
        >>> for image, mask in dataset.to_iter_dataset():  # doctest: +SKIP
        ...     step(image, mask)
        """
        try:
            from zarrfeed.fronts.grain_source import Samples
        except ImportError as error:
            raise ImportError(
                f"a grain.MapDataset needs Grain ({error}): {how_to_install('grain')}, or iterate "
                "over the sequence, which does not need it"
                f"{look_up('missing-package')}",
                name=error.name,
            ) from error

        return Samples(self._stream.samples())

    def _flat_batches(self) -> Iterator[Arrays]:
        self._refuse_loaders()
        return self._stream.batches(nested=False)

    def _tf_dataset(
        self, batches: Callable[[], Iterator[Arrays]], *, count: int | None, final: bool,
        nest: Nest | None = None,
    ) -> tf.data.Dataset:  # fmt: skip
        try:
            from zarrfeed.fronts.tf_dataset import stream_dataset
        except ImportError as error:
            raise ImportError(
                f"a tf.data.Dataset needs TensorFlow ({error}): {how_to_install('tensorflow')}, or "
                "iterate over the sequence, which does not need it"
                f"{look_up('missing-package')}",
                name=error.name,
            ) from error

        schedule = self._stream.schedule
        # ResumeCallback may load a position in an epoch of other batches when `fit` has its data.
        full = schedule.drop_remainder or schedule.pad_remainder
        if not final:
            full = not self.has_partial_batch
        return stream_dataset(
            batches,
            self._stream.specs,
            nest or self._stream.batch_spec.structure.nest,
            rows=self.batch_size if full else None,
            length=lambda: len(self) - self.batch,
            count=count,
            ranks=schedule.world_size,
            final=final,
        )

    def _refuse_loaders(self) -> None:
        if self._made_in != os.getpid() and "torch.utils.data" in sys.modules:
            from zarrfeed.fronts.torch_loader import refuse_in_worker

            refuse_in_worker(type(self).__name__)
