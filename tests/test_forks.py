"""A process that is forked from one that reads has batches of its own, and so has its parent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts import environment

CLIENT = Path(__file__).with_name("fork_client.py")


@pytest.mark.parametrize(
    "kind",
    [
        *(pytest.param(kind, marks=pytest.mark.soak) for kind in ("inline", "three threads")),
        "two processes",
    ],
)
def test_parent_and_children_read_the_same_batches_and_disturb_nobody(
    kind: str, split: Path
) -> None:
    done = subprocess.run(
        [sys.executable, CLIENT, split, kind],
        capture_output=True, text=True, timeout=200, check=False, env=environment(),
    )  # fmt: skip
    assert (done.stdout.split("\n"), done.stderr) == (["done", ""], "")
