"""Processes that are killed, and processes that share a cache, never change a batch."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import remote_client
from remote_stores import (
    BATCH,
    MIB,
    SEED,
    digest,
    end_fetchers,
    fetchers,
    mirrored_files,
    trained,
    write_samples,
)
from scripts import environment, wait_until
from servers.fault_proxy import FaultProxy, Rule
from zarrfeed import ReadError, StoreError, WorkerError, ZarrSequence
from zarrfeed.store.mirror.block_table import WHOLE, BlockTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from web_server import WebServer

pytest.importorskip("obstore")

SHARDS = 24 * MIB


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_samples(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def expected(store: Path) -> list[str]:
    return trained(store / "train")


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "cache"
    end_fetchers(tmp_path / "cache")


@pytest.fixture
def proxy(web: WebServer, fault_proxy: Callable[[str], FaultProxy]) -> FaultProxy:
    return fault_proxy(web.url)


@pytest.fixture
def url(store: Path, web: WebServer, proxy: FaultProxy, published: Callable[[Path], str]) -> str:
    return published(store).replace(web.url, proxy.url) + "/train"


@contextmanager
def training(url: str, cache: Path, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A training in a process of its own, in whose standard output its batches are lines."""
    asked = {
        "url": url, "cache": str(cache), "epochs": 2, "batch_size": BATCH, "seed": SEED,
        "max_queue_size": 2, **options,
    }  # fmt: skip
    with subprocess.Popen(
        [sys.executable, remote_client.__file__], text=True, env=environment(),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        print(json.dumps(asked), file=process.stdin, flush=True)
        try:
            yield process
        finally:
            process.kill()


def batches_of(process: subprocess.Popen[str]) -> list[str]:
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return out.split()


def fetched(proxy: FaultProxy) -> int:
    """Bytes of shards that were sent so far."""
    return sum(one.nbytes for one in proxy.requests if re.search("/(image|mask)/c/", one.path))


# -- who shares a cache ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seeds", "limit"),
    [
        ((SEED, 8), "20MiB"),
        pytest.param((SEED, SEED), None, marks=pytest.mark.soak),
        pytest.param((SEED, 8), None, marks=pytest.mark.soak),
        pytest.param((SEED, SEED), "20MiB", marks=pytest.mark.soak),
    ],
)
def test_two_trainings_share_a_cache(
    seeds: tuple[int, int], limit: str | None, url: str, cache: Path, proxy: FaultProxy, store: Path
) -> None:
    with ExitStack() as stack:
        both = [
            stack.enter_context(training(url, cache, seed=seed, cache_limit=limit))
            for seed in seeds
        ]
        found = [batches_of(process) for process in both]
    assert found == [trained(store / "train", seed=seed) for seed in seeds]
    if limit is None:
        assert fetched(proxy) < 1.05 * SHARDS, "each byte came once for both"


def test_sequences_of_one_process_and_its_workers_have_one_fetcher(
    url: str, cache: Path, expected: list[str]
) -> None:
    options: dict[str, Any] = {"batch_size": BATCH, "seed": SEED, "cache": cache}
    with (
        ZarrSequence(url, workers=2, use_multiprocessing=True, **options) as first,
        ZarrSequence(url, workers=3, **options) as second,
    ):
        found = [[digest(batch) for batch in seq] for _ in range(2) for seq in (first, second)]
        assert len(fetchers(cache)) == 1
    assert found[0] + found[2] == found[1] + found[3] == expected


def test_another_limit_for_a_cache_in_use_is_refused(url: str, cache: Path) -> None:
    options: dict[str, Any] = {"batch_size": BATCH, "cache": cache, "max_queue_size": 2}
    with ZarrSequence(url, cache_limit="20MiB", **options) as seq:
        next(iter(seq))
        with (
            pytest.raises((StoreError, ValueError), match="20"),
            ZarrSequence(url, cache_limit="18MiB", **options) as other,
        ):
            next(iter(other))


# -- who is killed --------------------------------------------------------------------------------


def kill_fetcher(cache: Path) -> None:
    (found,) = fetchers(cache)
    os.kill(found.pid, signal.SIGKILL)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_fetcher_that_is_killed_is_replaced(
    workers: int, url: str, cache: Path, proxy: FaultProxy, expected: list[str]
) -> None:
    proxy.add(Rule("/c/", bytes_per_second=8 * MIB))
    options: dict[str, Any] = {"workers": workers, "use_multiprocessing": workers > 0}
    with ZarrSequence(url, BATCH, seed=SEED, cache=cache, **options) as seq:
        found = []
        for _ in range(2):
            for batch in seq:
                found.append(digest(batch))
                if len(found) == 2:
                    kill_fetcher(cache)
    assert found == expected


@pytest.mark.parametrize("lost", ["image/c/0/0/0/0", "mask/c/*/*/*", "blocks"])
def test_readers_go_on_when_a_new_fetcher_makes_anew_what_was_lost(
    lost: str, url: str, cache: Path, expected: list[str]
) -> None:
    with ZarrSequence(url, BATCH, seed=SEED, cache=cache, max_queue_size=2) as seq:
        found = []
        for _ in range(2):
            for batch in seq:
                found.append(digest(batch))
                if len(found) == 2:
                    kill_fetcher(cache)
                    paths = list(cache.rglob(lost))
                    assert paths
                    for path in paths:
                        path.unlink()
    assert found == expected


@pytest.mark.chaos
def test_a_fetcher_that_is_killed_again_and_again_ends_in_right_batches_or_one_error(
    url: str, cache: Path, proxy: FaultProxy, expected: list[str]
) -> None:
    proxy.add(Rule("/c/", bytes_per_second=2 * MIB))
    killed = 0
    with training(url, cache) as process:
        deadline = time.monotonic() + 90
        while process.poll() is None and time.monotonic() < deadline and killed < 12:
            for one in fetchers(cache):
                os.kill(one.pid, signal.SIGKILL)
                killed += 1
            time.sleep(0.3)
        out, errors = process.communicate(timeout=120)
    assert killed > 1
    if process.returncode:
        assert errors.count("Traceback") >= 1
        assert "fetcher" in errors.splitlines()[-1] or "fetcher" in errors
        assert out.split() == expected[: len(out.split())]
    else:
        assert out.split() == expected


@pytest.mark.chaos
def test_a_fetcher_that_hangs_is_an_error_within_the_timeout(
    url: str, cache: Path, proxy: FaultProxy
) -> None:
    proxy.add(Rule("/c/", bytes_per_second=4 * MIB))
    with ZarrSequence(url, BATCH, seed=SEED, cache=cache, timeout=4) as seq:
        batches = iter(seq)
        next(batches)
        (hung,) = fetchers(cache)
        os.kill(hung.pid, signal.SIGSTOP)
        began = time.monotonic()
        try:
            with pytest.raises((ReadError, WorkerError, StoreError), match="timeout"):
                list(batches)
        finally:
            os.kill(hung.pid, signal.SIGCONT)
        assert time.monotonic() - began < 30


@pytest.mark.chaos
def test_a_fetcher_ends_with_a_training_that_is_killed(url: str, cache: Path) -> None:
    with training(url, cache, workers=2, use_multiprocessing=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        assert len(fetchers(cache)) == 1
        process.kill()
    wait_until(lambda: not fetchers(cache), every=0.1)


@pytest.mark.chaos
@pytest.mark.parametrize("limit", [None, "20MiB"])
def test_what_a_crash_leaves_is_gone_on_with(
    limit: str | None, url: str, cache: Path, proxy: FaultProxy, expected: list[str]
) -> None:
    """The training and the fetcher are killed at random times, in either order."""
    chance = random.Random(1)
    proxy.add(Rule("/c/", bytes_per_second=10 * MIB))
    for _ in range(4):
        with training(url, cache, cache_limit=limit) as process:
            wait_until(lambda: bool(fetchers(cache)) or process.poll() is not None)
            time.sleep(chance.random() * 0.6)
            pids = [one.pid for one in fetchers(cache)]
            for pid in chance.sample([*pids, process.pid], len(pids) + 1):
                os.kill(pid, signal.SIGKILL)
    proxy.clear()
    assert trained(url, cache=cache, cache_limit=limit, max_queue_size=2) == expected
    before = fetched(proxy)
    assert trained(url, cache=cache, cache_limit=limit, max_queue_size=2) == expected
    if limit is None:
        assert fetched(proxy) == before


# -- what is wrong in a cache ---------------------------------------------------------------------


@pytest.fixture
def filled(url: str, cache: Path, expected: list[str]) -> Path:
    """A cache that holds the whole split, and that nobody uses."""
    with ZarrSequence(url, BATCH, seed=SEED, cache=cache) as seq:
        assert [digest(batch) for _ in range(2) for batch in seq] == expected
        wait_until(lambda: all(map(is_whole, tables(cache))))  # while somebody is there
    end_fetchers(cache)
    return cache


def is_whole(path: Path) -> bool:
    """Whether a table of blocks says that all files are there, and were verified."""
    split = path.parent.with_name(path.parent.name.removesuffix(".mirror"))
    return bool((BlockTable.open(path, mirrored_files(split)).verified == WHOLE).all())


def tables(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("blocks") if path.is_file()]


@pytest.mark.parametrize("hurt", ["cut short", "empty", "garbage", "removed", "ones"])
def test_a_block_table_that_is_hurt_never_changes_a_batch(
    hurt: str, url: str, filled: Path, expected: list[str]
) -> None:
    (table,) = tables(filled)
    content = table.read_bytes()
    if hurt == "removed":
        table.unlink()
    else:
        table.write_bytes(
            {
                "cut short": content[: len(content) // 2],
                "empty": b"",
                "garbage": np.random.default_rng(0).bytes(len(content)),
                "ones": bytes([255]) * len(content),
            }[hurt]
        )
    assert trained(url, cache=filled) == expected


@pytest.mark.parametrize("hurt", ["cut short", "removed", "wrong bytes", "longer"])
def test_a_shard_of_the_cache_that_is_hurt_after_a_reboot_is_fetched_again(
    hurt: str, url: str, filled: Path, expected: list[str]
) -> None:
    for described in filled.rglob("files.json"):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        text = described.read_text()
        assert boot in text
        described.write_text(text.replace(boot, boot[::-1]))
    shard = next(filled.rglob("image/c/3/0/0/0"))
    content = shard.read_bytes()
    if hurt == "removed":
        shard.unlink()
    else:
        shard.write_bytes(
            {
                "cut short": content[:MIB],
                "wrong bytes": content[:5000] + bytes(500) + content[5500:],
                "longer": content + b"more",
            }[hurt]
        )
    assert trained(url, cache=filled) == expected


def test_nothing_is_fetched_again_after_a_reboot_if_all_is_right(
    url: str, filled: Path, proxy: FaultProxy, expected: list[str]
) -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    for described in filled.rglob("files.json"):
        described.write_text(described.read_text().replace(boot, boot[::-1]))
    before = fetched(proxy)
    assert trained(url, cache=filled) == expected
    assert fetched(proxy) == before


def test_a_cache_that_is_removed_in_use_ends_in_right_batches_or_one_error(
    url: str, cache: Path, proxy: FaultProxy, expected: list[str]
) -> None:
    proxy.add(Rule("/c/", bytes_per_second=20 * MIB))
    found = []
    try:
        with ZarrSequence(url, BATCH, seed=SEED, cache=cache) as seq:
            for _ in range(2):
                for batch in seq:
                    found.append(digest(batch))
                    if len(found) == 2:
                        shutil.rmtree(cache, ignore_errors=True)
    except (StoreError, ReadError) as error:
        assert str(cache) in str(error) or url in str(error)  # noqa: PT017  either is right
    assert found == expected[: len(found)]


def test_a_split_that_is_replaced_on_the_server_is_another_mirror(
    url: str, filled: Path, store: Path, tmp_path: Path, web: WebServer, proxy: FaultProxy
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_samples(other, samples=20)
    link = web.root / url.removeprefix(proxy.url).removesuffix("/train").strip("/")
    kept = link.readlink()
    link.unlink()
    link.symlink_to(other / "samples.zarr")
    try:
        assert trained(url, cache=filled) == trained(other / "samples.zarr/train")
    finally:
        link.unlink()
        link.symlink_to(kept)
        shutil.rmtree(other)
