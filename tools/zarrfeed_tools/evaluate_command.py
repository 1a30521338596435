"""The command ``zarrfeed evaluate``."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 (typer needs it at run time)
from typing import Annotated

import typer

from zarrfeed import evaluate
from zarrfeed.errors import ZarrfeedError, printable
from zarrfeed_tools.evaluation_report import show_evaluation
from zarrfeed_tools.progress import show_progress
from zarrfeed_tools.remote_options import (
    Cache,
    CacheLimit,
    RemoteOptions,
    StorageOptions,
    storage_options_of,
)
from zarrfeed_tools.terminal import console

# Not a docstring, because Python would escape \b, by which click keeps the lines of a paragraph.
_HELP = """Compare predictions with the masks of a dataset: Dice and IoU of each class and case.

PREDICTIONS is what `zarrfeed predict` wrote, or any split of class ids or probabilities, such as \
a folder of predicted masks that `zarrfeed convert` has packed. Cases, or samples, are compared by \
their keys. Tiles, codecs and order may differ. Memory does not grow with the size of cases.

With TP true positive, FP false positive and FN false negative pixels of a class, Dice is \
2 TP / (2 TP + FP + FN) and IoU is TP / (TP + FP + FN). Pixels of the ignored id are left out. A \
class that is neither in the mask nor in the prediction of a case has no score there (–), and does \
not count in means. The columns Dice and IoU are means over cases; pooled ones are computed from \
the pixels of all cases together, so that large cases count more.

The exit status is 0 whatever the scores are, 1 if stores, cases or classes do not fit, and 2 for \
wrong usage.

[bold]Examples[/]

\b
zarrfeed evaluate ct.zarr/val predictions.zarr
zarrfeed evaluate ct.zarr/val predictions.zarr --exclude background --cases 50
zarrfeed convert theirs.zarr --split val --images images --masks predicted --classes cells.txt
zarrfeed evaluate cells.zarr/val theirs.zarr --field mask --json > scores.json
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("evaluate", help=_HELP)(_command)


def _command(
    store: Annotated[
        Path,
        typer.Argument(
            metavar="STORE/SPLIT", help="The split with the true masks: a path or an address."
        ),
    ],
    predictions: Annotated[
        Path,
        typer.Argument(
            metavar="PREDICTIONS[/SPLIT]",
            help="The predictions: a dataset with a split of the same name, or any split.",
        ),
    ],
    field: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The field of the predictions. By default prediction, probabilities or mask, "
            "whichever there is first.",
        ),
    ] = None,
    truth: Annotated[
        str, typer.Option(metavar="NAME", help="The field of the true masks.")
    ] = "mask",
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLASS",
            help="Leave a class out of scores and means, such as the background. May be repeated.",
        ),
    ] = None,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing",
            help="Leave out cases that only one of the two has, and name them. By default they are "
            "an error.",
        ),
    ] = False,
    cases: Annotated[
        int,
        typer.Option(metavar="N", min=0, help="How many cases to show, the worst first."),
    ] = 10,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print scores and counts of all cases as one JSON object."),
    ] = False,
    cache: Cache = None,
    cache_limit: CacheLimit = None,
    storage_options: StorageOptions = None,
) -> None:
    """Compare predictions with the masks of a dataset: Dice and IoU of each class and case."""
    remote = RemoteOptions(cache, storage_options_of(storage_options), cache_limit)
    with show_progress("cases") as follow:
        try:
            found = evaluate(
                store,
                predictions,
                field=field,
                truth=truth,
                exclude=exclude or (),
                allow_missing=allow_missing,
                progress=follow,
                **remote.opening,
            )
        except ZarrfeedError:
            raise
        except ValueError as error:  # of the names of classes
            raise typer.BadParameter(
                printable(str(error).removeprefix("exclude: ")), param_hint="--exclude"
            ) from error
    if as_json:
        typer.echo(json.dumps(found.to_json(), allow_nan=False))
    else:
        show_evaluation(found, console(), cases=cases)
