"""Tables for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from zarrfeed_tools.terminal import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert import Cells


def table_of(*texts: str, numbers: Sequence[str] = ()) -> Table:
    """Return a table with left-aligned columns of text, then right-aligned columns of numbers."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)  # fits 80 columns
    for name in texts:
        table.add_column(name, overflow="fold")  # a narrow terminal folds text, but not numbers
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def table_of_cells(cells: Cells) -> Table:
    """Return a table of cells, without its empty columns, such as the stored size in a dry run."""
    # Long headers of numbers are folded, so that the numbers need not be.
    numbers = [name.replace(" ", "\n") for name in cells.numbers]
    table = table_of(*cells.texts, numbers=numbers)
    for row in cells.rows:
        table.add_row(*map(shown, row))
    table.columns = [column for column in table.columns if any(column.cells)]
    return table
