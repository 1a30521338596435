"""The fetcher is reached, or started again, also while another one dies."""

from __future__ import annotations

import json
import os
import pickle
import socket
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("obstore")

from remote_stores import end_fetchers, expect_nothing_left, fetchers
from zarrfeed.errors import StoreError
from zarrfeed.store.mirror import fetcher_process, messages
from zarrfeed.store.mirror.fetcher_process import ADDRESS, connect, peer_pid

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

OPEN_NOTHING = messages.encoded(
    {"do": "open", "url": "s3://a/b", "limit": None, "folder": None},
    pickle.dumps(({"region": 1, "endpoint": "nowhere"}, {})),
)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    end_fetchers(tmp_path)


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each fetcher that is to be started, whether it is killed at once."""
    to_do: list[bool] = []
    start = fetcher_process._start

    def started(cache: Path) -> subprocess.Popen[bytes]:
        process = start(cache)
        if to_do.pop(0):
            process.kill()
        return process

    monkeypatch.setattr(fetcher_process, "_start", started)
    return to_do


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="the system does not say who it is")
def test_a_fetcher_that_dies_is_not_taken_for_the_next_one(cache: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dying:
        dying.bind(str(cache / "s"))
        dying.listen()
        (cache / ADDRESS).write_text(json.dumps({"socket": str(cache / "s"), "pid": 0}))
        with connect(cache) as connection:
            assert peer_pid(connection) == os.getpid()
        with connect(cache, dead=os.getpid()) as connection:
            assert peer_pid(connection) not in {None, os.getpid()}


def test_a_fetcher_that_is_killed_while_it_starts_is_started_again(
    cache: Path, kills: list[bool]
) -> None:
    kills += [True, False]
    connect(cache).close()
    assert not kills


def test_fetchers_that_are_always_killed_are_an_error(cache: Path, kills: list[bool]) -> None:
    kills += [True, True]
    with pytest.raises(StoreError, match="the process that fetches failed"):
        connect(cache)


@pytest.mark.parametrize("said", [b"", b"\xff" * 8, b"a", OPEN_NOTHING])
def test_what_is_said_to_a_new_fetcher_is_answered(cache: Path, said: bytes) -> None:
    with connect(cache) as early, connect(cache) as next_one:
        early.settimeout(60)
        next_one.settimeout(60)
        early.sendall(said)
        if said != OPEN_NOTHING:
            early.shutdown(socket.SHUT_WR)
        next_one.sendall(messages.encoded({"do": "counters"}))
        assert messages.receive(next_one)[0]["counters"]["present"] == 0
        if said == OPEN_NOTHING:
            answer, _ = messages.receive(early)
            assert "endpoint: needed the address of a server" in answer["text"]
        else:
            assert early.recv(1) == b""


def test_a_fetcher_ends_by_itself_when_nobody_needs_it(cache: Path) -> None:
    connect(cache).close()
    assert len(fetchers(cache)) == 1
    expect_nothing_left(cache)
