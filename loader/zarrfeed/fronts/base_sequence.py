"""What are a sequence's batches, and which comes next? What can be asked of one, and chosen.

Makes no batch: :class:`zarrfeed.FrontEnd` does.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Self

from zarrfeed.feed.request import whole
from zarrfeed.store.descriptive_arrays import normalization_of
from zarrfeed.store.schema import IMAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zarrfeed.feed.stats import EpochStats
    from zarrfeed.feed.stream import Stream
    from zarrfeed.store.descriptive_arrays import Normalization


class BaseSequence:
    """Describes the batches of a stream, and says and chooses which come next."""

    _stream: Stream
    _predicted: int | None = None  # the epoch of Keras' last run, where that was `predict`
    _told_of_names = False

    @property
    def epoch(self) -> int:
        """The epoch that the next iterator goes through."""
        return self._stream.position.coming[0]

    @property
    def batch(self) -> int:
        """The batch that the next iterator begins with: 0, but after :meth:`load_state_dict`."""
        return self._stream.position.coming[1]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by id; empty where the store does not say."""
        return self._stream.split.classes

    @property
    def ignore(self) -> int | None:
        """The mask id that counts as no class, or None."""
        return self._stream.split.ignore

    @property
    def normalization(self) -> Normalization:
        """Mean and variance of the images' channels: ``Normalization(mean=…, variance=…)``.

        Of the samples of `subset` as they are packed, before any transform: for the pair
        ``mean, variance = train.normalization`` of a Keras layer nothing is read but their sums.

        Raises
        ------
        StoreError
            Nobody added the channels up when the split was packed.
        """
        return self.normalization_of(IMAGE)

    def normalization_of(self, field: str) -> Normalization:
        """Mean and variance of the channels of another field of images, like `normalization`."""
        return normalization_of(self._stream.split, self._stream.schedule.ids, field)

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of a batch's arrays, in order; with `class_weight` the last is its weights."""
        return tuple(spec.name for spec in self._stream.specs)

    @property
    def samples(self) -> int:
        """Samples per epoch, before a remainder is dropped."""
        return self._stream.schedule.samples

    def __repr__(self) -> str:
        specs = ", ".join(
            f"{spec.name} {spec.dtype}{list(spec.shape)}" for spec in self._stream.specs
        )
        return (
            f"{type(self).__name__}({str(self._stream.split.path)!r}: {self.samples} samples in "
            f"{len(self)} batches of {self.batch_size}; {specs})"
        )

    def __len__(self) -> int:
        return self._stream.schedule.batches

    def batch_keys(self, index: int, *, epoch: int | None = None) -> list[str]:
        """Name the samples of a batch.

        Parameters
        ----------
        index
            Which batch; negative counts from the end.
        epoch
            Of which epoch; by default of the one under way, which in a loop over the sequence is
            that of the batch at hand, else of the coming one. After ``predict`` a shuffled
            sequence has gone on: give the epoch, or predict with ``shuffle=False``.

        Returns
        -------
        list of str
            One key per row of the batch: the path of the source file, without its extension.
        """
        if epoch is None:
            epoch = self._stream.position.epoch_at_hand
            self._warn_of_names(epoch)
        return self._stream.names(index, epoch)

    def _warn_of_names(self, epoch: int) -> None:
        """Say once that predictions are not of the epoch whose batches are named."""
        if self._predicted is None or self._told_of_names or not self._stream.schedule.shuffle:
            return
        current = (
            self._stream.position.current
        )  # None where another dataset took our batches by their index
        predicted = (
            self._predicted if current is None or current.peek_limit is None else current.epoch
        )
        if predicted == epoch:
            return
        self._told_of_names = True
        warnings.warn(
            f"batch_keys() names the batches of epoch {epoch}; predict went through epoch "
            f"{predicted}, in another order: for its predictions write "
            f"batch_keys(i, epoch={predicted}), or predict with a ZarrSequence(shuffle=False)",
            stacklevel=3,
        )

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iterator goes through.

        Parameters
        ----------
        epoch
            From 0 on. ``fit`` and full iterations advance it by one each.
        """
        self._predicted = None  # who chooses an epoch knows it
        self._stream.position.seek(whole("epoch", epoch, at_least=0))

    def state_dict(self) -> dict[str, Any]:
        """Say where iteration stands, so that it can go on from there in another process.

        Counts the batches that were handed out. Iterating by hand these are the consumed ones; in
        ``fit``, TensorFlow takes some ahead: :class:`zarrfeed.ResumeCallback` counts there.

        Returns
        -------
        dict
            Of numbers and strings, fit for JSON.
        """
        return self._stream.position.state()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another sequence of the same arguments stood.

        Parameters
        ----------
        state
            Of :meth:`state_dict`. The next iterators begin with its very next batch, `batch`, until
            the epoch is over. Batches keep their numbers: the first one is ``seq[seq.batch]``.

        Raises
        ------
        ValueError
            It was saved with other arguments; the message names them.
        """
        self._stream.position.restore(state)

    def stats(self) -> list[EpochStats]:
        """Say what every pass over the data cost, the one under way included.

        Returns
        -------
        list of EpochStats
            In the order of the passes, the last 1000 of them: batches, samples, bytes, the seconds
            that the consumer waited, that workers read, decoded, transformed and idled, and the
            resident memory of this process and its workers.
        """
        return self._stream.stats()

    def close(self) -> None:
        """Stop the workers and free the memory that no batch is using; iterating starts anew."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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
