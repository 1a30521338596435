"""A package that is not installed is named, with the command that installs it from a clone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

# None in sys.modules: an import fails as if the package were not there.
SCRIPT = """
import sys
for missing in {missing!r}:
    sys.modules[missing] = None
import zarrfeed
try:
    {statement}
except ImportError as error:
    print(error)
"""
FRONT = "zarrfeed.FrontEnd(sys.argv[1], 4).to_tf_dataset()"
CLONE = "in a clone of zarrfeed"


@pytest.mark.parametrize(
    ("missing", "statement", "legacy", "expected"),
    [
        (["keras"], "zarrfeed.ZarrSequence", "", f"needs Keras.*'.[tensorflow]' {CLONE}"),
        (["keras"], "zarrfeed.FeedMonitor", "", f"needs Keras.*'.[tensorflow]' {CLONE}"),
        (["keras"], "zarrfeed.ResumeCallback", "", f"needs Keras.*'.[tensorflow]' {CLONE}"),
        (["tensorflow"], "zarrfeed.ZarrSequence", "", "tensorflow.*KERAS_BACKEND chooses"),
        (["tf_keras"], "zarrfeed.ZarrSequence", "1", f"needs tf_keras.*'.[tf-keras]' {CLONE}"),
        (["tf_keras"], "zarrfeed.FeedMonitor", "1", f"needs tf_keras.*'.[tf-keras]' {CLONE}"),
        (["tensorflow"], FRONT, "", f"needs TensorFlow.*'.[tensorflow]' {CLONE}"),
        (["grain"], "zarrfeed.FrontEnd(sys.argv[1], 4).to_grain()", "", f"'.[grain]' {CLONE}"),
    ],
    ids=str,
)
def test_the_message_says_how_to_install_it(
    split: Path, missing: list[str], statement: str, legacy: str, expected: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(missing=missing, statement=statement), str(split)],
        capture_output=True, text=True, timeout=60, check=True,
        env={
            **os.environ,
            "KERAS_BACKEND": "tensorflow",
            "TF_USE_LEGACY_KERAS": legacy,
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
    )  # fmt: skip
    assert re.search(expected.replace("[", r"\["), done.stdout), done.stdout


@pytest.mark.parametrize("missing", ["keras", "tensorflow"])
def test_the_demonstration_says_so_before_it_draws(tmp_path: Path, missing: str) -> None:
    script = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from zarrfeed_tools.application import run\n"
        "run(['demo', '--out', sys.argv[1], '--data', 'nothing.zarr'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "demo")],
        capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "KERAS_BACKEND": "tensorflow", "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 1
    assert "demo: needs Keras with a backend" in done.stderr
    assert "pip install '.[tensorflow]' in a clone of zarrfeed" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "demo").exists()
