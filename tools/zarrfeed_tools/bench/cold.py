"""How much of a split is in the page cache, and how fast is the disk?"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zarrfeed_tools.bench.job import Job

SUPPORTED = hasattr(os, "posix_fadvise")  # not on macOS
_READ_NBYTES = 4 << 20
_PROBES = 64  # per file


def files_of(job: Job) -> list[Path]:
    """Return the files that contain the job's samples."""
    found = []
    for name, layout in job.layouts.items():
        for shard in range(-(-job.samples // layout.shard_rows)):
            path = job.path / name / layout.shard_name(shard)
            if path.exists():
                found.append(path)
    return found


def stored_per_sample(job: Job) -> float:
    """Return the bytes on the disk per sample, over all fields and including shard indexes."""
    found = 0.0
    for name, layout in job.layouts.items():
        shards = -(-job.samples // layout.shard_rows)
        paths = [job.path / name / layout.shard_name(shard) for shard in range(shards)]
        nbytes = sum(path.stat().st_size for path in paths if path.exists())
        found += nbytes / min(layout.shape[0], shards * layout.shard_rows)
    return found


def drop(files: Sequence[Path]) -> None:
    """Drop files from the page cache. Pages that a process has mapped stay."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # pages that are not written yet cannot be dropped
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def cached_share(files: Sequence[Path]) -> float | None:
    """Estimate the share of files in the page cache by probing some places of each.

    A probe may make the kernel read the page, so :func:`drop` files again afterwards.

    Returns
    -------
    float or None
        None if the system has no ``preadv2(RWF_NOWAIT)``, which only Linux has.
    """
    if not hasattr(os, "RWF_NOWAIT"):
        return None
    cached = probed = 0
    for path in files:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            # Do not read the pages around a probe, which may be probed next.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            for place in range(0, size, max(1, size // _PROBES)):
                try:
                    cached += os.preadv(file.fileno(), [bytearray(1)], place, os.RWF_NOWAIT)
                except BlockingIOError:
                    pass
                except OSError as error:
                    if error.errno in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                        return None
                    raise
                probed += 1
    return cached / probed if probed else None


def sequential_rate(files: Sequence[Path], seconds: float) -> float:
    """Read files sequentially, at most once, for some seconds; return the bytes per second."""
    buffer = bytearray(_READ_NBYTES)
    count, began = 0, time.perf_counter()
    for path in files:
        with path.open("rb", buffering=0) as file:
            while nbytes := file.readinto(buffer):
                count += nbytes
                if time.perf_counter() - began > seconds:
                    break
        if time.perf_counter() - began > seconds:
            break
    return count / (time.perf_counter() - began)
