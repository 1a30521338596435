"""The command ``zarrfeed demo``."""

from __future__ import annotations

import json
import os
import shlex
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zarrfeed.errors import ZarrfeedError, how_to_install
from zarrfeed.store.address import local_path
from zarrfeed_tools.cells import CLASSES, write_cells
from zarrfeed_tools.convert_command import convert_folders
from zarrfeed_tools.terminal import console, shown

if TYPE_CHECKING:
    from rich.console import Console

_TRAIN, _VALIDATION = 320, 80
_SIZE = 128
_SEED = 2026


# Not a docstring, whose line breaks typer would keep.
_HELP = """Pack pictures of cells, train a small U-Net on them, and show its predictions.

Draws 400 pairs of PNG files into demo/, packs them with zarrfeed convert, trains with two \
worker processes and writes demo/predictions.png with images, true masks and predicted masks.

[bold]Example[/] (your own data, packed before)

zarrfeed demo --data camvid.zarr --epochs 10
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("demo", help=_HELP)(demo)


def demo(
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="STORE",
            help="Train on this dataset, with splits train and val, instead of drawn cells.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("demo"),
    epochs: Annotated[
        int, typer.Option(min=1, help="Number of passes over the training split.")
    ] = 5,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples per batch.")] = 16,
    filters: Annotated[
        int, typer.Option(min=1, help="Number of filters in the U-Net's first level.")
    ] = 8,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the order, the flips and the initial weights.")
    ] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print only the result, as one JSON object.")
    ] = False,
) -> None:
    """Pack pictures of cells, train a small U-Net on them, and show its predictions."""
    show = console(quiet=as_json)
    start = time.perf_counter()
    if find_spec("keras") is None:  # before anything is drawn
        raise _no_keras("keras is not installed")
    if data is None:
        data = _pack_cells(out, show, quiet=as_json)
    show.print("[bold]Train[/] a U-Net on it (loading Keras …)")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        from zarrfeed_tools.demonstration import demonstrate  # Keras takes seconds to import
    except ImportError as error:  # a backend is missing
        raise _no_keras(error) from error

    result = demonstrate(
        data,
        out / "predictions.png",
        epochs=epochs,
        batch_size=batch_size,
        filters=filters,
        seed=seed,
        show=show,
        progress_bar=not as_json,
    )
    if as_json:
        typer.echo(json.dumps(result.to_json()))
        return
    ious = " → ".join(f"{iou:.3f}" for iou in result.val_iou)
    show.print(
        f"\nValidation IoU (mean over classes) by epoch: [bold]{ious}[/]\n"
        f"Training took {result.trained_batches_per_second:,.1f} batches a second; the loader "
        f"alone could deliver {result.fed_batches_per_second:,.0f}.\n"
        f"Images, true masks and predictions side by side: [bold]{shown(result.picture)}[/]\n"
        f"The demonstration took {time.perf_counter() - start:.0f} s.",
        soft_wrap=True,
    )


def _no_keras(why: object) -> ZarrfeedError:
    return ZarrfeedError(
        f"demo: needs Keras with a backend ({why}): {how_to_install('tensorflow')} (or '.[jax]', "
        "or '.[torch]'); KERAS_BACKEND chooses among those that are installed"
    )


def _pack_cells(out: Path, show: Console, *, quiet: bool) -> Path:
    store = local_path(out) / "cells.zarr"
    show.print(
        f"[bold]Draw[/] {_TRAIN + _VALIDATION} pictures of cells with their masks into "
        f"{shown(out)}/cells"
    )
    for split, count, seed in (("train", _TRAIN, _SEED), ("val", _VALIDATION, _SEED + 1)):
        folder = out / "cells" / split
        write_cells(folder, count, size=_SIZE, seed=seed)
        arguments = {
            "split": split,
            "images": str(folder / "images"),
            "masks": str(folder / "masks"),
            "classes": ",".join(CLASSES),
        }
        words = [word for name, value in arguments.items() for word in (f"--{name}", value)]
        command = shlex.join(["zarrfeed", "convert", str(store), *words])
        show.print(f"\n[bold]Pack[/] them: {shown(command)}\n", soft_wrap=True)
        convert_folders(store, **arguments, quiet=quiet)
    return store
