"""A Dask cluster packs what one process would, byte for byte, whoever dies under way."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time

import psutil
import pytest

pytest.importorskip("distributed", reason="needs distributed")

import cloudpickle
import numcodecs
import numpy as np
from distributed import Client

import cases
import clusters
from cases import CaseArrays, pair
from clusters import COUNT, Slow, at_sample, idle, local_cluster, pack, pids
from folders import contents
from scripts import running, wait_until
from zarrfeed.errors import SourceError, WorkerError
from zarrfeed_convert import PairedFolders
from zarrfeed_convert.executors.selection import executor_of
from zarrfeed_convert.failures import Failures
from zarrfeed_convert.shards.shard_file import ShardFile

for module in (cases, clusters, sys.modules[__name__]):
    cloudpickle.register_pickle_by_value(module)  # workers cannot import tests


class Deadly(PairedFolders):
    def read(self, sample):
        if sample == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(sample)


class Stuck(PairedFolders):
    def probe(self, sample):
        header = super().probe(sample)
        if sample == 3:
            time.sleep(6)
        return header


@pytest.fixture(scope="module")
def cluster():
    """Two processes of a thread each, which begin in another folder than the tests."""
    with local_cluster(2) as local:
        yield local


@pytest.fixture
def address(cluster):
    return cluster.scheduler_address


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def expected(here, write_pairs):
    write_pairs(COUNT)
    pack(PairedFolders("data/images", "data/masks"), "expected.zarr")
    return contents(here / "expected.zarr")


@pytest.mark.parametrize("in_windows", [True, False])
def test_the_bytes_of_cases_are_those_of_a_local_run(here, address, in_windows):
    sizes = [(5, 9), (1, 1), (30, 31), (3, 20), (13, 4), (8, 8)]
    found = {f"case{place}": pair(size, place) for place, size in enumerate(sizes)}
    affines = {"case1": np.diag([2.0, 0.5, 1])}
    source = CaseArrays(found, in_windows, affines, bad=frozenset({"case3"}))
    options = {"tile": (4, 4), "shard_size": 300, "chunk_samples": None, "on_error": "skip"}
    pack(source, "local.zarr", classes=3, **options)
    report = pack(source, "dask.zarr", address, classes=3, **options)
    assert (report.found, report.cases) == (6, 5)
    assert contents(here / "dask.zarr") == contents(here / "local.zarr")


def damage(*numbers):
    for number in numbers:
        path = f"data/masks/s{number:03}.png"
        os.truncate(path, os.path.getsize(path) - 30)


def test_the_bytes_are_those_of_a_local_run(here, expected, address):
    told = []
    report = pack(
        PairedFolders("data/images", "data/masks"), "o.zarr", address,
        progress=lambda *step: told.append(step),
    )  # fmt: skip
    assert contents(here / "o.zarr") == expected
    assert report.decisions[-1].value == "2"  # threads
    assert told == sorted(told, key=lambda step: ["m", "f", "p"].index(step[0][0]))
    assert told[-1] == ("packing", COUNT, COUNT)
    assert idle(address)


def test_threads_of_one_worker_do_not_disturb_each_other(here, expected, monkeypatch):
    monkeypatch.chdir("/")
    with local_cluster(1, threads=4) as local:
        monkeypatch.chdir(here)
        with Client(local, set_as_default=False) as client:
            before = client.run(lambda: (numcodecs.blosc.use_threads, os.getcwd()))
            pack(PairedFolders("data/images", "data/masks"), "o.zarr", local.scheduler_address)
            assert client.run(lambda: (numcodecs.blosc.use_threads, os.getcwd())) == before
        assert idle(local.scheduler_address)
    assert contents(here / "o.zarr") == expected


def test_what_a_killed_worker_was_at_is_done_by_another(here, expected, cluster, address):
    victim = pids(cluster)[0]
    pack(
        Slow("data/images", "data/masks"), "o.zarr", address,
        progress=at_sample(8, lambda: os.kill(victim, signal.SIGKILL)),
    )  # fmt: skip
    assert not psutil.pid_exists(victim)
    assert contents(here / "o.zarr") == expected


def test_a_task_that_kills_every_worker_ends_the_run(expected, cluster, address):
    with pytest.raises(
        WorkerError,
        match=r"died over one task \(\d+ samples?, from data/images/s\d+\.png to .*fewer threads",
    ):
        pack(Deadly("data/images", "data/masks"), "o.zarr", address, chunk_samples=1)
    wait_until(lambda: len(pids(cluster)) == 2 and idle(address), 120)


def test_a_sample_that_is_read_for_too_long_is_named(expected, cluster, address):
    with pytest.raises(SourceError, match=r"^data/images/s003\.png: .*did not end within \d s on "):
        pack(Stuck("data/images", "data/masks"), "o.zarr", address, read_timeout=2)
    assert idle(address)


def test_samples_that_fail_end_the_run_by_name_and_no_more_tasks_are_begun(here, expected, address):
    damage(4)
    source = Slow("data/images", "data/masks")
    with pytest.raises(SourceError, match=r"^data/masks/s004\.png: "):
        pack(source, "o.zarr", address, classes="a,b,c", order="source")
    assert idle(address)
    assert 2 <= len(list(here.rglob("o.zarr/*.partial/*.npz"))) <= 12  # of 20


def test_skipped_samples_are_those_of_a_local_run(here, expected, address):
    damage(5, 30)
    source = PairedFolders("data/images", "data/masks")
    pack(source, "local.zarr", classes="a,b,c", on_error="skip")
    report = pack(source, "o.zarr", address, classes="a,b,c", on_error="skip")
    assert [name for name, _ in report.skipped] == ["data/masks/s005.png", "data/masks/s030.png"]
    assert contents(here / "o.zarr") == contents(here / "local.zarr")


def interrupt():
    raise KeyboardInterrupt


def test_nobody_writes_any_more_after_an_interrupt(here, expected, address):
    with pytest.raises(KeyboardInterrupt) as stopped:
        pack(Slow("data/images", "data/masks"), "o.zarr", address, progress=at_sample(8, interrupt))
    assert idle(address)
    assert not list(here.rglob("*.tmp"))
    assert "packed and kept" in stopped.value.__notes__[-1]
    pack(PairedFolders("data/images", "data/masks"), "o.zarr", address)
    assert contents(here / "o.zarr") == expected


def test_an_interrupt_ends_a_task_in_its_midst(here, expected, address):
    with pytest.raises(KeyboardInterrupt):
        pack(
            Slow("data/images", "data/masks"), "o.zarr", address, shard_size=1 << 20,
            progress=at_sample(0, interrupt),
        )  # fmt: skip
    assert idle(address)
    assert not (here / "o.zarr").exists()  # its only shard was not packed to its end


def test_a_task_that_was_given_up_cannot_put_its_shard_in_place_any_more(here, expected):
    source = PairedFolders("data/images", "data/masks")
    with pytest.raises(KeyboardInterrupt):
        pack(source, "o.zarr", progress=at_sample(8, interrupt))
    shard = here / "o.zarr" / "train.partial" / "image" / "c" / "0" / "0" / "0" / "0"
    lost = ShardFile(shard, chunks=1, encode=np.ascontiguousarray)
    lost.append(np.zeros(720, np.uint8))

    def finish():
        with pytest.raises(FileNotFoundError):
            lost.__exit__(None, None, None)

    pack(source, "o.zarr", progress=at_sample(10, finish))
    assert contents(here / "o.zarr") == expected


def times_of(run, item):
    start = time.time()
    time.sleep(0.05)
    return start, time.time()


def test_fewer_work_where_memory_allows_no_more(expected, address):
    source = PairedFolders("data/images", "data/masks")
    with executor_of(source, 1, Failures("stop"), address) as executor:
        assert executor.workers == 2
        assert 0 < executor.free_nbytes <= psutil.virtual_memory().total
        executor.workers = 1
        times = executor.run(times_of, range(6))
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(times))


# Its source is defined in __main__, as a user's own is.
SCRIPT = """
import sys, time
from zarrfeed_convert import PairedFolders, convert

class Slow(PairedFolders):
    def read(self, sample):
        time.sleep(0.03)
        return super().read(sample)

convert(
    Slow("data/images", "data/masks"), "o.zarr", split="train", scheduler=sys.argv[1],
    chunk_samples=2, shard_size=1440,
)
"""


def test_a_client_that_was_killed_leaves_nobody_working_and_another_goes_on(
    here, expected, address
):
    journal = here / "o.zarr" / "train~journal.partial"
    with running(SCRIPT, address) as process:
        wait_until(lambda: len(list(journal.glob("*.npz"))) > 3)
        process.kill()
    wait_until(lambda: idle(address))
    done = len(list(journal.glob("*.npz")))
    assert done < COUNT / 4  # of as many shards as half the samples
    told = []
    pack(
        Slow("data/images", "data/masks"), "o.zarr", address,
        progress=lambda *step: told.append(step),
    )  # fmt: skip
    assert min(count for what, count, _ in told if what == "packing") >= 2 * done
    assert contents(here / "o.zarr") == expected
