"""Position of a sequence, and the sizes of its batches.

:class:`zarrfeed.FrontEnd` adds the batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from zarrfeed.arguments import whole
from zarrfeed.fronts.sequence_facts import SequenceFacts
from zarrfeed.user_warning import warn_user

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zarrfeed.feed.stats import EpochStats
    from zarrfeed.feed.workers.patch_reader import PatchPlace


class BaseSequence(SequenceFacts):
    """The part of a sequence that gets and sets its position."""

    _predicted: int | None = None  # the epoch of Keras' last run if that was `predict`
    _warned_of_keys = False

    @property
    def epoch(self) -> int:
        """The epoch that the next iterator goes through."""
        return self._stream.position.coming[0]

    @property
    def batch(self) -> int:
        """The batch that the next iterator begins with: 0, except after :meth:`load_state_dict`."""
        return self._stream.position.coming[1]

    def __repr__(self) -> str:
        specs = ", ".join(
            f"{spec.name} {spec.dtype}{list(spec.shape)}" for spec in self._stream.specs
        )
        return (
            f"{type(self).__name__}({self._stream.split.address!r}: {self.samples} samples in "
            f"{len(self)} batches of {self.batch_size}; {specs})"
        )

    def __len__(self) -> int:
        return self._stream.schedule.batches

    def batch_keys(self, index: int, *, epoch: int | None = None) -> list[str]:
        """Return the keys of a batch's samples.

        Parameters
        ----------
        index
            Number of the batch. A negative number counts from the end.
        epoch
            Number of the epoch. By default the epoch of the current batch in a loop over the
            sequence, and the next epoch outside of a loop. After ``predict`` a shuffled sequence
            has moved to the next epoch: give the epoch, or predict with ``shuffle=False``.

        Returns
        -------
        list of str
            One key per row of the batch: the path of the source file, without its extension; for
            patches that of their case.

        Raises
        ------
        IndexError
            There is no such batch.
        """
        if epoch is None:
            epoch = self._stream.position.epoch_at_hand
            self._warn_of_keys(epoch)
        return self._stream.names(index, epoch)

    def batch_places(self, index: int, *, epoch: int | None = None) -> list[PatchPlace]:
        """Return where the patches of a batch lie.

        This reads the masks in which the pixels of forced classes are looked up.

        Parameters
        ----------
        index, epoch
            As for :meth:`batch_keys`.

        Returns
        -------
        list of PatchPlace
            For each row of the batch the key of its case, the origin in it, the class that it had
            to contain, and how it is flipped and turned.

        Raises
        ------
        IndexError
            There is no such batch.
        ValueError
            The sequence has no `patches`.
        """
        if self._stream.batch_spec.patches is None:
            raise ValueError("batch_places() needs ZarrSequence(patches=…), got whole samples")
        if epoch is None:
            epoch = self._stream.position.epoch_at_hand
            self._warn_of_keys(epoch, "batch_places")
        return self._stream.places(index, epoch)

    def _warn_of_keys(self, epoch: int, called: str = "batch_keys") -> None:
        """Warn once if the last ``predict`` used another epoch than that of the returned keys."""
        if self._predicted is None or self._warned_of_keys or not self._stream.schedule.shuffle:
            return
        # None if another dataset took the batches by index.
        current = self._stream.position.current
        predicted = (
            self._predicted if current is None or current.peek_limit is None else current.epoch
        )
        if predicted == epoch:
            return
        self._warned_of_keys = True
        warn_user(
            f"{called}() names the batches of epoch {epoch}; predict went through epoch "
            f"{predicted}, in another order: for its predictions use "
            f"{called}(i, epoch={predicted}), or predict with a ZarrSequence(shuffle=False)",
        )

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that the next iterator goes through.

        Parameters
        ----------
        epoch
            Number of the epoch, from 0 on. Every epoch of ``fit`` and every full iteration
            advances it by one.
        """
        self._predicted = None  # whoever sets an epoch needs no warning
        self._stream.position.seek(whole("epoch", epoch, at_least=0))

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the iteration, so that another process can continue it.

        The position is that after the last batch handed out. In a loop over the sequence this is
        the last one consumed. In ``fit``, TensorFlow takes batches ahead; use
        :class:`zarrfeed.ResumeCallback` there.

        Returns
        -------
        dict
            Numbers and strings that fit JSON.
        """
        return self._stream.position.state()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue at the position of another sequence of the same samples in the same order.

        The next iterators begin with the batch after the last one handed out there, until the epoch
        is over. Batches keep their numbers: the first one is ``seq[seq.batch]``.

        `world_size`, `rank`, `batch_size`, `drop_remainder` and `pad_remainder` may have been
        others. The ranks of now then share what those of then have left of the epoch: none of its
        samples is read twice, and none is lost. The position is the same for all ranks; the state
        of any of them is enough. What has changed is logged when the next pass begins.

        Parameters
        ----------
        state
            Return value of :meth:`state_dict`.

        Raises
        ------
        ValueError
            `state` was saved with another order of samples; the message names the arguments.
        """
        self._stream.position.restore(state)

    def stats(self) -> list[EpochStats]:
        """Return statistics of the last 1000 passes over the data, including the one under way.

        Returns
        -------
        list of EpochStats
            In the order of the passes: batches, samples and bytes; the seconds that the consumer
            waited, and that workers read, decoded, transformed and idled; and the resident memory
            of this process and its workers.
        """
        return self._stream.stats()

    def close(self) -> None:
        """Stop the workers and free the memory that no batch uses.

        The sequence can still be used: iterating over it starts the workers again.
        """
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def num_batches(self) -> int:
        """Number of batches per epoch."""
        return len(self)

    @property
    def batch_size(self) -> int:
        """Number of samples per full batch."""
        return self._stream.schedule.batch_size

    @property
    def has_partial_batch(self) -> bool:
        """Whether the last batch is smaller than the others."""
        return bool(self._partial_batch_sizes)

    @property
    def partial_batch_size(self) -> int | None:
        """Number of samples in the last batch; None if it is full."""
        return self._partial_batch_sizes[-1] if self._partial_batch_sizes else None

    @property
    def _partial_batch_sizes(self) -> list[int]:
        """Sizes of last batches: of the rest of an epoch that has begun, and of a whole one."""
        schedule, epoch = self._stream.schedule, self.epoch
        last = [schedule.grid(each).rows(len(self) - 1) for each in (epoch, epoch + 1)]
        sizes = (rows.stop - rows.start for rows in last)
        return [size for size in sizes if size < self.batch_size]
