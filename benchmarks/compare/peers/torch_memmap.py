"""PyTorch's ``DataLoader`` over two memory-mapped ``.npy`` files.

It reads whole batches in the documented way: the sampler yields lists of indices, and automatic
batching is off. Its workers are processes, never threads. Measured with torch 2.14.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.peer import Level, Loader, Peer, Setting
from compare.torch_loader import TorchLoader, worker_options, worker_settings

if TYPE_CHECKING:
    from pathlib import Path

    from compare.samples import Samples
    from compare.workloads import Workload

FIELDS = ("image", "mask")


class TorchPeer(Peer):
    """Fancy indexing in this process or in torch's workers."""

    name = "torch DataLoader, np.memmap"
    stored = "memmap"
    needs = ("torch",)

    def settings(self, work: Workload, level: Level, cores: int) -> list[Setting]:  # noqa: ARG002
        """Try several numbers of worker processes."""
        return worker_settings(cores)

    def convert(self, samples: Samples, folder: Path) -> None:
        """Copy the files."""
        for field in FIELDS:
            shutil.copyfile(samples.folder / f"{field}.npy", folder / f"{field}.npy")

    def open(self, folder: Path, work: Workload, setting: Setting) -> Loader:
        """Make the loader."""
        from torch.utils.data import BatchSampler, DataLoader, RandomSampler

        dataset: Any = _Batches(folder, work.samples)
        sampler = BatchSampler(RandomSampler(dataset), work.batch_size, drop_last=True)
        options = worker_options(setting)
        return TorchLoader(work, DataLoader(dataset, batch_size=None, sampler=sampler, **options))


class _Batches:
    """A dataset whose items are batches. Every process opens the files when it first reads."""

    def __init__(self, folder: Path, samples: int) -> None:
        self._paths = [folder / f"{field}.npy" for field in FIELDS]
        self._samples = samples
        self._arrays: list[np.ndarray] = []

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, ids: list[int]) -> list[np.ndarray]:
        if not self._arrays:
            self._arrays = [np.load(path, mmap_mode="r") for path in self._paths]
        return [np.asarray(array[ids]) for array in self._arrays]


PEERS = (TorchPeer(),)
