"""How is a command told how to pack?

The options that commands share, by their types; ``typer`` reads them where a command names them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypeAlias

import typer


class Codec(StrEnum):
    """How chunks are compressed."""

    AUTO = "auto"
    RAW = "raw"
    LZ4 = "lz4"
    ZSTD = "zstd"


class OnError(StrEnum):
    """What a sample that cannot be packed does."""

    STOP = "stop"
    SKIP = "skip"


class Engine(StrEnum):
    """Where the work is done."""

    LOCAL = "local"
    DASK = "dask"


CodecOption: TypeAlias = Annotated[
    Codec,
    typer.Option(
        "--codec",
        help="How chunks are compressed; auto compresses what gets small enough and does not share "
        "a chunk with other samples.",
    ),
]
ChunkSamples: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--chunk-samples",
        metavar="K",
        min=1,
        help="Samples per chunk; by default as many as are worth one read.",
    ),
]
ShardSize: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--shard-size",
        metavar="256MiB",
        help="Decoded bytes of images per file; by default 8 to 256 MiB, by the data.",
    ),
]
Seed: TypeAlias = Annotated[int, typer.Option("--seed", min=0, help="Of the shuffled order.")]
Workers: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        min=1,
        help="Processes; by default one per core, or as many as memory allows. The result is the "
        "same for any number.",
    ),
]
OnErrorOption: TypeAlias = Annotated[
    OnError,
    typer.Option(
        "--on-error",
        help="What an input that cannot be packed does: stop the run, or be left out; the split "
        "records what was skipped, and why.",
    ),
]
Overwrite: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace the split if it is there already, once the new one is complete.",
    ),
]
Restart: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--restart",
        help="Begin anew where a run was stopped; without it, the same command goes on from there.",
    ),
]
DryRun: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Say what would be done, why, in how much memory; write nothing."
    ),
]
EngineOption: TypeAlias = Annotated[
    Engine,
    typer.Option("--engine", help="Processes of this machine, or the workers of a Dask cluster."),
]
Scheduler: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="ADDRESS",
        help="Of the Dask cluster, like tcp://10.0.0.1:8786. Its machines must share the paths of "
        "the samples and of the output with this one, and have the same zarrfeed[dask]. "
        "DASK_ZARRFEED__TIMEOUT=120s waits longer for it.",
    ),
]
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print the report as one JSON object.")
]


def scheduler_of(engine: Engine, scheduler: str | None, workers: int | None) -> str | None:
    """Check that engine, scheduler and workers go together; give the scheduler.

    Raises
    ------
    typer.BadParameter
        One is given without the other, or processes of this machine are asked for as well.
    """
    if engine is Engine.DASK and scheduler is None:
        raise typer.BadParameter("needs --scheduler ADDRESS", param_hint="--engine dask")
    if engine is Engine.LOCAL and scheduler is not None:
        raise typer.BadParameter("needs --engine dask", param_hint="--scheduler")
    if scheduler is not None and workers is not None:
        raise typer.BadParameter(
            "are processes of this machine; a Dask cluster has its own", param_hint="--workers"
        )
    return scheduler
