"""How are the facts of a dataset shown on a terminal?"""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 (typer looks at it)
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from zarrfeed_convert import text_of_bytes
from zarrfeed_tools.inspection import SplitFacts, inspect_store
from zarrfeed_tools.tables import console, table_of

if TYPE_CHECKING:
    from rich.console import Console


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("inspect")(inspect)


def inspect(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="A dataset, or one split of it.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the facts as one JSON array.")
    ] = False,
) -> None:
    """Show what a dataset holds: splits, fields, codecs, bytes, classes and their pixel shares.

    Works on any Zarr v3 group of arrays aligned on axis 0, and says which of them would be read
    the slow way, through zarr-python.

    [bold]Example[/]

    zarrfeed inspect camvid.zarr
    """
    facts = inspect_store(store)
    if as_json:
        typer.echo(json.dumps([split.to_json() for split in facts]))
        return
    out = console()
    for split in facts:
        _show(split, out)


def _show(split: SplitFacts, out: Console) -> None:
    samples = (
        "arrays of different lengths" if split.samples is None else f"{split.samples:,} samples"
    )
    out.print(f"[bold]{escape(split.path)}[/]: {samples}", soft_wrap=True)
    fields = table_of("field", "shape", "dtype", "codec", numbers=(
        "chunk\nrows", "shard\nrows", "stored", "decoded", "ratio",
    ))  # fmt: skip
    for field in split.fields:
        ratio = field.decoded_bytes / field.stored_bytes if field.stored_bytes else None
        fields.add_row(
            field.name,
            "×".join(map(str, field.shape)),
            field.dtype,
            field.codec,
            str(field.chunk_rows),
            str(field.shard_rows),
            text_of_bytes(field.stored_bytes),
            text_of_bytes(field.decoded_bytes),
            "" if ratio is None else f"{ratio:.2f}",
        )
    out.print(fields)
    for field in split.fields:
        if field.indirect is not None:
            out.print(f"{field.name}: read through zarr-python ({escape(field.indirect)})")
    if not split.classes:
        return
    classes = table_of("class", numbers=("id", "pixels", "share"))
    for row in split.classes:
        share = "" if row.share is None else f"{row.share:.2%}"
        classes.add_row(escape(row.name), str(row.id), f"{row.pixels:,}", share)
    out.print(classes)
    if split.ignore is not None:
        out.print(f"Mask id {split.ignore} belongs to no class.\n")
