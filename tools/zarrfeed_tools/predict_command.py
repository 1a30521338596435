"""The command ``zarrfeed predict``."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path  # noqa: TC003 (typer needs it at run time)
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zarrfeed import GridPatches, list_splits, open_split, predict
from zarrfeed.errors import ReadError, StoreError, ZarrfeedError, how_to_install, look_up
from zarrfeed.store.address import local_out, remote_url
from zarrfeed.store.schema import METADATA, PREDICTED
from zarrfeed_tools.progress import report_interrupts, show_progress
from zarrfeed_tools.quantities import parse_size
from zarrfeed_tools.remote_options import (
    Cache,
    CacheLimit,
    RemoteOptions,
    StorageOptions,
    storage_options_of,
)
from zarrfeed_tools.terminal import console, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

# Not a docstring, because Python would escape \b, by which click keeps the lines of a paragraph.
_HELP = """Predict images or volumes of any size with a Keras model, patch by patch.

Patches overlap, and are blended where they do: with --window gaussian a pixel weighs less the \
further it is from the centre of its patch, as in MONAI's sliding_window_inference. Each part of \
the result is written as soon as no later patch covers it, so that memory does not grow with the \
height of an image or the depth of a volume.

OUT becomes a dataset with a split of the same name and the same cases and tiles, whose field \
prediction has the class of each pixel; --classes probabilities writes all scores of the model \
instead. Compare it with the true masks by zarrfeed evaluate, or open a case by \
zarrfeed.open_case("OUT/val", key, "prediction"). A run that was stopped is continued by the same \
command. It keeps whole shards, of 32 MiB before compression: small cases share one, and are \
predicted again if it was not full.

The exit status is 1 if the data, the model or its outputs do not fit, and 2 for wrong usage.

[bold]Examples[/]

\b
zarrfeed predict ct.zarr/val unet.keras predictions.zarr --size 96x160x160
zarrfeed predict city.zarr/test unet.keras out.zarr --size 512x512 --overlap 0.25 --workers 2
zarrfeed evaluate ct.zarr/val predictions.zarr
"""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # in messages of Keras


class _Window(StrEnum):
    GAUSSIAN = "gaussian"
    CONSTANT = "constant"


class _Classes(StrEnum):
    ARGMAX = "argmax"
    PROBABILITIES = "probabilities"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("predict", help=_HELP)(_command)


def _command(
    store: Annotated[
        Path,
        typer.Argument(
            metavar="STORE[/SPLIT]",
            help="A split, a dataset with only one, or images that are read where they are: an "
            "OME-Zarr image, a Zarr array, a group with an array image, or a folder of such.",
        ),
    ],
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A model that Keras saved, such as unet.keras.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Dataset of the predictions.")],
    size: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="Size of a patch; DxHxW for volumes. By default that of the model's input, if it "
            "has one.",
        ),
    ] = None,
    overlap: Annotated[
        float,
        typer.Option(metavar="SHARE", help="Share of a patch that its neighbour covers, too."),
    ] = 0.5,
    window: Annotated[
        _Window, typer.Option(help="Weight of the pixels of a patch where patches overlap.")
    ] = _Window.GAUSSIAN,
    classes: Annotated[
        _Classes, typer.Option(help="Whether to write class ids or all scores of the model.")
    ] = _Classes.ARGMAX,
    field: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What the model gets. By default, image."),
    ] = None,
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, help="Patches per batch.")] = 4,
    workers: Annotated[
        int, typer.Option(metavar="N", min=0, help="Number of threads that read ahead.")
    ] = 1,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace predictions that OUT already has.")
    ] = False,
    cache: Cache = None,
    cache_limit: CacheLimit = None,
    storage_options: StorageOptions = None,
) -> None:
    """Predict images or volumes of any size with a Keras model, patch by patch."""
    remote = RemoteOptions(cache, storage_options_of(storage_options), cache_limit)
    out = local_out(out)
    _require_new(store, out, remote, overwrite=overwrite)
    loaded = _load(model)
    try:
        patches = GridPatches(parse_size(size) if size else _input_size(loaded), overlap)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--overlap") from error
    if not size:
        chosen = "x".join(map(str, patches.size))
        console().print(f"Patches of {chosen}, the size of the model's input")
    with report_interrupts(), show_progress("patches") as follow, _errors_of_models():
        done = predict(
            loaded,
            store,
            out,
            patches,
            window=window.value,
            classes=classes.value,
            inputs=field,
            batch_size=batch_size,
            workers=workers,
            overwrite=overwrite,
            progress=follow,
            **remote.opening,
        )
    console().print(f"Predictions: [bold]{shown(done)}[/]", soft_wrap=True)


def _require_new(store: Path, out: Path, remote: RemoteOptions, *, overwrite: bool) -> None:
    """Refuse paths that cannot be used before a model is loaded, which takes seconds."""
    if remote_url(store) is None and not store.exists():
        open_split(store)  # says what there is instead
    names = [store.absolute().name]
    with suppress(StoreError, ReadError):  # images that are read where they are; a web server
        names += list_splits(store, storage_options=remote.storage_options)
    for folder in (out / name for name in names):
        if not (folder / METADATA).exists():
            continue
        if PREDICTED not in open_split(folder).attributes:
            raise StoreError(f"{folder} is not a split of predictions: give another OUT")
        if not overwrite:
            raise StoreError(
                f"{folder} has predictions already: give another OUT, or replace them by "
                "--overwrite"
                f"{look_up('split-exists')}"
            )


@contextmanager
def _errors_of_models() -> Iterator[None]:
    """Report what a model raises, or that its outputs do not fit, without a traceback."""
    try:
        yield
    except ZarrfeedError:
        raise
    except (ValueError, TypeError) as error:
        said = " ".join(_COLOURS.sub("", str(error)).split())
        raised = ZarrfeedError(f"predict: {said:.2000}")
        for note in getattr(error, "__notes__", ()):
            raised.add_note(note)
        raise raised from error


def _load(path: Path) -> Any:
    """Load a model. Keras refuses to load what could run code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import keras  # takes seconds
    except ImportError as error:
        raise ZarrfeedError(
            f"predict: needs Keras with a backend ({error}): {how_to_install('tensorflow')} (or "
            "'.[jax]', or '.[torch]'); KERAS_BACKEND chooses among those that are installed"
            f"{look_up('missing-package')}"
        ) from error
    try:
        return keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, TypeError) as error:
        raise ZarrfeedError(f"{path}: Keras cannot load this model: {error!s:.1000}") from error


def _input_size(model: Any) -> tuple[int, ...]:
    """Return the size of the images that a model takes."""
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) < 4 or None in shape[1:-1]:
        raise typer.BadParameter(
            f"needed the size of a patch, like 512x512, because the model takes {shape}",
            param_hint="--size",
        )
    return shape[1:-1]
