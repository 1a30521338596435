"""A Dask cluster that cannot do the work is named, within a time that is named, too."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

pytest.importorskip("distributed", reason="needs distributed")

import cloudpickle
import dask
from distributed import Client

import clusters
from clusters import COUNT, Processes, Slow, at_sample, pack
from folders import contents
from scripts import wait_until
from zarrfeed.errors import SourceError, WorkerError
from zarrfeed_convert import PairedFolders

cloudpickle.register_pickle_by_value(clusters)  # workers cannot import tests

WAITS_LONGER = r"within 2 s; .*\(DASK_ZARRFEED__TIMEOUT=4s waits longer\)"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with dask.config.set({"zarrfeed.timeout": "2s"}):
        yield tmp_path


@pytest.fixture
def pairs(write_pairs):
    write_pairs(COUNT)
    return Slow("data/images", "data/masks")


@pytest.fixture
def processes(here):
    started = Processes(here)
    try:
        yield started
    finally:
        started.kill()


def test_no_scheduler_is_an_error_that_names_the_timeout(pairs, here):
    with socket.create_server(("127.0.0.1", 0)) as mute:  # it listens, and says nothing
        port = mute.getsockname()[1]
        with pytest.raises(WorkerError, match=f"{port}: no Dask scheduler.*{WAITS_LONGER}"):
            pack(pairs, "o.zarr", f"tcp://127.0.0.1:{port}")
    with pytest.raises(WorkerError, match=f"{port}: no Dask scheduler.*{WAITS_LONGER}"):
        pack(pairs, "o.zarr", f"tcp://127.0.0.1:{port}")
    assert not (here / "o.zarr").exists()


def test_a_worker_is_no_scheduler(pairs, processes):
    processes.add_worker()
    with Client(processes.address, set_as_default=False) as client:
        client.wait_for_workers(1, 30)
        worker = next(iter(client.nthreads()))
    with pytest.raises(SourceError, match=f"needed Dask's scheduler, found {worker}, a Worker"):
        pack(pairs, "o.zarr", worker)


@pytest.mark.parametrize("address", ["ipx://here:1", "tcp://", ""])
def test_an_address_that_is_none_is_refused(pairs, address):
    with pytest.raises(SourceError, match=r"needed an address like tcp://HOST:8786"):
        pack(pairs, "o.zarr", address)


def test_a_timeout_that_is_no_time_is_refused(pairs):
    with (
        dask.config.set({"zarrfeed.timeout": "soon"}),
        pytest.raises(SourceError, match=r"DASK_ZARRFEED__TIMEOUT: needed a time.*found 'soon'"),
    ):
        pack(pairs, "o.zarr", "tcp://127.0.0.1:1")


def test_workers_and_a_scheduler_are_refused_together(pairs):
    with pytest.raises(
        SourceError, match=r"found 2 workers of this machine and the cluster of tcp://x:1"
    ):
        pack(pairs, "o.zarr", "tcp://x:1", workers=2)


def test_without_the_package_the_extra_is_named(pairs, monkeypatch):
    monkeypatch.delitem(sys.modules, "zarrfeed_convert.executors.dask_executor", raising=False)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SourceError, match=r"needs the package distributed.*'\.\[dask\]'"):
        pack(pairs, "o.zarr", "tcp://x:1")


def test_a_cluster_without_workers_is_given_up(pairs, processes, here):
    with pytest.raises(WorkerError, match=rf"no worker was running \(found none\) {WAITS_LONGER}"):
        pack(pairs, "o.zarr", processes.address)
    assert not (here / "o.zarr").exists()


def test_a_worker_that_comes_late_is_waited_for(write_pairs, processes, here):
    write_pairs(4)
    pairs = PairedFolders("data/images", "data/masks")
    pack(pairs, "expected.zarr")
    with dask.config.set({"zarrfeed.timeout": "30s"}):
        processes.add_worker()
        pack(pairs, "o.zarr", processes.address)
    assert contents(here / "o.zarr") == contents(here / "expected.zarr")


def test_when_all_workers_are_gone_the_run_ends_and_keeps_what_is_done(pairs, processes):
    workers = [processes.add_worker() for _ in range(2)]
    processes.wait_for_workers(2)

    def kill():
        for worker in workers:
            worker.kill()

    with (
        pytest.raises(WorkerError, match=f"no worker was running.*{WAITS_LONGER}") as ended,
        dask.config.set({"zarrfeed.timeout": "2s"}),
    ):
        pack(pairs, "o.zarr", processes.address, progress=at_sample(8, kill))
    assert "packed and kept" in ended.value.__notes__[-1]


def test_a_scheduler_that_dies_ends_the_run_at_once(pairs, processes, here, caplog):
    worker = processes.add_worker()
    processes.wait_for_workers(1)
    killed = []

    def kill():
        processes.scheduler.kill()
        killed.append(time.monotonic())

    with pytest.raises(WorkerError, match=r"the Dask scheduler was lost"):
        pack(pairs, "o.zarr", processes.address, progress=at_sample(8, kill))
    assert time.monotonic() - killed[0] < 10
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    wait_until(lambda: worker.poll() is not None)
    assert not list(here.rglob("*.tmp"))


def test_a_scheduler_that_hangs_is_given_up(pairs, processes):
    processes.add_worker()
    processes.wait_for_workers(1)

    def freeze():
        os.kill(processes.scheduler.pid, signal.SIGSTOP)

    with pytest.raises(WorkerError, match=f"the Dask scheduler did not say .*{WAITS_LONGER}"):
        pack(pairs, "o.zarr", processes.address, progress=at_sample(8, freeze))


OLD = "import zarrfeed; zarrfeed.__version__ = '0.0.9'"
LACKING = """
import sys
class Lacking:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("zarrfeed"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Lacking())
"""


def test_another_zarrfeed_on_a_worker_is_refused(pairs, processes, here):
    for name, program in (("old.py", OLD), ("lacking.py", LACKING)):
        (here / name).write_text(program)
        processes.add_worker("--preload", str(here / name))
    with Client(processes.address, set_as_default=False) as client:
        client.wait_for_workers(2, 30)
    with pytest.raises(WorkerError, match=r"needed zarrfeed \S+ on the whole cluster") as refused:
        pack(pairs, "o.zarr", processes.address)
    said = str(refused.value)
    assert re.search(r"tcp://127\.0\.0\.1:\d+ has 0\.0\.9;", said)
    assert re.search(r"tcp://127\.0\.0\.1:\d+ has none that works: .*No module named", said)


def test_a_path_that_workers_do_not_share_is_named(pairs, processes, here):
    """A machine with another disk: a worker that sees an empty folder where we see ours."""
    hidden = here / "hidden"
    hidden.mkdir()
    alone = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(hidden)]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], check=False).returncode:
        pytest.skip("needs mount namespaces")
    processes.add_worker(prefix=alone)
    processes.wait_for_workers(1)
    shutil.copytree("data", hidden / "data")

    with pytest.raises(
        WorkerError, match=rf"cannot read {hidden}/data/images/s000.png, which .* can"
    ):
        pack(Slow("hidden/data/images", "hidden/data/masks"), "o.zarr", processes.address)
    out = hidden / "o.zarr"
    with pytest.raises(WorkerError, match=r"OUT must be on a path that all workers share"):
        pack(pairs, out, processes.address)
    assert not out.exists()

    # Worse: the folder is there, but it is another one.
    with Client(processes.address, set_as_default=False) as client:
        client.run(os.makedirs, out / "train~journal.partial")
    with pytest.raises(WorkerError, match=r"no begun-.* not on a path that all workers share"):
        pack(pairs, out, processes.address)
