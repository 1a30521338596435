"""The command ``zarrfeed repack``."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from pathlib import Path  # noqa: TC003 (typer needs it at run time)
from typing import Annotated

import typer

from zarrfeed_convert import repack
from zarrfeed_tools import pack_options as shared  # noqa: TC001 (typer needs it at run time)
from zarrfeed_tools.progress import report_interrupts, show_progress
from zarrfeed_tools.quantities import parse_bytes, parse_tile
from zarrfeed_tools.remote_options import (
    Cache,
    CacheLimit,
    RemoteOptions,
    StorageOptions,
    storage_options_of,
)
from zarrfeed_tools.summary import show_report
from zarrfeed_tools.terminal import console

# Not a docstring, because Python would escape \b, by which click keeps the lines of a paragraph.
_HELP = """Make a split from packed splits, without their original files.

Change the codec, the chunk or shard size or the order, select samples, merge several splits, or \
cut cases (images or volumes of any size) into tiles of another size. Whatever you do not set \
stays as it is. The digest of every sample is checked on the way: the run stops at the first \
damaged sample and names it. To continue an interrupted run, repeat the command.

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

\b
zarrfeed repack ct.zarr/train ct128.zarr --split train --tile 32x128x128
zarrfeed repack s3://bucket/city.zarr/train city.zarr --split train --subset :1000
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
            help="Packed splits: paths or addresses. That of a dataset is enough if it has only "
            "one split.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT.zarr",
            help="The dataset; created if it does not exist. It may be the dataset of IN.",
        ),
    ],
    split: Annotated[str, typer.Option(help="Name of the split to make, such as train or val.")],
    codec: Annotated[
        _Codec,
        typer.Option(
            help="Compression of chunks. keep: as in IN. auto: lz4 or zstd for fields that get "
            "small enough, else raw."
        ),
    ] = _Codec.KEEP,
    chunk_samples: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            min=1,
            help="Samples per chunk. By default as many as in IN; of cases always one tile.",
        ),
    ] = None,
    shard_size: Annotated[
        str | None,
        typer.Option(
            metavar="256MiB", help="Decoded bytes of images per file. By default as many as in IN."
        ),
    ] = None,
    tile: Annotated[
        str | None,
        typer.Option(
            metavar="HxW|auto",
            help="Put cases together and cut them into tiles of this size; DxHxW for volumes. auto "
            "chooses it by the sizes of the cases. Splits of whole images or volumes become splits "
            "of cases. By default tiles stay as they are in IN.",
        ),
    ] = None,
    order: Annotated[
        _Order | None,
        typer.Option(
            help="Order of the stored samples. shuffled: by --seed. source: sorted by name. "
            "stored: as in IN. By default stored for one IN, shuffled for several.",
        ),
    ] = None,
    seed: shared.Seed = 0,
    subset: Annotated[
        str | None,
        typer.Option(
            metavar="START:STOP:STEP",
            help="Select samples by their number in storage order: ':1000' the first thousand, "
            "'::10' every tenth. Cases are selected as a whole, by the number of the case.",
        ),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Select samples or cases by name: a file with one name per line. The name of an "
            "image selects all of its tiles.",
        ),
    ] = None,
    prefix_keys: Annotated[
        bool,
        typer.Option(
            "--prefix-keys",
            help="Name samples or cases SPLIT/KEY, or DATASET/SPLIT/KEY if splits have the same "
            "name, so that the splits to merge may contain some of the same name.",
        ),
    ] = False,
    workers: shared.Workers = None,
    overwrite: shared.Overwrite = False,
    restart: shared.Restart = False,
    dry_run: shared.DryRun = False,
    as_json: shared.AsJson = False,
    cache: Cache = None,
    cache_limit: CacheLimit = None,
    storage_options: StorageOptions = None,
) -> None:
    """Make a split from packed splits, without their original files."""
    if subset is not None and keys is not None:
        raise typer.BadParameter("cannot be combined with --subset", param_hint="--keys")
    remote = RemoteOptions(cache, storage_options_of(storage_options), cache_limit)
    with report_interrupts(), show_progress() as follow:
        report = repack(
            inputs,
            out,
            split=split,
            codec=codec.value,
            chunk_samples=chunk_samples,
            shard_size=None
            if shard_size is None
            else parse_bytes(shard_size, option="--shard-size"),
            tile=parse_tile(tile),
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
            **remote.opening,
        )
    if as_json:
        typer.echo(json.dumps(report.to_json()))
    else:
        show_report(report, console())


def _parse_subset(text: str) -> slice:
    """Parse a slice.

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
    """Read one name per line, without empty lines. Names that are not UTF-8 keep their bytes."""
    if not path.is_file():
        raise typer.BadParameter(f"no such file: {path}", param_hint="--keys")
    text = path.read_text("utf-8-sig", errors="surrogateescape")
    return [line.rstrip("\r") for line in text.split("\n") if line.strip()]
