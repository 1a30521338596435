"""Pack the stores of the scans, measure their points in turns, and write every result at once."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from compare import page_cache
from compare.cell import Cell, to_json
from compare.cell_process import CellError, run_cell
from compare.registry import peer_of
from compare.samples import make_samples
from compare.scans import LIMIT, RAW, WAYS, BoundaryRow, Packing, Point, ScanRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from compare.peer import Peer, Setting
    from compare.samples import Samples
    from compare.workloads import Workload

_MEMMAP = "Keras Sequence, np.memmap"  # measured at the boundary, with and without Keras' pool
_NULL = "limit: one constant batch"
_CLASSES = 256  # because the samples' numbers are in the masks, too


@dataclass(frozen=True, slots=True)
class Scanner:
    """Measures scans.

    Attributes
    ----------
    folder
        Folder for the samples and the stores.
    images, masks
        Folders to crop from; None for generated pictures.
    rounds, seconds
        Number of rounds, in each of which every point takes a turn, and least seconds of a turn.
    cores
        Number of cores of this machine.
    note
        Function that takes every result, a dict of plain values.
    say
        Function that prints progress.
    """

    folder: Path
    images: str | None
    masks: str | None
    rounds: int
    seconds: float
    cores: int
    note: Callable[[dict[str, Any]], None]
    say: Callable[[str], None]

    def scan(self, name: str, points: Sequence[Point]) -> None:
        """Measure all points of one scan."""
        cells = [self._cell(point) for point in points]
        # Equal cells are measured once; the limit does not depend on workers and shards.
        distinct = {to_json(cell): (point, cell) for point, cell in zip(points, cells, strict=True)}
        found: dict[str, list[dict[str, Any]]] = {key: [] for key in distinct}
        for turn in range(self.rounds):
            self.say(f"{name}: round {turn + 1} of {self.rounds}")
            for key, (point, cell) in _from(turn, self.rounds, list(distinct.items())):
                one = self._run(cell, scan=name, way=point.way, at=point.at)
                if one is not None:
                    found[key].append(one)
        for point, cell in zip(points, cells, strict=True):
            if measured := found[to_json(cell)]:
                self.note({"scan": asdict(summed(point, measured))})

    def boundary(
        self, work: Workload, levels: Iterable[str], peers: Iterable[Peer], around: int
    ) -> None:
        """Measure every batch around the end of an epoch."""
        for level in levels:
            entries = list(self._at_boundary(work, level, peers, around))
            for turn in range(self.rounds):
                self.say(f"boundary, {level}: round {turn + 1} of {self.rounds}")
                for way, cell in _from(turn, self.rounds, entries):
                    found = self._run(cell, scan="boundary", way=way, at=level)
                    if found is not None:
                        row = BoundaryRow(
                            level, way, _kind(peer_of(cell.peer)), json.dumps(cell.setting), turn,
                            work.label, found["ms"],
                        )  # fmt: skip
                        self.note({"boundary": asdict(row)})

    def _at_boundary(
        self, work: Workload, level: str, peers: Iterable[Peer], around: int
    ) -> Iterator[tuple[str, Cell]]:
        samples = self._samples(work)
        ways: list[tuple[str, Peer, Setting]] = [
            *((f"zarrfeed, {way}", peer_of(RAW), setting) for way, setting in WAYS.items()),
            (f"{_MEMMAP}, no worker", peer_of(_MEMMAP), {"workers": 0}),
            (f"{_MEMMAP}, 2 threads", peer_of(_MEMMAP), {"workers": 2}),
        ]
        for peer in (peer_of(LIMIT), peer_of(_NULL), *peers):
            if level in peer.levels and not peer.missing and peer.supports(work):
                # The first setting is the most promising; a scan does not sweep.
                setting = peer.settings(work, level, self.cores)[0]  # type: ignore[arg-type]
                ways.append((peer.name, peer, setting))
        for way, peer, setting in ways:
            folder = self._converted(samples, peer, work)
            yield (
                way,
                Cell(f"{level}-boundary", peer.name, work.to_json(), str(samples.folder),
                     str(folder), setting, around=around),
            )  # fmt: skip

    def _cell(self, point: Point) -> Cell:
        samples = self._samples(point.work)
        if point.setting is None:
            peer, setting = peer_of(LIMIT), {"threads": 1}
            folder = self._converted(samples, peer, point.work)
        else:
            peer, setting = peer_of(RAW), point.setting
            folder = self._packed(samples, point.packing)
        return Cell(
            "read", peer.name, point.work.to_json(), str(samples.folder), str(folder), setting,
            seconds=self.seconds, least=2,
        )  # fmt: skip

    def _samples(self, work: Workload) -> Samples:
        # Use the same samples for every batch size.
        alike = replace(work, batch_size=1)
        folder = self.folder / f"{work.name}-{work.samples}" / "samples"
        return make_samples(alike, folder, images=self.images, masks=self.masks)

    def _packed(self, samples: Samples, packing: Packing) -> Path:
        from zarrfeed_convert import convert, open_source

        folder = samples.folder.parent / packing.folder
        images, masks = (str(samples.folder / f"{field}.npy") for field in ("image", "mask"))
        folder.mkdir(exist_ok=True)
        # Does nothing if the store is complete and its settings have not changed.
        convert(
            open_source("npz", {"images": images, "masks": masks}),
            folder / "samples.zarr",
            split="train",
            codec=packing.codec,  # type: ignore[arg-type]
            shard_size=packing.shard_mib and packing.shard_mib << 20,
            classes=_CLASSES,
            overwrite=True,
        )
        page_cache.warm(folder)
        return folder

    def _converted(self, samples: Samples, peer: Peer, work: Workload) -> Path:
        if peer.name == RAW:
            return self._packed(samples, Packing())
        folder = samples.folder.parent / peer.stored
        done = folder / "converted"
        if not done.exists():
            self.say(f"converting for {peer.name}")
            folder.mkdir(exist_ok=True)
            run_cell(Cell("convert", peer.name, work.to_json(), str(samples.folder),
                          str(folder), {}))  # fmt: skip
            done.touch()
        page_cache.warm(folder)
        return folder

    def _run(self, cell: Cell, **what: str) -> dict[str, Any] | None:
        try:
            found = run_cell(cell)
        except CellError as error:
            self.say(f"  {what['way']}, {what['at']}: {error}")
            self.note({"failed": {**what, "error": str(error)}})
            return None
        self.note({"found": {**what, **found}})
        return found


def summed(point: Point, found: Sequence[dict[str, Any]]) -> ScanRow:
    """Summarise the results of all rounds as a row.

    Parameters
    ----------
    point
        The measured point.
    found
        Results of :mod:`compare.cell`, one per round, each of two epochs or more.
    """
    rates = [rate for one in found for rate in one["rates"]]
    mb = point.work.batch_nbytes / 1e6
    low, median, high = statistics.quantiles(rates, n=4, method="inclusive")
    return ScanRow(
        scan=point.scan,
        way=point.way,
        at=point.at,
        place=point.place,
        workload=point.work.label,
        batches_per_second=median,
        mb_per_second=median * mb,
        low=low * mb,
        high=high * mb,
        epochs=len(rates),
        wrong=next((one["wrong"] for one in found if one["wrong"]), ""),
    )


def _from(turn: int, turns: int, entries: list[Any]) -> list[Any]:
    """Rotate entries, so that every turn starts with another one."""
    first = turn * len(entries) // turns
    return entries[first:] + entries[:first]


def _kind(peer: Peer) -> str:
    return "ours" if peer.ours else "limit" if peer.limit else "peer"
