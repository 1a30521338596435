"""The command ``zarrfeed copy``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from zarrfeed_convert import copy
from zarrfeed_tools.progress import report_interrupts, show_progress
from zarrfeed_tools.remote_options import StorageOptions, storage_options_of
from zarrfeed_tools.terminal import console, shown

if TYPE_CHECKING:
    from zarrfeed_convert import CopyReport

# Not a docstring, because Python would escape \b, by which click keeps the lines of a paragraph.
_HELP = """Copy a dataset, or one split of it, between folders and object stores.

Addresses are s3://bucket/path (with endpoint=URL any store that speaks S3), gs://, az://, and \
https:// to read from. Credentials come from the environment, as for other tools. Needs obstore.

The bytes of every shard are compared with the digest recorded when it was packed: while the \
original is read, and when the copy has arrived. A split can be opened only when its copy is \
complete. To continue an interrupted copy, repeat the command: what has arrived is not sent again. \
A copy that is complete is compared by sizes; --read-back compares every byte.

All splits of a dataset have the same classes, in copies, too. If the command is killed, parts of \
large objects may stay invisible in the bucket: let a lifecycle rule of the bucket remove \
incomplete uploads.

[bold]Examples[/]

\b
zarrfeed copy cells.zarr s3://datasets/cells.zarr

\b
zarrfeed copy s3://datasets/cells.zarr/train /nvme/cells.zarr

\b
zarrfeed copy ct.zarr/train gs://bucket/ct.zarr --split train-2026

\b
zarrfeed copy cells.zarr s3://datasets/cells.zarr \\
  --storage-option endpoint=https://minio.example.org

\b
zarrfeed copy https://example.org/cells.zarr/val cells.zarr
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("copy", help=_HELP)(_command)


def _command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="STORE[/SPLIT]",
            help="A dataset, or one split of it: a path or an address. Of a web server, a split.",
        ),
    ],
    out: Annotated[
        str,
        typer.Argument(
            metavar="OUT.zarr",
            help="The dataset to copy to: a path or an address. Created if it does not exist.",
        ),
    ],
    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the copy of one split. By default as the original.",
            show_default=False,
        ),
    ] = None,
    concurrency: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            max=256,
            help="Files that are transferred at a time. An upload takes some 24 MiB of memory for "
            "each.",
        ),
    ] = 8,
    read_back: Annotated[
        bool,
        typer.Option(
            "--read-back",
            help="Read every object of the copy again, also of one that is there already, and "
            "compare its digest. By default only where the object store's tag (ETag) does not show "
            "that the right bytes have arrived.",
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace another split of this name. In a folder it stays until the new one is "
            "complete; in an object store it cannot be opened meanwhile.",
        ),
    ] = False,
    restart: Annotated[
        bool,
        typer.Option(
            "--restart", help="Discard what an interrupted copy has left, and start anew."
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Look at both sides and say what is missing; copy nothing."),
    ] = False,
    storage_options: StorageOptions = None,
    target_options: Annotated[
        list[str] | None,
        typer.Option(
            "--target-option",
            metavar="KEY=VALUE",
            help="As --storage-option, for OUT alone, if both are object stores that differ.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as one JSON object.")
    ] = False,
) -> None:
    """Copy a dataset, or one split of it, between folders and object stores."""
    options = storage_options_of(storage_options)
    others = storage_options_of(target_options, option="--target-option")
    with report_interrupts(), show_progress("MiB") as follow:
        report = copy(
            source,
            out,
            split=split,
            storage_options=options,
            target_options=others,
            concurrency=concurrency,
            read_back=read_back,
            overwrite=overwrite,
            restart=restart,
            dry_run=dry_run,
            progress=follow,
        )
    if as_json:
        typer.echo(json.dumps(report.to_json()))
    else:
        show_copies(report)


def show_copies(report: CopyReport) -> None:
    """Print what was copied."""
    out = console()
    for line in str(report).splitlines():
        out.print(shown(line), soft_wrap=True)
