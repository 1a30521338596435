"""A subset of keys is the subset of the ids that have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr

from patch_stores import ct, write_classed_cases
from stores import traced_pixels, write_split
from zarrfeed import FrontEnd, GridPatches
from zarrfeed.feed import subset_ids

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

KEYS = [f"Straße/{number:02}" for number in range(9)]


def write_keyed(path: Path, keys: list[str]) -> Path:
    names = np.array([key.encode() for key in keys])
    write_split(path, traced_pixels(len(keys)))
    group = zarr.open_group(str(path))
    group.create_array("key", data=names.view(np.uint8).reshape(len(keys), -1))
    return path


@pytest.fixture
def split(tmp_path: Path) -> Path:
    return write_keyed(tmp_path / "train", KEYS)


def keys_of(split: Path, **options: Any) -> list[str]:
    with FrontEnd(split, 2, workers=0, shuffle=False, **options) as sequence:
        return [key for batch in range(len(sequence)) for key in sequence.batch_keys(batch)]


@pytest.mark.parametrize(
    "subset",
    [KEYS[4:1:-2], np.array(KEYS)[[8, 0]], np.array([KEYS[3]], object), tuple(KEYS)],
    ids=["list", "array", "objects", "all"],
)
def test_samples_come_in_the_order_of_the_keys(
    split: Path, monkeypatch: pytest.MonkeyPatch, subset: Iterable[str]
) -> None:
    monkeypatch.setattr(subset_ids, "_BLOCK", 2)
    assert keys_of(split, subset=subset) == list(subset)


def test_one_key_is_one_sample(split: Path) -> None:
    assert keys_of(split, subset=KEYS[7]) == [KEYS[7]]


def test_cases_are_chosen_by_key_for_patches(tmp_path: Path) -> None:
    cases = {key: ct((4, 5, 6), 0, lesions=2) for key in KEYS}
    split = write_classed_cases(tmp_path / "train", cases, (4, 5, 4))
    patches = GridPatches((4, 5, 6))
    assert keys_of(split, patches=patches, subset=KEYS[1:3]) == KEYS[1:3]
    assert keys_of(split, subset=[f"{KEYS[5]}#0,0,4"]) == [f"{KEYS[5]}#0,0,4"]


def test_what_is_no_key_is_told(split: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'Strasse/03', which is none .* mean 'Straße/03'"):
        keys_of(split, subset=["Strasse/03"])
    with pytest.raises(ValueError, match=r"none of the 9 samples .*: such as 'Straße/00', "):
        keys_of(split, subset=["?"])
    with pytest.raises(ValueError, match="subset holds id 2 2 times"):
        keys_of(split, subset=[KEYS[2]] * 2)
    other = write_split(tmp_path / "other", traced_pixels(3))
    with pytest.raises(ValueError, match="stores no keys: give ids from 0 to 2, a slice"):
        keys_of(other, subset=["a"])
    twice = write_keyed(tmp_path / "twice", ["a", "b", "a"])
    assert keys_of(twice, subset=["b"]) == ["b"]
    with pytest.raises(ValueError, match="names sample 'a', but 0 and 2 have this key"):
        keys_of(twice, subset=["a"])
