"""insitubatch: reads chunks from separate files, and shuffles within a window of chunks.

Version 0.2. It permutes the chunks, so that the shuffle is global if a chunk is one sample. If a
chunk has several samples, they are drawn from a window of chunks, here of eight batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compare.peer import Batch, Level, Loader, Peer, Setting
from compare.peers.zarr_python import FIELDS, write_arrays

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from compare.samples import Samples
    from compare.workloads import Workload

_WINDOW = 8  # batches


class InsitubatchPeer(Peer):
    """insitubatch, whose unit of reading and caching is a stored chunk, or a whole shard."""

    name = "insitubatch"
    stored = "zarr-chunks"
    needs = ("insitubatch", "zarr")

    def settings(self, work: Workload, level: Level, cores: int) -> list[Setting]:  # noqa: ARG002
        """Try few and many reads at a time."""
        return [{"max_inflight": count} for count in (8, 32, 128)]

    def convert(self, samples: Samples, folder: Path) -> None:
        """Write both arrays, not sharded."""
        write_arrays(samples, folder, sharded=False)

    def open(self, folder: Path, work: Workload, setting: Setting) -> Loader:
        """Open the group; all of it is for training."""
        return _Loader(folder, work, setting)


class _Loader(Loader):
    def __init__(self, folder: Path, work: Workload, setting: Setting) -> None:
        import insitubatch

        super().__init__(work)
        store = insitubatch.obstore_store(folder.as_uri())
        geometries = insitubatch.open_geometries(store, variables=list(FIELDS))
        chunks = geometries["image"]
        self._samples = insitubatch.InSituDataset(
            store,
            insitubatch.split_by_chunk(chunks, fractions=(1.0, 0.0, 0.0)),
            geometries=geometries,
            batch_size=work.batch_size,
            block_chunks=_WINDOW * work.batch_size // chunks.sample_chunk_size,
            **setting,
        )

    def epoch(self, number: int) -> Iterator[Batch]:
        self._samples.set_epoch(number)
        for batch in self._samples.train:
            if len(batch) == self.work.batch_size:
                yield batch.arrays["image"], batch.arrays["mask"]

    def close(self) -> None:
        self._samples.close()


PEERS = (InsitubatchPeer(),)
