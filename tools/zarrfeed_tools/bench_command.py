"""How is a measurement asked for, followed and shown on a terminal?"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path  # noqa: TC003 (typer looks at it)
from typing import TYPE_CHECKING, Annotated

import typer

from zarrfeed import Split, StoreError, list_splits, open_split
from zarrfeed.errors import printable
from zarrfeed_tools.bench import cold as page_cache
from zarrfeed_tools.bench.functions import find_function
from zarrfeed_tools.bench.job import Job, affordable_samples
from zarrfeed_tools.bench.machine import describe_machine
from zarrfeed_tools.bench.report import to_json
from zarrfeed_tools.bench.running import measure
from zarrfeed_tools.bench.samples import load
from zarrfeed_tools.bench.settings import sweep, worker_counts
from zarrfeed_tools.bench.tables import show
from zarrfeed_tools.following import followed
from zarrfeed_tools.terminal import console

if TYPE_CHECKING:
    from zarrfeed.order.sample_order import Shuffle
    from zarrfeed.store.schema import ArrayLayout

_EPOCH_NBYTES = 1 << 30  # by default: far more than caches hold, read in seconds
_TRAIN = "train"

# Not a docstring: \b, which keeps the lines of a paragraph as they are, would be escaped there.
_HELP = """Measure how fast this machine can feed a split, and what holds it back.

Arrays in the main process, no model, no Keras. Settings of workers take turns with each other and \
with the limits of this machine on this very data: copying the same bytes from memory, decoding \
the same chunks from memory, the transform alone, the disk (--cold), and batches of next to \
nothing, which cost what Python costs. The verdict names the best setting, as arguments to copy, \
its share of each limit, and what bounds it.

Rates count full batches. Who takes a batch looks at every byte of it (adds them up as 64-bit \
words); what that costs is in the figures, and stands among the limits. Epochs that end within a \
turn are checked to hold every sample once. first: from constructing a sequence to its first \
batch. wait: for one batch. CPU: seconds of all processors for 1000 samples. MB: resident memory \
that a sequence adds, mapped files of the store included; what processes share counts in each.

[bold]Examples[/]

\b
zarrfeed bench camvid.zarr
zarrfeed bench camvid.zarr/train --workers 0,1,2,4 --processes
zarrfeed bench camvid.zarr --transform augment:flip --batch-size 16
zarrfeed bench camvid.zarr --cold --shuffle block
"""


class _Shuffle(StrEnum):
    YES = "yes"
    BLOCK = "block"
    NO = "no"


_SHUFFLES: dict[_Shuffle, Shuffle] = {
    _Shuffle.YES: True, _Shuffle.BLOCK: "block", _Shuffle.NO: False,
}  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("bench", help=_HELP)(_command)


def _command(
    store: Annotated[
        Path,
        typer.Argument(
            metavar="STORE[/SPLIT]", help="A split, or a dataset: then train, or its only split."
        ),
    ],
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, help="Samples per batch.")] = 32,
    workers: Annotated[
        str | None,
        typer.Option(
            metavar="0,1,2,4",
            help="Numbers of workers; by default 0, 1, 2, 4 … up to the cores, 8 at most.",
        ),
    ] = None,
    processes: Annotated[
        bool | None,
        typer.Option("--processes/--threads", help="Only workers of one kind; by default of both."),
    ] = None,
    transform: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="Of a sample; modules in the current folder are found, too.",
        ),
    ] = None,
    batch_transform: Annotated[
        str | None, typer.Option(metavar="MODULE:FUNCTION", help="Of a batch.")
    ] = None,
    shuffle: Annotated[
        _Shuffle, typer.Option(help="As of ZarrSequence: globally, block by block, or not.")
    ] = _Shuffle.YES,
    fields: Annotated[
        str | None,
        typer.Option(metavar="image,mask", help="Arrays of a batch; by default those it feeds."),
    ] = None,
    max_queue_size: Annotated[
        int, typer.Option(metavar="N", min=1, help="Batches read ahead at most.")
    ] = 10,
    samples: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Read the first N samples of the split; by default those of 1 GiB, decoded.",
        ),
    ] = None,
    cold: Annotated[
        bool,
        typer.Option(
            "--cold",
            help="Drop the split's files from the page cache before every turn, as if they were "
            "read for the first time; the disk is a limit then. Not on macOS.",
        ),
    ] = False,
    seconds: Annotated[
        float, typer.Option(metavar="S", min=0.01, help="Of every turn, after warming up.")
    ] = 0.6,
    rounds: Annotated[
        int, typer.Option(metavar="N", min=1, help="Turns that every setting takes.")
    ] = 3,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print machine, store, rows, limits and verdict as one JSON object."
        ),
    ] = False,
) -> None:
    """Measure how fast this machine can feed a split, and what holds it back."""
    machine = describe_machine()
    split = _find_split(store)
    layouts = _select(split, fields)
    found = next(iter(layouts.values())).shape[0]
    if not found:
        raise typer.BadParameter(
            f"{printable(str(split.path))} holds no samples", param_hint="STORE"
        )
    nbytes = sum(layout.sample_nbytes for layout in layouts.values())
    job = Job(
        path=split.path,
        layouts=layouts,
        samples=min(found, samples or affordable_samples(found, nbytes, _EPOCH_NBYTES)),
        batch_size=batch_size,
        shuffle=_SHUFFLES[shuffle],
        max_queue_size=max_queue_size,
        transform=find_function(transform, option="--transform") if transform else None,
        batch_transform=find_function(batch_transform, option="--batch-transform")
        if batch_transform
        else None,
        settings=sweep(
            _numbers(workers) if workers else worker_counts(machine.cores),
            [False, True] if processes is None else [processes],
        ),
        cold=cold,
        rounds=rounds,
        seconds=seconds,
        cores=machine.cores,
    )
    if cold:
        _check_cold(job)
    with followed("samples") as follow:
        loaded = load(job, follow)
    with followed("turns") as follow:
        findings = measure(job, loaded, follow)
    if as_json:
        typer.echo(json.dumps(to_json(job, machine, findings)))
    else:
        show(job, machine, findings, console())


def _find_split(store: Path) -> Split:
    """Open a split, or the one of a dataset that is meant."""
    splits = list_splits(store)
    if not splits:
        return open_split(store)
    if _TRAIN in splits:
        return open_split(store / _TRAIN)
    if len(splits) == 1:
        return open_split(store / splits[0])
    raise typer.BadParameter(
        printable(
            f"{store} has no split {_TRAIN!r}; name one of {', '.join(splits)}, like "
            f"{store / splits[0]}"
        ),
        param_hint="STORE",
    )


def _select(split: Split, fields: str | None) -> dict[str, ArrayLayout]:
    if fields is None:
        return split.select(split.default_fields)
    try:
        return split.select([name.strip() for name in fields.split(",")])
    except StoreError as error:
        raise typer.BadParameter(str(error), param_hint="--fields") from error


def _check_cold(job: Job) -> None:
    """Refuse what cannot be measured on cold data."""
    option = "--cold"
    if not page_cache.SUPPORTED:
        problem = "this system can't drop files from its page cache (no posix_fadvise)"
    elif job.indirect or not page_cache.files_of(job):
        problem = (
            f"needed fields that are read directly from files; --fields without {job.indirect}"
        )
    elif job.samples <= job.batch_size:
        option = "--batch-size"
        problem = f"--cold needs two batches or more, not {job.samples} samples in one"
    else:
        return
    raise typer.BadParameter(printable(problem), param_hint=option)


def _numbers(text: str) -> list[int]:
    """Read numbers of workers.

    >>> _numbers("0,1,4")
    [0, 1, 4]
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise typer.BadParameter(
            f"needed numbers like 0,1,2,4, found {text!r}", param_hint="--workers"
        )
    return [int(part) for part in parts]
