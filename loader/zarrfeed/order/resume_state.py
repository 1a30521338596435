"""Where does training stand, so that it can go on from there?

A state is small and plain (it fits JSON): the next batch, and the arguments that decide what that
batch holds. Pure: whoever keeps a state also reads and writes it.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zarrfeed.order.schedule import Schedule

VERSION = 1
# Epochs that a journal looks back on: a backup of the weights may be that old.
_ENTRIES_KEPT = 100


def state_of(schedule: Schedule, epoch: int, batch: int) -> dict[str, Any]:
    """Describe a position.

    Parameters
    ----------
    schedule
        What the batches depend on.
    epoch, batch
        The next batch; past an epoch's last one the next epoch's are meant.
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
        It is no state, or one of a sequence with other arguments; the message names them.
    """
    try:
        version = state["version"]
        epoch, batch = operator.index(state["epoch"]), operator.index(state["batch"])
        # The first states did not say so.
        theirs = {"order": 1, "pad_remainder": False, **state["schedule"]}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"this is no state of a ZarrSequence: {state!r}") from error
    if version != VERSION:
        raise ValueError(f"the state has version {version!r}, this zarrfeed reads {VERSION}")
    # Ranks go through an epoch in step: the position of one is that of all.
    ours = {name: value for name, value in _arguments(schedule).items() if name != "rank"}
    differing = [name for name in ours if theirs.get(name) != ours[name]]
    if differing:
        raise ValueError(
            "the state was saved by a sequence of other batches: "
            + "; ".join(f"{n} was {theirs.get(n)!r} and is {ours[n]!r}" for n in differing)
            + ". Give it the same arguments, or begin anew without the state"
        )
    if epoch < 0 or not 0 <= batch < schedule.batches:
        raise ValueError(f"the state names batch {batch} of epoch {epoch}: no such batch")
    return epoch, batch


def _arguments(schedule: Schedule) -> dict[str, Any]:
    """List what decides which samples make which batch."""
    return {
        "samples": len(schedule.ids),
        "batch_size": schedule.batch_size,
        "shuffle": schedule.shuffle,
        "order": schedule.order_version,
        "seed": schedule.seed,
        "drop_remainder": schedule.drop_remainder,
        "pad_remainder": schedule.pad_remainder,
        "rank": schedule.rank,
        "world_size": schedule.world_size,
    }


@dataclass(slots=True)
class ResumeJournal:
    """Which batch did the model see at which of its training steps?

    The optimizer counts steps and is saved with the weights, so a model that was restored says
    itself how far it is: weights and data can not come apart, whenever the process was killed.

    Attributes
    ----------
    entries
        One for each Keras epoch, in order: ``step`` (the optimizer's, before its first batch),
        ``run_epoch`` (Keras'), ``length`` (its steps), ``state`` (its first batch).
    """

    entries: list[dict[str, Any]] = field(default_factory=list)

    def note(self, step: int, run_epoch: int, length: int, state: dict[str, Any]) -> None:
        """Write down where a Keras epoch begins; what was said of later steps is void."""
        self.entries = [entry for entry in self.entries if entry["step"] < step]
        self.entries.append(
            {"step": step, "run_epoch": run_epoch, "length": length, "state": state}
        )
        del self.entries[:-_ENTRIES_KEPT]

    def look_up(self, step: int, schedule: Schedule) -> tuple[int, dict[str, Any]] | None:
        """Find the batch that a step trains on.

        Parameters
        ----------
        step
            Steps that the restored optimizer has done.
        schedule
            Of the sequence that goes on.

        Returns
        -------
        run_epoch, state
            Keras' epoch, and the position; None where the journal does not reach.

        Raises
        ------
        ValueError
            The journal was written by a sequence of other batches.
        """
        before = [entry for entry in self.entries if entry["step"] <= step]
        if not before:
            return None
        entry = before[-1]
        epoch, batch = position_of(schedule, entry["state"])
        done = step - entry["step"]
        if done > entry["length"]:  # what came after it was not written down
            return None
        run_epoch = entry["run_epoch"] + (done == entry["length"])
        return run_epoch, state_of(schedule, epoch, batch + done)
