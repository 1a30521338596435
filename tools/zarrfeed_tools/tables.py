"""Tables of fields and classes for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from zarrfeed_convert import text_of_bytes
from zarrfeed_tools.terminal import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zarrfeed_convert import ClassFacts, FieldFacts

_SHOWN = 64  # classes


def table_of(*texts: str, numbers: Sequence[str] = ()) -> Table:
    """Return a table with left-aligned columns of text, then right-aligned columns of numbers."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)  # fits 80 columns
    for name in texts:
        table.add_column(name, overflow="fold")  # a narrow terminal folds text, but not numbers
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def fields_table(fields: Iterable[FieldFacts]) -> Table:
    """Return a table of fields, their layout and their size."""
    numbers = ("chunk\nrows", "shard\nrows", "stored", "decoded")
    table = table_of("field", "shape", "dtype", "codec", numbers=numbers)
    for field in fields:
        stored, decoded = field.stored_bytes, field.decoded_bytes
        table.add_row(
            shown(field.name),
            "×".join(map(str, field.shape)),
            shown(field.dtype),
            shown(field.codec),
            str(field.chunk_rows),
            str(field.shard_rows),
            "" if stored is None else text_of_bytes(stored),
            text_of_bytes(decoded),
        )
    return table


def classes_table(classes: Iterable[ClassFacts]) -> Table:
    """Return a table of classes and their share of the pixels."""
    table = table_of("class", numbers=("id", "pixels", "share"))
    rows = list(classes)
    few = rows if len(rows) <= _SHOWN + 1 else [*rows[: _SHOWN - 1], rows[-1]]
    for row in few:
        if row is few[-1] and len(few) < len(rows):
            table.add_row(f"… {len(rows) - len(few):,} more; --json lists all")
        pixels = "" if row.pixels is None else f"{row.pixels:,}"
        share = "" if row.share is None else f"{row.share:.2%}"
        table.add_row(shown(row.name), str(row.id), pixels, share)
    return table
