"""Show the progress of long work on standard error."""

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
    from collections.abc import Iterator, Mapping

    from zarrfeed_convert import OnProgress

_PLAIN_LINE_EVERY = 0.1  # share of a step
_RATE_AFTER_S = 0.5  # seconds into a step; earlier, the rate would be that of its start


@contextmanager
def show_progress(
    what: str = "samples", *, by_step: Mapping[str, str] | None = None
) -> Iterator[OnProgress]:
    """Show progress on standard error: a bar on a terminal, otherwise a line now and then.

    Parameters
    ----------
    what
        What is counted.
    by_step
        Name of a step → what it counts instead; None if all steps count the same.

    Yields
    ------
    function
        To call with the name of the step, the number done, and the total.
    """
    err = console(stderr=True)
    if not err.is_terminal:
        yield _ignoring_output_errors(_PlainLines(what, by_step or {}).update)
        return
    columns = (
        TextColumn("{task.description:>15}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        yield _ignoring_output_errors(_Bar(bar, what, by_step or {}).update)


def _ignoring_output_errors(update: OnProgress) -> OnProgress:
    """Wrap a function so that work goes on if standard error is full or closed."""

    def wrapped(step: str, done: int, total: int) -> None:
        with suppress(OSError):
            update(step, done, total)

    return wrapped


@contextmanager
def report_interrupts() -> Iterator[None]:
    """Print what a Ctrl-C leaves behind."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        kept = "; ".join(getattr(interrupt, "__notes__", ())) or "nothing was written"
        print(f"interrupted: {printable(kept)}", file=sys.stderr)
        raise


class _Bar:
    def __init__(self, bar: Progress, what: str, by_step: Mapping[str, str]) -> None:
        self._bar = bar
        self._what = what
        self._by_step = by_step
        self._task: TaskID | None = None
        self._step = ""

    def update(self, step: str, done: int, total: int) -> None:
        if self._task is None or step != self._step:
            if self._task is not None:
                self._bar.remove_task(self._task)
            described = printable(step)
            self._task, self._step = self._bar.add_task(described, total=total, rate=""), step
        speed = self._bar.tasks[-1].speed
        what = self._by_step.get(step, self._what)
        rate = f"{speed:.0f} {what}/s" if speed else ""
        self._bar.update(self._task, completed=done, rate=rate)


class _PlainLines:
    def __init__(self, what: str, by_step: Mapping[str, str]) -> None:
        self._what = what
        self._by_step = by_step
        self._step = ""
        self._shown = 0.0  # share of the step at the last line
        self._start = 0.0
        self._before = 0  # number done at the first update of the step

    def update(self, step: str, done: int, total: int) -> None:
        if step != self._step:
            self._step, self._shown = step, 0.0
            self._start, self._before = time.monotonic(), done
        share = done / total if total else 1.0
        if share < 1 and share < self._shown + _PLAIN_LINE_EVERY:
            return
        if self._shown >= 1:
            return
        self._shown = share
        elapsed = time.monotonic() - self._start
        rate = f", {(done - self._before) / elapsed:.0f}/s" if elapsed >= _RATE_AFTER_S else ""
        what = self._by_step.get(step, self._what)
        print(f"{printable(step)}: {done} of {total} {what}{rate}", file=sys.stderr, flush=True)
