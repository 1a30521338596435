"""What is known of a shard once it is packed, and how does that outlive the process?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed_convert.atomic_files import atomic_file, writing

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed_convert.shards.rows import Numbers


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """One shard of every field.

    Attributes
    ----------
    rows
        The fingerprint of the rows that are in it.
    digest
        (n,) uint64 of its decoded samples.
    class_pixels
        (n, K) int64.
    channel_sums
        (n, C, 3) float64: sums and sums of squares of each channel, and how many of its values
        are left out of them.
    files
        (F, 2) uint64: the bytes of each field's file, and their xxh3_64.
    """

    rows: str
    digest: NDArray[np.uint64]
    class_pixels: Numbers
    channel_sums: NDArray[np.float64]
    files: NDArray[np.uint64]

    def save(self, path: Path) -> None:
        """Write the record, all at once: it says that the shard's files are whole, and on disk.

        The record itself may be lost with the machine's power: its shard is then packed again.
        """
        with atomic_file(path, sync=False) as file, writing(path):
            np.savez(
                file,
                rows=np.array(self.rows),
                digest=self.digest,
                class_pixels=self.class_pixels,
                channel_sums=self.channel_sums,
                files=self.files,
            )


def load_record(path: Path) -> ShardRecord | None:
    """Read a record; None where there is none that is whole."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return ShardRecord(
                str(stored["rows"]),
                stored["digest"],
                stored["class_pixels"],
                stored["channel_sums"],
                stored["files"],
            )
    except Exception:  # whatever NumPy makes of what is no record
        return None
