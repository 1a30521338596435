"""Print the result of a benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed_convert import text_of_bytes
from zarrfeed_tools.bench.report import sequence_text
from zarrfeed_tools.tables import table_of
from zarrfeed_tools.terminal import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import Console
    from rich.table import Table

    from zarrfeed_tools.bench.bounds import Bound
    from zarrfeed_tools.bench.job import Job
    from zarrfeed_tools.bench.machine import Machine
    from zarrfeed_tools.bench.rows import Row, Spread
    from zarrfeed_tools.bench.running import Findings

_BOUNDS: Mapping[Bound, str] = {
    "disk": "the disk",
    "decode": "decoding",
    "transform": "the transform",
    "memory": "memory bandwidth",
    "python": "Python: the calls around a batch",
    "consumer": "the consumer of the batches",
}


def show(job: Job, machine: Machine, found: Findings, out: Console) -> None:
    """Print the job and the machine, the rows, the limits and the verdict."""
    _show_job(job, machine, out)
    out.print(rows_table(found.rows))
    out.print(limits_table(found))
    _show_verdict(job, found, out)
    out.print(f"Checked: {found.checked}.", soft_wrap=True)
    for note in found.notes:
        out.print(f"Note: {shown(note)}", soft_wrap=True)


def rows_table(rows: Iterable[Row]) -> Table:
    """Return a table of the results of every setting."""
    numbers = (
        "batches\n/s", "least–\nmost", "samples\n/s", "MB/s", "first\nms",
        "wait ms\np50", "\np95", "\np99", "CPU s\n/1000", "MB",
    )  # fmt: skip
    table = table_of("setting", numbers=numbers)
    for row in rows:
        waits = (row.wait_p50, row.wait_p95, row.wait_p99)
        table.add_row(
            str(row.setting),
            number(row.batches_per_second.median),
            _spread(row.batches_per_second),
            number(row.samples_per_second.median),
            number(row.megabytes_per_second.median),
            f"{row.first_batch.median * 1e3:.0f}",
            *(number(wait * 1e3) for wait in waits),
            f"{row.cpu_per_1000:.2g}",
            f"{row.memory / 1e6:.0f}",
        )
    return table


def limits_table(found: Findings) -> Table:
    """Return a table of the machine's limits, and of the shares that the best setting reaches."""
    table = table_of("limit", "how", numbers=("batches\n/s", "least–\nmost", "best\nreaches"))
    for limit in found.limits:
        table.add_row(
            limit.bound,
            limit.way,
            number(limit.batches_per_second.median),
            _spread(limit.batches_per_second),
            f"{found.verdict.shares[limit.way]:.0%}",
        )
    return table


def _show_job(job: Job, machine: Machine, out: Console) -> None:
    whole = next(iter(job.layouts.values())).shape[0]
    some = f" of {whole:,}" if job.samples < whole else ""
    fields = ", ".join(
        f"{name} {'×'.join(map(str, layout.sample_shape))} {layout.dtype} {layout.codec}"
        for name, layout in job.layouts.items()
    )
    nbytes = text_of_bytes(job.batch_size * job.sample_nbytes)
    shuffle = {"True": "global", "False": "no"}.get(str(job.shuffle), str(job.shuffle))
    state = "files dropped from the page cache before every turn" if job.cold else "page cache warm"
    out.print(
        f"[bold]{shown(job.path)}[/]: {job.samples:,}{some} samples ({shown(fields)})\n"
        f"batches of {job.batch_size} ({nbytes} decoded), {shuffle} shuffle, {state}\n"
        f"{machine.cores} cores ({shown(machine.processor)}), "
        f"{text_of_bytes(machine.memory)} of memory; medians over {job.rounds} "
        f"round{'' if job.rounds == 1 else 's'}",
        soft_wrap=True,
    )


def _show_verdict(job: Job, found: Findings, out: Console) -> None:
    verdict = found.verdict
    rate = number(verdict.best.batches_per_second.median)
    out.print(f"[bold]Best: {verdict.best.setting}, {rate} batches/s[/]", soft_wrap=True)
    out.print(f"  {shown(sequence_text(job, found))}", soft_wrap=True)
    out.print(f"[bold]Bound by {_BOUNDS[verdict.bound]}[/]: {verdict.why}", soft_wrap=True)
    out.print(f"What would help: {verdict.advice}", soft_wrap=True)
    if verdict.aside:
        out.print(f"Note: {verdict.aside}", soft_wrap=True)


def _spread(spread: Spread) -> str:
    return f"{number(spread.least)}–{number(spread.most)}"


def number(value: float) -> str:
    """Write a number with three significant digits, or with all digits of its integer part.

    Examples
    --------
    >>> number(0.01234), number(12.34), number(2446.4)
    ('0.0123', '12.3', '2446')
    """
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
