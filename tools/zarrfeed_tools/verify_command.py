"""The command ``zarrfeed verify``."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 (typer needs it at run time)
from typing import TYPE_CHECKING, Annotated

import typer

from zarrfeed import list_splits
from zarrfeed.errors import printable
from zarrfeed_convert import fields_of_text, set_read_timeout, verify
from zarrfeed_tools.progress import show_progress
from zarrfeed_tools.remote_options import StorageOptions, storage_options_of
from zarrfeed_tools.source_arguments import limits_of
from zarrfeed_tools.source_options import (
    FLAGS,
    READ_TIMEOUT_S,
    AllowExternal,
    MaxSampleSize,
    ReadTimeout,
)
from zarrfeed_tools.terminal import console
from zarrfeed_tools.verification_report import show_verification

if TYPE_CHECKING:
    from zarrfeed_convert import Originals

# Not a docstring, because Python would escape \b, by which click keeps the lines of a paragraph.
_HELP = """Check a packed dataset against everything that it records about itself.

The bytes of every shard's file are compared with the digest recorded when it was written, which \
detects every flipped bit. Every sample is decoded, and its pixels are compared with the digest \
recorded when it was packed. Nothing is changed. If a sample is not as it was packed, the sample \
and its files are named, and the exit status is 1.

--source also makes every sample again from its original files, and names those that have \
changed, are gone, or are new. Only this can detect wrong keys. Samples of a Python \
iterable cannot be made again; a note says so.

STORE may be an address, such as s3://bucket/camvid.zarr: every object is read once, and needs \
no room here beyond a few shards.

[bold]Examples[/]

\b
zarrfeed verify camvid.zarr
zarrfeed verify camvid.zarr/train --source
zarrfeed verify s3://bucket/camvid.zarr
zarrfeed verify camvid.zarr/train --images moved/images --masks moved/masks
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("verify", help=_HELP)(_command)


def _command(
    store: Annotated[
        Path,
        typer.Argument(
            metavar="STORE[/SPLIT]", help="A dataset, or one split of it: a path or an address."
        ),
    ],
    source: Annotated[
        bool,
        typer.Option(
            "--source",
            help="Make every sample again from its original files, at the paths that the split "
            "records.",
        ),
    ] = False,
    images: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE", help="Where the images of this split are now. Implies --source."
        ),
    ] = None,
    masks: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE", help="Where the masks of this split are now. Implies --source."
        ),
    ] = None,
    fields: Annotated[
        list[str] | None,
        typer.Option(
            "--field",
            metavar="NAME=ROLE:PLACE",
            help="Where a further field of this split is now. Implies --source.",
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Only compare the bytes of files; decode no sample.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Number of processes. By default one per core."),
    ] = None,
    read_timeout: ReadTimeout = READ_TIMEOUT_S,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the result with all problems as one JSON object."),
    ] = False,
    max_sample_size: MaxSampleSize = None,
    allow_external: AllowExternal = False,
    storage_options: StorageOptions = None,
) -> None:
    """Check a packed dataset against everything that it records about itself."""
    places = {"images": images, "masks": masks, "fields": fields_of_text(fields or ()) or None}
    opened_by = storage_options_of(storage_options)
    moved = {name: place for name, place in places.items() if place is not None}
    if moved:
        splits = list_splits(store, storage_options=opened_by)
        if len(splits) > 1:
            raise typer.BadParameter(
                printable(
                    f"needed the split to which these originals belong, like "
                    f"{store / splits[0]}, found a dataset of {len(splits)} splits"
                ),
                param_hint=" ".join(FLAGS[name] for name in moved),
            )
    set_read_timeout(read_timeout)
    originals: Originals = moved or source
    with show_progress() as follow:
        found = verify(
            store,
            source=originals,
            quick=quick,
            workers=workers,
            read_timeout=read_timeout,
            progress=follow,
            limits=limits_of(max_sample_size, allow_external=allow_external),
            storage_options=opened_by,
        )
    if as_json:
        typer.echo(json.dumps(found.to_json()))
    else:
        show_verification(found, console())
    if not found.ok:
        raise typer.Exit(1)
