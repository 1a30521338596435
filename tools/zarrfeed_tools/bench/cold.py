"""What of a split is in the page cache, and how fast is the disk below it?"""

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
_LOOKED_AT = 64  # places in each file


def files_of(job: Job) -> list[Path]:
    """List the files that hold the job's samples."""
    found = []
    for name, layout in job.layouts.items():
        for shard in range(-(-job.samples // layout.shard_rows)):
            path = job.path / name / layout.shard_name(shard)
            if path.exists():
                found.append(path)
    return found


def stored_per_sample(job: Job) -> float:
    """Bytes on the disk for one sample, over all fields, indexes of shards included."""
    found = 0.0
    for name, layout in job.layouts.items():
        shards = -(-job.samples // layout.shard_rows)
        paths = [job.path / name / layout.shard_name(shard) for shard in range(shards)]
        nbytes = sum(path.stat().st_size for path in paths if path.exists())
        found += nbytes / min(layout.shape[0], shards * layout.shard_rows)
    return found


def drop(files: Sequence[Path]) -> None:
    """Have the kernel forget what it keeps of files; pages that some process maps stay."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # pages that are not written yet could not go
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def cached_share(files: Sequence[Path]) -> float | None:
    """Say which share of files is in the page cache, by looking at some places of each.

    Looking at a place may make the kernel read that page: :func:`drop` again afterwards.

    Returns
    -------
    float or None
        None where the system does not tell: ``preadv2(RWF_NOWAIT)`` is Linux'.
    """
    if not hasattr(os, "RWF_NOWAIT"):
        return None
    here = looked = 0
    for path in files:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            # Not the pages around it, too: they may be looked at next.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            for place in range(0, size, max(1, size // _LOOKED_AT)):
                try:
                    here += os.preadv(file.fileno(), [bytearray(1)], place, os.RWF_NOWAIT)
                except BlockingIOError:
                    pass
                except OSError as error:
                    if error.errno in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                        return None
                    raise
                looked += 1
    return here / looked if looked else None


def sequential_rate(files: Sequence[Path], seconds: float) -> float:
    """Read files from one end to the other for so long, at most once; bytes per second."""
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
