"""Options on how to pack, shared by several commands.

Each option is an annotated type, which ``typer`` reads from a command's signature.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypeAlias

import typer


class Codec(StrEnum):
    """The codec of chunks."""

    AUTO = "auto"
    RAW = "raw"
    LZ4 = "lz4"
    ZSTD = "zstd"


class OnError(StrEnum):
    """What to do about an input that cannot be packed."""

    STOP = "stop"
    SKIP = "skip"


class Engine(StrEnum):
    """Where to run the work."""

    LOCAL = "local"
    DASK = "dask"


CodecOption: TypeAlias = Annotated[
    Codec,
    typer.Option(
        "--codec",
        help="Compression of chunks. auto: lz4 or zstd for fields that get small enough and have "
        "one sample per chunk, else raw.",
    ),
]
ChunkSamples: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--chunk-samples",
        metavar="K",
        min=1,
        help="Samples per chunk. By default one for large samples, several for small ones; with "
        "--tile always one.",
    ),
]
ShardSize: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--shard-size",
        metavar="256MiB",
        help="Decoded bytes of images per file. By default 8 to 256 MiB, with --tile 64 to 256 "
        "MiB, depending on the data.",
    ),
]
Seed: TypeAlias = Annotated[int, typer.Option("--seed", min=0, help="Seed of the shuffled order.")]
Workers: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        min=1,
        help="Number of processes. By default one per core, or fewer if memory is short. The "
        "result does not depend on it.",
    ),
]
OnErrorOption: TypeAlias = Annotated[
    OnError,
    typer.Option(
        "--on-error",
        help="What to do about an input that cannot be packed. stop: end the run. skip: leave it "
        "out, and record its name and the reason in the split.",
    ),
]
Overwrite: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace an existing split, once the new one is complete.",
    ),
]
Restart: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--restart",
        help="Discard what an interrupted run has written. Without it, the run is continued.",
    ),
]
DryRun: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Show what would be done, why, and how much memory it takes; write nothing.",
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
        help="Address of the Dask cluster, such as tcp://10.0.0.1:8786. Its machines must have the "
        "same zarrfeed as this one, with the extra dask, and see the input and the output under "
        "the same paths. Set DASK_ZARRFEED__TIMEOUT=120s to wait longer for it.",
    ),
]
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print the report as one JSON object.")
]


def scheduler_of(engine: Engine, scheduler: str | None, workers: int | None) -> str | None:
    """Check that engine, scheduler and workers are compatible, and return the scheduler.

    Raises
    ------
    typer.BadParameter
        Engine and scheduler do not match, or --workers is given for a cluster.
    """
    if engine is Engine.DASK and scheduler is None:
        raise typer.BadParameter("needs --scheduler ADDRESS", param_hint="--engine dask")
    if engine is Engine.LOCAL and scheduler is not None:
        raise typer.BadParameter("needs --engine dask", param_hint="--scheduler")
    if scheduler is not None and workers is not None:
        raise typer.BadParameter(
            "sets processes of this machine; a Dask cluster has its own", param_hint="--workers"
        )
    return scheduler
