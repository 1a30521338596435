"""The feeder takes no more memory than there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed import ZarrSequence
from zarrfeed.feeder import HELD
from zarrfeed.memory import affordable_depth

if TYPE_CHECKING:
    from pathlib import Path


@given(st.integers(1, 1000), st.integers(1, 10**9), st.integers(0, 10**12))
def test_the_depth_fits_half_of_the_free_memory_or_is_one(
    depth: int, slot_nbytes: int, available: int
) -> None:
    found = affordable_depth(depth, slot_nbytes, available, held=HELD)
    assert 1 <= found <= depth
    assert found == 1 or (found + HELD) * slot_nbytes <= available / 2
    if found < depth:  # one more would not have fitted
        assert (found + 1 + HELD) * slot_nbytes > available / 2 - 1


def test_little_memory_means_fewer_slots_and_a_warning_with_the_arithmetic(
    split: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Little:
        available = 2 * 7 * 4096  # half of it is seven slots of a page

    monkeypatch.setattr(psutil, "virtual_memory", Little)
    with ZarrSequence(split, 2, workers=2) as seq:
        with pytest.warns(RuntimeWarning, match=r"\(10 \+ 4\) batches × 4,096 bytes = 57,344"):
            batches: list[Any] = list(seq)
        assert len(batches) == 11
