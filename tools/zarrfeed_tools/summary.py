"""What does a person want to know when a conversion is done?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from zarrfeed_tools.tables import classes_table, fields_table
from zarrfeed_tools.terminal import shown

if TYPE_CHECKING:
    from rich.console import Console

    from zarrfeed_convert import Report


_SHOWN = 10  # samples that were skipped
_REMARKS = ("hidden files", "repeated files", "same place")  # with a value that says something, too
# Decisions that are news to who asked for nothing.
_TOLD = ("masks", "mask dtype", "no data", *_REMARKS)
_ADVISES = re.compile("255 means 1|--mask-map")  # reasons that are news to who asked for nothing


def show_report(report: Report, out: Console) -> None:
    """Sum a conversion up for people."""
    fields = [field.name for field in report.fields]
    what = {("image", "mask"): "pairs", ("image",): "images"}.get(tuple(fields), "samples")
    left = f"{report.found - len(report.skipped)} {what}"
    heads = {
        "packed": f"Packed {left} into {report.packed} samples of {report.path} "
        f"in {report.seconds:.1f} s",
        "already packed": f"{report.path} is already packed: nothing was changed",
        "dry run": f"Would pack {left} into {report.packed} samples of "
        f"{report.path}; nothing was written",
    }
    _show(report, heads[report.status], out)


def show_repacked(report: Report, out: Console) -> None:
    """Sum a repacking up for people."""
    some = "" if report.packed == report.found else f" of {report.found}"
    samples = f"{report.packed}{some} samples"
    heads = {
        "packed": f"Repacked {samples} into {report.path} in {report.seconds:.1f} s",
        "already packed": f"{report.path} is already packed: nothing was changed",
        "dry run": f"Would repack {samples} into {report.path}; nothing was written",
    }
    _show(report, heads[report.status], out)


def _show(report: Report, head: str, out: Console) -> None:
    out.print(f"[bold]{shown(head)}[/]", soft_wrap=True)
    _show_skipped(report, out)
    if report.status == "dry run":
        out.print(_filled(fields_table(report.fields)))
        out.print(_filled(classes_table(report.classes)))
        out.print(_table_of_decisions(report))
        return
    out.print(fields_table(report.fields))
    if report.classes:
        out.print(classes_table(report.classes))
    for decision in report.decisions:
        advises = decision.what == "classes" and _ADVISES.search(decision.reason)
        if advises or decision.what in _TOLD:
            value = f"{decision.value}: " if decision.what in _REMARKS else ""
            out.print(f"{decision.what}: {shown(value + decision.reason)}", soft_wrap=True)


def _show_skipped(report: Report, out: Console) -> None:
    if not report.skipped:
        return
    out.print(f"skipped {len(report.skipped)} of {report.found}:")
    for name, why in report.skipped[:_SHOWN]:
        said = why if name in why else f"{name}: {why}"
        out.print(f"  {shown(said)}", soft_wrap=True)
    if len(report.skipped) > _SHOWN:
        out.print(f"  and {len(report.skipped) - _SHOWN} more, which the split records")


def _filled(table: Table) -> Table:
    """Leave out the columns that say nothing: what is not written has no stored size."""
    table.columns = [column for column in table.columns if any(column.cells)]
    return table


def _table_of_decisions(report: Report) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("decision", "value", "because"):
        table.add_column(name, overflow="fold")
    for decision in report.decisions:
        table.add_row(decision.what, shown(decision.value), shown(decision.reason))
    return table
