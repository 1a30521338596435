"""The complete result of a run as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zarrfeed import open_split
from zarrfeed_tools.bench.cold import stored_per_sample
from zarrfeed_tools.bench.rows import plain
from zarrfeed_tools.bench.settings import argument_text

if TYPE_CHECKING:
    from zarrfeed_tools.bench.job import Job
    from zarrfeed_tools.bench.machine import Machine
    from zarrfeed_tools.bench.running import Findings

_QUEUE = 10  # the default of ZarrSequence


def to_json(job: Job, machine: Machine, found: Findings) -> dict[str, Any]:
    """Return machine, store, rows, limits and verdict as one JSON object, in seconds and bytes."""
    return {
        "machine": plain(machine),
        "store": store_facts(job),
        "job": {
            "batch_size": job.batch_size,
            "samples": job.samples,
            "shuffle": job.shuffle,
            "max_queue_size": job.max_queue_size,
            "transform": _name(job.transform),
            "batch_transform": _name(job.batch_transform),
            "cold": job.cold,
            "rounds": job.rounds,
            "seconds": job.seconds,
        },
        "rows": [
            {**plain(row), "waited": row.waited, "shares": row.stats.shares} for row in found.rows
        ],
        "limits": plain(found.limits),
        "verdict": {
            "best": plain(found.verdict.best.setting),
            "batches_per_second": found.verdict.best.batches_per_second.median,
            "sequence": sequence_text(job, found),
            "shares": dict(found.verdict.shares),
            "bound": found.verdict.bound,
            "why": found.verdict.why,
            "advice": found.verdict.advice,
            "aside": found.verdict.aside,
        },
        "checked": found.checked,
        "notes": list(found.notes),
    }


def store_facts(job: Job) -> dict[str, Any]:
    """Describe the split and the fields that are read."""
    return {
        "path": str(job.path),
        "samples": next(iter(job.layouts.values())).shape[0],
        "decoded_bytes_per_sample": job.sample_nbytes,
        # Only zarr-python knows the names of all files of a field that it reads.
        "stored_bytes_per_sample": None if job.indirect else stored_per_sample(job),
        "fields": {
            name: {
                "sample_shape": list(layout.sample_shape),
                "dtype": str(layout.dtype),
                "codec": layout.codec,
                "chunk_rows": layout.chunk_rows,
                "shard_rows": layout.shard_rows,
            }
            for name, layout in job.layouts.items()
        },
    }


def sequence_text(job: Job, found: Findings) -> str:
    """Return the best setting as a line of Python, with the job's other arguments."""
    arguments: dict[str, Any] = {}
    if tuple(job.layouts) != open_split(job.path).batch_fields:
        arguments["fields"] = list(job.layouts)
    if job.shuffle is not True:
        arguments["shuffle"] = job.shuffle
    if job.transform is not None:
        arguments["transform"] = job.transform
    if job.batch_transform is not None:
        arguments["batch_transform"] = job.batch_transform
    if job.max_queue_size != _QUEUE:
        arguments["max_queue_size"] = job.max_queue_size
    return argument_text(
        str(job.path), job.batch_size, {**arguments, **found.verdict.best.setting.arguments}
    )


def _name(function: object) -> str | None:
    if function is None:
        return None
    module = getattr(function, "__module__", "")
    return f"{module}:{getattr(function, '__qualname__', type(function).__name__)}"
