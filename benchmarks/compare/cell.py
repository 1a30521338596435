"""Measure one cell, which is a peer, a workload, a level and a setting, in this process.

    python -m compare.cell '{"task": "read", "peer": …}'

prints one JSON line.
"""

from __future__ import annotations

import importlib
import itertools
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compare.measuring import cpu_seconds, measure_read, utilisation
from compare.registry import peer_of
from compare.samples import Samples
from compare.workloads import Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compare.peer import Batch, Loader, Peer

_STEPS = 64  # of the emulated accelerator
_EMULATED = 1000  # number of its first epoch, which no measured epoch has


@dataclass(frozen=True, slots=True)
class Cell:
    """The work of one process.

    Attributes
    ----------
    task
        ``convert``, ``read``, ``fit`` or ``train``; ``read-boundary`` or ``fit-boundary`` to time
        every batch around the end of an epoch.
    peer
        Name of the peer.
    work
        The workload as JSON.
    samples, folder
        Folders of the samples, and of the peer's own files.
    setting
        Setting of the peer.
    seconds, least, longest
        Least seconds to measure, least epochs to measure, and seconds after which an epoch is
        stopped.
    cold
        Whether the files were dropped from the page cache before.
    steps
        Steps per epoch of ``fit``; None for all batches.
    emulate
        Whether to also feed an emulated accelerator, after reading.
    around
        Number of batches before the boundary, and after it.
    """

    task: str
    peer: str
    work: dict[str, Any]
    samples: str
    folder: str
    setting: dict[str, Any]
    seconds: float = 1.0
    least: int = 1
    longest: float = 10.0
    cold: bool = False
    steps: int | None = None
    emulate: bool = False
    around: int = 64


def main(text: str) -> None:
    """Measure the cell, and print the result."""
    cell = Cell(**json.loads(text))
    peer, work = peer_of(cell.peer), Workload.from_json(cell.work)
    found = _TASKS[cell.task](cell, peer, work)
    print(json.dumps(found), flush=True)


def _convert(cell: Cell, peer: Peer, work: Workload) -> dict[str, Any]:
    samples = Samples(work, Path(cell.samples), "")
    began = time.perf_counter()
    peer.convert(samples, Path(cell.folder))
    return {"convert_s": time.perf_counter() - began}


def _read(cell: Cell, peer: Peer, work: Workload) -> dict[str, Any]:
    began = time.perf_counter()
    _import_needs(peer)
    opened = time.perf_counter()
    with peer.open(Path(cell.folder), work, cell.setting) as loader:
        found = measure_read(
            loader,
            work,
            opened=opened,
            seconds=cell.seconds,
            least=cell.least,
            longest=cell.longest,
            checked=not peer.limit,
            cold=cell.cold,
        )
        if cell.emulate and not cell.cold:
            found["utilisation"] = utilisation(
                _endless(loader),
                compute=work.compute_ms / 1e3,
                steps=_STEPS,
                seconds=cell.longest,
                sleep=time.sleep,
            )
    return {"import_ms": (opened - began) * 1e3, **found}


def _endless(loader: Loader) -> Iterator[Batch]:
    for number in itertools.count(_EMULATED):
        yield from loader.epoch(number)


def _import_needs(peer: Peer) -> None:
    for name in peer.needs:
        importlib.import_module(name)


def _fit(cell: Cell, peer: Peer, work: Workload) -> dict[str, Any]:
    _import_needs(peer)  # before TensorFlow, because torch's triton crashes if imported later
    from compare.no_op import count_samples, fit_no_op

    steps = work.batches if cell.steps is None else cell.steps
    # With None, Keras uses the length of the data.
    requested = None if steps == work.batches else steps
    with peer.open(Path(cell.folder), work, cell.setting) as loader:
        data, cpu = loader.keras(), cpu_seconds()
        epochs = max(cell.least, 1)
        spent = fit_no_op(data, steps=requested, epochs=epochs)
        cpu = cpu_seconds() - cpu
    found = {
        "rates": [steps / seconds for seconds in spent],
        "cpu_s_per_1000": cpu / (steps * work.batch_size * (epochs + 2)) * 1e3,
        "whole": requested is None,
        "batches": steps * epochs,
        "wrong": "",
    }
    if not peer.limit:
        with peer.open(Path(cell.folder), work, cell.setting) as loader:
            seen = count_samples(loader.keras(), work.samples, steps=requested)
        found["wrong"] = _judged(seen, work, steps)
    return found


def _judged(seen: Any, work: Workload, steps: int) -> str:
    wrong = []
    if repeated := int((seen > 1).sum()):
        wrong.append(f"{repeated} samples repeated")
    missing = steps * work.batch_size - int((seen > 0).sum())
    if missing > 0 and not repeated:
        wrong.append(f"{missing} samples missing")
    return ", ".join(wrong)


def _train(cell: Cell, peer: Peer, work: Workload) -> dict[str, Any]:
    _import_needs(peer)
    from compare.training import train

    with peer.open(Path(cell.folder), work, cell.setting) as loader:
        return train(loader, work, steps=cell.steps)


def _read_boundary(cell: Cell, peer: Peer, work: Workload) -> dict[str, Any]:
    from compare.boundary import reading

    with peer.open(Path(cell.folder), work, cell.setting) as loader:
        return {"ms": reading(loader, cell.around)}


def _fit_boundary(cell: Cell, peer: Peer, work: Workload) -> dict[str, Any]:
    from compare.boundary import fitting

    with peer.open(Path(cell.folder), work, cell.setting) as loader:
        return {"ms": fitting(loader.keras(), cell.around)}


_TASKS = {
    "convert": _convert,
    "read": _read,
    "fit": _fit,
    "train": _train,
    "read-boundary": _read_boundary,
    "fit-boundary": _fit_boundary,
}


def to_json(cell: Cell) -> str:
    """Return a cell as JSON for another process."""
    return json.dumps(asdict(cell))


if __name__ == "__main__":
    main(sys.argv[1])
