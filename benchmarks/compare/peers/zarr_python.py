"""zarr-python, by ``oindex`` in a plain Keras ``Sequence``, with its own or zarrs' codec pipeline.

A chunk is one sample, or as many as have 16 KiB; nothing is compressed. Measured with zarr-python
3.4 and zarrs 0.2 for 32 tiles: reading single samples takes two to four times as long as
``oindex``, sorted ids do not help, and zarrs takes four times as long if the chunks are in shards.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from compare.by_index import ByIndex
from compare.peer import Batch, Level, Loader, Peer, Setting

if TYPE_CHECKING:
    from pathlib import Path

    from compare.samples import Samples
    from compare.workloads import Workload

FIELDS = ("image", "mask")
_CHUNK_NBYTES = 16 << 10  # least size of an image chunk
_SHARD_NBYTES = 256 << 20  # largest size of an image shard
_GAPS = (0, 1 << 20)  # bytes; 1 MiB is the default
_PIPELINES = {
    "batched": "zarr.core.codec_pipeline.BatchedCodecPipeline",  # the default of 3.4
    "fused": "zarr.core.codec_pipeline.FusedCodecPipeline",
    "zarrs": "zarrs.ZarrsCodecPipeline",
}


class ZarrPeer(Peer):
    """Zarr arrays, read with one of the codec pipelines.

    Parameters
    ----------
    name
        Name of the peer.
    pipelines
        The codec pipelines to try.
    sharded
        Whether chunks are in shards rather than in separate files.
    """

    def __init__(self, name: str, pipelines: tuple[str, ...], *, sharded: bool) -> None:
        self.name = name  # type: ignore[misc]
        self.stored = "zarr-sharded" if sharded else "zarr-chunks"  # type: ignore[misc]
        self.needs = ("zarr", "zarrs") if "zarrs" in pipelines else ("zarr",)  # type: ignore[misc]
        self._pipelines = pipelines
        self._sharded = sharded

    def settings(self, work: Workload, level: Level, cores: int) -> list[Setting]:  # noqa: ARG002
        """Try the pipelines, with and without a thread that reads ahead.

        Reading across gaps of up to ``gap`` bytes between the chunks of a shard only helps if the
        chunks are small.
        """
        found = [
            {"pipeline": pipeline, "gap": gap, "workers": 1}
            for pipeline in self._pipelines
            for gap in (_GAPS if pipeline == "fused" else _GAPS[:1])
        ]
        return [*found, {**found[0], "workers": 0}]

    def convert(self, samples: Samples, folder: Path) -> None:
        """Write both arrays."""
        write_arrays(samples, folder, sharded=self._sharded)

    def open(self, folder: Path, work: Workload, setting: Setting) -> Loader:
        """Open both arrays."""
        return _Loader(folder, work, setting)


class _Loader(ByIndex):
    def __init__(self, folder: Path, work: Workload, setting: Setting) -> None:
        import zarr

        super().__init__(work, setting)
        use_pipeline(setting["pipeline"], gap=setting["gap"])
        self._arrays = [zarr.open_array(folder / field, mode="r") for field in FIELDS]

    def read(self, ids: np.ndarray) -> Batch:
        image, mask = (array.oindex[ids] for array in self._arrays)
        return image, mask


def use_pipeline(name: str, *, gap: int = 0) -> None:
    """Set zarr-python's codec pipeline.

    Parameters
    ----------
    name
        ``batched``, ``fused`` or ``zarrs``.
    gap
        Largest gap in bytes between chunks of a shard that are read together.
    """
    import zarr

    path = _PIPELINES[name]
    zarr.config.set({"codec_pipeline.path": path, "array.sharding_coalesce_max_gap_bytes": gap})


def write_arrays(samples: Samples, folder: Path, *, sharded: bool, lz4: bool = False) -> None:
    """Write every field as a Zarr array in a group.

    Parameters
    ----------
    samples, folder
        The samples, and the output folder.
    sharded
        Whether chunks are in shards.
    lz4
        Whether chunks are compressed by Blosc-LZ4.
    """
    import zarr
    from zarr.codecs import BloscCodec

    work = samples.work
    nbytes = math.prod(work.image) * np.dtype(work.dtype).itemsize
    rows = min(work.batch_size, -(-_CHUNK_NBYTES // nbytes))
    shard = max(1, min(work.samples, _SHARD_NBYTES // nbytes) // rows) * rows
    group = zarr.open_group(folder, mode="w")
    for field in FIELDS:
        pixels = samples.array(field)
        array = group.create_array(
            field,
            shape=pixels.shape,
            dtype=pixels.dtype,
            chunks=(rows, *pixels.shape[1:]),
            shards=(shard, *pixels.shape[1:]) if sharded else None,
            compressors=BloscCodec(cname="lz4", shuffle="noshuffle") if lz4 else None,
        )
        for start in range(0, len(pixels), shard):
            array[start : start + shard] = np.asarray(pixels[start : start + shard])


PEERS = (
    ZarrPeer("Keras Sequence, zarr-python", ("fused", "batched"), sharded=True),
    ZarrPeer("Keras Sequence, zarrs", ("zarrs",), sharded=True),
    ZarrPeer("Keras Sequence, zarrs, a file per chunk", ("zarrs",), sharded=False),
)
