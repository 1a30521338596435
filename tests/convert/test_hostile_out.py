"""An OUT that comes from anywhere: nothing outside it is written or removed, whatever it holds."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from zarrfeed.errors import SourceError, StoreError
from zarrfeed_convert import PairedFolders, convert, repack

LINKS = [
    "t~journal.partial",
    "t~journal.partial/run.json.tmp",
    "t~journal.partial/failed-run",
    "t~journal.partial/begun-x",
    "t~journal.partial/000000.npz",
    "t~old.partial",
    "t~old.partial/image",
    "t.partial",
    "t.partial/root.json",
    "t.partial/image",
    "t.partial/image/zarr.json",
    "t.partial/image/c",
    "t.partial/image/c/0/0/0",
    "t.partial/key",
]


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def victim(tmp_path):
    folder = tmp_path / "victim"
    (folder / "c/0/0/0").mkdir(parents=True)
    (folder / "c/0/0/0/0").write_bytes(b"precious")
    for name in ("run.json", "zarr.json", "000000.npz", "file"):
        (folder / name).write_bytes(b"precious")
    return folder


@pytest.mark.parametrize("to", ["folder", "file", "nothing"])
@pytest.mark.parametrize("link", LINKS)
def test_links_in_the_place_of_what_is_written_are_refused(tmp_path, write_pairs, victim, link, to):
    out = tmp_path / "o.zarr"
    (out / link).parent.mkdir(parents=True)
    (out / link).symlink_to({"folder": victim, "file": victim / "file"}.get(to, victim / "new"))
    before = files(victim)
    source = PairedFolders(*write_pairs(3))
    refused = f"{link}: .*found a link to .*victim.*another OUT|needed a zarrfeed dataset"
    for options in ({}, {"restart": True}, {"overwrite": True}, {"classes": 1}):
        with pytest.raises(SourceError, match=refused):
            convert(source, out, split="t", workers=1, **options)
    assert files(victim) == before
    assert (out / link).is_symlink()


@pytest.mark.parametrize("to", ["packed", "repacked"])
def test_a_link_in_the_place_of_a_split_is_not_replaced(tmp_path, write_pairs, to):
    source = PairedFolders(*write_pairs(3))
    for place in ("o.zarr", "elsewhere.zarr"):
        convert(source, tmp_path / place, split="train", workers=1)
    before = files(tmp_path / "elsewhere.zarr")
    link = tmp_path / "o.zarr/linked"
    link.symlink_to(tmp_path / "elsewhere.zarr/train")
    arguments = {"split": "linked", "workers": 1, "overwrite": True}
    with pytest.raises(SourceError, match=r"linked: .*found a link"):  # noqa: PT012
        if to == "packed":
            convert(source, tmp_path / "o.zarr", seed=1, **arguments)
        else:
            repack(tmp_path / "o.zarr/train", tmp_path / "o.zarr", codec="lz4", **arguments)
    assert files(tmp_path / "elsewhere.zarr") == before
    assert link.is_symlink()


def test_a_pipe_is_not_waited_for(tmp_path, write_pairs):
    out = tmp_path / "o.zarr"
    (out / "t~journal.partial").mkdir(parents=True)
    os.mkfifo(out / "t~journal.partial/run.json")
    with pytest.raises(SourceError, match=r"run\.json: .*found a pipe"):
        convert(PairedFolders(*write_pairs(3)), out, split="t", workers=1)
    (tmp_path / "p.zarr").mkdir()
    os.mkfifo(tmp_path / "p.zarr/zarr.json")
    with pytest.raises(SourceError, match="needed a zarrfeed dataset"):
        convert(PairedFolders(*write_pairs(3)), tmp_path / "p.zarr", split="t", workers=1)


def test_a_journal_that_is_none_is_begun_anew(tmp_path, write_pairs):
    journal = tmp_path / "o.zarr/t~journal.partial"
    journal.mkdir(parents=True)
    (journal / "000000.npz").write_bytes(b"PK no record")
    (journal / "run.json").write_text("[" * 100_000)
    (journal / "failed-run").touch()
    source = PairedFolders(*write_pairs(3))
    assert convert(source, tmp_path / "o.zarr", split="t", workers=1).packed == 3
    assert not journal.exists()


def damaged(value):
    """Every entry of a description in turn: of another type, or missing."""
    if isinstance(value, dict):
        for name in value:
            yield {key: entry for key, entry in value.items() if key != name}
            yield from ({**value, name: other} for other in damaged(value[name]))
    for other in (None, 7, "x", [], {}, [[1]], {"a": 1}):
        if type(other) is not type(value):
            yield other


@pytest.mark.parametrize("place", ["", "train"])
def test_a_damaged_description_is_an_error_with_its_name(tmp_path, write_pairs, place):
    source, out = PairedFolders(*write_pairs(3)), tmp_path / "o.zarr"
    convert(source, out, split="train", workers=1)
    path = Path(out, place, "zarr.json")
    whole = json.loads(path.read_text())
    for other in damaged(whole["attributes"]["zarrfeed"]):
        path.write_text(json.dumps({**whole, "attributes": {"zarrfeed": other}}))
        for attempt in (
            lambda: convert(source, out, split="train", workers=1, dry_run=True),
            lambda: repack(out / "train", tmp_path / "p", split="t", workers=1, dry_run=True),
        ):
            try:
                attempt()
            except (SourceError, StoreError) as error:
                assert "o.zarr" in str(error)  # noqa: PT017 (it need not be raised)
