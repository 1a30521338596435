"""How is a repacking asked for, followed and summed up on a terminal?"""

from __future__ import annotations

import json
import re
from enum import StrEnum
from pathlib import Path  # noqa: TC003 (typer looks at it)
from typing import Annotated

import typer

from zarrfeed_convert import repack
from zarrfeed_tools import pack_options as shared  # noqa: TC001 (typer looks at it)
from zarrfeed_tools.following import followed, interrupts_told
from zarrfeed_tools.quantities import parse_bytes
from zarrfeed_tools.summary import show_repacked
from zarrfeed_tools.terminal import console

# Not a docstring: \b, which keeps the lines of a paragraph as they are, would be escaped there.
_HELP = """Make a split of packed ones, without their sources.

Another codec, chunk or shard size; another order; a part of the samples; or several splits in \
one. What is not asked for stays as it is. The digest of every sample is recomputed on the way: \
damage ends the run, and is named. A run that was stopped goes on by the same command.

[bold]Examples[/]

\b
zarrfeed repack city.zarr/train city-lz4.zarr --split train --codec lz4

\b
zarrfeed repack city.zarr/train small.zarr --split train --subset :1000

\b
zarrfeed repack city.zarr/train city.zarr/extra all.zarr --split train

\b
zarrfeed repack city.zarr/train city.zarr --split train \\
  --shard-size 64MiB --overwrite
"""


class _Codec(StrEnum):
    KEEP = "keep"
    AUTO = "auto"
    RAW = "raw"
    LZ4 = "lz4"
    ZSTD = "zstd"


class _Order(StrEnum):
    SHUFFLED = "shuffled"
    SOURCE = "source"
    STORED = "stored"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("repack", help=_HELP)(_command)


def _command(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="IN[/SPLIT]…",
            help="Packed splits; of a dataset with one split, its path is enough.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT.zarr", help="The dataset; made if it is not there. It may be that of IN."
        ),
    ],
    split: Annotated[str, typer.Option(help="The split to make, like train or val.")],
    codec: Annotated[
        _Codec,
        typer.Option(help="How chunks are compressed; auto compresses what gets small enough."),
    ] = _Codec.KEEP,
    chunk_samples: Annotated[
        int | None,
        typer.Option(metavar="K", min=1, help="Samples per chunk; by default as many as in IN."),
    ] = None,
    shard_size: Annotated[
        str | None,
        typer.Option(
            metavar="256MiB", help="Decoded bytes of images per file; by default as many as in IN."
        ),
    ] = None,
    order: Annotated[
        _Order | None,
        typer.Option(
            help="Shuffled by --seed, sorted by name (source), or as samples lie. By default as "
            "they lie in one IN, and several are shuffled.",
        ),
    ] = None,
    seed: shared.Seed = 0,
    subset: Annotated[
        str | None,
        typer.Option(
            metavar="START:STOP:STEP",
            help="Which samples, by number, as they lie: ':1000' are the first thousand, '::10' "
            "every tenth.",
        ),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Which samples, by name: a file with one per line. Of an image that was cut into "
            "tiles, its name names all of them.",
        ),
    ] = None,
    prefix_keys: Annotated[
        bool,
        typer.Option(
            "--prefix-keys",
            help="Name samples SPLIT/KEY, or DATASET/SPLIT/KEY where splits are called the same: "
            "then they may hold samples of one name.",
        ),
    ] = False,
    workers: shared.Workers = None,
    overwrite: shared.Overwrite = False,
    restart: shared.Restart = False,
    dry_run: shared.DryRun = False,
    as_json: shared.AsJson = False,
) -> None:
    """Make a split of packed ones, without their sources."""
    if subset is not None and keys is not None:
        raise typer.BadParameter("not with --subset", param_hint="--keys")
    with interrupts_told(), followed() as follow:
        report = repack(
            inputs,
            out,
            split=split,
            codec=codec.value,
            chunk_samples=chunk_samples,
            shard_size=None
            if shard_size is None
            else parse_bytes(shard_size, option="--shard-size"),
            order=None if order is None else order.value,
            seed=seed,
            subset=None if subset is None else _parse_subset(subset),
            keys=None if keys is None else _read_keys(keys),
            prefix_keys=prefix_keys,
            workers=workers,
            overwrite=overwrite,
            restart=restart,
            dry_run=dry_run,
            progress=follow,
        )
    if as_json:
        typer.echo(json.dumps(report.to_json()))
    else:
        show_repacked(report, console())


def _parse_subset(text: str) -> slice:
    """Read a slice.

    >>> _parse_subset("10:20")
    slice(10, 20, None)
    """
    number = r"\s*(-?\d+)?\s*"
    match = re.fullmatch(f"{number}:{number}(?::{number})?", text)
    if match is None or match[3] == "0":
        raise typer.BadParameter(
            f"needed START:STOP or START:STOP:STEP, like :1000 or ::10, found {text!r}",
            param_hint="--subset",
        )
    start, stop, step = (None if part is None else int(part) for part in match.groups())
    return slice(start, stop, step)


def _read_keys(path: Path) -> list[str]:
    """Read names, one per line; empty lines are none. Names that are no UTF-8 keep their bytes."""
    if not path.is_file():
        raise typer.BadParameter(f"no such file: {path}", param_hint="--keys")
    text = path.read_text("utf-8-sig", errors="surrogateescape")
    return [line.rstrip("\r") for line in text.split("\n") if line.strip()]
