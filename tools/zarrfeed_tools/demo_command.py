"""The command ``zarrfeed demo``."""

from __future__ import annotations

import json
import os
import shlex
import time
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zarrfeed.errors import ZarrfeedError, how_to_install, look_up
from zarrfeed.store.address import local_path
from zarrfeed_tools.abdomens import VOLUME_CLASSES, write_abdomens
from zarrfeed_tools.cells import CLASSES, write_cells
from zarrfeed_tools.convert_command import convert_folders
from zarrfeed_tools.quantities import parse_size
from zarrfeed_tools.terminal import console, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from zarrfeed_tools.demonstration import Demonstration
    from zarrfeed_tools.volume_demonstration import VolumeDemonstration

_SEED = 2026


@dataclass(frozen=True)
class _Drawn:
    """Data to draw: name, description, number per split, function, options to pack them."""

    name: str
    what: str
    counts: dict[str, int]
    write: Callable[..., None]
    options: dict[str, str]


_CELLS = _Drawn(
    "cells",
    "pictures of cells",
    {"train": 320, "val": 80},
    partial(write_cells, size=128),
    {"classes": ",".join(CLASSES)},
)
_VOLUMES = _Drawn(
    "volumes",
    "scans of different sizes",
    {"train": 12, "val": 4},
    write_abdomens,
    {"classes": ",".join(VOLUME_CLASSES), "option": "axes=DHW", "tile": "auto"},
)


# Not a docstring, because Python would escape \b, by which click keeps the lines of a paragraph.
_HELP = """Pack pictures of cells, train a small U-Net on them, and show its predictions.

Draws 400 pairs of PNG files into demo/, packs them with zarrfeed convert, trains with two \
worker processes and writes demo/predictions.png with images, true masks and predicted masks.

With --volumes, draws 16 scans of different sizes as .npy files, in which lesions are 0.2 % of all \
voxels, packs them as cases (convert --tile auto), and trains a 3-D U-Net on random patches, half \
of which must contain a lesion. After each epoch it predicts whole volumes (zarrfeed predict) and \
computes Dice (zarrfeed evaluate). At the end it writes demo/volumes.png, slices with true and \
predicted masks. Compare with --share 0, which draws all patches freely.

[bold]Examples[/] (your own data, packed before)

\b
zarrfeed demo --data camvid.zarr --epochs 10
zarrfeed demo --volumes --data ct.zarr --patch 64x96x96 --epochs 50
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("demo", help=_HELP)(demo)


def demo(
    volumes: Annotated[
        bool, typer.Option("--volumes", help="Train on patches of volumes instead of images.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="STORE",
            help="Train on this dataset, with splits train and val, instead of drawn data. If "
            "images have no val, every fifth of train is held out.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("demo"),
    epochs: Annotated[
        int, typer.Option(min=1, help="Number of passes over the training split.")
    ] = 5,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Samples per batch. By default 16, or 2 patches.", show_default=False
        ),
    ] = None,
    filters: Annotated[
        int, typer.Option(min=1, help="Number of filters in the U-Net's first level.")
    ] = 8,
    patch: Annotated[
        str | None,
        typer.Option(
            metavar="DxHxW",
            help="With --volumes: size of the patches. By default 32x48x48.",
            show_default=False,
        ),
    ] = None,
    per_epoch: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="With --volumes: number of patches per epoch. By default 80.",
            show_default=False,
        ),
    ] = None,
    share: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="With --volumes: share of the patches that must contain the rarest class. By "
            "default 0.5.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the order, the flips and the initial weights.")
    ] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print only the result, as one JSON object.")
    ] = False,
) -> None:
    """Pack pictures of cells, train a small U-Net on them, and show its predictions."""
    for option, value in (("--patch", patch), ("--per-epoch", per_epoch), ("--share", share)):
        if value is not None and not volumes:
            raise typer.BadParameter("needs --volumes", param_hint=option)
    size = _patch_size(patch)
    show = console(quiet=as_json)
    start = time.perf_counter()
    if find_spec("keras") is None:  # before anything is drawn
        raise _no_keras("keras is not installed")
    if data is None:
        data = _pack(_VOLUMES if volumes else _CELLS, out, show, quiet=as_json)
    show.print("[bold]Train[/] a U-Net on it (loading Keras …)")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        from zarrfeed_tools.demonstration import demonstrate  # Keras takes seconds to import
        from zarrfeed_tools.volume_demonstration import demonstrate_volumes
    except ImportError as error:  # a backend is missing
        raise _no_keras(error) from error

    settings: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size or (2 if volumes else 16),
        "filters": filters,
        "seed": seed,
        "show": show,
        "progress_bar": not as_json,
    }
    if volumes:
        share = 0.5 if share is None else share
        of_volumes = demonstrate_volumes(
            data, out, patch=size, per_epoch=per_epoch or 80, share=share, **settings
        )
        result: dict[str, Any] = of_volumes.to_json()
        _show_volumes(of_volumes, show)
    else:
        of_images = demonstrate(data, out / "predictions.png", **settings)
        result = of_images.to_json()
        _show_images(of_images, show)
    if as_json:
        typer.echo(json.dumps(result))
    show.print(f"The demonstration took {time.perf_counter() - start:.0f} s.")


def _patch_size(text: str | None) -> tuple[int, ...]:
    size = parse_size(text or "32x48x48", option="--patch")
    if len(size) != 3:
        raise typer.BadParameter(
            f"needed DEPTHxHEIGHTxWIDTH like 32x48x48, found {text!r}", param_hint="--patch"
        )
    return size


def _show_images(result: Demonstration, show: Console) -> None:
    ious = " → ".join(f"{iou:.3f}" for iou in result.val_iou)
    show.print(
        f"\nValidation IoU (mean over classes, on {shown(result.validated_on)}) by epoch: "
        f"[bold]{ious}[/]\n"
        f"Training took {result.trained_batches_per_second:,.1f} batches a second; the loader "
        f"alone could deliver {result.fed_batches_per_second:,.0f}.\n"
        f"Images, true masks and predictions side by side: [bold]{shown(result.picture)}[/]",
        soft_wrap=True,
    )


def _show_volumes(result: VolumeDemonstration, show: Console) -> None:
    show.print(
        f"Training took {result.trained_patches_per_second:,.1f} patches a second; the loader "
        f"alone could deliver {result.fed_patches_per_second:,.0f}.\n"
        f"Slices with true and predicted masks: [bold]{shown(result.picture)}[/]\n"
        f"The model, for zarrfeed predict: [bold]{shown(result.model)}[/]",
        soft_wrap=True,
    )


def _no_keras(why: object) -> ZarrfeedError:
    return ZarrfeedError(
        f"demo: needs Keras with a backend ({why}): {how_to_install('tensorflow')} (or '.[jax]', "
        "or '.[torch]'); KERAS_BACKEND chooses among those that are installed"
        f"{look_up('missing-package')}"
    )


def _pack(drawn: _Drawn, out: Path, show: Console, *, quiet: bool) -> Path:
    """Draw data, and pack them as ``zarrfeed convert`` does."""
    store = local_path(out) / f"{drawn.name}.zarr"
    show.print(
        f"[bold]Draw[/] {sum(drawn.counts.values())} {drawn.what} with their masks into "
        f"{shown(out)}/{drawn.name}"
    )
    for number, (split, count) in enumerate(drawn.counts.items()):
        folder = out / drawn.name / split
        drawn.write(folder, count, seed=_SEED + number)
        arguments = {
            "split": split,
            "images": str(folder / "images"),
            "masks": str(folder / "masks"),
            **drawn.options,
        }
        words = [word for name, value in arguments.items() for word in (f"--{name}", value)]
        command = shlex.join(["zarrfeed", "convert", str(store), *words])
        show.print(f"\n[bold]Pack[/] them: {shown(command)}\n", soft_wrap=True)
        convert_folders(store, **arguments, quiet=quiet)
    return store
