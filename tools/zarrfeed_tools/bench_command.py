"""The command ``zarrfeed bench``."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path  # noqa: TC003 (typer needs it at run time)
from typing import TYPE_CHECKING, Annotated

import typer

from zarrfeed import Split, StoreError, list_splits, open_split
from zarrfeed.errors import look_up, printable
from zarrfeed.store.address import local_path
from zarrfeed_tools.bench import cold as page_cache
from zarrfeed_tools.bench.functions import find_function
from zarrfeed_tools.bench.job import Job, affordable_samples
from zarrfeed_tools.bench.machine import describe_machine
from zarrfeed_tools.bench.report import to_json
from zarrfeed_tools.bench.running import measure
from zarrfeed_tools.bench.samples import load
from zarrfeed_tools.bench.settings import sweep, worker_counts
from zarrfeed_tools.bench.tables import show
from zarrfeed_tools.progress import show_progress
from zarrfeed_tools.terminal import console

if TYPE_CHECKING:
    from zarrfeed.order.shuffle import Shuffle
    from zarrfeed.store.schema import ArrayLayout

_EPOCH_NBYTES = 1 << 30  # by default, far more than caches hold, but read in seconds
_TRAIN = "train"

# Not a docstring, because Python would escape \b, by which click keeps the lines of a paragraph.
_HELP = """Measure how fast this machine can feed a split, and what limits the speed.

Measures batches as arrays in the main process, without a model and without Keras. Several \
numbers of workers take turns, together with the limits of this machine on the same data: copying \
the bytes from memory, decoding the chunks from memory, the transform alone, the disk (--cold), \
and nearly empty batches, which show the overhead of Python. The verdict names the best setting, \
as arguments to copy, its share of each limit, and what bounds it.

Rates are full batches. The consumer sums every byte of a batch; its cost is included in the \
rates and listed among the limits. Every epoch that ends within a turn is checked to contain \
every sample once. Columns: first is the time from constructing a sequence to its first batch, \
wait the time waited for one batch, CPU the CPU seconds for 1000 samples, MB the resident memory \
that a sequence adds (including mapped files; shared memory is counted once per process).

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
            metavar="STORE[/SPLIT]",
            help="A split, or a dataset, of which the split train or the only split is read.",
        ),
    ],
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, help="Samples per batch.")] = 32,
    workers: Annotated[
        str | None,
        typer.Option(
            metavar="0,1,2,4",
            help="Numbers of workers. By default 0, 1, 2, 4 … up to the number of cores, at most "
            "8.",
        ),
    ] = None,
    processes: Annotated[
        bool | None,
        typer.Option("--processes/--threads", help="Only one kind of workers. By default, both."),
    ] = None,
    transform: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="Transform of a sample. Modules in the current folder are found, too.",
        ),
    ] = None,
    batch_transform: Annotated[
        str | None, typer.Option(metavar="MODULE:FUNCTION", help="Transform of a batch.")
    ] = None,
    shuffle: Annotated[
        _Shuffle,
        typer.Option(help="Shuffle as ZarrSequence does: globally, in blocks, or not at all."),
    ] = _Shuffle.YES,
    fields: Annotated[
        str | None,
        typer.Option(
            metavar="image,mask", help="Arrays of a batch. By default those of ZarrSequence."
        ),
    ] = None,
    max_queue_size: Annotated[
        int, typer.Option(metavar="N", min=1, help="Upper bound on batches read ahead.")
    ] = 10,
    samples: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Read the first N samples of the split. By default as many as decode to 1 GiB.",
        ),
    ] = None,
    cold: Annotated[
        bool,
        typer.Option(
            "--cold",
            help="Drop the split's files from the page cache before every turn, to measure reading "
            "from the disk. Not on macOS.",
        ),
    ] = False,
    seconds: Annotated[
        float,
        typer.Option(metavar="S", min=0.01, help="Seconds of every turn, after its warm-up."),
    ] = 0.6,
    rounds: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of turns of every setting.")
    ] = 3,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print machine, store, rows, limits and verdict as one JSON object."
        ),
    ] = False,
) -> None:
    """Measure how fast this machine can feed a split, and what limits the speed."""
    machine = describe_machine()
    split = _find_split(store)
    layouts = _select(split, fields)
    found = next(iter(layouts.values())).shape[0]
    if not found:
        raise typer.BadParameter(
            f"needed samples, found none in {printable(str(split.path))}", param_hint="STORE"
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
    with show_progress("samples") as follow:
        loaded = load(job, follow)
    with show_progress("turns") as follow:
        findings = measure(job, loaded, follow)
    if as_json:
        typer.echo(json.dumps(to_json(job, machine, findings)))
    else:
        show(job, machine, findings, console())


def _find_split(store: Path) -> Split:
    """Open a split, or a dataset's split train or only split."""
    store = local_path(store)  # it measures this machine, not a network
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
            f"{look_up('no-split')}"
        ),
        param_hint="STORE",
    )


def _select(split: Split, fields: str | None) -> dict[str, ArrayLayout]:
    if fields is None:
        return split.select(split.batch_fields)
    try:
        return split.select([name.strip() for name in fields.split(",")])
    except StoreError as error:
        raise typer.BadParameter(str(error), param_hint="--fields") from error


def _check_cold(job: Job) -> None:
    """Check that cold data can be measured."""
    option = "--cold"
    if not page_cache.SUPPORTED:
        problem = "this system can't drop files from its page cache (no posix_fadvise)"
    elif job.indirect or not page_cache.files_of(job):
        problem = (
            f"needed fields that are read directly from files; use --fields without {job.indirect}"
        )
    elif job.samples <= job.batch_size:
        option = "--batch-size"
        problem = f"needed at least two batches for --cold, found {job.samples} samples in one"
    else:
        return
    raise typer.BadParameter(printable(problem), param_hint=option)


def _numbers(text: str) -> list[int]:
    """Parse numbers of workers.

    >>> _numbers("0,1,4")
    [0, 1, 4]
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise typer.BadParameter(
            f"needed numbers like 0,1,2,4, found {text!r}", param_hint="--workers"
        )
    return [int(part) for part in parts]
