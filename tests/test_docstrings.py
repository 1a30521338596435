"""The examples in docstrings are true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("loader/zarrfeed", "converters/zarrfeed_convert", "tools/zarrfeed_tools")


def test_the_examples_give_what_they_say() -> None:
    """In a process of its own, for some modules import Keras; without those that lack a package."""
    options = ["--doctest-modules", "--doctest-ignore-import-errors", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", *options, *PACKAGES]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [passed] = re.findall(r"(\d+) passed", done.stdout)
    assert int(passed) > 50
