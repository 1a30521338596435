"""Fetchers that are killed and connections that break, by chance: right batches, or one error.

The suite tries a few seeds; `make chaos` tries others for minutes.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from chaos import chances
from kinds import KINDS
from remote_stores import (
    MIB,
    PATCHES,
    digest,
    expect_nothing_left,
    fetchers,
    trained,
    write_samples,
    write_volumes,
)
from servers.fault_proxy import FaultProxy, Rule
from zarrfeed import ZarrfeedError, ZarrSequence

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from web_server import WebServer

pytest.importorskip("obstore")
pytestmark = pytest.mark.filterwarnings("ignore:max_queue_size")
OPTIONS = {"read_timeout": "2s"}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("stores")
    return [write_samples(folder), write_volumes(folder)]


def faults(chance: random.Random) -> list[Rule]:
    """Return faults that pass, or last for a few requests."""
    kinds: list[dict[str, Any]] = [
        {"cut_after": chance.choice((0, 1, 5000, 600_000))},
        {"status": chance.choice((429, 500, 503))},
        {"stall_after": chance.choice((0, 300_000))},
        {"wait": chance.random()},
        {"bytes_per_second": chance.choice((2, 8)) * MIB},
    ]
    return [
        Rule(
            chance.choice(("/c/", "zarr.json", "/image/c/2/")),
            skip=chance.randrange(6),
            times=chance.randrange(1, 4),
            **chance.choice(kinds),
        )
        for _ in range(chance.randrange(4))
    ]


def trouble(
    stores: list[Path],
    published: Callable[[Path], str],
    web: WebServer,
    fault_proxy: Callable[[str], FaultProxy],
    cache: Path,
    chance: random.Random,
) -> None:
    """Train three times on one cache, in trouble, and once more without."""
    store = chance.choice(stores)
    chosen: dict[str, Any] = {"batch_size": chance.choice((1, 2)), "seed": chance.randrange(99)}
    if "volumes" in store.name:
        chosen["patches"] = PATCHES
    else:
        chosen["shuffle"] = chance.choice((True, "block", False))
    expected = trained(store / "train", **chosen)
    limit = chance.choice((None, 20 * MIB, 22 * MIB))
    proxy = fault_proxy(web.url)
    url = published(store).replace(web.url, proxy.url) + "/train"
    remote = {
        "cache": cache,
        "cache_limit": limit,
        "storage_options": OPTIONS,
        "timeout": 60,
        "max_queue_size": 2,
    }
    for _ in range(3):
        proxy.clear()
        proxy.add(*faults(chance))
        often = chance.choice((0, 0.1))
        kind = KINDS[chance.choice(list(KINDS))]
        found = []
        try:
            with ZarrSequence(url, **kind, **chosen, **remote) as seq:
                for _epoch in range(2):
                    for batch in seq:
                        found.append(digest(batch))
                        if chance.random() < often:
                            disturb(cache, chance)
        except ZarrfeedError as error:
            print(f"ended in: {error}")
        else:
            assert len(found) == len(expected)
        assert found == expected[: len(found)]
        time.sleep(chance.choice((0, 0.5, 3)))
    proxy.clear()
    assert trained(url, **chosen, **remote) == expected
    expect_nothing_left(cache)


def disturb(cache: Path, chance: random.Random) -> None:
    for one in fetchers(cache):
        number = chance.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP))
        with suppress(ProcessLookupError):
            os.kill(one.pid, number)
            if number == signal.SIGSTOP:
                threading.Timer(0.2, go_on, (one.pid,)).start()


def go_on(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(3))
def test_trouble_costs_no_pixel(
    seed: int,
    stores: list[Path],
    published: Callable[[Path], str],
    web: WebServer,
    fault_proxy: Callable[[str], FaultProxy],
    tmp_path: Path,
) -> None:
    trouble(stores, published, web, fault_proxy, tmp_path / "cache", random.Random(seed))


@pytest.mark.chaos
def test_trouble_lasts_for_minutes(
    stores: list[Path],
    published: Callable[[Path], str],
    web: WebServer,
    fault_proxy: Callable[[str], FaultProxy],
    tmp_path: Path,
) -> None:
    for number, chance in enumerate(chances("remote trouble")):
        trouble(stores, published, web, fault_proxy, tmp_path / f"cache{number}", chance)
