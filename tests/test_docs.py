"""The documentation: every page's blocks run, one after the other, as a reader would paste them."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from doc_blocks import blocks_of, fits, run_page, script_of
from doc_data import PREPARED
from generators.command_pages import command_pages
from generators.format_pages import format_pages
from zarrfeed_convert import FORMATS, parameters_of
from zarrfeed_tools.source_options import FLAGS

if TYPE_CHECKING:
    from fork_server import ForkServers

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = [
    page.relative_to(DOCS).as_posix()
    for page in sorted(DOCS.rglob("*.md"))
    if "_build" not in page.parts and blocks_of(page.read_text("utf-8"))
]

# They train as pages do that run every day, on data of other kinds, or in two processes.
LONG = {"tutorials/streets.md", "tutorials/two-processes.md"}


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.soak] * (page in LONG)) for page in PAGES]
)
def test_the_blocks_of_every_page_run(
    page: str, tmp_path: Path, imported: ForkServers | None
) -> None:
    server = imported.on("tensorflow") if imported else None
    context = PREPARED[page](tmp_path) if page in PREPARED else None
    with context or nullcontext():
        run_page(DOCS / page, tmp_path, server)


def test_data_are_prepared_for_pages_that_exist() -> None:
    assert [page for page in PREPARED if not (DOCS / page).is_file()] == []


def test_blocks_run_in_order_in_one_process(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nx = 2\n```\n```sh\necho a b >list\n```\n```output\n```\ntext\n"
        "```python\nprint(open('list').read(), x)\n```\n\n```output\na …\n 2\n```\n"
    )
    assert run_page(page, tmp_path) == "a b\n 2\n"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("```python\n1 / 0\n```\n", 'page.py", line 2'),
        ("\n```sh\nfalse\ntrue\n```\n", "line 3"),
        ("```python\nprint(1)\n```\n```output\n2\n```\n", "page.md, line 2: needed\n2\n\nfound\n1"),
    ],
)
def test_a_page_that_is_wrong_fails_and_names_the_line(
    body: str, words: str, tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text(body)
    with pytest.raises(AssertionError) as error:
        run_page(page, tmp_path)
    assert words in str(error.value)


def test_output_needs_a_block_that_prints_it() -> None:
    with pytest.raises(ValueError, match="line 5: needed a python or sh block"):
        blocks_of("```sh\nls\n```\ntext\n```output\nx\n```\n")


def test_lines_keep_their_numbers() -> None:
    text = "# Title\n\n```sh\na\nb\n```\n\n```python\nx = 1\n```\n"
    lines = script_of(blocks_of(text)).splitlines()
    assert lines.index("x = 1") == text.splitlines().index("x = 1")


def test_dots_stand_for_anything() -> None:
    assert fits("a\nb\nc", "a\n…\nc")
    assert not fits("a\nb\nc", "a\n…\nd")


@pytest.mark.parametrize("module", ["annotations", "command_pages", "format_pages", "markdown"])
def test_the_examples_of_what_writes_pages_are_true(module: str) -> None:
    assert doctest.testmod(importlib.import_module(f"generators.{module}")).failed == 0


def test_every_format_has_a_page_and_a_row() -> None:
    pages = format_pages()
    assert set(pages) == {"table.txt", *(f"{name}.md" for name in FORMATS)}
    assert re.findall(r"^\| \[`([\w-]+)`\]", pages["table.txt"], re.MULTILINE) == list(FORMATS)
    for name in FORMATS:
        described = pages[f"{name}.md"]
        for option in parameters_of(name):
            assert f"`{FLAGS.get(option, f'-o {option}=')}`" in described


def test_every_command_has_a_page_with_its_options() -> None:
    pages = command_pages()
    assert {"convert.md", "verify.md", "predict.md"} < set(pages)
    for option in ("--split", "--images", "--on-error", "--help"):
        assert f"`{option}" in pages["convert.md"]
    assert "zarrfeed convert cells.zarr --split train \\" in pages["convert.md"]


@pytest.mark.parametrize("package", ["zarrfeed", "zarrfeed_convert"])
def test_the_reference_has_every_public_name_once(package: str) -> None:
    page = (DOCS / "reference" / f"{package}.md").read_text("utf-8")
    listed = re.findall(r"^   ([A-Za-z_]\w*)$", page, re.MULTILINE)
    public = [name for name in importlib.import_module(package).__all__ if name != "__version__"]
    assert sorted(listed) == sorted(public)


def test_the_guide_to_arguments_names_each_of_them_once() -> None:
    from zarrfeed import FrontEnd

    table = (DOCS / "guides/arguments.md").read_text("utf-8")
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \|", table, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(inspect.signature(FrontEnd).parameters)
