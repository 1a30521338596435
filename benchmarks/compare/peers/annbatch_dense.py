"""annbatch: preloads runs of samples of dense Zarr arrays, and shuffles them together.

Version 0.3 is made for matrices of cells. Two of its loaders with the same random numbers keep
images and masks together. It reads by zarr-python with zarrs, as it recommends; the fused pipeline
took two to four times as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from compare.peer import Batch, Level, Loader, Peer, Setting
from compare.peers.zarr_python import FIELDS, use_pipeline, write_arrays

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from compare.samples import Samples
    from compare.workloads import Workload


class AnnbatchPeer(Peer):
    """annbatch with runs of one sample, which is a global shuffle, or with longer runs.

    annbatch is made for longer runs. It then shuffles the order of the runs, and the samples within
    the preloaded runs.
    """

    stored = "zarr-sharded"
    needs = ("annbatch", "zarr", "zarrs")

    def __init__(self, *, runs: bool) -> None:
        self.name = f"annbatch, {'runs of samples' if runs else 'global shuffle'}"  # type: ignore[misc]
        self._runs = runs

    def settings(self, work: Workload, level: Level, cores: int) -> list[Setting]:  # noqa: ARG002
        """Try several numbers of preloaded batches and, with runs, several lengths."""
        lengths = (-(-work.batch_size // 4), -(-work.batch_size // 16)) if self._runs else (1,)
        return [{"run": run, "preload": batches} for run in lengths for batches in (8, 2)]

    def convert(self, samples: Samples, folder: Path) -> None:
        """Write both arrays."""
        write_arrays(samples, folder, sharded=True)

    def open(self, folder: Path, work: Workload, setting: Setting) -> Loader:
        """Open both arrays."""
        return _Loader(folder, work, setting)


class _Loader(Loader):
    def __init__(self, folder: Path, work: Workload, setting: Setting) -> None:
        import zarr

        super().__init__(work)
        use_pipeline("zarrs")
        self._setting = setting
        self._arrays = [zarr.open_array(folder / field, mode="r") for field in FIELDS]

    def epoch(self, number: int) -> Iterator[Batch]:
        from annbatch import Loader as Annbatch

        run = self._setting["run"]
        loaders = [
            Annbatch(
                chunk_size=run,
                preload_nchunks=self._setting["preload"] * self.work.batch_size // run,
                batch_size=self.work.batch_size,
                shuffle=True,
                drop_last=True,
                rng=np.random.default_rng(number),
            ).add_dataset(array)
            for array in self._arrays
        ]
        for image, mask in zip(*loaders, strict=True):
            yield image["X"], mask["X"]


PEERS = (AnnbatchPeer(runs=False), AnnbatchPeer(runs=True))
