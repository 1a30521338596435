"""A report is printed as the command prints it."""

from __future__ import annotations

import dataclasses
import io
import re

import numpy as np
import pytest
from rich.console import Console

from zarrfeed_convert import ClassFacts, FieldFacts, Report, convert, repack
from zarrfeed_convert.planning.layout import Decision
from zarrfeed_tools.summary import show_report

RNG = np.random.default_rng(7)
PAIRS = [(RNG.integers(0, 99, (6, 8, 3), np.uint8), np.eye(6, 8, dtype=np.uint8))] * 4


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def words(text):
    """Give the words of a text without rules, and headers that a table folds in one line."""
    return sorted(re.sub("[─━]", " ", text).split())


def shown(report):
    text = io.StringIO()
    show_report(report, Console(file=text, width=200))
    return text.getvalue()


def reports():
    wish = {"split": "t", "classes": ["sky", "road"], "workers": 1}
    yield convert(PAIRS, "o.zarr", dry_run=True, **wish)
    yield convert(PAIRS, "o.zarr", **wish)
    yield convert(PAIRS, "o.zarr", **wish)
    yield convert([{"image": image} for image, _ in PAIRS], "i.zarr", split="t", workers=1)
    yield repack("o.zarr/t", "r.zarr", split="t", subset=slice(3), workers=1)


def test_a_report_says_what_the_command_prints():
    heads = []
    for report in reports():
        assert words(str(report)) == words(shown(report))
        assert not re.search(r"\x1b|Decision\(", str(report))
        heads.append(str(report).splitlines()[0])
    assert heads[0] == "Would pack 4 pairs into 4 samples of o.zarr/t; nothing was written"
    assert heads[1].startswith("Packed 4 pairs into 4 samples of o.zarr/t in ")
    assert heads[2] == "o.zarr/t is already packed: nothing was changed"
    assert heads[3].startswith("Packed 4 images into 4 samples of i.zarr/t in ")
    assert heads[4].startswith("Repacked 3 of 4 samples into r.zarr/t in ")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "Would pack 1 image into 1 sample of o/t; nothing was written"),
        ({"cases": 1}, "Would pack 1 case as 1 tile into o/t; nothing was written"),
        (
            {"cases": 1, "packed": 1200},
            "Would pack 1 case as 1,200 tiles into o/t; nothing was written",
        ),
        ({"repacked": True}, "Would repack 1 sample into o/t; nothing was written"),
        (
            {"repacked": True, "found": 3},
            "Would repack 1 of 3 samples into o/t; nothing was written",
        ),
        (
            {"repacked": True, "found": 3, "cases": 1, "packed": 2},
            "Would repack 1 of 3 cases as 2 tiles into o/t; nothing was written",
        ),
    ],
)
def test_one_of_a_kind_is_written_in_the_singular(options, said):
    report = Report("dry run", "o/t", 1, (), 1, (), (), (), 1.0)
    assert dataclasses.replace(report, **options).headline == said


def test_skipped_inputs_are_named_even_where_the_reason_contains_the_name():
    report = next(iter(reports()))
    skipped = (("series 1", "slices of series 1 differ"), ("a.png", "a.png: is damaged"))
    assert dataclasses.replace(report, skipped=skipped).skipped_lines[1:] == (
        "  series 1: slices of series 1 differ",
        "  a.png: is damaged",
    )


def test_only_what_is_new_is_printed():
    *_, again = [convert(PAIRS, "o.zarr", split="t", workers=1) for _ in range(2)]
    assert again.decisions
    assert str(again) == "o.zarr/t is already packed: nothing was changed"


def test_tables_are_aligned_and_leave_out_empty_columns():
    fields = (FieldFacts("image", (2, 6, 8, 3), "uint8", "raw", 1, 2, 288, None),)
    classes = (ClassFacts(0, "sky", None, 0.75), ClassFacts(1, "ro\x1bad", None, 0.25))
    skipped = tuple((f"{number}.png", f"{number}.png: is torn") for number in range(11))
    decisions = (Decision("order", "source", "asked for"),)
    report = Report("dry run", "o/t", 13, skipped, 2, fields, classes, decisions, 1.0)
    lines = str(report).splitlines()
    assert lines[:3] == [
        "Would pack 2 images into 2 samples of o/t; nothing was written",
        "skipped 11 of 13:",
        "  0.png: is torn",
    ]
    assert lines[12:] == [
        "  and 1 more, which the split records",
        "",
        "field  shape    dtype  codec  chunk rows  shard rows    decoded",
        "image  2×6×8×3  uint8  raw             1           2  288 bytes",
        "",
        "class     id   share",
        "sky        0  75.00%",
        "ro\\x1bad   1  25.00%",
        "",
        "decision  value   because",
        "order     source  asked for",
    ]
