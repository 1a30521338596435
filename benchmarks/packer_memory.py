"""How much memory does a packing process take?"""

from __future__ import annotations

import shutil
import threading
import time
from typing import TYPE_CHECKING

import psutil

from figures import Figure, largest, quantity
from zarrfeed_convert import PairedFolders, convert

if TYPE_CHECKING:
    from pathlib import Path

WORKERS = 2


def packer_memory(images: str, masks: str, classes: str, scratch: Path) -> list[Figure]:
    """Row 3: the peak of a worker's RSS against its shard, for two sizes of shards."""
    figures = []
    pairs = PairedFolders(images, masks)
    for shard_size in (11 << 20, 64 << 20):
        out = scratch / "memory.zarr"
        with _Watch() as watch:
            report = convert(pairs, out, split="train", classes=classes, workers=WORKERS,
                             shard_size=shard_size)  # fmt: skip
        shutil.rmtree(out)
        shard = sum(
            field.shard_rows * field.decoded_bytes // report.packed for field in report.fields
        )
        allowed = (2.2 * shard + 100e6) / 1e6
        figures.append(
            largest(3, f"peak RSS of a worker, shards of {shard / 1e6:.0f} MB (decoded)", "MB",
                    [peak / 1e6 for peak in watch.peaks], at_most=allowed,
                    how="2.2 decoded shards + 100 MB are allowed; looked at every 10 ms.")
        )  # fmt: skip
        figures.append(quantity(3, "looked at it", "times", [watch.looks]))
    return figures


class _Watch:
    """Looks at this process's children until told to stop; keeps the two largest peaks."""

    def __enter__(self) -> _Watch:
        self._peaks: dict[int, int] = {}
        self.looks = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.peaks = sorted(self._peaks.values())[-WORKERS:]

    def _look(self) -> None:
        me = psutil.Process()
        while not self._stop.is_set():
            for child in me.children():
                try:
                    rss = child.memory_info().rss
                except psutil.Error:  # it has just ended
                    continue
                self._peaks[child.pid] = max(rss, self._peaks.get(child.pid, 0))
            self.looks += 1
            time.sleep(0.01)
