"""Rounds become rows, and rows a table that tells who is ahead."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compare.effort import skip_reason
from compare.registry import peers
from compare.report import report, standings
from compare.rows import Row, read_rows, summed
from compare.workloads import WORKLOADS, Workload

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = {
    "read": "limit: np.take from RAM",
    "fit": "limit: one constant batch",
    "train": "limit: one constant batch",
}
TILES = WORKLOADS["tiles"]
KNOWN = {"level": "read", "state": "warm", "peer": "somebody", "kind": "peer", "setting": "{}"}

rates = st.floats(0.1, 1e5)
shapes = st.lists(st.integers(1, 64), min_size=1, max_size=4).map(tuple)


def found(rates: list[float], **more: Any) -> dict[str, Any]:
    return {"rates": rates, "wrong": "", "whole": True, **more}


def row(peer: str, kind: str, rate: float, *, wrong: str = "") -> Row:
    return Row("tiles", "read", "warm", peer, kind, batches_per_second=rate, wrong=wrong)


@given(st.lists(st.lists(rates, min_size=1, max_size=4), min_size=1, max_size=4))
def test_a_row_sums_up_every_epoch_of_every_round(rounds: list[list[float]]) -> None:
    made = summed([found(some) for some in rounds], TILES, **KNOWN)
    every = [rate for some in rounds for rate in some]
    assert made.batches_per_second == statistics.median(every)
    assert (made.least, made.most, made.epochs) == (min(every), max(every), len(every))
    assert made.exactly_once is True


def test_one_bad_round_spoils_the_row() -> None:
    made = summed([found([2.0]), found([3.0], wrong="2 samples repeated")], TILES, **KNOWN)
    assert made.exactly_once is False
    assert made.wrong == "2 samples repeated"


def test_what_was_not_measured_is_none_and_memory_is_the_largest() -> None:
    made = summed([found([1.0], peak_rss_mb=5.0), found([1.0], peak_rss_mb=7.0)], TILES, **KNOWN)
    assert made.peak_rss_mb == 7.0
    assert made.gap_ms is None


@given(st.lists(rates, min_size=1, max_size=4), st.lists(rates, min_size=1, max_size=4))
def test_every_faster_peer_is_named(ours: list[float], peers: list[float]) -> None:
    rows = [row(f"o{n}.", "ours", rate) for n, rate in enumerate(ours)]
    rows += [row(f"p{n}.", "peer", rate) for n, rate in enumerate(peers)]
    said = "\n".join(standings(rows))
    faster = [f"p{n}." for n, rate in enumerate(peers) if rate > max(ours)]
    assert ("is ahead of every peer" in said) == (not faster)
    for name in faster:
        assert f"**Ahead of us**: {name}" in said


@given(st.floats(1.01, 100.0))
def test_neither_a_limit_nor_who_loses_samples_is_ahead(faster: float) -> None:
    rows = [
        row("us", "ours", 10.0),
        row("bound", "limit", 10.0 * faster),
        row("loser", "peer", 10.0 * faster, wrong="1 samples missing"),
        row("slower", "peer", 5.0),
    ]
    assert standings(rows) == ["- **us** is ahead of every peer; the next is slower (2.00×)."]


@given(
    st.builds(
        Workload,
        name=st.text(max_size=8),
        samples=st.integers(1, 1 << 20),
        image=shapes,
        mask=shapes,
        dtype=st.sampled_from(["uint8", "float32"]),
        batch_size=st.integers(1, 512),
        compute_ms=st.floats(0.1, 100),
    )
)
def test_a_workload_travels_as_json(work: Workload) -> None:
    assert Workload.from_json(json.loads(json.dumps(work.to_json()))) == work
    assert work.batches * work.batch_size <= work.samples


@given(st.sampled_from(list(WORKLOADS.values())), st.integers(0, 1 << 20))
def test_fewer_samples_are_whole_batches(work: Workload, asked: int) -> None:
    fewer = work.with_samples(asked)
    assert fewer.samples <= work.samples
    assert fewer.batches >= 4


@pytest.mark.parametrize("level", ["read", "fit", "train"])
def test_a_table_compares_with_the_limit_of_its_level(level: str) -> None:
    limit = next(peer for peer in peers().values() if peer.name == LIMITS[level])
    rows = [
        Row("tiles", level, "warm", limit.name, "limit", "{}", batches_per_second=20.0),
        Row("tiles", level, "warm", "us", "ours", "{}", batches_per_second=15.0),
    ]
    about = {
        "command": "bench", "date": "today", "machine": "one", "load_before": "0", "effort": "some",
        "workloads": {"tiles": TILES.to_json()}, "origins": {},
    }  # fmt: skip
    text = report(about, rows)
    assert f"of {limit.name}" in text
    assert "| 0.75 |" in text
    assert "{" not in text  # whatever was to be filled in is


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    path, about = tmp_path / "bench.jsonl", {"machine": "a machine"}
    rows = [row("us", "ours", 2.5), Row("tiles", "fit", "warm", "gone", "peer", error="missing")]
    lines: list[dict[str, Any]] = [{"about": about}, {"sweep": {}}]
    lines += [{"row": asdict(one)} for one in rows]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert read_rows(path) == (about, rows)


@given(st.floats(1, 1e4), st.floats(0, 1e4), st.floats(0.01, 1))
def test_a_quick_look_leaves_out_what_reads_far_slower(
    ours: float, theirs: float, nearest: float
) -> None:
    read = [row("zarrfeed, raw", "ours", ours), row("zarrfeed, lz4", "ours", ours / 2),
            row("somebody", "peer", theirs), row("a limit", "limit", 0.1)]  # fmt: skip
    assert bool(skip_reason("somebody", read, nearest)) == (theirs / ours < nearest)
    for never in ("zarrfeed, lz4", "a limit", "not measured"):
        assert not skip_reason(never, read, nearest)
    assert not skip_reason("somebody", read, 0.0)
    assert not skip_reason("somebody", [], nearest)
