"""How is a conversion asked for, followed and summed up on a terminal?"""

from __future__ import annotations

import json
import re
from enum import StrEnum
from pathlib import Path  # noqa: TC003 (typer looks at it)
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from zarrfeed_convert import PairedFolders, Report, convert, text_of_bytes
from zarrfeed_tools.following import followed

_UNITS = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KIB": 1 << 10,
    "MIB": 1 << 20,
    "GIB": 1 << 30,
}
_PIPED_WIDTH = 120  # a file has no width of its own, and a log is no place for folded tables


class _Fit(StrEnum):
    RESIZE = "resize"
    CROP = "crop"
    PAD = "pad"
    TILE = "tile"


class _Codec(StrEnum):
    AUTO = "auto"
    RAW = "raw"
    LZ4 = "lz4"
    ZSTD = "zstd"


class _Order(StrEnum):
    SHUFFLED = "shuffled"
    SOURCE = "source"


class _Color(StrEnum):
    AUTO = "auto"
    GREY = "grey"
    RGB = "rgb"
    RGBA = "rgba"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("convert")(convert_folders)


def convert_folders(
    out: Annotated[
        Path, typer.Argument(metavar="OUT.zarr", help="The dataset; made if it is not there.")
    ],
    split: Annotated[
        str, typer.Option(help="The split to pack, like train or val; run once for each.")
    ],
    images: Annotated[
        str,
        typer.Option(
            metavar="DIR_OR_GLOB",
            help="The images: a folder, searched with all below it, or a glob.",
        ),
    ],
    masks: Annotated[
        str,
        typer.Option(
            metavar="DIR_OR_GLOB", help="The masks, each named like its image; or a glob."
        ),
    ],
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="FILE_OR_LIST",
            help="Class names in the order of their ids: a,b,c, or a file with a name per line, or "
            "their number. Left out, every mask is looked at first.",
        ),
    ] = None,
    ignore: Annotated[
        int | None,
        typer.Option(metavar="ID", help="The mask value of pixels that belong to no class."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="Height and width that every stored sample shall have."),
    ] = None,
    fit: Annotated[
        _Fit | None,
        typer.Option(
            help="How samples of another size get there: resized (masks by nearest neighbour), cut "
            "from the centre, padded below and at the right, or cut into tiles that cover them."
        ),
    ] = None,
    mask_map: Annotated[
        str,
        typer.Option(
            metavar="VALUE=ID,…",
            help="What mask values mean: an integer, '#RRGGBB', or '*' for everything else, "
            "like 255=1 or '#FF0000=1,*=0'.",
        ),
    ] = "",
    codec: Annotated[
        _Codec,
        typer.Option(help="How chunks are compressed; auto compresses what gets small enough."),
    ] = _Codec.AUTO,
    chunk_samples: Annotated[
        int | None,
        typer.Option(
            metavar="K", min=1, help="Samples per chunk; by default as many as are worth one read."
        ),
    ] = None,
    shard_size: Annotated[
        str | None,
        typer.Option(
            metavar="256MiB",
            help="Decoded bytes of images per file; by default 8 to 256 MiB, by the data.",
        ),
    ] = None,
    order: Annotated[
        _Order,
        typer.Option(
            help="Shuffled once by --seed, so that reading in storage order is fair too; "
            "or sorted by name."
        ),
    ] = _Order.SHUFFLED,
    seed: Annotated[int, typer.Option(min=0, help="Of the shuffled order.")] = 0,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Processes; by default one per core. The store is the same for any number.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be done, and why; write nothing."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as one JSON object.")
    ] = False,
    image_suffix: Annotated[
        str,
        typer.Option(
            metavar="S", help="What image names have after the name shared with the mask."
        ),
    ] = "",
    mask_suffix: Annotated[
        str,
        typer.Option(
            metavar="S",
            help="What mask names have after the name shared with the image, like _mask.",
        ),
    ] = "",
    color: Annotated[
        _Color, typer.Option(help="Channels of stored images; auto keeps what the files have.")
    ] = _Color.AUTO,
) -> None:
    """Pack folders of images and masks into one split of a dataset.

    Images and masks pair up by their names without extension. Nothing is written unless all of it
    can be: unpaired, damaged or mislabelled files are named instead.

    [bold]Examples[/] (globs must be quoted, or the shell expands them)

    zarrfeed convert cells.zarr --split train --images cells/images --masks cells/masks

    zarrfeed convert city.zarr --split val --images 'city/val/**/*.png' --masks city/labels
    --mask-suffix _labelIds --classes classes.txt --ignore 255 --size 512x1024 --fit resize
    """
    if fit is not None and size is None:
        raise typer.BadParameter("needs --size HxW", param_hint="--fit")
    pairs = PairedFolders(
        images,
        masks,
        image_suffix=image_suffix,
        mask_suffix=mask_suffix,
        color=color.value,
        mask_map=mask_map,
    )
    with followed() as follow:
        report = convert(
            pairs,
            out,
            split=split,
            classes=classes,
            ignore=ignore,
            size=None if size is None else _parse_size(size),
            fit=None if fit is None else fit.value,
            codec=codec.value,
            chunk_samples=chunk_samples,
            shard_size=None if shard_size is None else _parse_bytes(shard_size),
            order=order.value,
            seed=seed,
            workers=workers,
            dry_run=dry_run,
            progress=follow,
        )
    if as_json:
        typer.echo(json.dumps(report.to_json()))
    else:
        _show(report)


def _parse_size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)[xX×](\d+)", text.strip())
    if match is None or not (int(match[1]) and int(match[2])):
        raise typer.BadParameter(
            f"needed HEIGHTxWIDTH like 256x512, found {text!r}", param_hint="--size"
        )
    return int(match[1]), int(match[2])


def _parse_bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    unit = _UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None or not float(match[1]) * unit >= 1:
        raise typer.BadParameter(
            f"needed a size like 256MiB or 1GB, found {text!r}", param_hint="--shard-size"
        )
    return int(float(match[1]) * unit)


# -- Summing up -----------------------------------------------------------------------------------


def _show(report: Report) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _PIPED_WIDTH
    heads = {
        "packed": f"Packed {report.found} pairs into {report.packed} samples of {report.path} "
        f"in {report.seconds:.1f} s",
        "already packed": f"{report.path} is already packed: nothing was changed",
        "dry run": f"Would pack {report.found} pairs into {report.packed} samples of "
        f"{report.path}; nothing was written",
    }
    console.print(f"[bold]{escape(heads[report.status])}[/]", soft_wrap=True)
    console.print(_table_of_fields(report))
    if report.status == "dry run":
        console.print(_table_of_decisions(report))
        return
    console.print(_table_of_classes(report))
    for decision in report.decisions:
        if decision.what == "classes" and "255 means 1" in decision.reason:
            console.print(f"classes: {escape(decision.reason)}", soft_wrap=True)


def _table_of_fields(report: Report) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("field", "shape", "dtype", "codec"):
        table.add_column(name, no_wrap=True)
    for name in ("chunk\nrows", "shard\nrows", "stored", "decoded"):
        table.add_column(name, justify="right", no_wrap=True)
    for field in report.fields:
        stored = "" if field.stored_bytes is None else text_of_bytes(field.stored_bytes)
        table.add_row(
            field.name,
            "×".join(map(str, field.shape)),
            field.dtype,
            field.codec,
            str(field.chunk_rows),
            str(field.shard_rows),
            stored,
            text_of_bytes(field.decoded_bytes),
        )
    return table


def _table_of_classes(report: Report) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("id", justify="right")
    table.add_column("class")
    table.add_column("pixels", justify="right")
    table.add_column("share", justify="right")
    for row in report.classes:
        share = "" if row.share is None else f"{row.share:.2%}"
        table.add_row(str(row.id), escape(row.name), f"{row.pixels:,}", share)
    return table


def _table_of_decisions(report: Report) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("decision", "value", "because"):
        table.add_column(name, overflow="fold")
    for decision in report.decisions:
        table.add_row(decision.what, escape(decision.value), escape(decision.reason))
    return table
