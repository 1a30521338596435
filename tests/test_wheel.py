"""The wheel holds exactly the three packages, with their types."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "loader": "zarrfeed",
    "converters": "zarrfeed_convert",
    "tools": "zarrfeed_tools",
}


def test_the_wheel_holds_exactly_the_packages(tmp_path: Path) -> None:
    subprocess.run(
        [
            sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path),
        ],
        cwd=ROOT, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    [wheel] = tmp_path.glob("zarrfeed-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = next(n for n in archive.namelist() if n.endswith("METADATA"))
        scripts = next(n for n in archive.namelist() if n.endswith("entry_points.txt"))
        text = archive.read(metadata).decode() + archive.read(scripts).decode()
    expected = {
        str(path.relative_to(ROOT / folder))
        for folder, package in PACKAGES.items()
        for path in (ROOT / folder / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == expected
    assert {f"{package}/py.typed" for package in PACKAGES.values()} <= names
    assert "zarrfeed = zarrfeed_tools.cli:main" in text
    assert "License-Expression: MIT" in text
