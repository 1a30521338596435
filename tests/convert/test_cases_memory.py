"""Packing cases takes the memory of one at a time, and refuses claims that no memory holds."""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass, field

import numpy as np
import pytest

from cases import CaseArrays, pair
from stored_samples import require_verified
from zarrfeed.errors import SourceError
from zarrfeed_convert import Header, convert
from zarrfeed_convert.geometry import GRID, Geometry
from zarrfeed_convert.planning import survey
from zarrfeed_convert.planning.survey_tasks import Measured


@dataclass
class Watched(CaseArrays):
    """Cases that know which of their arrays are still in memory when the next one is decoded."""

    alive: list[int] = field(default_factory=list)
    given: list[weakref.ref] = field(default_factory=list)

    def _watch(self, arrays):
        self.alive.append(sum(ref() is not None for ref in self.given))
        arrays = tuple(values.copy() for values in arrays)
        self.given += map(weakref.ref, arrays)
        return arrays

    def read(self, sample):
        return self._watch(super().read(sample))

    def read_window(self, sample, window):
        return self._watch(values[window] for values in super().read(sample))


@pytest.mark.parametrize("in_windows", [True, False])
@pytest.mark.parametrize("tile", [(1, 6, 6), (4, 6, 6), (2, 3, 4), (4, 8, 8)])
def test_a_case_is_gone_when_the_next_one_is_decoded(tmp_path, tile, in_windows):
    source = Watched({f"a{i}": pair((4, 6, 6), i) for i in range(4)}, in_windows)
    convert(source, tmp_path / "o.zarr", split="s", tile=tile, classes=3, workers=1, codec="raw")
    assert len(source.alive) >= 4
    assert not any(source.alive)


def test_a_sample_is_gone_when_the_next_one_is_decoded(tmp_path):
    source = Watched({f"a{i}": pair((6, 6), i) for i in range(4)}, in_windows=False)
    convert(source, tmp_path / "o.zarr", split="s", classes=3, workers=1)
    assert len(source.alive) >= 4
    assert not any(source.alive)


def test_tiles_are_in_the_order_of_their_grid_whatever_the_order_of_cases():
    sizes = [(5, 7), (1, 1), (4, 4)]
    headers = tuple(Header({"image": ((*size, 1), "uint8")}) for size in sizes)
    measured = Measured((2, 5, 7), headers)
    keys = ["", "", "c", "", "", "a", "", "b"]
    rows = survey.lay_out(keys, measured, Geometry((2, 3), GRID), shuffled=False, seed=0)
    assert rows.item.tolist() == [5, *[7] * 4, *[2] * 9]
    grid = [[y, x] for y in (0, 2, 4) for x in (0, 3, 6)]
    assert rows.origin.tolist() == [[0, 0], [0, 0], [0, 3], [2, 0], [2, 3], *grid]
    assert rows.size.tolist() == [[1, 1], *[[4, 4]] * 4, *[[5, 7]] * 9]


@pytest.mark.parametrize("size", [(2**40, 2**40), (2**31, 2**31)])
def test_claims_of_more_tiles_than_memory_can_list_name_their_case(tmp_path, size):
    class Claims(CaseArrays):
        def probe(self, sample):
            if self.keys[sample] != "b":
                return super().probe(sample)
            return Header({"image": ((*size, 3), "uint8")})

    source = Claims({key: {"image": pair((5, 5))["image"]} for key in "abc"})
    with pytest.raises(SourceError, match=r"^b: needed cases whose tiles can be listed") as caught:
        convert(source, tmp_path / "o.zarr", split="s", tile=(8, 8), workers=1)
    assert f"{math.prod(-(-extent // 8) for extent in size):,} of them of this" in str(caught.value)


def test_affines_that_turn_pixels_in_another_way_are_not_mixed_by_resuming(tmp_path):
    cases = {f"a{i}": pair((6, 6, 6), i) for i in range(6)}
    upright, upside_down = np.eye(4), np.diag([1.0, 1, -1, 1])
    upside_down[2, 3] = 5

    class Stopped(CaseArrays):
        left = 4

        def read(self, sample):
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt
            return super().read(sample)

    def pack(kind, affine, **options):
        source = kind(cases, in_windows=False, affines=dict.fromkeys(cases, affine))
        convert(
            source, tmp_path / "o.zarr", split="s", classes=3, workers=1, tile=(3, 3, 3),
            codec="raw", shard_size=27 * 3 * 8, orient="RAS", **options,
        )  # fmt: skip
        return source

    with pytest.raises(KeyboardInterrupt):
        pack(Stopped, upright)
    with pytest.raises(SourceError, match="digest of the affines of originals"):
        pack(CaseArrays, upside_down)
    pack(CaseArrays, upright)  # is resumed
    source = pack(CaseArrays, upside_down, overwrite=True)
    require_verified(tmp_path / "o.zarr", source=source)
