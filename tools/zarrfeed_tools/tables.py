"""How do tables look on a terminal, and where there is none?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

_PIPED_WIDTH = 120  # a file has no width of its own, and a log is no place for folded tables


def console(*, quiet: bool = False) -> Console:
    """Open standard output for people."""
    out = Console(highlight=False, quiet=quiet)
    if not out.is_terminal:
        out.width = _PIPED_WIDTH
    return out


def table_of(*texts: str, numbers: Sequence[str] = ()) -> Table:
    """Make a table of text columns, then of columns of numbers, which stand to the right."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in texts:
        table.add_column(name, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table
