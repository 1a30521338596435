"""zarrfeed, uncompressed and as Blosc-LZ4."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from compare.peer import Batch, Level, Loader, Peer, Setting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from compare.samples import Samples
    from compare.workloads import Workload

FIELDS = ("image", "mask")
_CLASSES = 256  # because the samples' numbers are in the masks, too
_SHARD_NBYTES = 256 << 20


class ZarrfeedPeer(Peer):
    """zarrfeed with one codec for the images."""

    needs = ("zarrfeed", "keras")
    ours = True

    def __init__(self, codec: str) -> None:
        self._codec = codec
        self.name = f"zarrfeed, {codec}"  # type: ignore[misc]
        self.stored = f"zarrfeed-{codec}"  # type: ignore[misc]

    def settings(self, work: Workload, level: Level, cores: int) -> list[Setting]:  # noqa: ARG002
        """Try the kinds of worker."""
        return [
            {"workers": 1, "use_multiprocessing": True},
            {"workers": min(cores, 4), "use_multiprocessing": True},
            {"workers": 1},
            {"workers": 0},
        ]

    def convert(self, samples: Samples, folder: Path) -> None:
        """Pack pictures; write volumes by zarr-python in the same layout."""
        if len(samples.work.mask) == 2:
            _pack(samples, folder, self._codec)
        else:
            _write_arrays(samples, folder / "samples.zarr" / "train", self._codec)

    def open(self, folder: Path, work: Workload, setting: Setting) -> Loader:
        """Open the split."""
        return _Loader(folder / "samples.zarr" / "train", work, setting)


def _pack(samples: Samples, folder: Path, codec: str) -> None:
    from zarrfeed_convert import convert, open_source

    images, masks = (str(samples.folder / f"{field}.npy") for field in FIELDS)
    source = open_source("npz", {"images": images, "masks": masks})
    out = folder / "samples.zarr"
    convert(source, out, split="train", codec=codec, classes=_CLASSES)


def _write_arrays(samples: Samples, split: Path, codec: str) -> None:
    import zarr
    from zarr.codecs import BloscCodec

    compressor = None if codec == "raw" else BloscCodec(cname="lz4", shuffle="noshuffle")
    group = zarr.open_group(str(split), mode="w")
    for field in FIELDS:
        pixels = samples.array(field)
        rows = max(1, min(len(pixels), _SHARD_NBYTES // pixels[0].nbytes))
        array = group.create_array(
            field,
            shape=pixels.shape,
            dtype=pixels.dtype,
            chunks=(1, *pixels.shape[1:]),
            shards=(rows, *pixels.shape[1:]),
            compressors=compressor,
        )
        for start in range(0, len(pixels), rows):
            array[start : start + rows] = np.asarray(pixels[start : start + rows])


class _Loader(Loader):
    def __init__(self, split: Path, work: Workload, setting: Setting) -> None:
        from zarrfeed import ZarrSequence

        super().__init__(work)
        self._sequence = ZarrSequence(
            split, work.batch_size, fields=FIELDS, drop_remainder=True, **setting
        )

    def epoch(self, number: int) -> Iterator[Batch]:
        self._sequence.set_epoch(number)
        yield from self._sequence

    def keras(self) -> Any:
        return self._sequence

    def close(self) -> None:
        self._sequence.close()


PEERS = (ZarrfeedPeer("raw"), ZarrfeedPeer("lz4"))
