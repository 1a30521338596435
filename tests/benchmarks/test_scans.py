"""Scans vary one thing, and what they find is drawn."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compare.boundary import spent_around
from compare.rows import Row
from compare.scanning import summed
from compare.scans import (
    LIMIT,
    BoundaryRow,
    Packing,
    Point,
    ScanRow,
    boundary_work,
    read_scans,
    scans,
)
from compare.workloads import WORKLOADS

if TYPE_CHECKING:
    from pathlib import Path

TILES = WORKLOADS["tiles"]
ABOUT = {
    "command": "python bench.py",
    "date": "2026-01-01",
    "machine": "2 cores (some), 8 GiB, Linux, Python 3, zarrfeed 1.0, numpy 2.0, commit abc",
    "workloads": {"tiles": TILES.to_json()},
}
DRAWN = ("sample size", "codec")  # one with a logarithmic axis, one with names
GROWTH = """\
question,variant,what,against,at,value,least,most,rounds,unit
opening,zarrfeed,seconds,samples,1000,0.1,0.1,0.2,3,s
opening,zarrfeed,seconds,samples,1000000,0.2,0.1,0.3,3,s
"""


def test_every_point_has_a_limit_of_the_same_bytes() -> None:
    for name, points in scans(512 << 20).items():
        limits = {(point.place, point.work) for point in points if point.way == LIMIT}
        assert {(point.place, point.work) for point in points} == limits, name


@pytest.mark.parametrize("name", ["workers", "shard size", "codec"])
def test_a_scan_of_ourselves_feeds_the_same_samples(name: str) -> None:
    assert len({point.work for point in scans(512 << 20)[name]}) == 1


def test_the_total_hardly_depends_on_the_size_of_a_sample_or_of_a_batch() -> None:
    nbytes = 512 << 20
    for name in ("sample size", "batch size"):
        for point in scans(nbytes)[name]:
            assert point.work.samples * point.work.sample_nbytes == pytest.approx(nbytes, rel=0.02)


@given(st.integers(1, 200), st.integers(0, 1 << 30))
def test_an_epoch_is_longer_than_one_side_of_a_boundary(around: int, nbytes: int) -> None:
    assert boundary_work(nbytes, around).batches > around


@given(
    st.lists(st.floats(0.001, 1.0), min_size=12, max_size=30),
    st.integers(1, 5),
    st.integers(6, 7),
)
def test_times_around_a_boundary_are_the_differences(
    spent: list[float], around: int, before: int
) -> None:
    ends = [sum(spent[: number + 1]) for number in range(len(spent))]
    found = spent_around(ends[:before], ends[before:], around=around)
    expected = [1e3 * one for one in spent[before - around : before + around]]
    assert found == pytest.approx(expected)


def test_too_short_an_epoch_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 3 batches"):
        spent_around([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], around=3)


def test_a_point_is_summed_up_over_all_rounds() -> None:
    point = Point("codec", "1 thread", "raw", 0, TILES, {"workers": 1}, Packing())
    found = [{"rates": [1.0, 2.0], "wrong": ""}, {"rates": [3.0, 4.0, 5.0], "wrong": "oh"}]
    row = summed(point, found)
    assert (row.batches_per_second, row.epochs, row.wrong) == (3.0, 5, "oh")
    assert row.mb_per_second == pytest.approx(3.0 * TILES.batch_nbytes / 1e6)
    assert (row.low, row.high) == pytest.approx(
        (row.mb_per_second * 2 / 3, row.mb_per_second * 4 / 3)
    )


def lines() -> list[dict[str, Any]]:
    known = {"least": 1.0, "most": 9.0, "epochs": 3}
    rows = [
        Row("tiles", "read", "warm", "us", "ours", "{}", batches_per_second=5.0, **known),
        Row("tiles", "read", "warm", "limit: x", "limit", "{}", batches_per_second=90.0, **known),
        Row("tiles", "read", "warm", "loser", "peer", "{}", 4.0, **known, wrong="1 missing"),
        Row("tiles", "read", "warm", "absent", "peer", error="not installed"),
    ]
    points = [
        ScanRow(point.scan, point.way, point.at, point.place, point.work.label, 5.0, 40.0, 30.0,
                50.0, 3, "")
        for name in DRAWN
        for point in scans(512 << 20)[name]
    ]  # fmt: skip
    ends = [
        BoundaryRow("fit", way, kind, "{}", turn, TILES.label, (1.0,) * 8)
        for way, kind in (("us", "ours"), ("limit: x", "limit"))
        for turn in (0, 1)
    ]
    return [
        {"about": ABOUT},
        *({"row": asdict(row)} for row in rows),
        *({"scan": asdict(point)} for point in points),
        *({"boundary": asdict(end)} for end in ends),
    ]


def test_scans_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "scan.jsonl"
    path.write_text("\n".join(map(json.dumps, lines())), encoding="utf-8")
    about, points, ends = read_scans(path)
    assert about == json.loads(json.dumps(ABOUT))
    assert [asdict(one) for one in points] == [one["scan"] for one in lines() if "scan" in one]
    assert {end.way: end.ms for end in ends} == {"us": (1.0,) * 8, "limit: x": (1.0,) * 8}


def test_the_same_findings_are_drawn_as_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    from plot import main

    path, growth = tmp_path / "all.jsonl", tmp_path / "growth.csv"
    path.write_text("\n".join(map(json.dumps, lines())), encoding="utf-8")
    growth.write_text(GROWTH)
    for folder in ("one", "two"):
        monkeypatch.setattr(
            "sys.argv", ["plot", str(path), str(growth), "--out", str(tmp_path / folder)]
        )
        assert main() == 0
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / f).iterdir()} for f in ("one", "two"))
    assert one == two
    stems = [
        "boundary-fit",
        "growth-opening-samples",
        "tiles-read-warm",
        *(f"scan-{name.replace(' ', '-')}" for name in DRAWN),
    ]
    assert sorted(one) == sorted(f"{stem}.{kind}" for stem in stems for kind in ("png", "svg"))
