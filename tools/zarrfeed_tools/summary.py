"""What does a person want to know when a conversion is done?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.markup import escape
from rich.table import Table

from zarrfeed_convert import text_of_bytes
from zarrfeed_tools.tables import table_of

if TYPE_CHECKING:
    from rich.console import Console

    from zarrfeed_convert import Report


def show_report(report: Report, out: Console) -> None:
    """Sum a conversion up for people."""
    heads = {
        "packed": f"Packed {report.found} pairs into {report.packed} samples of {report.path} "
        f"in {report.seconds:.1f} s",
        "already packed": f"{report.path} is already packed: nothing was changed",
        "dry run": f"Would pack {report.found} pairs into {report.packed} samples of "
        f"{report.path}; nothing was written",
    }
    out.print(f"[bold]{escape(heads[report.status])}[/]", soft_wrap=True)
    out.print(_table_of_fields(report))
    if report.status == "dry run":
        out.print(_table_of_decisions(report))
        return
    out.print(_table_of_classes(report))
    for decision in report.decisions:
        if decision.what == "classes" and "255 means 1" in decision.reason:
            out.print(f"classes: {escape(decision.reason)}", soft_wrap=True)


def _table_of_fields(report: Report) -> Table:
    numbers = ("chunk\nrows", "shard\nrows", "stored", "decoded")
    table = table_of("field", "shape", "dtype", "codec", numbers=numbers)
    for field in report.fields:
        stored = "" if field.stored_bytes is None else text_of_bytes(field.stored_bytes)
        table.add_row(
            field.name,
            "×".join(map(str, field.shape)),
            field.dtype,
            field.codec,
            str(field.chunk_rows),
            str(field.shard_rows),
            stored,
            text_of_bytes(field.decoded_bytes),
        )
    return table


def _table_of_classes(report: Report) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("id", justify="right")
    table.add_column("class")
    table.add_column("pixels", justify="right")
    table.add_column("share", justify="right")
    for row in report.classes:
        share = "" if row.share is None else f"{row.share:.2%}"
        table.add_row(str(row.id), escape(row.name), f"{row.pixels:,}", share)
    return table


def _table_of_decisions(report: Report) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("decision", "value", "because"):
        table.add_column(name, overflow="fold")
    for decision in report.decisions:
        table.add_row(decision.what, escape(decision.value), escape(decision.reason))
    return table
