"""Cases that are packed or cut anew by a run that is killed, however often, have the same bytes."""

from __future__ import annotations

import pytest

from cases import CaseArrays, pair
from folders import contents
from killed import killed_until_done
from zarrfeed_convert import convert, verify

SIZES = [(5, 9), (1, 1), (8, 8), (3, 20), (13, 4)]
CASES = {f"case{place}": pair(size, place) for place, size in enumerate(SIZES)}

SETUP = """
import numcodecs.blosc
from zarrfeed_convert import convert, repack
from cases import CaseArrays, pair

numcodecs.blosc.use_threads = False
SIZES = [(5, 9), (1, 1), (8, 8), (3, 20), (13, 4)]
CASES = {f"case{place}": pair(size, place) for place, size in enumerate(SIZES)}
"""
WORK = """
options = {"split": "s", "codec": "lz4", "workers": 1, "shard_size": 200}
if sys.argv[1] == "convert":
    source = CaseArrays(CASES, bad=frozenset({"case2"}))
    convert(source, "o.zarr", tile=(4, 4), classes=3, on_error="skip", **options)
else:
    tile = (3, 7) if sys.argv[1] == "cut" else None
    repack("before.zarr", "o.zarr", tile=tile, **options)
"""


def kills_until_done(how, first, step):
    """Run it again and again, killed a little later each time; return how often it was killed."""
    return len([*killed_until_done(SETUP, WORK, [how], range(first, 20_000, step))])


@pytest.mark.parametrize("how", ["convert", pytest.param("copied", marks=pytest.mark.soak), "cut"])
def test_killed_at_any_step_it_ends_as_if_it_had_not_been(tmp_path, monkeypatch, how):
    monkeypatch.chdir(tmp_path)
    source = CaseArrays(CASES)
    convert(source, "before.zarr", split="s", tile=(4, 4), classes=3, shard_size=150, workers=1)
    assert kills_until_done(how, 10_000, 1) == 0
    (tmp_path / "o.zarr").rename(tmp_path / "expected.zarr")
    kills = kills_until_done(how, 3, 19)
    assert kills > 2
    assert contents(tmp_path / "o.zarr") == contents(tmp_path / "expected.zarr")
    assert verify("o.zarr", workers=1).ok
