"""What is work, and who can do it?

A task is a function of the source, its :class:`Work` and an item. All executors run the same tasks
and give back the same results in the same order, so nothing above can depend on who worked.
What failed comes back beside a task's result; :class:`~zarrfeed_convert.failures.Failures` says
what then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias, TypeVar

from zarrfeed.errors import SourceError
from zarrfeed_convert.failures import FailureLog
from zarrfeed_convert.source import Header, Image, Mask, Source
from zarrfeed_convert.supervision.board import marked

Item = TypeVar("Item")
Result = TypeVar("Result")
Read = TypeVar("Read")
# Called by a task after every sample; raises where the work is to stop.
Tick: TypeAlias = Callable[[], None]


class Work(FailureLog):
    """What a task does besides its result: it reads samples, tells of each, and notes what fails.

    Parameters
    ----------
    source
        What is read.
    tick
        Called after every sample.
    lost
        Samples that are not to be read again, and why.
    """

    def __init__(self, source: Source, tick: Tick, lost: Mapping[int, str] | None = None) -> None:
        super().__init__(source)
        self.tick = tick
        self._lost = lost or {}

    def probe(self, item: int) -> Header:
        """Measure a sample."""
        return self._read(self._source.probe, item)

    def read(self, item: int) -> tuple[Image, Mask]:
        """Decode a sample."""
        return self._read(self._source.read, item)

    def read_mask(self, item: int) -> Mask:
        """Decode a sample's mask."""
        return self._read(self._source.read_mask, item)

    def shown_colors(self, item: int) -> Mapping[int, int]:
        """Decode a sample's mask, and say what its indices show."""
        show: Callable[[int], Mapping[int, int]] = self._source.shown_colors  # type: ignore[attr-defined]
        return self._read(show, item)

    def _read(self, read: Callable[[int], Read], item: int) -> Read:
        if item in self._lost:
            raise SourceError(self._lost[item])
        with marked(self._source.names(item)[0], item):
            return read(item)


Task: TypeAlias = Callable[[Source, Work, Item], Result]
# Called here with the number of samples done so far.
Progress: TypeAlias = Callable[[int], None]


class Executor(Protocol):
    """Runs tasks.

    Attributes
    ----------
    workers
        How many may work at the same time; may be lowered, never raised.
    free_nbytes
        Memory that is free for them; None for what this machine has.
    visible_within_s
        Seconds that it may take until a file that a task wrote is seen here.
    advice
        Why such a file may never be, in words that end a sentence.
    """

    workers: int
    free_nbytes: int | None
    visible_within_s: float
    advice: str

    def run(
        self, task: Task[Item, Result], items: Sequence[Item], progress: Progress | None = None
    ) -> list[Result]:
        """Run a task over items; results come in their order, the first error ends all.

        On this machine, `progress` is told as soon as the work begins.

        Samples that fail go to the executor's failures. Where they end the conversion, tasks that
        run already come to their end, and the error names what all of them found.
        """
        ...


class Local:
    """On this machine."""

    free_nbytes: int | None = None
    visible_within_s = 0.0
    advice = "does something else change the folder?"
