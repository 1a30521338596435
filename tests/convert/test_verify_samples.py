"""Originals of a Python iterable are compared if they are given, and never count as damage."""

from __future__ import annotations

import re

import numpy as np
import pytest
from typer.testing import CliRunner

from zarrfeed.errors import SourceError
from zarrfeed_convert import convert, repack, verify
from zarrfeed_tools.application import app

RNG = np.random.default_rng(5)
IMAGES = RNG.integers(0, 255, (4, 6, 8, 3), np.uint8)
MASKS = RNG.integers(0, 2, (4, 6, 8), np.uint8)
NOTE = "samples came from a Python iterable, which cannot be opened again"


def pairs(count=4):
    return list(zip(IMAGES[:count], MASKS[:count], strict=True))


@pytest.fixture(autouse=True)
def _packed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    convert(pairs(), "o.zarr", split="t", classes=2, workers=1)


def test_originals_that_cannot_be_opened_again_are_no_damage():
    for source in (True, {"images": "elsewhere"}):
        found = verify("o.zarr/t", source=source, workers=1)
        assert found.ok
        assert found.splits[0].originals == 0
        assert found.splits[0].notes[0].startswith(NOTE)
    result = CliRunner().invoke(app, ["verify", "o.zarr", "--source"])
    assert result.exit_code == 0, result.output
    assert f"note: {NOTE}: they were not compared" in result.stdout
    assert "its originals are not" not in result.stdout


def test_samples_that_are_given_are_compared():
    found = verify("o.zarr/t", source=iter(pairs()), workers=1)
    assert found.ok
    assert found.splits[0].originals == 4
    assert found.splits[0].notes == ()
    changed = pairs()
    changed[2] = (IMAGES[0], MASKS[2])
    [problem] = verify("o.zarr/t", source=changed, workers=1).problems
    assert (problem.kind, problem.key) == ("original-changed", "00000002")
    [problem] = verify("o.zarr/t", source=pairs(3), workers=1).problems
    assert (problem.kind, problem.key) == ("original-missing", "00000003")
    with pytest.raises(SourceError, match="needed class ids"):
        verify("o.zarr/t", source=[(IMAGES[0], IMAGES[0])], workers=1)
    with pytest.raises(SourceError, match="found str 'images'"):
        verify("o.zarr/t", source="images", workers=1)


def test_volumes_without_channels_are_known_by_the_split():
    volumes = [{"image": IMAGES[..., 0]}]
    convert(volumes, "v.zarr", split="t", size=(4, 6, 8), workers=1)
    found = verify("v.zarr/t", source=volumes, workers=1)
    assert found.ok
    assert found.splits[0].originals == 1


def test_damage_beside_such_originals_is_still_damage(tmp_path):
    shard = next(path for path in (tmp_path / "o.zarr/t/image/c").rglob("*") if path.is_file())
    content = bytearray(shard.read_bytes())
    content[5] ^= 1
    shard.write_bytes(content)
    found = verify("o.zarr/t", source=True, workers=1)
    assert not found.ok
    assert {problem.kind for problem in found.problems} >= {"file-damaged"}
    assert found.splits[0].notes[-1].startswith(NOTE)


def test_a_split_repacked_from_such_splits_has_one_note():
    convert(pairs(2), "o.zarr", split="u", classes=2, workers=1)
    repack(["o.zarr/t", "o.zarr/u"], "p.zarr", split="t", prefix_keys=True, workers=1)
    found = verify("p.zarr/t", source=True, workers=1)
    assert found.ok
    assert [note.startswith(NOTE) for note in found.splits[0].notes] == [True]


@pytest.mark.parametrize("again", [pairs(3), pairs()[::-1]])
def test_other_samples_are_said_to_be_others(again):
    with pytest.raises(
        SourceError, match=r"packed otherwise \((number .*; )?other samples"
    ) as error:
        convert(again, "o.zarr", split="t", classes=2, workers=1)
    assert not re.search("digest|facts", str(error.value))
