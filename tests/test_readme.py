"""The README's blocks run, one after the other, as a newcomer would paste them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from zarrfeed_tools.cells import write_cells

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_blocks_run(tmp_path: Path) -> None:
    for split, count in (("train", 40), ("val", 20)):
        write_cells(tmp_path / "demo/cells" / split, count, size=128, seed=len(split))
    blocks = BLOCK.findall((ROOT / "README.md").read_text("utf-8"))
    shell = [body for language, body in blocks if language == "sh" and "make " not in body]
    python = [body for language, body in blocks if language == "python"]
    assert len(shell) >= 1
    assert len(python) >= 3
    (tmp_path / "train.py").write_text("\n".join(python), "utf-8")
    script = "set -e\n" + "\n".join(shell) + f"\n{sys.executable} train.py\n"
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nucleus" not in done.stdout  # nobody named the classes
    assert "40×128×128×3" in done.stdout
    assert "(20, 128, 128, 3) ['cell_" in done.stdout
    assert "(16, 128, 128, 3) uint8" in done.stdout
    assert "(40, 128, 128, 3) uint8" in done.stdout


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
    assert first_column(pack) == {name.replace("-", "_") for name in FORMATS}
    known = set(inspect.signature(ZarrSequence).parameters)
    named = first_column(train)
    assert named <= known
    assert known - named <= {"path", "batch_size"}
