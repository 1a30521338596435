"""What do workers, batch size, sample size, shard size and codec do to our own speed?

A scan is a list of points: pure values, which say what is measured where. Every point is a cell in
a process of its own (:mod:`compare.cell`), and the points of a scan take turns.
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

RAW = "zarrfeed, raw"  # the peer that opens whatever zarrfeed has packed
LIMIT = "limit: np.take from RAM"

_MIB = 1 << 20
_BATCH_NBYTES = 8 * _MIB
_SIDES = (28, 64, 128, 256, 512, 1024)
_BATCH_SIZES = (4, 8, 16, 32, 64, 128, 256)
_SHARDS_MIB = (1, 4, 16, 64, 256)
_CODECS = ("raw", "auto", "lz4", "zstd")

# Two workers at most are what every machine has.
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
    way: str = _column("the line that it belongs to: the kind of worker, or the limit")
    at: str = _column("where it stands on the axis of the scan, in words")
    place: float = _column("… as a number: workers, samples, pixels of a side, MiB; or its rank")
    workload: str = _column("the samples and the batch, in words")
    batches_per_second: float = _column("median over the epochs of all rounds")
    mb_per_second: float = _column("decoded, 10^6 bytes: the median")
    low: float = _column("… the first quartile: a quarter of the epochs were slower, MB/s")
    high: float = _column("… the third quartile, MB/s")
    epochs: int = _column("epochs measured, after one in every process that warms up")
    wrong: str = _column("what was wrong with the samples; empty if each came once")


@dataclass(frozen=True, slots=True)
class BoundaryRow:
    """Every batch around the end of an epoch, in one process."""

    level: str = _column("read: arrays in the main process; fit: a Keras model that does nothing")
    way: str = _column("who feeds")
    kind: str = _column("ours, peer or limit")
    setting: str = _column("of it, as JSON")
    turn: int = _column("which turn, from 0")
    workload: str = _column("the samples and the batch, in words")
    ms: tuple[float, ...] = _column(
        "milliseconds per batch, as many before the end of the epoch as after it"
    )


@dataclass(frozen=True, slots=True)
class Packing:
    """How samples are stored.

    Attributes
    ----------
    codec
        As :func:`zarrfeed_convert.convert` takes it.
    shard_mib
        MiB of images per shard; None lets the packer decide.
    """

    codec: str = "raw"
    shard_mib: int | None = None

    @property
    def folder(self) -> str:
        """Name it."""
        return f"{self.codec}-{self.shard_mib or 'auto'}"


@dataclass(frozen=True, slots=True)
class Point:
    """What is measured, and where it stands.

    Attributes
    ----------
    scan, way, at, place
        As in :class:`ScanRow`.
    work
        What is fed.
    setting
        Of the sequence; None for the limit, which no store has to do with.
    packing
        Of the store.
    """

    scan: str
    way: str
    at: str
    place: float
    work: Workload
    setting: dict[str, Any] | None
    packing: Packing


def read_scans(path: Path) -> tuple[dict[str, Any], list[ScanRow], list[BoundaryRow]]:
    """Read a file of JSON lines: what was measured on, the points, the boundaries."""
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
    """List the points of every scan.

    Parameters
    ----------
    nbytes
        Of all samples together, masks included.
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
    """Make squares: colour pictures, but for the smallest, as of digits.

    Parameters
    ----------
    side
        Pixels.
    batch_size
        None for as many as come closest to 8 MiB.
    nbytes
        Of all samples together; at least four batches.
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
    """Take enough samples for an epoch that is longer than one side of a boundary."""
    work = workload(256, 32, nbytes)
    batches = max(work.batches, math.ceil(1.5 * around))
    return replace(work, samples=batches * work.batch_size)
