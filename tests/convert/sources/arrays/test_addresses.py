"""An address means one array, and files pair by what tells them apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.arrays.addresses import (
    Address,
    choose_array,
    pair_files,
    split_address,
    unpaired,
)
from zarrfeed_convert.sources.listing import fixed_part, stems_of


@pytest.mark.parametrize(
    ("text", "file", "array"),
    [
        ("a.h5:/x/y", "a.h5", "/x/y"),
        ("a.h5", "a.h5", ""),
        ("a.h5:", "a.h5", ""),
        ("10:30.h5:x", "10:30.h5", "x"),
        ("10:30/*.npy", "10:30/*.npy", ""),
        (":x", ":x", ""),
    ],
)
def test_the_last_colon_divides_file_and_array(text, file, array):
    assert split_address(text) == Address(file, array)


def test_a_name_is_found_with_and_without_slashes():
    found = {"/a": "", "/g/a": ""}
    assert choose_array(Address("f", "a"), found) == "/a"
    assert choose_array(Address("f", "/g/a/"), found) == "/g/a"


def test_the_only_array_needs_no_name_and_several_are_listed():
    assert choose_array(Address("f", ""), {"x": "(3,) uint8"}) == "x"
    many = {f"a{number:02}": "(3,) uint8" for number in range(12)}
    with pytest.raises(SourceError) as error:
        choose_array(Address("f", ""), many)
    assert str(error.value).startswith("f: needed the name of one array, found 12: a00 (3,) uint8")
    assert str(error.value).endswith("a09 (3,) uint8 and 2 more; add it, like f:a00")
    with pytest.raises(SourceError, match=r"^f:q: no such array; there are x \(3,\) uint8$"):
        choose_array(Address("f", "q"), {"x": "(3,) uint8"})
    with pytest.raises(SourceError, match="found none"):
        choose_array(Address("f", "q"), {})


def test_stems_count_from_the_part_without_wildcards():
    assert fixed_part("/d/e/*/x.npz") == "/d/e"
    assert fixed_part("*.npz") == "."
    assert stems_of(["/d/e/1/x.npz", "/d/e/2/x.npz"], "/d/e") == ["1/x", "2/x"]
    assert stems_of(["x.npz"], ".") == ["x"]


WORDS = st.lists(st.integers(0, 10**6).map(str), min_size=2, max_size=20, unique=True)
FRAME = st.sampled_from(["", "img_", "case-", "a b."])


@given(numbers=WORDS, begin=FRAME, end=st.sampled_from(["", "_mask", "/seg", "-m.x"]))
def test_what_all_names_of_a_side_share_does_not_keep_them_from_pairing(numbers, begin, end):
    images = sorted(f"{number}_img" for number in numbers)
    masks = sorted(f"{begin}{number}{end}" for number in numbers)
    partner = pair_files(images, masks)
    assert sorted(partner) == list(range(len(numbers)))
    for image, place in zip(images, partner, strict=True):
        assert masks[place] == f"{begin}{image.removesuffix('_img')}{end}"


@given(numbers=WORDS, lost=st.data())
def test_a_lost_file_never_shifts_the_others(numbers, lost):
    """Two sides that each lost another file have as many; by order they would pair wrongly."""
    if len(numbers) < 3:
        return
    one, other = lost.draw(st.permutations(numbers))[:2]
    images = sorted(f"{number}_img" for number in numbers if number != one)
    masks = sorted(f"{number}_mask" for number in numbers if number != other)
    with pytest.raises(SourceError) as error:
        pair_files(images, masks)
    assert f"1 image without mask: {other}_img, 1 mask without image: {one}_mask" in str(
        error.value
    )


def test_names_that_have_nothing_in_common_pair_by_order():
    assert pair_files(["dog", "emu"], ["x", "y"]) == [0, 1]
    assert pair_files(["frame1", "frame2"], ["m10", "m11"]) == [0, 1]
    assert pair_files(["only"], ["other"]) == [0]
    assert unpaired(["a"], ["b", "c"]) == ""
