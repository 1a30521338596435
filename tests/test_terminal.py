"""Names are shown as they are: nothing in them is taken for markup, pictures or commands."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from rich.text import Text

from zarrfeed.errors import ReadError, SourceError, StoreError, WorkerError, printable
from zarrfeed_convert import ClassFacts, PairedFolders, class_cells, convert
from zarrfeed_tools.inspect_command import inspect
from zarrfeed_tools.tables import table_of_cells
from zarrfeed_tools.terminal import console, shown

# A style, a picture, a colour, a bell, another direction, a line, an 8-bit CSI, half a letter.
NAME = "a:on:[red]\x1b[31m\x07\u202e\n\x9b1m\udc80z"
ESCAPED = r"a:on:[red]\x1b[31m\x07\u202e\n\x9b1m\udc80z"


def printed(capsys, thing):
    console().print(thing, soft_wrap=True)
    return capsys.readouterr().out


def test_text_that_can_be_shown_stays_as_it_is():
    for text in ("a b", "Straße", "日本語\u3000", "📷", "C:\\new", ""):
        assert printable(text) == text
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"
    assert printable(NAME) == ESCAPED


@pytest.mark.parametrize("error", [StoreError, ReadError, SourceError])
def test_errors_are_one_line_without_control_characters(error):
    assert str(error(f"{NAME}: needed")) == f"{ESCAPED}: needed"
    assert str(error()) == ""


def test_what_a_transform_raises_keeps_its_lines():
    assert str(WorkerError("one\ntwo\x1b")) == "one\ntwo\\x1b"


def test_a_console_shows_names_as_they_are(capsys):
    assert printed(capsys, f"[bold]{shown(NAME)}[/]") == f"{ESCAPED}\n"
    assert printed(capsys, "[bold]:x: \x1b[31m[/]") == ":x: \\x1b[31m\n"
    assert ESCAPED in printed(capsys, table_of_cells(class_cells([ClassFacts(0, NAME, 1, 1.0)])))


def test_a_terminal_gets_no_sequence_of_a_name():
    out = console()
    out.file, out._force_terminal = io.StringIO(), True
    out.print(f"[bold]{shown(NAME)}[/]", table_of_cells(class_cells([ClassFacts(0, NAME, 1, 1.0)])))
    assert "\x1b[31m" not in out.file.getvalue()
    assert Text.from_ansi(out.file.getvalue()).plain.startswith(ESCAPED)


@pytest.fixture
def pairs(tmp_path):
    for folder, value in (("i", 200), ("m", 1)):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.full((4, 4), value, np.uint8)).save(tmp_path / folder / "a.png")
        os.rename(tmp_path / folder / "a.png", tmp_path / folder / f"{NAME}.png")
    return tmp_path / "i", tmp_path / "m"


def test_the_command_names_such_files_when_it_fails(pairs, tmp_path):
    (pairs[0] / f"{NAME}.png").write_bytes(b"no image")
    words = [
        "convert",
        tmp_path / "o.zarr",
        "--split",
        "t",
        "--images",
        pairs[0],
        "--masks",
        pairs[1],
    ]
    run = subprocess.run(
        [sys.executable, "-m", "zarrfeed_tools.cli", *words],
        capture_output=True, timeout=60, check=False, env={**os.environ, "COLUMNS": "400"},
    )  # fmt: skip
    assert run.returncode == 1
    assert f"{ESCAPED}.png: cannot be decoded".encode() in run.stderr
    assert not {0x1B, 0x07} & {*run.stderr, *run.stdout}


def test_such_keys_are_packed_kept_and_inspected(pairs, tmp_path, capsys):
    from zarrfeed import open_split

    convert(PairedFolders(*pairs), tmp_path / "o.zarr", split="t", classes=["x", NAME], workers=1)
    split = open_split(tmp_path / "o.zarr" / "t")
    assert split.classes == ("x", NAME)
    inspect(tmp_path / "o.zarr")
    assert ESCAPED in capsys.readouterr().out
    inspect(tmp_path / "o.zarr", as_json=True)
    assert json.loads(capsys.readouterr().out)[0]["classes"][1]["name"] == NAME


def test_a_dataset_of_thousands_of_classes_is_summed_up(capsys):
    rows = [ClassFacts(number, f"c{number}", 1, 0.0) for number in range(5000)]
    out = printed(capsys, table_of_cells(class_cells(rows)))
    assert len(out.splitlines()) < 80
    assert "… 4,936 more; --json lists all" in out
    assert "c4999" in out
