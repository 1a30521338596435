"""Which samples does a condition choose?"""

from __future__ import annotations

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed.pictures.palette import Palette
from zarrfeed.views.chosen import spread
from zarrfeed.views.conditions import ConditionError, parse_condition

CT = Palette(("background", "organ", "lesion", "left lung, upper", "empty", "and"))
PIXELS = np.array([[100, 0, 0, 0, 0, 0], [60, 30, 10, 0, 0, 0], [0, 0, 0, 50, 40, 10]])
SIZES = np.full(3, 100)


def chosen(text: str, palette: Palette = CT) -> list[int]:
    condition = parse_condition(text, palette, PIXELS.shape[1])
    return np.flatnonzero(condition.holds(PIXELS, SIZES)).tolist()


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("lesion>0", [1]),
        ("lesion == 0", [0, 2]),
        ("lesion=0", [0, 2]),
        ("lesion!=0", [1]),
        ("organ>=0.3", [1]),
        ("organ>=30%", [1]),
        ("organ>30%", []),
        ("organ<31px", [0, 1, 2]),
        ("organ>=30px and lesion>=10px", [1]),
        ("background<1, lesion==0", [2]),
        ("background < 1 AND lesion == 0", [2]),
        ("'left lung, upper'>0", [2]),
        ('"left lung, upper" > 49px', [2]),
        ("empty", [0]),
        ("not empty", [1, 2]),
        ("not empty, background>0", [1]),
        ("empty>0", [2]),
        ("and>0", [2]),
        ("and>0 and empty>0", [2]),
        ("background>=1e-2", [0, 1]),
    ],
)
def test_conditions_choose_what_they_say(text, numbers):
    assert chosen(text) == numbers


def test_classes_without_names_have_their_ids():
    assert chosen("2>0", Palette()) == [1]
    assert chosen("empty", Palette()) == [0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needed a condition such as"),
        ("lesion", "needed a condition such as .*found 'lesion'"),
        ("lesion>", "found 'lesion >'"),
        ("leson>0", r"found 'leson': did you mean 'lesion'\?"),
        ("xyz>0", "it has background, organ"),
        ("lesion>5", "needed a share of the pixels from 0 to 1, found '5': write 5px"),
        ("lesion>150%", "write 1.5px"),
        ("lesion>-1", "needed a number like"),
        ("lesion>0 organ>0", "needed 'and' or a comma before 'organ'"),
        ("lesion>0 and", "found 'nothing'"),
        ("lesion>0 or organ>0", "needed 'and' or a comma before 'or'"),
        ("__import__('os').system('x')", "needed"),
        ("lesion>0 and 'a", "can't read"),
        ("not lesion>0", "needed"),
        ("lesion>nan", "needed a number like"),
        ("a" * 100_000, "needed a condition"),
    ],
)
def test_errors_say_what_is_needed(text, message):
    with pytest.raises(ConditionError, match=message):
        parse_condition(text, CT)


@given(st.text(max_size=40))
def test_any_text_is_a_condition_or_an_error_that_is_short(text):
    told = ""
    try:
        parse_condition(text, CT)
    except ConditionError as error:
        told = str(error)
    assert len(told) < 1000


@given(
    st.sampled_from([">", ">=", "<", "<=", "==", "!="]),
    st.integers(0, 100),
    st.lists(st.integers(0, 100), min_size=1, max_size=5),
)
def test_pixels_compare_as_python_does(comparison, value, counts):
    functions = {
        ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
        "==": operator.eq, "!=": operator.ne,
    }  # fmt: skip
    pixels = np.array([[100 - count, count] for count in counts])
    condition = parse_condition(f"a{comparison}{value}px", Palette(("background", "a")))
    expected = [functions[comparison](count, value) for count in counts]
    assert condition.holds(pixels, np.full(len(counts), 100)).tolist() == expected


@given(st.integers(1, 1000), st.integers(1, 50), st.one_of(st.none(), st.integers(0, 9)))
def test_numbers_are_spread_without_repeats(total, count, seed):
    numbers = spread(range(total), count, seed)
    assert len(set(numbers)) == len(numbers) == min(total, count)
    assert numbers == sorted(numbers)
    if seed is None and len(numbers) > 1:
        steps = np.diff(numbers)
        assert steps.max() - steps.min() <= 1
    assert numbers == spread(range(total), count, seed)


@given(st.integers(1, 100), st.integers(1, 10_000))
def test_a_share_of_whole_pixels_is_exact(percent, hundreds):
    pixels = np.array([[hundreds * (100 - percent), hundreds * percent]])
    for text, held in ((">=", True), ("==", True), ("<=", True), (">", False), ("<", False)):
        condition = parse_condition(f"a{text}{percent}%", Palette(("b", "a")))
        assert condition.holds(pixels, pixels.sum(axis=1)).tolist() == [held]
