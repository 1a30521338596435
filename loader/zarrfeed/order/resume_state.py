"""From which batch does training go on after an interruption?

A state is a small dict that fits JSON: the next batch, and the arguments that determine what that
batch contains. With them it names a place: so many samples of the epoch's order have been read, by
all ranks together. Other ranks can go on there. Pure: callers save and load states.
"""

from __future__ import annotations

import json
import operator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeGuard

from zarrfeed.errors import look_up
from zarrfeed.order.draws import ResumableSampler
from zarrfeed.order.schedule import EpochRest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from zarrfeed.order.schedule import Schedule

# A state of version 2 names its place, because an epoch was continued with other ranks or batches.
_AT_BATCH, _AT_PLACE = VERSIONS = 1, 2
# What decides how an epoch is dealt out, but not its order: a state fits all values of these.
DEALING = ("batch_size", "world_size", "drop_remainder", "pad_remainder", "block")
# What older versions did not save: a state fits all values of these if it lacks them.
_ADDED = ("subset", "classes", "ignore")
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
    epoch += epochs
    grid, block = schedule.grid(epoch), schedule.block_in(epoch)
    plain = block == schedule.block and not grid.shifted
    arguments, sampler = _arguments(schedule), schedule.sampler
    if schedule.shuffle == "block":
        arguments["block"] = block
    return {
        "version": _AT_BATCH if plain else _AT_PLACE,
        "epoch": epoch,
        "batch": batch,
        **({} if plain else {"place": grid.place(batch)}),
        "schedule": arguments,
        **({"draws": sampler.saved()} if isinstance(sampler, ResumableSampler) else {}),
    }


def saved_schedule(schedule: Schedule, state: Mapping[str, Any]) -> Schedule:
    """Read a state.

    Parameters
    ----------
    schedule
        What batches depend on now. The ranks and the size of batches may have been others.
    state
        Return value of :func:`state_of`.

    Returns
    -------
    Schedule
        That of rank 0 when `state` was saved. Its `rest` begins at the position.

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
        size, ranks = (operator.index(theirs[name]) for name in ("batch_size", "world_size"))
        place = operator.index(state.get("place", batch * size * ranks))
        block = operator.index(theirs.get("block", schedule.block))
        if min(size, ranks, block) < 1:
            raise ValueError("needed numbers of at least 1")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"needed a state from ZarrSequence.state_dict(), found {state!r}"
        ) from error
    if version not in VERSIONS:
        raise ValueError(
            f"needed a state of version {_AT_BATCH} or {_AT_PLACE}, found {version!r}: use the "
            "zarrfeed that saved it, or start again without the state"
            f"{look_up('resume')}"
        )
    # Any number of ranks may go on at the place that all of them have reached together.
    ours = {"sampler": None, **_arguments(schedule)}
    for name in ("rank", *DEALING):
        ours.pop(name, None)
    if schedule.shuffle == "block" and "block" not in theirs:
        ours["batch_size"] = schedule.batch_size  # blocks were made of this many
    sampler = schedule.sampler
    if isinstance(sampler, ResumableSampler) and _same_kind(theirs["sampler"], ours["sampler"]):
        sampler = sampler.before(state.get("draws"))  # it says more of what differs
    differing = list(differences(theirs, ours))
    if differing:
        raise ValueError(
            "the state was saved by a sequence with another order of samples: "
            f"{'; '.join(differing)}. Use the same arguments, or start again without the state"
            f"{look_up('resume')}"
        )
    saved = replace(
        schedule,
        sampler=sampler,
        rank=0,
        world_size=ranks,
        batch_size=size,
        drop_remainder=bool(theirs.get("drop_remainder")),
        pad_remainder=bool(theirs["pad_remainder"]),
        rest=EpochRest(epoch, place, block),
    )
    if epoch < 0 or not 0 <= batch < saved.batches or not 0 <= place < saved.length:
        raise ValueError(
            f"the state names batch {batch} of epoch {epoch}, at place {place} of {saved.length}: "
            f"needed an epoch of at least 0 and a batch from 0 to {saved.batches - 1}"
        )
    return saved


def differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    """Say which arguments of a state differ; of a sampler, which of its own."""
    for name, now in ours.items():
        then = theirs.get(name)
        if _text(then) == _text(now) or (name in _ADDED and name not in theirs):
            continue
        if name == "subset":
            if all(theirs.get(count) == ours.get(count) for count in ("samples", "length")):
                yield "subset chose other samples"
        elif name == "samples" and _same_kind(theirs.get("sampler"), ours.get("sampler")):
            yield f"per_epoch (draws of an epoch) was {then!r} and is {now!r}"
        elif not (_is_sampler(then) and _is_sampler(now)):
            yield f"{name} was {then!r} and is {now!r}"
        elif then["kind"] != now["kind"]:
            yield f"{name} was {then['kind']} and is {now['kind']}"
        else:
            yield from differences(then, now)


def _is_sampler(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict) and "kind" in value


def _same_kind(then: object, now: object) -> bool:
    return _is_sampler(then) and _is_sampler(now) and then["kind"] == now["kind"]


def _text(value: object) -> str:
    """Return JSON, in which NaN equals NaN."""
    return json.dumps(value, sort_keys=True, default=repr)


def _arguments(schedule: Schedule) -> dict[str, Any]:
    """List the arguments that determine which samples are in which batch."""
    sampler = None if schedule.sampler is None else schedule.sampler.described()
    # Patches and the stores of a mix tell what they are drawn from by themselves.
    told = isinstance(schedule.sampler, ResumableSampler) or "cases" in (sampler or ())
    return {
        "samples": schedule.length,
        **({} if told else {"subset": schedule.subset}),
        "batch_size": schedule.batch_size,
        "shuffle": schedule.shuffle,
        "order": schedule.order_version,
        "seed": schedule.seed,
        "drop_remainder": schedule.drop_remainder,
        "pad_remainder": schedule.pad_remainder,
        "rank": schedule.rank,
        "world_size": schedule.world_size,
        **({} if sampler is None else {"sampler": sampler}),
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
            The journal was written by a sequence with another order of samples.
        """
        before = [entry for entry in self.entries if entry["step"] <= step]
        if not before:
            return None
        entry = before[-1]
        done, length = step - entry["step"], entry["length"]
        if done > length:  # the epoch after it is not in the journal
            return None
        # The journal counts batches of the sequence that wrote it.
        saved = saved_schedule(schedule, entry["state"])
        epoch, first = entry["state"]["epoch"], entry["state"]["batch"]
        state = state_of(saved, epoch, first + done)
        over = done == length or (
            first + length == saved.batches
            # Fewer samples of the epoch may be left than there are ranks now.
            and not replace(schedule, rest=saved_schedule(schedule, state).rest).grid(epoch).count
        )
        return entry["run_epoch"] + over, state
