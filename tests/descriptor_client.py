"""Read 400 shards of two fields with few descriptors: `python descriptor_client.py FOLDER`.

Prints what went well, case by case, or the error.
"""

from __future__ import annotations

import os
import resource
import sys

from kinds import ids_of
from zarrfeed import ZarrfeedError, ZarrSequence

folder = sys.argv[1]
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
expected = sorted(sample % 256 for sample in range(400))


def try_with(store: str, limit: int, sequences: int, workers: int, kind: str) -> None:
    """Sequences go side by side; a limit below 0 leaves so many descriptors."""
    seqs = [ZarrSequence(f"{folder}/{store}", 8, max_queue_size=2) for _ in range(sequences)]
    for seq in seqs:  # as tf_keras' fit(workers=…) does
        seq._stream.use_workers(workers, kind == "processes")
    if limit < 0:
        limit = max(map(int, os.listdir("/proc/self/fd"))) - limit
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    found: list[list[int]] = [[] for _ in seqs]
    try:
        for batches in zip(*map(iter, seqs), strict=True):
            for ids, batch in zip(found, batches, strict=True):
                ids += ids_of(batch)
        print(all(sorted(ids) == expected for ids in found), flush=True)
    except ZarrfeedError as error:
        print(type(error).__name__, error, flush=True)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for seq in seqs:
        seq.close()


try_with("raw", -1, 1, 1, "threads")
try_with("raw", -2, 1, 1, "processes")
try_with("raw", 1024, 1, 8, "threads")
try_with("crc32c", 1024, 6, 2, "threads")
try_with("lz4", 256, 1, 16, "threads")
try_with("lz4", 64, 1, 4, "threads")
try_with("raw", 64, 3, 0, "inline")
try_with("lz4", 64, 2, 2, "processes")
