"""The examples in docstrings are true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from scripts import environment

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("loader/zarrfeed", "converters/zarrfeed_convert", "tools/zarrfeed_tools")


def test_the_examples_give_what_they_say() -> None:
    """In a process of its own, for some modules import Keras; without those that lack a package."""
    options = ["--doctest-modules", "--doctest-ignore-import-errors", "-p", "no:cacheprovider"]
    modules = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    shown = [path for path in modules if ">>> " in path.read_text("utf-8")]
    command = [sys.executable, "-m", "pytest", "-q", *options, *shown]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=environment(),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [passed] = re.findall(r"(\d+) passed", done.stdout)
    assert int(passed) > 50
