"""What do `convert` and `repack` supply to the job that packs a split?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.executors.executor import Executor, Task
    from zarrfeed_convert.failures import Failures
    from zarrfeed_convert.planning.plan import Plan
    from zarrfeed_convert.shards.packing import Shard
    from zarrfeed_convert.shards.rows import Rows, Tiles
    from zarrfeed_convert.shards.shard_record import ShardRecord
    from zarrfeed_convert.source import JSON, Source


class SplitPlanner(Protocol):
    """What becomes a split."""

    @property
    def samples(self) -> Source:
        """The source, which all tasks share."""
        ...

    @property
    def failures(self) -> Failures:
        """Samples that cannot be packed."""
        ...

    @property
    def asked(self) -> JSON:
        """What decides the split's bytes, as far as it is known before samples are looked at."""
        ...

    def accepts(self, there: JSON) -> bool:
        """Accept a split that is what would be packed; False where it is to be replaced.

        Parameters
        ----------
        there
            What it says of itself.

        Raises
        ------
        SourceError
            It is something else.
        """
        ...

    def require_packable(self) -> None:
        """Refuse, before any work, what cannot be packed."""
        ...

    def decide(self, executor: Executor) -> SplitPlan:
        """Look at the samples, and decide everything."""
        ...


class SplitPlan(Protocol):
    """What was decided of a split."""

    @property
    def plan(self) -> Plan:
        """Its samples and layouts."""
        ...

    @property
    def decided(self) -> JSON:
        """What a run that goes on must have decided just so."""
        ...

    @property
    def step(self) -> str:
        """A word for the progress: what is done to every shard."""
        ...

    @property
    def task(self) -> Task[Any, None]:
        """The function that does it."""
        ...

    def task_of(self, shard: Shard) -> object:
        """Gather what the function needs to know of a shard: its item."""
        ...

    def names(self, rows: Rows) -> tuple[Sequence[str], Tiles | None]:
        """Name the samples, and say where they were cut if they are tiles."""
        ...

    def describe(self, rows: Rows, records: Sequence[ShardRecord], channels: JSON) -> JSON:
        """Compose the split's ``attributes.zarrfeed``."""
        ...
