"""The Keras callback that resumes training after a kill."""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import StoreError, look_up
from zarrfeed.fronts.callbacks import SequenceCallback
from zarrfeed.fronts.keras_version import legacy_keras
from zarrfeed.order.resume_state import ResumeJournal
from zarrfeed.spelling import named
from zarrfeed.store.address import absolute_path
from zarrfeed.user_warning import warn_user

if TYPE_CHECKING:
    from pathlib import Path

    from zarrfeed.fronts.keras_sequence import ZarrSequence

_LOG = logging.getLogger(__name__)


class ResumeCallback(SequenceCallback):
    """Continue with the very next batch after training was killed, along with ``BackupAndRestore``.

    ``BackupAndRestore`` restores weights and optimizer, but begins the interrupted epoch again.
    This callback keeps a journal of which batch belongs to which step of the optimizer, and moves
    the sequence to the batch after the last one that the restored weights have seen. The restored
    optimizer knows its step, so that weights and data always agree, whenever the kill came.

    The first epoch after a restart has only the remaining batches. They may be shared by another
    number of ranks, or have another size; see :meth:`ZarrSequence.load_state_dict`. The journal is
    removed when training is complete.

    Parameters
    ----------
    sequence
        The sequence that is trained on.
    path
        Path of the journal, a small JSON file, or of a folder for it. The folder of
        ``BackupAndRestore`` is a good place.

    Raises
    ------
    NotImplementedError
        Keras is tf_keras; the callback needs Keras 3.
    ValueError
        When training begins: the journal was written by a sequence with another order of samples.

    Notes
    -----
    List it after ``BackupAndRestore``, or load weights and optimizer before ``fit``, because this
    callback restores neither. It warns if an interrupted run starts from step 0 again. With
    ``mixed_float16``, the optimizer does not count steps that the loss scale skips; as many batches
    of the interrupted epoch are trained on again.

    Examples
    --------
    >>> callbacks = [
    ...     keras.callbacks.BackupAndRestore("backup", save_freq=100),
    ...     zarrfeed.ResumeCallback(train, "backup"),
    ... ]  # doctest: +SKIP
    """

    @named
    def __init__(self, sequence: ZarrSequence, path: str | os.PathLike[str]) -> None:
        super().__init__(sequence)
        if legacy_keras():
            raise NotImplementedError(
                "ResumeCallback needs Keras 3, but TF_USE_LEGACY_KERAS asks for tf_keras; with "
                "tf_keras, save sequence.state_dict() along with the weights"
            )
        if not isinstance(path, str | os.PathLike):
            raise TypeError(
                "ResumeCallback needs the path of its journal, or of the folder of "
                f"BackupAndRestore, not {path!r}"
            )
        journal = absolute_path(path)
        self._path = journal if journal.suffix else journal / "zarrfeed.json"
        self._journal = ResumeJournal()
        self._consumed = 0  # batches consumed in the pass under way
        self._begun_at = 0  # those before the Keras epoch under way
        self._restored_at: int | None = None
        self._reached = 0  # the latest step in the journal of an earlier run
        self._short = _ShortEpoch()
        self._is_short = False  # whether the Keras epoch under way lacks its first batches

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        """Move the sequence to the batch after the last one that the restored weights have seen."""
        super().on_train_begin()
        self._journal = ResumeJournal(_read_entries(self._path))
        self._reached = max([entry["step"] for entry in self._journal.entries], default=0)
        self._consumed = len(self._sequence)
        schedule = self._sequence._stream.schedule
        self._restored_at = self._step()
        try:
            found = self._journal.look_up(self._restored_at, schedule)
        except ValueError as error:
            said = str(error).replace(look_up("resume"), "")
            raise ValueError(
                f"{self._path}: {said}: remove this file to begin the epoch again with the "
                "restored weights"
                f"{look_up('resume')}"
            ) from error
        if not self._journal.entries:
            _LOG.info(
                "%s: saves only the position in the data; weights and optimizer are saved by "
                "BackupAndRestore, or by you", self._path,
            )  # fmt: skip
        if found is None:
            if self._restored_at:
                self._say(
                    f"found no saved position of step {self._restored_at} in {self._path}; starts"
                )
            return
        run_epoch, state = found
        self._sequence.load_state_dict(state)
        # BackupAndRestore sets this, too, but saves epoch 0 in the first epoch after a restart.
        model: Any = self.model
        model._initial_epoch = run_epoch
        if self._restored_at:
            self._say(f"goes on after step {self._restored_at}")

    def _say(self, what: str) -> None:
        at = f"epoch {self._sequence.epoch + 1}, batch {self._sequence.batch + 1}"
        print(f"ResumeCallback {what} with {at} of {len(self._sequence)}")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Record the step and the batch with which the epoch begins."""
        step = self._step()
        if self._restored_at not in (None, step):
            raise RuntimeError(
                f"the optimizer was restored to step {step} after ResumeCallback had found it at "
                f"step {self._restored_at}: list ResumeCallback after BackupAndRestore"
                f"{look_up('resume')}"
            )
        if self._restored_at == 0 < self._reached:
            warn_user(
                f"ResumeCallback begins anew: the run that wrote {self._path} had come to step "
                f"{self._reached}, but the optimizer is at step 0. No weights were restored: list "
                "keras.callbacks.BackupAndRestore before it, with a save_freq that saves in "
                "time, or load the weights and the optimizer before fit. To begin anew on "
                "purpose, remove the file",
            )
        self._restored_at = None
        position = self._sequence._stream.position
        params: Any = self.params
        batches = len(self._sequence)
        steps = params["steps"] or batches
        current = position.current
        # With fewer steps_per_epoch than batches, Keras continues the iterator of the last epoch.
        if steps < batches and self._consumed < batches and current is not None:
            state = position.state(self._consumed)
        else:
            state = position.coming_state()
            self._consumed = state["batch"]
        first = self._consumed
        length = min(steps, batches - first)
        self._journal.note(step, epoch, length, state)
        _write_entries(self._path, self._journal.entries)
        self._begun_at = self._consumed
        self._is_short = steps >= batches and first > 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Count the batch, and end an epoch that has no more batches.

        Parameters
        ----------
        batch
            Number of the step in its epoch.
        """
        self._current_pass()
        self._consumed = self._begun_at + batch + 1
        if self._is_short and self._consumed == len(self._sequence):
            # Keras expects more batches. On TensorFlow, a step without a batch would still advance
            # the optimizer, so end the epoch as EarlyStopping does.
            self._set_stop(self._short)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Continue training after a short epoch, unless another callback stops it."""
        model: Any = self.model
        if model.stop_training is self._short:
            self._set_stop(False)
        if self._is_short:
            self._sequence._confirm_pass()

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002
        """Remove the journal, because training is complete."""
        self._path.unlink(missing_ok=True)

    def _step(self) -> int:
        """Return the number of the optimizer's steps, including those that accumulate gradients."""
        model: Any = self.model
        optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        counters = [v for v in optimizer.variables if v.name == "iteration"]
        counter: Any = counters[0] if counters else optimizer.iterations
        value = counter.value  # converting it by keras.ops warns on TensorFlow
        # With MirroredStrategy, a variable of TensorFlow is one for each device.
        return int(value.read_value() if hasattr(value, "read_value") else value)

    def _set_stop(self, stop: object) -> None:
        model: Any = self.model
        model.stop_training = stop


class _ShortEpoch:
    """A value of ``model.stop_training`` that tells this callback's request to stop from others."""


def _read_entries(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        return list(json.loads(path.read_text("utf-8"))["entries"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path}: needed a journal of ResumeCallback, got {error!r}; remove the file to begin "
            "anew"
            f"{look_up('resume')}"
        ) from error


def _write_entries(path: Path, entries: list[dict[str, Any]]) -> None:
    """Write to another file and rename it, so that a kill leaves the old journal or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}.partial")  # ranks may share a journal
    aside.write_text(json.dumps({"entries": entries}), "utf-8")
    aside.replace(path)
