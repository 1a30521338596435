"""LitData: an optimized dataset on the local disk, with two fields of bytes per sample.

Streaming shuffles chunks and the samples within each, which is not a global shuffle; indexing can
shuffle globally. Three settings other than the defaults make it many times faster: fields are
bytes, because NumPy arrays are copied once more; one sample is decoded at a time instead of a
window of up to 256 around it; and chunks are large, because it keeps at most four of them open.
Measured with litdata 0.2.76.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.by_index import ByIndex
from compare.peer import Batch, Level, Loader, Peer, Setting
from compare.torch_loader import Collate, TorchLoader, worker_options, worker_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from compare.samples import Samples
    from compare.workloads import Workload

_PARTS = 16  # in which the samples are converted


class LitDataPeer(Peer):
    """``StreamingDataset``."""

    name = "LitData"
    stored = "litdata"
    needs = ("torch", "litdata")

    def settings(self, work: Workload, level: Level, cores: int) -> list[Setting]:  # noqa: ARG002
        """Try indexing, and streaming in this process or in workers."""
        return [{"index": True}, *worker_settings(cores)]

    def convert(self, samples: Samples, folder: Path) -> None:
        """Optimize in one process."""
        from litdata import optimize

        edges = np.linspace(0, samples.work.samples, _PARTS + 1).astype(int).tolist()
        optimize(
            partial(_rows, samples),
            list(pairwise(edges)),
            output_dir=str(folder),
            chunk_bytes="1GB",
            num_workers=1,
            mode="overwrite",
            verbose=False,
        )

    def open(self, folder: Path, work: Workload, setting: Setting) -> Loader:
        """Open the chunks, such that one sample is decoded at a time."""
        from litdata import StreamingDataLoader, StreamingDataset

        dataset = StreamingDataset(
            str(folder), shuffle=True, drop_last=True, batch_decode=0, item_shuffle_window=0
        )
        if "index" in setting:
            return _Indexed(work, setting, dataset)
        loader = StreamingDataLoader(
            dataset,
            batch_size=work.batch_size,
            drop_last=True,
            collate_fn=Collate(work),
            **worker_options(setting),
        )
        return TorchLoader(work, loader)


def _rows(samples: Samples, part: tuple[int, int]) -> Iterator[tuple[bytes, bytes]]:
    image, mask = (samples.array(field)[slice(*part)] for field in ("image", "mask"))
    for pair in zip(image, mask, strict=True):
        yield pair[0].tobytes(), pair[1].tobytes()


class _Indexed(ByIndex):
    def __init__(self, work: Workload, setting: Setting, dataset: Any) -> None:
        super().__init__(work, setting)
        self._dataset = dataset
        self._collate = Collate(work)

    def read(self, ids: np.ndarray) -> Batch:
        return self._collate.arrays([self._dataset[sample] for sample in ids.tolist()])


PEERS = (LitDataPeer(),)
