"""Two memory-mapped ``.npy`` files, read by fancy indexing in a plain Keras ``Sequence``."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np

from compare.by_index import ByIndex
from compare.peer import Batch, Level, Loader, Peer, Setting

if TYPE_CHECKING:
    from pathlib import Path

    from compare.samples import Samples
    from compare.workloads import Workload

FIELDS = ("image", "mask")


class MemmapPeer(Peer):
    """Memory-mapped files, which many users try first."""

    name = "Keras Sequence, np.memmap"
    stored = "memmap"

    def settings(self, work: Workload, level: Level, cores: int) -> list[Setting]:  # noqa: ARG002
        """Try no worker, threads, and in ``fit`` also Keras' processes."""
        threads: list[Setting] = [{"workers": count} for count in range(min(cores, 2) + 1)]
        return threads if level == "read" else [*threads, {"workers": cores, "processes": True}]

    def convert(self, samples: Samples, folder: Path) -> None:
        """Copy the files."""
        for field in FIELDS:
            shutil.copyfile(samples.folder / f"{field}.npy", folder / f"{field}.npy")

    def open(self, folder: Path, work: Workload, setting: Setting) -> Loader:
        """Map the files."""
        return _Loader(folder, work, setting)


class _Loader(ByIndex):
    def __init__(self, folder: Path, work: Workload, setting: Setting) -> None:
        super().__init__(work, setting)
        self._arrays = [np.load(folder / f"{field}.npy", mmap_mode="r") for field in FIELDS]

    def read(self, ids: np.ndarray) -> Batch:
        image, mask = (array[ids] for array in self._arrays)
        return image, mask


PEERS = (MemmapPeer(),)
