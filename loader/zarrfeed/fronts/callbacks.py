"""Keras callbacks: the base class of those that follow a sequence, and :class:`FeedMonitor`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import look_up
from zarrfeed.feed.stats import model_waits
from zarrfeed.fronts.epoch_report import epoch_line
from zarrfeed.fronts.front_end import FrontEnd
from zarrfeed.fronts.keras_version import legacy_keras, no_keras
from zarrfeed.spelling import named

try:
    if legacy_keras():
        import tf_keras as keras
    else:
        import keras  # type: ignore[no-redef, unused-ignore]
except ImportError as error:
    raise no_keras("a Keras callback of zarrfeed", error) from error

if TYPE_CHECKING:
    from collections.abc import Callable

    from zarrfeed.feed.passes import Pass
    from zarrfeed.feed.stats import Tally
    from zarrfeed.fronts.keras_sequence import ZarrSequence


class SequenceCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Base class of callbacks that follow the passes over the training sequence."""

    def __init__(self, sequence: ZarrSequence) -> None:
        super().__init__()
        if not isinstance(sequence, FrontEnd):
            raise TypeError(
                f"{type(self).__name__} needs the ZarrSequence that is trained on, got a "
                f"{type(sequence).__name__}"
            )
        self._sequence = sequence
        # Pass and batch of the sequence when training began; None once it has moved.
        self._at_begin: tuple[Pass | None, int] | None = None

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        """Record the position of the sequence."""
        current = self._sequence._stream.position.current
        self._at_begin = current, 0 if current is None else current.next

    def _current_pass(self) -> Pass:
        """Return the pass that the model is trained on.

        Raises
        ------
        RuntimeError
            The model was trained on a batch that did not come from the sequence.
        """
        current = self._sequence._stream.position.current
        if current is None or (
            self._at_begin is not None
            and current is self._at_begin[0]
            and current.next == self._at_begin[1]
        ):
            name = type(self).__name__
            raise RuntimeError(
                f"{name} follows a ZarrSequence, but fit took no batch of it: needed the sequence "
                f"that fit trains on, got {self._sequence!r}. Give fit the sequence itself, not a "
                f"dataset around it, and give {name} the same one"
                f"{look_up('callback-sequence')}"
            )
        self._at_begin = None
        return current


class FeedMonitor(SequenceCallback):
    """Print one line per epoch: batches/s, how long the model waited, and what limits the speed.

    The figures of the first epoch include the start-up.

    Parameters
    ----------
    sequence
        The sequence that is trained on.
    print_line
        Function that takes the line; ``print`` by default.

    Examples
    --------
    >>> model.fit(train, callbacks=[zarrfeed.FeedMonitor(train)])  # doctest: +SKIP
    epoch 1: 41.3 batches/s, model waited 2% of the time: compute is the limit
    """

    @named
    def __init__(self, sequence: ZarrSequence, print_line: Callable[[str], Any] = print) -> None:
        super().__init__(sequence)
        self._print = print_line
        self._finished: list[float] = []
        self._tally: Tally | None = None
        self._before = 0
        self._began = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Start the clock."""
        self._began = time.perf_counter()
        self._finished = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Record the time at which a step ended."""
        current = self._current_pass()
        if current.tally is not self._tally:
            self._tally, self._before = current.tally, 0
        steps = batch + 1 - len(self._finished)  # more than one with steps_per_execution
        self._finished += [time.perf_counter()] * steps

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Print the line."""
        if self._tally is None:
            return
        taken = self._tally.taken[self._before :]
        self._before += len(self._finished)
        request = self._sequence._stream.request
        line = epoch_line(
            epoch,
            steps=len(self._finished),
            seconds=time.perf_counter() - self._began,
            waited=model_waits(taken, self._finished),
            stats=self._tally.stats(),
            workers=request.workers,
            processes=request.processes,
        )
        params: Any = self.params
        # Keras' progress bar is still in the current line.
        self._print(f"\n{line}" if params.get("verbose") == 1 else line)
