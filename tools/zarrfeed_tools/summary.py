"""Print the summary of a conversion."""

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


_SHOWN = 10  # skipped samples
# Decisions whose value matters, too.
_REMARKS = ("hidden files", "repeated files", "same place", "other splits")
# Decisions that may surprise a user who set no option.
_NOTABLE = ("masks", "mask dtype", "no data", "padding", *_REMARKS)
_NOTABLE_REASON = re.compile("255 means 1|--mask-map")


def show_report(report: Report, out: Console) -> None:
    """Print the summary of a conversion."""
    what = "pairs" if [field.name for field in report.fields] == ["image", "mask"] else "images"
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
    """Print the summary of a repacking."""
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
        is_advice = decision.what == "classes" and _NOTABLE_REASON.search(decision.reason)
        if is_advice or decision.what in _NOTABLE:
            value = f"{decision.value}: " if decision.what in _REMARKS else ""
            out.print(f"{decision.what}: {shown(value + decision.reason)}", soft_wrap=True)


def _show_skipped(report: Report, out: Console) -> None:
    if not report.skipped:
        return
    out.print(f"skipped {len(report.skipped)} of {report.found}:")
    for name, why in report.skipped[:_SHOWN]:
        text = why if name in why else f"{name}: {why}"
        out.print(f"  {shown(text)}", soft_wrap=True)
    if len(report.skipped) > _SHOWN:
        out.print(f"  and {len(report.skipped) - _SHOWN} more, which the split records")


def _filled(table: Table) -> Table:
    """Remove empty columns, such as the stored size in a dry run."""
    table.columns = [column for column in table.columns if any(column.cells)]
    return table


def _table_of_decisions(report: Report) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("decision", "value", "because"):
        table.add_column(name, overflow="fold")
    for decision in report.decisions:
        table.add_row(decision.what, shown(decision.value), shown(decision.reason))
    return table
