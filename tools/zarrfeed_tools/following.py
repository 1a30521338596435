"""How does a person see that long work goes on?"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from zarrfeed.errors import printable
from zarrfeed_tools.terminal import console

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zarrfeed_convert import OnProgress

_PLAIN_LINE_EVERY = 0.1  # of a step
_RATE_AFTER_S = 0.5  # before, a rate would be one of a step's start


@contextmanager
def followed(what: str = "samples") -> Iterator[OnProgress]:
    """Show progress on stderr: a bar on a terminal, a line now and then elsewhere.

    Gives the function to call with what is being done, and how many of how many `what` are.
    """
    err = console(stderr=True)
    if not err.is_terminal:
        yield _untroubled(_PlainLines(what).tell)
        return
    columns = (
        TextColumn("{task.description:>15}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        yield _untroubled(_Bar(bar, what).tell)


def _untroubled(tell: OnProgress) -> OnProgress:
    """Go on where nobody can be told: standard error is full, or closed."""

    def told(step: str, done: int, total: int) -> None:
        with suppress(OSError):
            tell(step, done, total)

    return told


@contextmanager
def interrupts_told() -> Iterator[None]:
    """Say what a Ctrl-C leaves behind."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        kept = "; ".join(getattr(interrupt, "__notes__", ())) or "nothing was written"
        print(f"interrupted: {printable(kept)}", file=sys.stderr)
        raise


class _Bar:
    def __init__(self, bar: Progress, what: str) -> None:
        self._bar = bar
        self._what = what
        self._task: TaskID | None = None
        self._step = ""

    def tell(self, step: str, done: int, total: int) -> None:
        if self._task is None or step != self._step:
            if self._task is not None:
                self._bar.remove_task(self._task)
            described = printable(step)
            self._task, self._step = self._bar.add_task(described, total=total, rate=""), step
        speed = self._bar.tasks[-1].speed
        rate = f"{speed:.0f} {self._what}/s" if speed else ""
        self._bar.update(self._task, completed=done, rate=rate)


class _PlainLines:
    def __init__(self, what: str) -> None:
        self._what = what
        self._step = ""
        self._said = 0.0
        self._start = 0.0
        self._before = 0  # that were done when this was told of the step first

    def tell(self, step: str, done: int, total: int) -> None:
        if step != self._step:
            self._step, self._said = step, 0.0
            self._start, self._before = time.monotonic(), done
        share = done / total if total else 1.0
        if share < 1 and share < self._said + _PLAIN_LINE_EVERY:
            return
        if self._said >= 1:
            return
        self._said = share
        elapsed = time.monotonic() - self._start
        rate = f", {(done - self._before) / elapsed:.0f}/s" if elapsed >= _RATE_AFTER_S else ""
        print(
            f"{printable(step)}: {done} of {total} {self._what}{rate}", file=sys.stderr, flush=True
        )
