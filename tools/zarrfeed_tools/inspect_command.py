"""The command ``zarrfeed inspect``."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 (typer needs it at run time)
from typing import TYPE_CHECKING, Annotated

import typer

from zarrfeed_convert import class_cells, field_cells
from zarrfeed_tools.inspection import SplitFacts, inspect_store
from zarrfeed_tools.tables import table_of_cells
from zarrfeed_tools.terminal import console, shown

if TYPE_CHECKING:
    from rich.console import Console


# Not a docstring, whose line breaks typer would keep.
_HELP = """Show what a dataset contains: splits, fields, codecs, bytes, classes and pixel shares.

A chunk is the unit of decoding and a shard is a file; both are counted in rows, which are \
samples. Besides the fields that feed a model, a packed split has descriptive arrays: key holds \
the samples' names, digest their checksums, class_pixels the pixels of every class.

Works on any Zarr group of arrays aligned on axis 0, and says which arrays can only be read in \
a slower way.

[bold]Example[/]

zarrfeed inspect camvid.zarr
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("inspect", help=_HELP)(inspect)


def inspect(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="A dataset, or one split of it.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the facts as one JSON array.")
    ] = False,
) -> None:
    """Show what a dataset contains: splits, fields, codecs, bytes, classes and pixel shares."""
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
    out.print(f"[bold]{shown(split.path)}[/]: {samples}", soft_wrap=True)
    out.print(table_of_cells(field_cells(split.fields)))
    for name, reason in split.indirect.items():
        out.print(f"{shown(name)}: read in a slower way ({shown(reason)})")
    if split.classes:
        out.print(table_of_cells(class_cells(split.classes)))
    skipped = split.packed.get("skipped", ())
    if skipped:
        out.print(f"{len(skipped)} inputs were skipped when packing; --json lists them")
