"""Convert, sweep and measure in turns, one table after the other.

Plain values (tables and an effort) determine what to do. Cells do it in their own processes. Every
result is written at once as a JSON line, so that an interrupted run loses nothing.
"""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from compare import page_cache
from compare.cell import Cell
from compare.cell_process import CellError, run_cell
from compare.effort import skip_reason
from compare.rows import Row, summed
from compare.samples import make_samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from compare.effort import Effort, Table
    from compare.peer import Level, Peer, Setting
    from compare.samples import Samples
    from compare.workloads import Workload

_LEAST_STEPS = 8  # in an epoch of `fit` that is cut short
_MOST_EPOCHS = 20  # of `fit` in one turn
_TRIES = 2  # per setting of a sweep
_UNSWEPT_EPOCHS = 3  # of `fit` in a turn of a peer whose speed is unknown without a sweep


class Bench:
    """Measures tables.

    Parameters
    ----------
    folder
        Folder for the samples and the peers' files. Existing ones are reused.
    images, masks
        Folders to crop from; None for generated pictures.
    effort
        How long to measure.
    cores
        Number of cores of this machine.
    note
        Function that takes every result, a dict of plain values.
    say
        Function that prints progress.
    """

    def __init__(
        self,
        folder: Path,
        *,
        images: str | None,
        masks: str | None,
        effort: Effort,
        cores: int,
        note: Callable[[dict[str, Any]], None],
        say: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._pictures = {"images": images, "masks": masks}
        self._effort = effort
        self._cores = cores
        self._note = note
        self._say = say
        self._read: dict[str, list[Row]] = {}  # results at level `read`, by workload

    def measure(self, table: Table, peers: Sequence[Peer]) -> list[Row]:
        """Measure one table. There is a row even for a peer that is missing or fails."""
        samples = self._samples(table.work)
        rows: list[Row] = []
        ready: dict[str, _Entry] = {}
        for peer in _of_level(peers, table):
            try:
                ready[peer.name] = self._prepared(peer, table, samples)
            except CellError as error:
                rows.append(_failed(peer, table, str(error)))
        found = self._take_turns(table, ready)
        rows += [self._row(table, entry, found[name]) for name, entry in ready.items()]
        rows.sort(key=lambda row: -(row.batches_per_second or 0.0))
        if (table.level, table.state) == ("read", "warm"):
            self._read[table.work.name] = rows
        for row in rows:
            self._note({"row": asdict(row)})
        return rows

    def _samples(self, work: Workload) -> Samples:
        self._say(f"{work.label}: samples")
        folder = self._folder / f"{work.name}-{work.samples}" / "samples"
        return make_samples(work, folder, **self._pictures)

    def _prepared(self, peer: Peer, table: Table, samples: Samples) -> _Entry:
        if peer.missing:
            raise CellError(f"not installed: {', '.join(peer.missing)}")
        far = skip_reason(peer.name, self._read.get(table.work.name, []), self._effort.nearest)
        if far and table.level != "read":
            raise CellError(far)
        folder = samples.folder.parent / peer.stored
        convert_s = self._converted(peer, samples, folder)
        entry = _Entry(peer, samples, folder, convert_s, page_cache.nbytes(folder) / 1e6)
        return self._swept(entry, table)

    def _converted(self, peer: Peer, samples: Samples, folder: Path) -> float | None:
        done = folder / "converted.json"
        origin = json.dumps(samples.origin)
        if done.exists() and (known := json.loads(done.read_text()))["origin"] == origin:
            return None if known["seconds"] is None else float(known["seconds"])
        self._say(f"  converting for {peer.name}")
        _emptied(folder)
        cell = Cell("convert", peer.name, samples.work.to_json(), str(samples.folder),
                    str(folder), {})  # fmt: skip
        seconds = run_cell(cell, timeout=self._effort.timeout)["convert_s"]
        done.write_text(json.dumps({"origin": origin, "seconds": seconds}))
        return float(seconds)

    def _swept(self, entry: _Entry, table: Table) -> _Entry:
        """Measure every setting briefly, twice because of noise, and keep the fastest."""
        rates: dict[int, float] = {}
        settings = entry.peer.settings(table.work, table.level, self._cores)
        settings = settings[: self._effort.settings]
        if not self._effort.sweep_seconds:  # the speed is unknown, so measure whole epochs
            return entry.with_setting(
                settings[0], _UNSWEPT_EPOCHS * table.work.batches / self._effort.seconds
            )
        able = dict(enumerate(settings))
        for number, setting in [*able.items()] * _TRIES:
            if number not in able:  # the setting has failed before
                continue
            self._say(f"  trying {entry.peer.name} {json.dumps(setting)}")
            cell = entry.cell(table, setting, seconds=self._effort.sweep_seconds,
                              longest=self._effort.longest / 2,
                              steps=_steps(table, 32.0, 1.0))  # fmt: skip
            try:
                rate = statistics.median(self._run(entry, cell)["rates"])
            except CellError as error:
                del able[number]
                if not able and not rates:
                    raise
                self._note({"failed": {"peer": entry.peer.name, "setting": setting,
                                       "error": str(error)}})  # fmt: skip
                continue
            rates[number] = max(rate, rates.get(number, 0.0))
        best = max(rates, key=lambda number: rates[number])
        self._note({"sweep": {
            "workload": table.work.name, "level": table.level, "state": table.state,
            "peer": entry.peer.name,
            "tried": [[settings[number], rate] for number, rate in rates.items()],
        }})  # fmt: skip
        return entry.with_setting(settings[best], rates[best])

    def _take_turns(
        self, table: Table, entries: dict[str, _Entry]
    ) -> dict[str, list[dict[str, Any] | CellError]]:
        found: dict[str, list[dict[str, Any] | CellError]] = {name: [] for name in entries}
        names = list(entries)
        for turn in range(self._effort.rounds):
            self._say(f"  {table.work.name}, {table.level}, {table.state}: round {turn + 1}")
            first = turn * len(names) // max(1, self._effort.rounds)
            for name in names[first:] + names[:first]:
                found[name].append(self._turn(table, entries[name]))
        return found

    def _turn(self, table: Table, entry: _Entry) -> dict[str, Any] | CellError:
        effort = self._effort
        steps = _steps(table, entry.rate, effort.longest / 2)
        # Enough epochs of `fit` to fill the time; reading stops by itself.
        epochs = math.ceil(effort.seconds * entry.rate / (steps or table.work.batches))
        cell = entry.cell(
            table,
            entry.setting,
            seconds=effort.seconds,
            longest=effort.longest,
            least=max(1, min(epochs, _MOST_EPOCHS)) if table.level == "fit" else 1,
            steps=steps,
            emulate=True,
        )
        try:
            return self._run(entry, cell)
        except CellError as error:
            return error

    def _run(self, entry: _Entry, cell: Cell) -> dict[str, Any]:
        if cell.cold:
            page_cache.drop(entry.folder)
        else:  # the page cache may not hold the files of all peers together
            page_cache.warm(entry.folder)
        return run_cell(cell, timeout=self._effort.timeout)

    def _row(self, table: Table, entry: _Entry, found: list[dict[str, Any] | CellError]) -> Row:
        good = [one for one in found if not isinstance(one, CellError)]
        if not good:
            return _failed(entry.peer, table, str(found[0]))
        return summed(
            good,
            table.work,
            level=table.level,
            state=table.state,
            peer=entry.peer.name,
            kind=_kind(entry.peer),
            setting=json.dumps(entry.setting),
            disk_mb=entry.disk_mb,
            convert_s=entry.convert_s,
            error=next((str(one) for one in found if isinstance(one, CellError)), ""),
        )


@dataclass(frozen=True, slots=True)
class _Entry:
    """A peer that is ready to measure: converted, with its setting chosen."""

    peer: Peer
    samples: Samples
    folder: Path
    convert_s: float | None
    disk_mb: float
    setting: Setting | None = None
    rate: float = 0.0

    def with_setting(self, setting: Setting, rate: float) -> _Entry:
        return _Entry(
            self.peer, self.samples, self.folder, self.convert_s, self.disk_mb, setting, rate
        )

    def cell(self, table: Table, setting: Setting | None, **more: Any) -> Cell:
        return Cell(
            table.level, self.peer.name, table.work.to_json(), str(self.samples.folder),
            str(self.folder), setting or {}, cold=table.state == "cold", **more,
        )  # fmt: skip


def _of_level(peers: Sequence[Peer], table: Table) -> Iterator[Peer]:
    for peer in peers:
        if (
            table.level in peer.levels
            and peer.supports(table.work)
            and _has(table.work, table.level)
        ):
            yield peer


def _has(work: Workload, level: Level) -> bool:
    """Whether a workload has a level; the U-Net takes only pictures."""
    return level != "train" or len(work.mask) == 2


def _steps(table: Table, rate: float, seconds: float) -> int | None:
    """Return the steps of an epoch of ``fit`` if all batches would take too long; None for all."""
    if table.level == "read":
        return None
    steps = max(_LEAST_STEPS, int(rate * seconds))
    return None if steps >= table.work.batches else steps


def _failed(peer: Peer, table: Table, why: str) -> Row:
    return Row(
        workload=table.work.name, level=table.level, state=table.state, peer=peer.name,
        kind=_kind(peer), setting="", error=why,
    )  # fmt: skip


def _kind(peer: Peer) -> str:
    return "ours" if peer.ours else "limit" if peer.limit else "peer"


def _emptied(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
