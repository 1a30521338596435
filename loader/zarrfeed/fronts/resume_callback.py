"""The Keras callback that resumes training after a kill. Knows Keras through `callbacks` alone."""

from __future__ import annotations

import json
import logging
import os
import warnings
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import StoreError
from zarrfeed.fronts.callbacks import SequenceCallback
from zarrfeed.fronts.keras_version import legacy_keras
from zarrfeed.order.resume_state import ResumeJournal
from zarrfeed.spelling import named
from zarrfeed.store.address import absolute_path

if TYPE_CHECKING:
    from pathlib import Path

    from zarrfeed.fronts.keras_sequence import ZarrSequence

_LOG = logging.getLogger(__name__)


class ResumeCallback(SequenceCallback):
    """Go on with the very next batch after training was killed, beside ``BackupAndRestore``.

    ``BackupAndRestore`` restores weights and optimizer, but begins the interrupted epoch again.
    This callback keeps a journal of which batch belongs to which step of the optimizer, and sets
    the sequence to the batch after the last one that the restored weights have seen. As the
    restored optimizer itself says how far it is, the two cannot disagree, whenever the kill came.

    The first epoch after a restart has only the batches that were left. The journal is removed
    when training is complete.

    Parameters
    ----------
    sequence
        That is trained on.
    path
        Of the journal, a small JSON file, or of a folder for it; a good place is
        ``BackupAndRestore``'s own folder.

    Raises
    ------
    NotImplementedError
        For tf_keras: it takes Keras 3.
    ValueError
        When training begins: the journal was written by a sequence of other batches.

    Notes
    -----
    List it after ``BackupAndRestore``, or load weights and optimizer before ``fit``: it restores
    none, and warns where an interrupted run is begun anew. With ``mixed_float16``, steps that the
    loss scale skips are not counted by the optimizer; those of the interrupted epoch are done
    again.

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
                "ResumeCallback needs Keras 3, and TF_USE_LEGACY_KERAS asks for tf_keras; there, "
                "keep sequence.state_dict() beside the weights"
            )
        journal = absolute_path(path)
        self._path = journal if journal.suffix else journal / "zarrfeed.json"
        self._journal = ResumeJournal()
        self._consumed = 0  # batches of the pass under way
        self._begun_at = 0  # of these, before the Keras epoch under way
        self._restored_at: int | None = None
        self._reached = 0  # the newest step that an earlier run wrote down
        self._short = _ShortEpoch()
        self._is_short = False  # the Keras epoch under way

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        """Set the sequence to where the restored weights stand."""
        super().on_train_begin()
        self._journal = ResumeJournal(_read_entries(self._path))
        self._reached = max([entry["step"] for entry in self._journal.entries], default=0)
        self._consumed = len(self._sequence)
        schedule = self._sequence._stream.schedule
        self._restored_at = self._step()
        try:
            found = self._journal.look_up(self._restored_at, schedule)
        except ValueError as error:
            raise ValueError(
                f"{self._path}: {error}: remove this file to begin the epoch anew, on the restored "
                "weights"
            ) from error
        if not self._journal.entries:
            _LOG.info(
                "%s: only the position in the data is kept; BackupAndRestore, or you, keep weights "
                "and optimizer", self._path,
            )  # fmt: skip
        if found is None:
            if self._restored_at:
                self._say(
                    f"found no saved position of step {self._restored_at} in {self._path}; starts"
                )
            return
        run_epoch, state = found
        self._sequence.load_state_dict(state)
        # As BackupAndRestore does, which saves epoch 0 in the first epoch after a restart.
        model: Any = self.model
        model._initial_epoch = run_epoch
        if self._restored_at:
            self._say(f"goes on after step {self._restored_at}")

    def _say(self, what: str) -> None:
        at = f"epoch {self._sequence.epoch + 1}, batch {self._sequence.batch + 1}"
        print(f"ResumeCallback {what} with {at} of {len(self._sequence)}")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Record which batch comes at which step."""
        step = self._step()
        if self._restored_at not in (None, step):
            raise RuntimeError(
                f"the optimizer was restored to step {step} after ResumeCallback had seen "
                f"{self._restored_at}: list ResumeCallback after BackupAndRestore"
            )
        if self._restored_at == 0 < self._reached:
            warnings.warn(
                f"ResumeCallback begins anew: the run that wrote {self._path} had come to step "
                f"{self._reached}, and the optimizer is at step 0. No weights were restored: list "
                "keras.callbacks.BackupAndRestore before it, with a save_freq that saves in "
                "time, or load the weights and the optimizer before fit; to begin anew, remove the "
                "file",
                stacklevel=2,
            )
        self._restored_at = None
        position = self._sequence._stream.position
        params: Any = self.params
        batches = len(self._sequence)
        steps = params["steps"] or batches
        current = position.current
        # With fewer steps_per_epoch Keras goes on with the iterator that it has.
        if steps < batches and self._consumed < batches and current is not None:
            at = current.epoch, self._consumed
        else:
            at = position.coming
            self._consumed = at[1]
        length = min(steps, batches - at[1])
        self._journal.note(step, epoch, length, position.state(at))
        _write_entries(self._path, self._journal.entries)
        self._begun_at = self._consumed
        self._is_short = steps >= batches and at[1] > 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Count: `batch` is the number of the step in its epoch."""
        self._current_pass()
        self._consumed = self._begun_at + batch + 1
        if self._is_short and self._consumed == len(self._sequence):
            # Keras expects more. A step that found no batch would still count as a step on
            # TensorFlow, and Adam would feel it: so the epoch is ended, like by EarlyStopping.
            self._set_stop(self._short)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Go on after an epoch that was short; another callback's wish to stop is kept."""
        model: Any = self.model
        if model.stop_training is self._short:
            self._set_stop(False)
        if self._is_short:
            self._sequence._settle_epoch()

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002
        """Training is complete: there is nothing to go on with."""
        self._path.unlink(missing_ok=True)

    def _step(self) -> int:
        """Count the steps of the optimizer, those whose gradients are still accumulated too."""
        model: Any = self.model
        optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        counters = [v for v in optimizer.variables if v.name == "iteration"]
        counter: Any = counters[0] if counters else optimizer.iterations
        return int(counter.value)  # the backend's own; keras.ops' way warns on TensorFlow

    def _set_stop(self, stop: object) -> None:
        model: Any = self.model
        model.stop_training = stop


class _ShortEpoch:
    """In place of True in ``model.stop_training``: who asked to stop."""


def _read_entries(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        return list(json.loads(path.read_text("utf-8"))["entries"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path}: needed a journal of ResumeCallback, got {error!r}; remove the file to start "
            "anew"
        ) from error


def _write_entries(path: Path, entries: list[dict[str, Any]]) -> None:
    """Write aside and rename, so that a kill leaves the old journal or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}.partial")  # ranks may share a journal
    aside.write_text(json.dumps({"entries": entries}), "utf-8")
    aside.replace(path)
