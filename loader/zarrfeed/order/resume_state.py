"""From which batch does training go on after an interruption?

A state is a small dict that fits JSON: the next batch, and the arguments that determine what that
batch contains. Pure: callers save and load states.
"""

from __future__ import annotations

import json
import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeGuard

from zarrfeed.errors import look_up

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from zarrfeed.order.schedule import Schedule

VERSION = 1
# Epochs that a journal keeps, because a backup of the weights may be that old.
_ENTRIES_KEPT = 100


def state_of(schedule: Schedule, epoch: int, batch: int) -> dict[str, Any]:
    """Describe a position.

    Parameters
    ----------
    schedule
        What the batches depend on.
    epoch, batch
        The next batch. A `batch` past the last one of `epoch` counts on into the next epochs.
    """
    epochs, batch = divmod(batch, schedule.batches)
    return {
        "version": VERSION,
        "epoch": epoch + epochs,
        "batch": batch,
        "schedule": _arguments(schedule),
    }


def position_of(schedule: Schedule, state: Mapping[str, Any]) -> tuple[int, int]:
    """Read a state.

    Returns
    -------
    epoch, batch
        The next batch.

    Raises
    ------
    ValueError
        `state` is not a state, or was saved by a sequence with other arguments; the message names
        them.
    """
    try:
        version = state["version"]
        epoch, batch = operator.index(state["epoch"]), operator.index(state["batch"])
        # Defaults of states that older versions saved.
        theirs = {"order": 1, "pad_remainder": False, "sampler": None, **state["schedule"]}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"needed a state from ZarrSequence.state_dict(), found {state!r}"
        ) from error
    if version != VERSION:
        raise ValueError(
            f"needed a state of version {VERSION}, found {version!r}: use the zarrfeed that saved "
            "it, or start again without the state"
            f"{look_up('resume')}"
        )
    # All ranks have the same position, so that a state of one fits the others.
    ours = {"sampler": None, **_arguments(schedule)}
    del ours["rank"]
    differing = list(_differences(theirs, ours))
    if differing:
        raise ValueError(
            f"the state was saved by a sequence of other batches: {'; '.join(differing)}. Use the "
            "same arguments, or start again without the state"
            f"{look_up('resume')}"
        )
    if epoch < 0 or not 0 <= batch < schedule.batches:
        raise ValueError(
            f"the state names batch {batch} of epoch {epoch}: needed an epoch of at least 0 and a "
            f"batch from 0 to {schedule.batches - 1}"
        )
    return epoch, batch


def _differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    """Say which arguments differ; of a sampler, which of its own."""
    for name, now in ours.items():
        then = theirs.get(name)
        if _text(then) == _text(now):
            continue
        if not (_is_sampler(then) and _is_sampler(now)):
            yield f"{name} was {then!r} and is {now!r}"
        elif then["kind"] != now["kind"]:
            yield f"{name} was {then['kind']} and is {now['kind']}"
        else:
            yield from _differences(then, now)


def _is_sampler(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict) and "kind" in value


def _text(value: object) -> str:
    """Return JSON, in which NaN equals NaN."""
    return json.dumps(value, sort_keys=True, default=repr)


def _arguments(schedule: Schedule) -> dict[str, Any]:
    """List the arguments that determine which samples are in which batch."""
    return {
        "samples": schedule.length,
        "batch_size": schedule.batch_size,
        "shuffle": schedule.shuffle,
        "order": schedule.order_version,
        "seed": schedule.seed,
        "drop_remainder": schedule.drop_remainder,
        "pad_remainder": schedule.pad_remainder,
        "rank": schedule.rank,
        "world_size": schedule.world_size,
        **({} if schedule.sampler is None else {"sampler": schedule.sampler.described()}),
    }


@dataclass(slots=True)
class ResumeJournal:
    """Which batch did the model see at each of its training steps?

    The optimizer counts steps and is saved with the weights. The step of a restored optimizer
    therefore determines the next batch, whenever the process was killed.

    Attributes
    ----------
    entries
        One dict per Keras epoch, in order: ``step`` (steps of the optimizer before the epoch),
        ``run_epoch`` (number of the Keras epoch), ``length`` (its steps), ``state`` (position of
        its first batch).
    """

    entries: list[dict[str, Any]] = field(default_factory=list)

    def note(self, step: int, run_epoch: int, length: int, state: dict[str, Any]) -> None:
        """Record where a Keras epoch begins, and drop entries of this and later steps."""
        self.entries = [entry for entry in self.entries if entry["step"] < step]
        self.entries.append(
            {"step": step, "run_epoch": run_epoch, "length": length, "state": state}
        )
        del self.entries[:-_ENTRIES_KEPT]

    def look_up(self, step: int, schedule: Schedule) -> tuple[int, dict[str, Any]] | None:
        """Find the batch that comes next after a number of steps.

        Parameters
        ----------
        step
            Number of steps that the restored optimizer has done.
        schedule
            Schedule of the sequence that goes on.

        Returns
        -------
        (run_epoch, state) or None
            Number of the Keras epoch, and the position. None if the journal does not cover `step`.

        Raises
        ------
        ValueError
            The journal was written by a sequence with other batches.
        """
        before = [entry for entry in self.entries if entry["step"] <= step]
        if not before:
            return None
        entry = before[-1]
        epoch, batch = position_of(schedule, entry["state"])
        done = step - entry["step"]
        if done > entry["length"]:  # the epoch after it is not in the journal
            return None
        run_epoch = entry["run_epoch"] + (done == entry["length"])
        return run_epoch, state_of(schedule, epoch, batch + done)
