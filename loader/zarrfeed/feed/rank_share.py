"""Which share of the samples does this process read?

A process group or a distribution may be set up after the sequence was made, and torn down before it
is closed. The share is therefore determined for every pass, and logged when it changes. So is the
share of the rest of an epoch that other ranks have begun.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from zarrfeed.errors import look_up
from zarrfeed.order.draws import ResumableSampler
from zarrfeed.order.resume_state import DEALING
from zarrfeed.user_warning import warn_user

if TYPE_CHECKING:
    from collections.abc import Callable

    from zarrfeed.order.ranks import DetectedRank, RequestedRank
    from zarrfeed.order.schedule import EpochRest, Schedule

_LOG = logging.getLogger(__name__)


class Sharing:
    """Determines which samples this process reads.

    Parameters
    ----------
    name
        Name of the sequence for messages.
    schedule
        Schedule of a single process, or of the requested rank.
    requested
        The rank and world size that the user requested.
    detect
        Asks the frameworks. It must not refer to the sequence, which could then never be freed.

    Attributes
    ----------
    rest
        The epoch that goes on in the middle, if any. Ranks that are detected later share it, too.
    """

    def __init__(
        self,
        name: str,
        schedule: Schedule,
        requested: RequestedRank,
        detect: Callable[[], DetectedRank],
    ) -> None:
        self._name = name
        self._schedule = schedule
        self._requested = requested
        self._detect = detect
        self.rest: EpochRest | None = None
        self._saved: Schedule | None = None  # the one that has begun this rest, until it is logged
        self._logged: tuple[int, int] | None = None

    def go_on(self, saved: Schedule) -> None:
        """Share the rest of an epoch that `saved` has begun."""
        rest, sampler = saved.rest, self._schedule.sampler
        if rest is not None and isinstance(sampler, ResumableSampler):
            assert isinstance(saved.sampler, ResumableSampler)
            draw = rest.epoch * saved.length + rest.place
            self._schedule = replace(self._schedule, sampler=sampler.after(saved.sampler, draw))
        self.rest, self._saved = rest, saved

    def current(self) -> Schedule:
        """Return the schedule of a pass that would begin now: the same object until it changes.

        Raises
        ------
        ValueError
            There is no such rank, or not a batch for every rank.
        """
        return self._share(self._detect())

    def begin(self) -> Schedule:
        """Return the schedule of a pass that begins, and log the share if it has changed.

        Raises
        ------
        ValueError
            As :meth:`current`.
        """
        detected = self._detect()
        schedule = self._share(detected)
        share = schedule.rank, schedule.world_size
        if share != self._logged:
            self._logged = share
            self._log(schedule, detected)
            if conflict := self._requested.conflict(detected):
                warn_user(conflict)  # the line that asks for a batch
        if self._saved is not None:
            if schedule.rest is not None and schedule.rest == self._saved.rest:
                self._log_rest(schedule, schedule.rest, self._saved)
            self._saved = None
        return schedule

    def _share(self, detected: DetectedRank) -> Schedule:
        share = self._requested.resolve(detected)
        self._schedule = share_schedule(self._schedule, *share, rest=self.rest)
        return self._schedule

    def _log(self, schedule: Schedule, detected: DetectedRank) -> None:
        name, samples = self._name, schedule.length
        _LOG.info(
            "%s: rank %d of %d (%s): %d of %d samples in %d batches",
            name, schedule.rank, schedule.world_size,
            detected.source or "no other process was found",
            schedule.samples, samples, schedule.batches,
        )  # fmt: skip
        if detected.warning and self._requested.world_size is None:
            _LOG.warning("%s: this process reads all samples, but %s", name, detected.warning)
        if schedule.world_size > 1 and schedule.left_out:
            when = "every epoch (others each time)" if schedule.shuffle else "every pass (the same)"
            remedy = " in place of drop_remainder" if schedule.drop_remainder else ""
            _LOG.warning(
                "%s: %d of %d samples are left out of %s, so that all %d ranks have equally many; "
                "pad_remainder=True%s includes them",
                name, schedule.left_out, samples, when, schedule.world_size, remedy,
            )  # fmt: skip

    def _log_rest(self, schedule: Schedule, rest: EpochRest, saved: Schedule) -> None:
        """Say where an epoch goes on, what has changed since, and what it will lack."""
        grid, name = schedule.grid(rest.epoch), self._name
        changed = [
            f"{argument} from {then} to {now}"
            for argument in DEALING
            if (then := getattr(saved, argument)) != (now := getattr(schedule, argument))
        ]
        sampler, former = schedule.sampler, saved.sampler
        if isinstance(sampler, ResumableSampler) and isinstance(former, ResumableSampler):
            changed += sampler.changes(former)
        changes = ", ".join(changed)
        _LOG.info(
            "%s: epoch %d goes on at place %d of %d, with %d of %d batches%s",
            name, rest.epoch, rest.place, schedule.length, grid.count, schedule.batches,
            f" ({changes})" if changes else "",
        )  # fmt: skip
        if schedule.world_size > 1 and grid.left_out:
            _LOG.warning(
                "%s: the last %d samples of epoch %d are left out, so that all %d ranks have "
                "equally many",
                name, grid.left_out, rest.epoch, schedule.world_size,
            )  # fmt: skip


def share_schedule(
    schedule: Schedule, rank: int, world_size: int, *, rest: EpochRest | None = None
) -> Schedule:
    """Return the schedule of one rank, perhaps for the rest of an epoch.

    Raises
    ------
    ValueError
        There is not a batch for every rank.
    """
    if (rank, world_size, rest) != (schedule.rank, schedule.world_size, schedule.rest):
        schedule = replace(schedule, rank=rank, world_size=world_size, rest=rest)
    if schedule.batches:
        return schedule
    samples, dropped = schedule.length, schedule.drop_remainder
    remedy = "use fewer ranks or pad_remainder=True" if samples else "choose samples by subset"
    if dropped:
        remedy = "use a smaller batch_size or drop_remainder=False"
    ranks = f" over {world_size} ranks" if world_size > 1 else ""
    raise ValueError(
        f"an epoch has no batch: {samples} samples{ranks} in batches of {schedule.batch_size}"
        + (" with drop_remainder" if dropped else "")
        + f"; {remedy}"
        + look_up("empty-epoch")
    )
