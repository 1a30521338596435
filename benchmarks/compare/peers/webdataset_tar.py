"""WebDataset: uncompressed tar files, with two files of bytes per sample.

Its shuffle is not global: shards come in random order and go through a buffer. The buffer here has
a quarter of the samples (1000 is usual); each process has one for its own shards. Measured with
webdataset 1.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compare.peer import Level, Loader, Peer, Setting
from compare.torch_loader import Collate, TorchLoader, worker_options, worker_settings

if TYPE_CHECKING:
    from pathlib import Path

    from compare.samples import Samples
    from compare.workloads import Workload

FIELDS = ("image.bin", "mask.bin")  # .npy files would take 1.5 times as long
_SHARDS = 16  # at most; shards have whole batches, so that no process has a partial batch


class WebDatasetPeer(Peer):
    """``WebDataset`` in its own ``WebLoader``, with whole batches."""

    name = "WebDataset, tar"
    stored = "webdataset"
    needs = ("torch", "webdataset")

    def settings(self, work: Workload, level: Level, cores: int) -> list[Setting]:  # noqa: ARG002
        """Try several numbers of worker processes."""
        return worker_settings(cores)

    def convert(self, samples: Samples, folder: Path) -> None:
        """Write tar files, with times in whole seconds, because others need an extra header."""
        from webdataset import ShardWriter

        work = samples.work
        rows = -(-work.batches // _SHARDS) * work.batch_size
        pattern = str(folder / "%06d.tar")
        with ShardWriter(pattern, maxcount=rows, maxsize=1 << 40, verbose=0, mtime=0) as writer:
            for number, pair in enumerate(samples.pairs()):
                files = {field: array.tobytes() for field, array in zip(FIELDS, pair, strict=True)}
                writer.write({"__key__": f"{number:08d}", **files})

    def open(self, folder: Path, work: Workload, setting: Setting) -> Loader:
        """Build the pipeline."""
        from webdataset import WebDataset, WebLoader

        shards = sorted(map(str, folder.glob("*.tar")))
        buffer = work.samples // (4 * max(1, setting["workers"]))
        # Without `detshuffle`, shards come in the same order in every epoch.
        batches = (
            WebDataset(shards, shardshuffle=len(shards), detshuffle=True)
            .shuffle(buffer)
            .to_tuple(*FIELDS)
            .batched(work.batch_size, collation_fn=Collate(work), partial=False)
        )
        return TorchLoader(work, WebLoader(batches, batch_size=None, **worker_options(setting)))


PEERS = (WebDatasetPeer(),)
