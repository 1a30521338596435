"""Dask clusters on this machine, and what they pack."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from distributed import Client, LocalCluster

from scripts import gone, wait_until
from zarrfeed_convert import PairedFolders, convert
from zarrfeed_convert.executors import remote_task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

COUNT = 40
# Many small shards, so that there is much between which something can happen.
LAYOUT = {"chunk_samples": 2, "shard_size": 1440}


class Slow(PairedFolders):
    """Takes 1.2 s of one thread to be packed."""

    def read(self, sample: int) -> Any:
        time.sleep(0.03)
        return super().read(sample)


def pack(source: Any, out: str, address: str | None = None, **options: Any) -> Any:
    who: dict[str, Any] = {"workers": 1} if address is None else {"scheduler": address}
    return convert(source, out, split="train", **{**who, **LAYOUT, **options})


def at_sample(sample: int, act: Callable[[], object]) -> Callable[[str, int, int], None]:
    """Do something once, when so many samples are packed."""
    acts = iter([act])

    def progress(what: str, done: int, total: int) -> None:
        if what == "packing" and done >= sample:
            for one in acts:
                one()

    return progress


@contextmanager
def local_cluster(workers: int, threads: int = 1) -> Iterator[LocalCluster]:
    """Worker processes with a nanny each, which starts a new one for one that dies."""
    with LocalCluster(
        n_workers=workers,
        threads_per_worker=threads,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    ) as cluster:
        yield cluster
        left = pids(cluster)
    wait_until(lambda: gone(left))


def pids(cluster: LocalCluster) -> list[int]:
    return [worker.pid for worker in cluster.workers.values() if worker.pid]


def idle(address: str) -> bool:
    """Whether no worker works."""
    with Client(address, set_as_default=False) as client:
        states = client.run(_busy)
    return set(states.values()) == {0}


def _busy(dask_worker: Any) -> int:
    states = remote_task.states_of(dask_worker).values()
    return sum(len(state.running) for state in states)


class Processes:
    """A scheduler, and workers that nobody replaces: each a command of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[bytes]] = []
        known = folder / "scheduler.json"
        arguments = ("--port", "0", "--no-dashboard", "--scheduler-file", str(known))
        self.scheduler = self._start("scheduler", *arguments)
        wait_until(known.exists)
        with Client(scheduler_file=str(known), set_as_default=False) as client:
            self.address: str = client.scheduler.address

    def add_worker(self, *options: str, prefix: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        arguments = ("--nthreads", "1", "--no-nanny", "--no-dashboard", *options)
        return self._start("worker", self.address, *arguments, prefix=prefix)

    def wait_for_workers(self, count: int) -> None:
        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(count, timeout=60)

    def _start(
        self, program: str, *arguments: str, prefix: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{program}", "--host", "127.0.0.1"]
        with (self.folder / f"{program}{len(self.started)}.log").open("w") as log:
            process = subprocess.Popen(
                [*prefix, *command, *arguments], cwd="/", stdout=log, stderr=log
            )
        self.started.append(process)
        return process

    def kill(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()
