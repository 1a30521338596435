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
    """Row 3: the peak RSS of a worker relative to its shard, for two shard sizes."""
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
                    how="2.2 decoded shards + 100 MB are allowed; measured every 10 ms.")
        )  # fmt: skip
        figures.append(quantity(3, "number of measurements", "times", [watch.measurements]))
    return figures


class _Watch:
    """Measures the RSS of this process's children, and keeps the two largest peaks."""

    def __enter__(self) -> _Watch:
        self._peaks: dict[int, int] = {}
        self.measurements = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._measure)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.peaks = sorted(self._peaks.values())[-WORKERS:]

    def _measure(self) -> None:
        me = psutil.Process()
        while not self._stop.is_set():
            for child in me.children():
                try:
                    rss = child.memory_info().rss
                except psutil.Error:  # the process has just ended
                    continue
                self._peaks[child.pid] = max(rss, self._peaks.get(child.pid, 0))
            self.measurements += 1
            time.sleep(0.01)
