"""An address means one array."""

from __future__ import annotations

import pytest

from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.arrays.array_files import choose_array, split_address
from zarrfeed_convert.sources.file_discovery import fixed_part, stems_of


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
    assert split_address(text) == (file, array)


def test_a_name_is_found_with_and_without_slashes():
    found = {"/a": "", "/g/a": ""}
    assert choose_array("f", "a", found) == "/a"
    assert choose_array("f", "/g/a/", found) == "/g/a"


def test_the_only_array_needs_no_name_and_several_are_listed():
    assert choose_array("f", "", {"x": "(3,) uint8"}) == "x"
    many = {f"a{number:02}": "(3,) uint8" for number in range(12)}
    with pytest.raises(SourceError) as error:
        choose_array("f", "", many)
    assert str(error.value).startswith("f: needed the name of one array, found 12: a00 (3,) uint8")
    assert str(error.value).endswith("a09 (3,) uint8 and 2 more; add it, like f:a00")
    with pytest.raises(SourceError, match=r"^f:q: no such array; there are x \(3,\) uint8$"):
        choose_array("f", "q", {"x": "(3,) uint8"})
    with pytest.raises(SourceError, match="found none"):
        choose_array("f", "q", {})


def test_stems_count_from_the_part_without_wildcards():
    assert fixed_part("/d/e/*/x.npz") == "/d/e"
    assert fixed_part("*.npz") == "."
    assert stems_of(["/d/e/1/x.npz", "/d/e/2/x.npz"], "/d/e") == ["1/x", "2/x"]
    assert stems_of(["x.npz"], ".") == ["x"]
