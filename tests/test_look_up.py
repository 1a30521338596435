"""Errors end with a word, and the page "What to do when …" has a paragraph for it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zarrfeed import ReadError, SourceError, StoreError
from zarrfeed.errors import look_up, topic_last, without_topic
from zarrfeed_convert import convert

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/guides/what-to-do-when.md"
PACKAGES = ("loader", "converters", "tools")


def topics_in_code() -> set[str]:
    """Every topic that a message ends with; each is written out where the message is."""
    found = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "look_up":
                    [topic] = node.args
                    assert isinstance(topic, ast.Constant), f"{path}, line {node.lineno}"
                    found.add(topic.value)
    return found


def headings() -> list[str]:
    return re.findall(r"^### ([a-z0-9-]+)$", PAGE.read_text("utf-8"), re.MULTILINE)


def test_every_topic_has_its_heading_and_every_heading_its_error() -> None:
    assert len(headings()) == len({*headings()})
    assert {*headings()} == topics_in_code()


def test_every_heading_has_a_paragraph() -> None:
    sections = re.split(r"^### ([a-z0-9-]+)$", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    short = [
        topic
        for topic, text in zip(sections[1::2], sections[2::2], strict=True)
        if len(text.split()) < 20
    ]
    assert short == []


def test_the_topic_stays_at_the_end_when_a_message_grows() -> None:
    inner = ReadError(f"a.png: too large{look_up('memory')}")
    assert str(StoreError(f"{inner} (read for case 'a')")) == (
        "a.png: too large (read for case 'a') (look up: memory)"
    )
    twice = f"x{look_up('no-split')}; y{look_up('memory')}"
    assert topic_last(twice) == "x; y (look up: no-split)"
    assert without_topic(twice) == "x; y"
    assert topic_last("look up: nothing") == "look up: nothing"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Images a, b, c of one size, and masks of several kinds."""
    grey = np.zeros((16, 16), np.uint8)
    marked = grey.copy()
    marked[:4] = 255
    masks = {
        "masks": [grey] * 3,
        "255": [grey, grey + 1, marked],
        "ids": [grey, grey, grey + 7],
        "colours": [np.dstack([marked, grey, grey])] * 3,
        "sizes": [grey, grey[:8], grey],
        "images": [np.dstack([grey] * 3)] * 3,
    }
    for folder, arrays in masks.items():
        (tmp_path / folder).mkdir()
        for name, array in zip("abc", arrays, strict=True):
            Image.fromarray(array).save(tmp_path / folder / f"{name}.png")
    (tmp_path / "others").mkdir()
    for name in "xyz":
        (tmp_path / "others" / f"{name}.png").write_bytes((tmp_path / "masks/a.png").read_bytes())
    (tmp_path / "damaged").mkdir()
    for name in "abc":
        (tmp_path / "damaged" / f"{name}.png").write_bytes(
            (tmp_path / "images/a.png").read_bytes()[: 40 if name == "b" else None]
        )
    return tmp_path


FAILURES = [
    ("no-files", "convert out.zarr --split train --images nowhere"),
    ("no-pairs", "convert out.zarr --split train --images images --masks others"),
    ("mask-255", "convert out.zarr --split train --images images --masks 255"),
    ("colours", "convert out.zarr --split train --images images --masks colours"),
    ("sizes-differ", "convert out.zarr --split train --images sizes"),
    ("mask-size", "convert out.zarr --split train --images images --masks sizes"),
    ("damaged-file", "convert out.zarr --split train --images damaged --masks masks"),
    ("class-ids", "convert out.zarr --split train --images images --masks ids --classes 2"),
    ("split-exists", "convert images --split train --images images"),
    ("remote-store", "convert s3://bucket/out.zarr --split train --images images"),
    (
        "padding",
        "convert out.zarr --split train --images images --masks masks --size 32x32 --fit pad",
    ),
    ("no-split", "inspect nowhere.zarr"),
]


def test_commands_that_fail_end_with_their_topic(files: Path) -> None:
    """In one process: starting one for each would take half a minute."""
    script = (
        "import sys\n"
        "from zarrfeed_tools.application import run\n"
        "for line in sys.argv[1:]:\n"
        "    print('$', line, file=sys.stderr)\n"
        "    try:\n"
        "        run(line.split())\n"
        "    except SystemExit as end:\n"
        "        assert end.code == 1, end.code\n"
    )
    lines = [f"{line} --workers 1" if "convert" in line else line for _, line in FAILURES]
    done = subprocess.run(
        [sys.executable, "-c", script, *lines],
        cwd=files,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = [part.strip() for part in done.stderr.split("$ ")[1:]]
    for (topic, line), text in zip(FAILURES, said, strict=True):
        [error] = [one for one in text.splitlines() if one.startswith("error: ")]
        assert error.endswith(look_up(topic)), f"{line}\n{error}"


def test_what_is_skipped_is_recorded_without_the_topic(files: Path) -> None:
    from zarrfeed_convert import PairedFolders

    with pytest.raises(SourceError, match=r"\(look up: damaged-file\)(\n|$)"):
        convert(PairedFolders(files / "damaged"), files / "a.zarr", split="train", workers=1)
    report = convert(
        PairedFolders(files / "damaged"),
        files / "a.zarr",
        split="train",
        on_error="skip",
        workers=1,
    )
    [(name, why)] = report.skipped
    assert name.endswith("b.png")
    assert "look up" not in why
