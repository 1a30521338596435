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

    from zarrfeed_convert import FieldFacts


# Not a docstring, whose line breaks typer would keep.
_HELP = """Show what a dataset contains: splits, fields, codecs, bytes, classes and pixel shares.

A chunk is the unit of decoding and a shard is a file; both are counted in rows, which are \
samples. Besides the fields that feed a model, a packed split has descriptive arrays, named below \
the table: key holds the samples' names, digest their checksums, class_pixels the pixels of every \
class. A raw field can take more on disk than in memory, because Zarr stores whole chunks.

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
    fields = [field for field in split.fields if field.name not in split.descriptive]
    out.print(table_of_cells(field_cells(fields)))
    padded = [field.name for field in fields if _is_padded(field)]
    if padded:
        out.print(
            f"{', '.join(map(shown, padded))}: stored is more than decoded, because the last chunk "
            "is filled with zeros",
            soft_wrap=True,
        )
    if split.descriptive:
        out.print(f"Descriptive arrays: {', '.join(map(shown, split.descriptive))}", soft_wrap=True)
    for name, reason in split.indirect.items():
        out.print(f"{shown(name)}: read in a slower way ({shown(reason)})")
    if split.classes:
        out.print(table_of_cells(class_cells(split.classes, split.fields)))
    skipped = split.packed.get("skipped", ())
    if skipped:
        out.print(f"{len(skipped)} inputs were skipped when packing; --json lists them")


def _is_padded(field: FieldFacts) -> bool:
    """Whether a field takes more on disk than in memory because its last chunk is not full."""
    return (
        field.codec == "raw"
        and field.shape[0] % field.chunk_rows > 0
        and (field.stored_bytes or 0) > field.decoded_bytes
    )
