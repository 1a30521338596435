"""Which share of the samples does this process read?

A process group or a distribution may be set up after the sequence was made, and torn down before it
is closed. So the share is decided anew for every pass, and logged when it changes.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from zarrfeed.order.ranks import Asked, Found
    from zarrfeed.order.schedule import Schedule

_LOG = logging.getLogger(__name__)


class Sharing:
    """Decides which samples are this process's.

    Parameters
    ----------
    name
        Names the sequence in messages.
    schedule
        For one process, or for the rank that was asked for.
    asked
        The rank and world size that the user asked for.
    find
        Asks the frameworks. It must not hold the sequence, which could never be freed.
    """

    def __init__(
        self, name: str, schedule: Schedule, asked: Asked, find: Callable[[], Found]
    ) -> None:
        self._name = name
        self._schedule = schedule
        self._asked = asked
        self._find = find
        self._told: tuple[int, int] | None = None

    def now(self) -> Schedule:
        """Return the schedule of a pass that would begin now; the same object while it holds.

        Raises
        ------
        ValueError
            There is no such rank, or not a batch for every rank.
        """
        return self._share(self._find())

    def tell(self) -> Schedule:
        """Return the schedule of a pass that begins, and log the share if it is a new one.

        Raises
        ------
        ValueError
            As :meth:`now`.
        """
        found = self._find()
        schedule = self._share(found)
        share = schedule.rank, schedule.world_size
        if share != self._told:
            self._told = share
            self._say(schedule, found)
            if complaint := self._asked.complaint(found):
                warnings.warn(
                    complaint, UserWarning, stacklevel=4
                )  # the line that asks for a batch
        return schedule

    def _share(self, found: Found) -> Schedule:
        self._schedule = share_schedule(self._schedule, *self._asked.share(found))
        return self._schedule

    def _say(self, schedule: Schedule, found: Found) -> None:
        name, samples = self._name, len(schedule.ids)
        _LOG.info(
            "%s: rank %d of %d (%s): %d of %d samples in %d batches",
            name, schedule.rank, schedule.world_size,
            found.source or "no other process was found",
            schedule.samples, samples, schedule.batches,
        )  # fmt: skip
        if found.doubt and schedule.world_size == 1:
            _LOG.warning("%s: this process takes all samples, but %s", name, found.doubt)
        if schedule.world_size > 1 and schedule.left_out:
            when = "every epoch (others each time)" if schedule.shuffle else "every pass (the same)"
            remedy = " in place of drop_remainder" if schedule.drop_remainder else ""
            _LOG.warning(
                "%s: %d of %d samples are left out of %s, so that all %d ranks have equally many; "
                "pad_remainder=True%s takes them in",
                name, schedule.left_out, samples, when, schedule.world_size, remedy,
            )  # fmt: skip


def share_schedule(schedule: Schedule, rank: int, world_size: int) -> Schedule:
    """Take the share of one rank.

    Raises
    ------
    ValueError
        There is not a batch for every rank.
    """
    if (rank, world_size) != (schedule.rank, schedule.world_size):
        schedule = replace(schedule, rank=rank, world_size=world_size)
    if schedule.batches:
        return schedule
    samples, dropped = len(schedule.ids), schedule.drop_remainder
    remedy = "fewer ranks or pad_remainder=True" if samples else "samples"
    if dropped:
        remedy = "a smaller batch_size or drop_remainder=False"
    ranks = f" over {world_size} ranks" if world_size > 1 else ""
    raise ValueError(
        f"an epoch has no batch: {samples} samples{ranks} in batches of {schedule.batch_size}"
        + (" with drop_remainder" if dropped else "")
        + f"; needs {remedy}"
    )
