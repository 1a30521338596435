"""The README's blocks run, one after the other, as a newcomer would paste them."""

from __future__ import annotations

import re
from pathlib import Path

from doc_blocks import run_page
from doc_data import PREPARED

ROOT = Path(__file__).resolve().parents[1]


def test_the_blocks_run(tmp_path: Path) -> None:
    PREPARED["../README.md"](tmp_path)
    printed = run_page(ROOT / "README.md", tmp_path)
    assert "nucleus" not in printed  # nobody named the classes
    assert "40×128×128×3" in printed
    assert "(20, 128, 128, 3) ['cell_" in printed
    assert "(16, 128, 128, 3) uint8" in printed
    assert "(40, 128, 128, 3) uint8" in printed


def first_column(text: str) -> set[str]:
    """The names in the first column of tables; a hyphen counts as an underscore."""
    table = re.findall(r"^\| (`[a-z0-9_`, -]+`) \|", text, re.MULTILINE)
    names = {name for row in table for name in re.findall(r"`([a-z][\w-]*)`", row)}
    return {name.replace("-", "_") for name in names}


def test_every_command_and_argument_that_it_names_exists() -> None:
    import inspect

    from zarrfeed import ZarrSequence
    from zarrfeed_convert import FORMATS

    pack, train = (ROOT / "README.md").read_text("utf-8").split("## Train")
    assert first_column(pack) <= {name.replace("-", "_") for name in FORMATS}
    known = set(inspect.signature(ZarrSequence).parameters)
    named = first_column(train)
    assert named <= known
    assert known - named <= {"path", "batch_size"}
