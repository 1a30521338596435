"""Print the summary of a conversion or a repacking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed_tools.tables import table_of_cells
from zarrfeed_tools.terminal import shown

if TYPE_CHECKING:
    from rich.console import Console

    from zarrfeed_convert import Report


def show_report(report: Report, out: Console) -> None:
    """Print what ``str(report)`` says, with tables that fit the terminal."""
    out.print(f"[bold]{shown(report.headline)}[/]", soft_wrap=True)
    for line in report.skipped_lines:
        out.print(shown(line), soft_wrap=True)
    for cells in report.tables:
        out.print(table_of_cells(cells))
    for line in report.remarks:
        out.print(shown(line), soft_wrap=True)
