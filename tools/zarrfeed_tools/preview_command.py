"""The command ``zarrfeed preview``."""

from __future__ import annotations

import os
import traceback
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zarrfeed import CoverPatches, FrontEnd, GridPatches, RandomPatches
from zarrfeed.errors import ZarrfeedError
from zarrfeed.store.address import local_out
from zarrfeed.views.conditions import ConditionError
from zarrfeed_tools.bench.functions import find_function
from zarrfeed_tools.preview import Selection, sequence_section, store_sections
from zarrfeed_tools.remote_options import (
    Cache,
    CacheLimit,
    RemoteOptions,
    StorageOptions,
    storage_options_of,
)
from zarrfeed_tools.sheet import draw_sheet
from zarrfeed_tools.terminal import console, shown

if TYPE_CHECKING:
    from zarrfeed_tools.sheet import Section

# Not a docstring, because Python would escape \b, by which click keeps the lines of a paragraph.
_HELP = """Draw samples of a dataset to a PNG: images, their masks over them, and the classes.

Shows samples that are spread evenly over every split, or those that --where, --keys or --seed \
choose. Volumes are shown as three planes, laid where the mask has most pixels, and as slices \
through all of them. Cases of images are shrunk, with the borders of their tiles; --patches adds \
the places of patches. Large cases are read part by part. Any Zarr group of images works, and so \
does an OME-Zarr image.

--where compares the share of a sample's pixels that a class has, from 0 to 1 or in %, or their \
number (px): lesion>0, lesion>=10%, lesion<500px, organ==0, empty, not empty. Several, joined by \
"and" or commas, must all hold. Put names with other characters in quotes.

--sequence shows what a ZarrSequence hands out to the model, after its patches and transforms. \
The function takes no arguments and returns the sequence. Modules in the current folder are found.

[bold]Examples[/]

\b
zarrfeed preview camvid.zarr
zarrfeed preview ct.zarr/train --where 'lesion>0 and liver>=20%' --n 8
zarrfeed preview slides.zarr --keys slide_07 --patches 512x512 --out slide.png
zarrfeed preview --sequence training:train_sequence
"""


class _Kind(StrEnum):
    RANDOM = "random"
    GRID = "grid"
    COVER = "cover"


_KINDS = {_Kind.RANDOM: RandomPatches, _Kind.GRID: GridPatches, _Kind.COVER: CoverPatches}


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("preview", help=_HELP)(preview)


def preview(
    store: Annotated[
        Path | None,
        typer.Argument(
            metavar="STORE", help="A dataset, or one split of it: a path or an address."
        ),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A split to show; repeat it for several. By default, all."
        ),
    ] = None,
    where: Annotated[
        str, typer.Option(metavar="CONDITION", help="What samples must have, like 'lesion>0'.")
    ] = "",
    keys: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A,B", help="Keys of the samples or cases; repeat it for keys with commas."
        ),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(
            "--n",
            min=1,
            max=400,
            help="Samples of each split. By default 16 images, or 4 volumes or cases.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Choose at random. By default, spread evenly.")
    ] = None,
    size: Annotated[
        int, typer.Option(metavar="PIXELS", min=16, max=2048, help="Longest side of a picture.")
    ] = 320,
    patches: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Draw where patches lie, like 256x256 or 32x128x128."),
    ] = None,
    patch_kind: Annotated[
        _Kind, typer.Option(help="RandomPatches, GridPatches or CoverPatches.")
    ] = _Kind.RANDOM,
    sequence: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION", help="Show what the ZarrSequence that it returns hands out."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="The picture.")] = Path(
        "preview.png"
    ),
    cache: Cache = None,
    cache_limit: CacheLimit = None,
    storage_options: StorageOptions = None,
) -> None:
    """Draw samples of a dataset to a PNG: images, their masks over them, and the classes."""
    if out.suffix.lower() != ".png":
        raise typer.BadParameter(f"needed FILE.png, found {str(out)!r}", param_hint="--out")
    if out.is_dir():
        raise typer.BadParameter(f"needed a file, found the folder {out}", param_hint="--out")
    out = local_out(out, kind="file")
    selection = Selection(
        splits=split or (), where=where, keys=_keys(keys or []), count=n, seed=seed, most=size,
        patches=None if patches is None else _KINDS[patch_kind](_size(patches)),
    )  # fmt: skip
    remote = RemoteOptions(cache, storage_options_of(storage_options), cache_limit)
    sections = _sections(store, sequence, selection, remote)
    picture = draw_sheet(sections)
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f"{out.name}.partial")
    try:
        picture.save(beside, "PNG")
        os.replace(beside, out)  # noqa: PTH105 - as everywhere that files are replaced
    finally:
        beside.unlink(missing_ok=True)
    to = console()
    for section in sections:
        to.print(f"[bold]{shown(section.title)}[/]: {shown(section.subtitle)}", soft_wrap=True)
    to.print(f"Drawn to {shown(out)}, {picture.width} × {picture.height} pixels", soft_wrap=True)


def _sections(
    store: Path | None, sequence: str | None, selection: Selection, remote: RemoteOptions
) -> list[Section]:
    if (store is None) == (sequence is None):
        raise typer.BadParameter(
            "needed either a store or --sequence module:function", param_hint="STORE"
        )
    if store is not None:
        try:
            return store_sections(store, selection, remote)
        except ConditionError as error:
            raise typer.BadParameter(str(error), param_hint="--where") from error
    assert sequence is not None
    for option, given in {
        "--split": selection.splits, "--where": selection.where, "--keys": selection.keys,
        "--seed": selection.seed is not None, "--patches": selection.patches,
        "--cache": remote.cache, "--cache-limit": remote.cache_limit,
        "--storage-option": remote.storage_options,
    }.items():  # fmt: skip
        if given:
            raise typer.BadParameter(
                f"{option} is about a store; a sequence has its own: leave it out",
                param_hint=option,
            )
    made = _called(sequence)
    if not isinstance(made, FrontEnd):
        raise typer.BadParameter(
            f"needed a function that returns a ZarrSequence, found that {sequence!r} returns "
            f"{type(made).__name__}",
            param_hint="--sequence",
        )
    with made:
        return [sequence_section(made, sequence, selection)]


def _called(sequence: str) -> Any:
    function = find_function(sequence, option="--sequence")
    try:
        return function()
    except ZarrfeedError:
        raise
    except Exception as error:  # the user's function may raise anything
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise typer.BadParameter(
            f"{sequence!r} raised {error!r} at {last.filename}:{last.lineno}: give a function "
            "without arguments that returns a ZarrSequence",
            param_hint="--sequence",
        ) from error


def _keys(given: list[str]) -> list[str]:
    """Split keys at commas, unless they are given one by one."""
    if len(given) != 1:
        return given
    return [key.strip() for key in given[0].split(",") if key.strip()]


def _size(text: str) -> tuple[int, ...]:
    """Parse the size of patches.

    >>> _size("32x128x128")
    (32, 128, 128)
    """
    parts = text.lower().replace(",", "x").split("x")
    if len(parts) not in (2, 3) or not all(p.isascii() and p.isdigit() and int(p) for p in parts):
        raise typer.BadParameter(
            f"needed a size like 256x256 or 32x128x128, found {text!r}", param_hint="--patches"
        )
    return tuple(map(int, parts))
