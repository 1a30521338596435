"""How much time does Python take per batch? Measured with samples of one byte.

The time is that of planning a batch, sending it to a worker, a few calls to read it, and handing it
out.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from zarrfeed.store.array_metadata import parse_array
from zarrfeed.store.schema import METADATA
from zarrfeed_tools.bench.turn import EpochContent, take_turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zarrfeed_tools.bench.job import Job
    from zarrfeed_tools.bench.settings import Setting

_BATCHES = 256  # per epoch


@contextmanager
def empty_batches(job: Job) -> Iterator[Job]:
    """Yield the same job on samples of one byte, in a temporary folder."""
    samples = _BATCHES * job.batch_size
    metadata = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [samples, 1],
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [samples, 1]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes"}],
    }
    with TemporaryDirectory(prefix="zarrfeed-bench-") as folder:
        path = Path(folder)
        (path / METADATA).write_text(json.dumps({"zarr_format": 3, "node_type": "group"}))
        layout = parse_array(metadata, name=folder)
        for name in job.layouts:
            file = path / name / layout.shard_name(0)
            file.parent.mkdir(parents=True)
            file.write_bytes(bytes(samples))
            (path / name / METADATA).write_text(json.dumps(metadata))
        yield replace(
            job,
            path=path,
            layouts=dict.fromkeys(job.layouts, layout),
            samples=samples,
            transform=None,
            batch_transform=None,
            cold=False,
        )


def overhead_rate(job: Job, setting: Setting) -> float:
    """Return the samples per second of a job of :func:`empty_batches`."""
    turn = take_turn(job, setting, EpochContent(job.samples, None))
    return turn.samples / turn.seconds
