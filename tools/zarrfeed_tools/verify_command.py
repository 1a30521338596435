"""How is a verification asked for, followed and summed up on a terminal?"""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 (typer looks at it)
from typing import TYPE_CHECKING, Annotated

import typer

from zarrfeed import list_splits
from zarrfeed.errors import printable
from zarrfeed_convert import fields_of_text, set_read_timeout, verify
from zarrfeed_tools.following import followed
from zarrfeed_tools.source_options import (
    FLAGS,
    READ_TIMEOUT_S,
    AllowExternal,
    MaxSampleSize,
    ReadTimeout,
    limits_of,
)
from zarrfeed_tools.terminal import console
from zarrfeed_tools.verdict import show_verification

if TYPE_CHECKING:
    from zarrfeed_convert import Originals

# Not a docstring: \b, which keeps the lines of a paragraph as they are, would be escaped there.
_HELP = """Recompute everything that a packed dataset records of itself.

Every shard's file is compared with the digest of what was written, so that no flipped byte is \
missed. Every sample is decoded, and its pixels are compared with the digest of what was \
packed. Nothing is changed. Samples that are not as they were packed are named, with the files \
that hold them; the exit status is 1 then.

--source makes every sample again from its originals, and names those that are others now, \
gone, or new. Keys are only as good as the originals say: the store alone can't prove them.

[bold]Examples[/]

\b
zarrfeed verify camvid.zarr
zarrfeed verify camvid.zarr/train --source
zarrfeed verify camvid.zarr/train --images moved/images --masks moved/masks
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("verify", help=_HELP)(_command)


def _command(
    store: Annotated[
        Path, typer.Argument(metavar="STORE[/SPLIT]", help="A dataset, or one split of it.")
    ],
    source: Annotated[
        bool,
        typer.Option(
            "--source",
            help="Make every sample again from its originals, where the split says they are.",
        ),
    ] = False,
    images: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE", help="Where the images of this split are now; implies --source."
        ),
    ] = None,
    masks: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE", help="Where the masks of this split are now; implies --source."
        ),
    ] = None,
    fields: Annotated[
        list[str] | None,
        typer.Option(
            "--field",
            metavar="NAME=ROLE:PLACE",
            help="Where a further field of this split is now; implies --source.",
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Compare files alone; decode no sample.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Processes; by default one per core."),
    ] = None,
    read_timeout: ReadTimeout = READ_TIMEOUT_S,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the outcome, with all problems, as one JSON object."),
    ] = False,
    max_sample_size: MaxSampleSize = None,
    allow_external: AllowExternal = False,
) -> None:
    """Recompute everything that a packed dataset records of itself."""
    said = {"images": images, "masks": masks, "fields": fields_of_text(fields or ()) or None}
    moved = {name: place for name, place in said.items() if place is not None}
    if moved:
        splits = list_splits(store)
        if len(splits) > 1:
            raise typer.BadParameter(
                printable(f"these are originals of one split; name it, like {store / splits[0]}"),
                param_hint=" ".join(FLAGS[name] for name in moved),
            )
    set_read_timeout(read_timeout)
    originals: Originals = moved or source
    with followed() as follow:
        found = verify(
            store,
            source=originals,
            quick=quick,
            workers=workers,
            read_timeout=read_timeout,
            progress=follow,
            limits=limits_of(max_sample_size, allow_external=allow_external),
        )
    if as_json:
        typer.echo(json.dumps(found.to_json()))
    else:
        show_verification(found, console())
    if not found.ok:
        raise typer.Exit(1)
