"""The README's blocks run, one after the other, as a newcomer would paste them."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from doc_blocks import run_page
from doc_data import PREPARED
from zarrfeed_convert import FORMATS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_blocks_run(tmp_path: Path) -> None:
    PREPARED["../README.md"](tmp_path)
    printed = run_page(ROOT / "README.md", tmp_path)
    assert "nucleus" not in printed  # nobody named the classes
    assert "40×128×128×3" in printed
    assert "(20, 128, 128, 3) ['cell_" in printed


def first_column(text: str) -> list[str]:
    """The names in the first column of tables."""
    rows = re.findall(r"^\| (`[a-z0-9_`, -]+`) \|", text, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([a-z][\w-]*)`", row)]


def test_the_page_of_arguments_names_each_of_them_once() -> None:
    from zarrfeed import ZarrSequence

    page = (ROOT / "docs/guides/arguments.md").read_text("utf-8")
    assert sorted(first_column(page)) == sorted(inspect.signature(ZarrSequence).parameters)


def test_formats_that_pages_name_exist() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        if "_build" not in page.parts:
            named = re.findall(r"--format ([a-z][\w-]*)", page.read_text("utf-8"))
            assert set(named) <= set(FORMATS), page


def test_what_it_links_to_exists() -> None:
    links = re.findall(r"\]\(([^)#]+)", README)
    assert len(links) > 8
    assert [
        link for link in links if not link.startswith("http") and not (ROOT / link).exists()
    ] == []


def test_it_is_short() -> None:
    """Everything else is in docs/."""
    assert len(README.splitlines()) < 140
