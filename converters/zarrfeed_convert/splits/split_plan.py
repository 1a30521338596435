"""What do `convert` and `repack` supply to the job that packs a split?

A :class:`SplitPlanner` looks at samples and decides. A :class:`SplitPlan` is the result: data, and
the task that packs a shard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.executors.executor import Executor, Task
    from zarrfeed_convert.failures import Failures
    from zarrfeed_convert.planning.plan import Plan
    from zarrfeed_convert.shards.cases import Cases
    from zarrfeed_convert.shards.packing import Shard
    from zarrfeed_convert.shards.rows import Rows, Tiles
    from zarrfeed_convert.shards.shard_record import ShardRecord
    from zarrfeed_convert.source import JSON, Source


class SplitPlanner(Protocol):
    """Looks at the samples of a source, and decides how they become a split."""

    @property
    def samples(self) -> Source:
        """The source, which all tasks share."""
        ...

    @property
    def failures(self) -> Failures:
        """The samples that cannot be packed."""
        ...

    @property
    def asked(self) -> JSON:
        """Arguments that decide the split's bytes, as JSON; known before samples are read."""
        ...

    def accepts(self, there: JSON) -> bool:
        """Return whether an existing split is what would be packed; False if it is to be replaced.

        Parameters
        ----------
        there
            Its ``attributes.zarrfeed``.

        Raises
        ------
        SourceError
            It is something else, and is not to be replaced.
        """
        ...

    def require_packable(self) -> None:
        """Check, before any work, that the samples can be packed.

        Raises
        ------
        SourceError
            They cannot.
        """
        ...

    def decide(self, executor: Executor) -> SplitPlan:
        """Look at the samples, and decide how they are packed."""
        ...


class SplitPlan(Protocol):
    """How a split is packed, as a planner decided."""

    @property
    def plan(self) -> Plan:
        """Its samples and layouts."""
        ...

    @property
    def decided(self) -> JSON:
        """Decisions that a run must share to resume another one, as JSON."""
        ...

    @property
    def step(self) -> str:
        """Name of the step for progress reports, such as ``packing``."""
        ...

    @property
    def task(self) -> Task[Any, None]:
        """The task that packs a shard."""
        ...

    def task_of(self, shard: Shard) -> object:
        """Return the item of :attr:`task` for a shard."""
        ...

    def names(self, rows: Rows) -> tuple[Sequence[str], Tiles | Cases | None]:
        """Return the names of the samples and, for tiles, from where they were cut."""
        ...

    def describe(self, rows: Rows, records: Sequence[ShardRecord], channels: JSON) -> JSON:
        """Return the split's ``attributes.zarrfeed``."""
        ...
