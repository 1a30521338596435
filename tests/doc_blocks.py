"""Pages whose code runs: what are their blocks, and what do they print?

The fenced blocks ``python`` and ``sh`` of a page run in order, in one folder: all Python in one
process and one namespace, as in a notebook, each ``sh`` block by ``bash -e``. A block ``output``
that follows one of them holds what that block must print, where ``…`` stands for anything. Blocks
of any other language (``bash``, ``text``, ``console``) and indented ones are only shown.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from fork_server import ForkServer

FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "\x1e"  # printed after every block
RUN = ("python", "sh")


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a page.

    Attributes
    ----------
    language
        ``python`` or ``sh``.
    line
        Line of the page in which its code begins, from 1.
    code
        What runs.
    output
        What it must print; None if the page does not say it.
    """

    language: str
    line: int
    code: str
    output: str | None


def blocks_of(page: str) -> list[Block]:
    """Return the blocks of a page that run.

    Parameters
    ----------
    page
        Text of the page.
    """
    found: list[Block] = []
    end = -1
    for match in FENCED.finditer(page):
        language, code = match.groups()
        line = page.count("\n", 0, match.start(2)) + 1
        if language in RUN:
            found.append(Block(language, line, code, None))
            end = match.end()
        elif language == "output":
            if not found or page[end : match.start()].strip():
                raise ValueError(f"line {line - 1}: needed a python or sh block before the output")
            found[-1] = Block(found[-1].language, found[-1].line, found[-1].code, code)
    return found


def script_of(blocks: list[Block]) -> str:
    """Return one Python script, whose lines have the numbers that they have on the page."""
    lines: list[str] = []
    for block in blocks:
        lines += [""] * (block.line - 1 - len(lines))
        if block.language == "python":
            lines += block.code.splitlines()
        else:
            lines.append(
                f"import subprocess; subprocess.run(['bash', '-ec', {block.code!r}], check=True)"
            )
            lines += [""] * (block.code.count("\n") - 1)
        lines.append(f"print({MARK!r}, end='', flush=True)")  # where the fence is
    return "\n".join(lines) + "\n"


def fits(printed: str, wanted: str) -> bool:
    """Whether something was printed as a page shows it; spaces at ends of lines do not count."""
    said, shown = (
        "\n".join(line.rstrip() for line in text.strip().splitlines()) for text in (printed, wanted)
    )
    return re.fullmatch(".*".join(map(re.escape, shown.split("…"))), said, re.DOTALL) is not None


def run_page(
    page: Path, folder: Path, server: ForkServer | None = None, *, timeout: float = 300
) -> str:
    """Run the blocks of a page, and compare what they print with what the page shows.

    Parameters
    ----------
    page
        A Markdown file.
    folder
        Where to run: empty, or with the data that the page takes for granted.
    server
        What has imported what the page imports; without it, a new interpreter runs the page.
    timeout
        Seconds after which the page has failed.

    Returns
    -------
    str
        All that the blocks have printed to standard output.
    """
    blocks = blocks_of(page.read_text("utf-8"))
    script = folder / page.with_suffix(".py").name
    script.write_text(script_of(blocks), "utf-8")
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, "COLUMNS": "100", "PYTHONUNBUFFERED": "1"}
    if server is not None:
        done = server.run(script, folder=folder, variables=variables, timeout=timeout)
    else:
        done = subprocess.run(
            [sys.executable, script.name],
            cwd=folder,
            env=variables,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    assert done.returncode == 0, f"{page.name}\n{done.stdout}{done.stderr}"
    printed = done.stdout.split(MARK)
    assert len(printed) == len(blocks) + 1
    for block, said in zip(blocks, printed, strict=False):
        if block.output is not None:
            assert fits(said, block.output), (
                f"{page.name}, line {block.line}: needed\n{block.output}\nfound\n{said}"
            )
    return done.stdout.replace(MARK, "")
