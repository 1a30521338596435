"""MosaicML Streaming: MDS shards on the local disk with raw arrays (``ndarray:dtype:shape``).

Streamed in the order of its ``naive`` algorithm, which shuffles globally, or indexed as an array of
samples. Measured with mosaicml-streaming 0.13.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from compare.by_index import ByIndex
from compare.peer import Batch, Level, Loader, Peer, Setting
from compare.torch_loader import TorchLoader, worker_options, worker_settings

if TYPE_CHECKING:
    from pathlib import Path

    from compare.samples import Samples
    from compare.workloads import Workload

FIELDS = ("image", "mask")


class MdsPeer(Peer):
    """``StreamingDataset``."""

    name = "MosaicML Streaming, MDS"
    stored = "mds"
    needs = ("torch", "transformers", "streaming")

    def settings(self, work: Workload, level: Level, cores: int) -> list[Setting]:  # noqa: ARG002
        """Try indexing, and streaming in this process or in workers."""
        return [{"index": True}, *worker_settings(cores)]

    def convert(self, samples: Samples, folder: Path) -> None:
        """Write uncompressed shards of the default size."""
        from streaming import MDSWriter

        work = samples.work
        columns = {
            "image": f"ndarray:{work.dtype}:{','.join(map(str, work.image))}",
            "mask": f"ndarray:uint8:{','.join(map(str, work.mask))}",
        }
        with MDSWriter(out=str(folder), columns=columns) as writer:
            for pair in samples.pairs():
                writer.write(dict(zip(FIELDS, map(np.asarray, pair), strict=True)))

    def open(self, folder: Path, work: Workload, setting: Setting) -> Loader:
        """Open the shards."""
        from streaming import StreamingDataLoader, StreamingDataset

        dataset = StreamingDataset(
            local=str(folder),
            shuffle=True,
            shuffle_algo="naive",
            num_canonical_nodes=1,
            batch_size=work.batch_size,
        )
        if "index" in setting:
            return _Indexed(work, setting, dataset)
        loader = StreamingDataLoader(
            dataset,
            batch_size=work.batch_size,
            drop_last=True,
            collate_fn=_tensors,
            **worker_options(setting),
        )
        return TorchLoader(work, loader)


class _Indexed(ByIndex):
    def __init__(self, work: Workload, setting: Setting, dataset: Any) -> None:
        super().__init__(work, setting)
        self._dataset = dataset

    def read(self, ids: np.ndarray) -> Batch:
        return _stacked(self._dataset[ids.tolist()])

    def close(self) -> None:
        super().close()
        self._dataset = None  # its shared memory ends with it


def _stacked(samples: list[dict[str, np.ndarray]]) -> Batch:
    image, mask = (np.stack([sample[field] for sample in samples]) for field in FIELDS)
    return image, mask


def _tensors(samples: list[dict[str, np.ndarray]]) -> tuple[Any, Any]:
    """Stack samples to tensors, which torch passes between processes by shared memory."""
    import torch

    image, mask = _stacked(samples)
    return torch.from_numpy(image), torch.from_numpy(mask)


PEERS = (MdsPeer(),)
