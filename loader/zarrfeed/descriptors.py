"""How many files may each worker keep open? A shard that is mapped holds a descriptor.

Where a worker may not keep all shards of a field open, it opens one for nearly every sample of a
shuffled batch: measured, that is 3 to 8 times slower than copying out of shards that stay mapped.
"""

from __future__ import annotations

import resource

# Every mapped shard takes up to three of the 65,530 mappings that Linux gives a process.
_MOST = 1 << 14


def descriptors_each(workers: int, *, processes: bool) -> int:
    """Share out what this process, or each worker process, may have open.

    Parameters
    ----------
    workers
        How many there are; with none, the caller reads.
    processes
        Whether they are processes.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        limit = _MOST
    return share_of(min(limit, _MOST), workers, processes=processes)


def share_of(limit: int, workers: int, *, processes: bool) -> int:
    """Share out descriptors: half of a worker process's own, a quarter of one that has others' too.

    Examples
    --------
    >>> share_of(1024, 2, processes=True), share_of(1024, 2, processes=False)
    (512, 128)
    """
    return max(8, limit // 2 if processes else limit // 4 // max(1, workers))
