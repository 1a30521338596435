"""h5py: two contiguous HDF5 datasets in a plain Keras ``Sequence``.

Measured with h5py 3.14 for 32 tiles: fancy indexing by sorted numbers takes 26 ms (378 ms if every
sample is a chunk), indexing one by one 6 ms, and reading into the rows of a batch 1.2 ms (1.8 ms
with chunks).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from compare.by_index import ByIndex
from compare.peer import Batch, Level, Loader, Peer, Setting

if TYPE_CHECKING:
    from pathlib import Path

    from compare.samples import Samples
    from compare.workloads import Workload

FIELDS = ("image", "mask")
_FILE = "samples.h5"


class H5pyPeer(Peer):
    """h5py. HDF5 runs one thread at a time, and its files do not survive a fork."""

    name = "Keras Sequence, h5py"
    stored = "hdf5"
    needs = ("h5py",)

    def settings(self, work: Workload, level: Level, cores: int) -> list[Setting]:  # noqa: ARG002
        """Try both ways of reading a sample, with and without a thread that reads ahead."""
        return [{"into_rows": rows, "workers": n} for rows in (True, False) for n in (1, 0)]

    def convert(self, samples: Samples, folder: Path) -> None:
        """Write both datasets."""
        import h5py

        with h5py.File(folder / _FILE, "w") as file:
            for field in FIELDS:
                file.create_dataset(field, data=samples.array(field))

    def open(self, folder: Path, work: Workload, setting: Setting) -> Loader:
        """Open the file."""
        return _Loader(folder / _FILE, work, setting)


class _Loader(ByIndex):
    def __init__(self, path: Path, work: Workload, setting: Setting) -> None:
        import h5py

        super().__init__(work, setting)
        self._file = h5py.File(path)
        self._read = _into_rows if setting["into_rows"] else _one_by_one

    def read(self, ids: np.ndarray) -> Batch:
        image, mask = (self._read(self._file[field], ids) for field in FIELDS)
        return image, mask

    def close(self) -> None:
        super().close()
        self._file.close()


def _one_by_one(dataset: Any, ids: np.ndarray) -> np.ndarray:
    return np.stack([dataset[sample] for sample in ids.tolist()])


def _into_rows(dataset: Any, ids: np.ndarray) -> np.ndarray:
    """Read by the low-level interface, because ``read_direct`` takes three times as long."""
    import h5py

    shape = dataset.shape[1:]
    out = np.empty((len(ids), *shape), dataset.dtype)
    stored, row = dataset.id.get_space(), h5py.h5s.create_simple(shape)
    origin = (0,) * len(shape)
    for target, sample in zip(out, ids.tolist(), strict=True):
        stored.select_hyperslab((sample, *origin), (1, *shape))
        dataset.id.read(row, stored, target)
    return out


PEERS = (H5pyPeer(),)
