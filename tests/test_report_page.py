"""The file of a report: its size, what it holds, and when it is written."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from report_stores import cell_sample, pack, textured
from stores import traced_pixels, write_split
from zarrfeed.errors import ZarrfeedError
from zarrfeed.pictures.palette import Palette
from zarrfeed_tools.cli import app
from zarrfeed_tools.report import sample_view, sampled
from zarrfeed_tools.report.choice import Choice, Place
from zarrfeed_tools.report.class_rows import ClassRow, ClassTable
from zarrfeed_tools.report.collection import collect_facts
from zarrfeed_tools.report.distributions import describe_intensities
from zarrfeed_tools.report.facts import Finding, Skipped, Unit
from zarrfeed_tools.report.page import render, write_page
from zarrfeed_tools.report.sample_view import View
from zarrfeed_tools.report.sampled import Sampled, look_at_samples

BOUND = 5_000_000


def look(store):
    facts = collect_facts(store)
    return facts, look_at_samples(facts, store, lambda *step: None)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    samples = {f"cell_{number}": cell_sample(number) for number in range(6)}
    samples["twice"] = samples["cell_2"]
    return pack(tmp_path_factory.mktemp("report") / "cells.zarr", "train", samples)


@pytest.fixture(scope="module")
def seen(store):
    return look(store)


@pytest.fixture(scope="module")
def noise():
    """What is seen of 300 samples of noise, which no codec makes smaller."""
    rng = np.random.default_rng(0)
    views = {}
    for number in range(300):
        picture = rng.integers(0, 256, (192, 256, 3), np.uint8)
        overlay = np.zeros((192, 256, 4), np.uint8)
        classes = rng.integers(0, 12, (192, 256))
        overlay[...] = np.append(rng.integers(0, 255, (12, 3)), np.full((12, 1), 255), 1)[classes]
        views[Place("train", number)] = View(f"noise {number}", (192, 256), "", picture, overlay)
    return Sampled(
        Choice(tuple(views), (), ()), views, describe_intensities({}), {}, True,
        {"train": Palette(("a", "b"))},
    )  # fmt: skip


def test_a_page_of_300_samples_of_noise_has_at_most_5_mb(seen, noise):
    page = render(seen[0], noise)
    assert BOUND * 0.4 < len(page) <= BOUND
    assert len(set(re.findall(b'aria-label="Mask of noise [0-9]+', page))) == 300


@pytest.mark.parametrize("bound", [1_000_000, 150_000])
def test_pictures_get_smaller_and_fewer_until_a_page_fits(bound, seen, noise):
    page = render(seen[0], noise, most_nbytes=bound)
    assert len(page) <= bound
    assert page.endswith(b"</html>")
    assert b"noise" in page or bound < 200_000


def test_a_bound_that_no_page_meets_is_refused(seen, noise):
    with pytest.raises(ZarrfeedError, match="report one split at a time"):
        render(seen[0], noise, most_nbytes=1000)


def test_very_many_splits_classes_and_findings_still_fit(seen):
    report, found = seen
    [split] = report.splits
    rows = tuple(ClassRow(n, f"class {n} " + "x" * 200, n, 1e-5, n % 3, None) for n in range(5000))
    units = tuple(Unit("train", n, "k" * 400, "r" * 200) for n in range(100))
    findings = Finding(10**6, units)
    large = replace(
        split, classes=ClassTable(rows, 3, (), ()), constant=findings, class_shares=findings,
        skipped=tuple(Skipped("n" * 500, "w" * 500) for _ in range(1000)), skipped_count=10**5,
        unknown={"duplicates": "y" * 500},
    )  # fmt: skip
    splits = (large, *(replace(large, name=f"split {number}") for number in range(150)))
    assert len(render(replace(report, splits=splits), found)) <= BOUND


def test_a_page_needs_no_other_file_and_its_policy_knows_its_script_and_style(seen):
    page = render(*seen).decode()
    assert not re.search(r"https?://|//[a-z]+\.|@import|url\(", page)
    sources = re.findall(r'(?:src|href)="([^"]{0,20})', page)
    assert sources
    assert all(source.startswith(("#", "data:image/")) for source in sources)
    [policy] = re.findall('http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        [text] = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_the_same_store_gives_the_same_page(store, seen):
    assert render(*look(store)) == render(*seen)


def test_an_earlier_report_is_replaced_and_another_file_is_not(seen, tmp_path):
    out = tmp_path / "report.html"
    write_page(*seen, out)
    first = out.read_bytes()
    write_page(*seen, out)
    assert out.read_bytes() == first
    out.write_text("<html>my thesis</html>")
    with pytest.raises(ZarrfeedError, match="found another file"):
        write_page(*seen, out)
    assert out.read_text() == "<html>my thesis</html>"
    with pytest.raises(ZarrfeedError, match="found a folder"):
        write_page(*seen, tmp_path)
    with pytest.raises(ZarrfeedError, match="found no"):
        write_page(*seen, tmp_path / "missing" / "report.html")
    assert list(tmp_path.iterdir()) == [out]


def test_a_page_that_cannot_be_written_leaves_the_earlier_one_and_nothing_else(
    seen, tmp_path, monkeypatch
):
    out = tmp_path / "report.html"
    write_page(*seen, out)
    before = out.read_bytes()

    def full(path, content):
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_page(*seen, out)
    assert out.read_bytes() == before
    assert list(tmp_path.iterdir()) == [out]


def run(*arguments):
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def test_the_command_writes_a_page_beside_its_json_and_its_checks(store, tmp_path):
    out = tmp_path / "report.html"
    result = run(store, out, "--json", "--fail-on", "duplicates")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["duplicates"]["within"] == 1
    assert b"1 group of exact duplicates" in out.read_bytes()
    result = run(store, out)
    assert result.exit_code == 0
    assert "Page with pictures of 7 samples" in result.stdout


def test_the_command_refuses_a_path_before_it_reads_anything(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    result = run(tmp_path / "no.zarr", tmp_path / "mine.txt")
    assert result.exit_code == 1
    assert "found another file" in str(result.exception)


def test_a_page_says_what_an_unpacked_store_does_not_tell(tmp_path):
    page = render(*look(write_split(tmp_path / "o.zarr", traced_pixels(9)))).decode()
    assert "Not checked" in page
    assert "sample 4" in page


def test_without_scipy_a_page_says_that_islands_were_not_looked_for(store, monkeypatch):
    for module in (sampled, sample_view):
        monkeypatch.setattr(module, "can_find_islands", lambda: False)
    page = render(*look(store)).decode()
    assert "Not checked, tiny islands" in page
    assert "SciPy is not installed" in page


@pytest.mark.parametrize("kind", ["alone", "multi-hot", "cases"])
def test_other_kinds_of_datasets_have_a_page(kind, tmp_path):
    images = {f"s{number}": {"image": textured(number)} for number in range(5)}
    options = {}
    if kind == "multi-hot":
        for sample in images.values():
            sample["mask"] = np.zeros((48, 64, 2), np.uint8)
            sample["mask"][:20, :20] = 1
        options = {"classes": ["cell", "nucleus"]}
    if kind == "cases":
        options = {"tile": (16, 16)}
    page = render(*look(pack(tmp_path / "a.zarr", "train", images, **options))).decode()
    assert page.count("<figure>") >= 5
    assert ('id="all-masks"' in page) == (kind == "multi-hot")
    assert ("nucleus" in page) == (kind == "multi-hot")
    assert ('id="sizes"' in page) == (kind == "cases")
