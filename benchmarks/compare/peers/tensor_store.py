"""TensorStore: sharded Zarr v3, uncompressed and as Blosc-LZ4, read batch by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compare.by_index import ByIndex
from compare.peer import Batch, Level, Loader, Peer, Setting
from compare.peers.zarr_python import FIELDS, write_arrays

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from compare.samples import Samples
    from compare.workloads import Workload

_CACHE_NBYTES = 64 << 20  # more than all shard indexes, less than an epoch


class TensorStorePeer(Peer):
    """TensorStore, which has its own threads and aborts after a fork."""

    needs = ("tensorstore", "zarr")

    def __init__(self, *, lz4: bool) -> None:
        self.name = f"TensorStore, {'lz4' if lz4 else 'raw'}"  # type: ignore[misc]
        self.stored = "zarr-sharded-lz4" if lz4 else "zarr-sharded"  # type: ignore[misc]
        self._lz4 = lz4

    def settings(self, work: Workload, level: Level, cores: int) -> list[Setting]:  # noqa: ARG002
        """Try with and without a cache, and threads that wait for batches ahead."""
        return [{"cache": cache, "workers": n} for cache in (True, False) for n in (2, 0)]

    def convert(self, samples: Samples, folder: Path) -> None:
        """Write by zarr-python."""
        write_arrays(samples, folder, sharded=True, lz4=self._lz4)

    def open(self, folder: Path, work: Workload, setting: Setting) -> Loader:
        """Open both arrays."""
        return _Loader(folder, work, setting)


class _Loader(ByIndex):
    def __init__(self, folder: Path, work: Workload, setting: Setting) -> None:
        import tensorstore

        super().__init__(work, setting)
        nbytes = _CACHE_NBYTES if setting["cache"] else 0
        context = tensorstore.Context({"cache_pool": {"total_bytes_limit": nbytes}})
        self._arrays = [_opened(folder / field, context) for field in FIELDS]

    def read(self, ids: np.ndarray) -> Batch:
        futures = [array[ids].read() for array in self._arrays]
        image, mask = (future.result() for future in futures)
        return image, mask


def _opened(folder: Path, context: Any) -> Any:
    import tensorstore

    kvstore = {"driver": "file", "path": f"{folder}/"}
    spec = {
        "driver": "zarr3",
        "kvstore": kvstore,
        "recheck_cached_metadata": False,
        "recheck_cached_data": False,
    }
    return tensorstore.open(spec, read=True, context=context).result()


PEERS = (TensorStorePeer(lz4=False), TensorStorePeer(lz4=True))
