"""What is recorded of a shard when it is packed, so that a later run finds it?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.store.schema import DHASH
from zarrfeed_convert.atomic_files import atomic_file, writing

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed_convert.shards.rows import Numbers


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """The record of one shard of every field, with n samples.

    Attributes
    ----------
    rows
        Fingerprint of the rows in the shard.
    digest
        (n,) uint64, digests of the decoded samples.
    class_pixels
        (n, K) int64, number of pixels of each class.
    channel_sums
        (n, C, 3) float64: sum, sum of squares, and number of non-finite values of each channel.
    files
        (F, 2) uint64: size in bytes and xxh3_64 of each field's file.
    dhash
        (n,) uint64, difference hashes of the images; None in records of an older zarrfeed.
    """

    rows: str
    digest: NDArray[np.uint64]
    class_pixels: Numbers
    channel_sums: NDArray[np.float64]
    files: NDArray[np.uint64]
    dhash: NDArray[np.uint64] | None = None

    def save(self, path: Path) -> None:
        """Write the record atomically; its existence says that the shard's files are complete.

        The record is not synced: if it is lost in a power failure, its shard is packed again.
        """
        assert self.dhash is not None  # records of an older zarrfeed are read, not written
        with atomic_file(path, sync=False) as file, writing(path):
            np.savez(
                file,
                rows=np.array(self.rows),
                digest=self.digest,
                class_pixels=self.class_pixels,
                channel_sums=self.channel_sums,
                files=self.files,
                dhash=self.dhash,
            )


def load_record(path: Path) -> ShardRecord | None:
    """Read a record; None if it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return ShardRecord(
                str(stored["rows"]),
                stored["digest"],
                stored["class_pixels"],
                stored["channel_sums"],
                stored["files"],
                stored.get(DHASH),
            )
    except Exception:  # NumPy raises various errors for damaged files
        return None
