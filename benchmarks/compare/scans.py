"""How does zarrfeed's speed depend on workers, batch size, sample size, shard size and codec?

A scan is a list of points: pure values that say what to measure. Every point is a cell in its own
process (:mod:`compare.cell`), and the points of a scan take turns.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from compare.workloads import Workload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RAW = "zarrfeed, raw"  # the peer that opens any store of zarrfeed
LIMIT = "limit: np.take from RAM"

_MIB = 1 << 20
_BATCH_NBYTES = 8 * _MIB
_SIDES = (28, 64, 128, 256, 512, 1024)
_BATCH_SIZES = (4, 8, 16, 32, 64, 128, 256)
_SHARDS_MIB = (1, 4, 16, 64, 256)
_CODECS = ("raw", "auto", "lz4", "zstd")

# At most two workers, which every machine can run.
WAYS: dict[str, dict[str, Any]] = {
    "1 thread": {"workers": 1},
    "1 process": {"workers": 1, "use_multiprocessing": True},
    "2 processes": {"workers": 2, "use_multiprocessing": True},
}


def _column(legend: str) -> Any:
    return field(metadata={"legend": legend})


@dataclass(frozen=True, slots=True)
class ScanRow:
    """A point of a scan."""

    scan: str = _column("workers, batch size, sample size, shard size or codec")
    way: str = _column("the line to which it belongs: the kind of worker, or the limit")
    at: str = _column("the place on the axis of the scan, as text")
    place: float = _column("… as a number: workers, samples, pixels of a side, MiB, or a rank")
    workload: str = _column("description of the samples and the batch")
    batches_per_second: float = _column("median over the epochs of all rounds")
    mb_per_second: float = _column("decoded, 10^6 bytes: the median")
    low: float = _column("… the first quartile: a quarter of the epochs were slower, MB/s")
    high: float = _column("… the third quartile, MB/s")
    epochs: int = _column("epochs measured, after one of warm-up in every process")
    wrong: str = _column("what was wrong with the samples; empty if each came once")


@dataclass(frozen=True, slots=True)
class BoundaryRow:
    """The times of every batch around the end of an epoch, in one process."""

    level: str = _column("read: arrays in the main process; fit: a Keras model that does nothing")
    way: str = _column("the way of feeding")
    kind: str = _column("ours, peer or limit")
    setting: str = _column("its setting as JSON")
    turn: int = _column("number of the turn, from 0")
    workload: str = _column("description of the samples and the batch")
    ms: tuple[float, ...] = _column(
        "milliseconds per batch, as many before the end of the epoch as after it"
    )


@dataclass(frozen=True, slots=True)
class Packing:
    """How samples are stored.

    Attributes
    ----------
    codec
        The argument `codec` of :func:`zarrfeed_convert.convert`.
    shard_mib
        MiB of images per shard; None for the packer's default.
    """

    codec: str = "raw"
    shard_mib: int | None = None

    @property
    def folder(self) -> str:
        """Name of the folder."""
        return f"{self.codec}-{self.shard_mib or 'auto'}"


@dataclass(frozen=True, slots=True)
class Point:
    """What to measure, and its place in the scan.

    Attributes
    ----------
    scan, way, at, place
        See :class:`ScanRow`.
    work
        The workload.
    setting
        Setting of the sequence; None for the limit, which reads no store.
    packing
        How the store is packed.
    """

    scan: str
    way: str
    at: str
    place: float
    work: Workload
    setting: dict[str, Any] | None
    packing: Packing


def read_scans(path: Path) -> tuple[dict[str, Any], list[ScanRow], list[BoundaryRow]]:
    """Read a file of JSON lines; return the description of the run, the points, the boundaries."""
    about: dict[str, Any] = {}
    points: list[ScanRow] = []
    boundaries: list[BoundaryRow] = []
    for line in path.read_text("utf-8").splitlines():
        found = json.loads(line)
        about = found.get("about", about)
        if "scan" in found:
            points.append(ScanRow(**found["scan"]))
        elif "boundary" in found:
            row = found["boundary"]
            boundaries.append(BoundaryRow(**{**row, "ms": tuple(row["ms"])}))
    return about, points, boundaries


def scans(nbytes: int) -> dict[str, list[Point]]:
    """Return the points of every scan.

    Parameters
    ----------
    nbytes
        Bytes of all samples together, including masks.
    """
    tiles = workload(256, 32, nbytes)
    return {
        "workers": list(_workers(tiles)),
        "batch size": [
            point
            for size in _BATCH_SIZES
            for point in _ways("batch size", str(size), size, replace(tiles, batch_size=size))
        ],
        "sample size": [
            point
            for side in _SIDES
            for point in _ways("sample size", f"{side}×{side}", side, workload(side, None, nbytes))
        ],
        "shard size": [
            point
            for mib in _SHARDS_MIB
            for point in _ways("shard size", f"{mib} MiB", mib, tiles, Packing("raw", mib))
        ],
        "codec": [
            point
            for rank, codec in enumerate(_CODECS)
            for point in _ways("codec", codec, rank, tiles, Packing(codec))
        ],
    }


def workload(side: int, batch_size: int | None, nbytes: int) -> Workload:
    """Return a workload of square colour pictures; those of 28×28 have one channel, as digits do.

    Parameters
    ----------
    side
        Height and width in pixels.
    batch_size
        Samples per batch; None for batches of about 8 MiB.
    nbytes
        Bytes of all samples together. There are at least four batches.
    """
    one = Workload(
        f"squares-{side}", 1, (side, side, 1 if side == 28 else 3), (side, side), "uint8", 1, 0.0
    )
    size = batch_size or max(1, round(_BATCH_NBYTES / one.sample_nbytes))
    batches = max(4, nbytes // (one.sample_nbytes * size))
    return replace(one, samples=batches * size, batch_size=size)


def _workers(work: Workload) -> Iterator[Point]:
    for count in (0, 1, 2, 4):
        for way, processes in (("threads", False), ("processes", True)):
            if count or not processes:
                setting = {"workers": count, "use_multiprocessing": processes}
                yield Point("workers", way, str(count), count, work, setting, Packing())
        yield Point("workers", LIMIT, str(count), count, work, None, Packing())


def _ways(
    scan: str, at: str, place: float, work: Workload, packing: Packing | None = None
) -> Iterator[Point]:
    packing = packing or Packing()
    for way, setting in WAYS.items():
        yield Point(scan, way, at, place, work, setting, packing)
    yield Point(scan, LIMIT, at, place, work, None, packing)


def boundary_work(nbytes: int, around: int) -> Workload:
    """Return a workload whose epoch is longer than one side of a boundary."""
    work = workload(256, 32, nbytes)
    batches = max(work.batches, math.ceil(1.5 * around))
    return replace(work, samples=batches * work.batch_size)
