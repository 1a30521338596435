"""A read that breaks goes on at the byte reached, reads one object, and ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed.store.objects.errors import ObjectError
from zarrfeed.store.objects.range_reading import RangeReading
from zarrfeed.store.objects.stored_object import StoredObject

if TYPE_CHECKING:
    from zarrfeed.store.objects.errors import Kind

OBJECT = StoredObject("a", 100, '"tag"')

ATTEMPTS: dict[Kind, int] = {"cut": 5, "stalled": 2}  # in vain, after which a read is given up
KINDS = st.sampled_from(sorted(ATTEMPTS))
answers = st.lists(st.tuples(st.integers(0, 40), KINDS), max_size=40)  # bytes, then what happens


@given(start=st.integers(0, 100), whole=st.booleans(), answers=answers)
def test_every_byte_is_read_once_unless_the_object_was_asked_for_in_vain(
    start: int, whole: bool, answers: list[tuple[int, Kind]]
) -> None:
    reading = RangeReading("s3://b/a", start, None if whole else 90)
    read: list[int] = []
    vain = 0
    while asked := reading.left:
        first, last = asked
        nbytes, kind = answers.pop(0) if answers else (100, "cut")
        reading.answered(OBJECT, (first, last or 100))
        arrived = range(first, min(first + nbytes, last or 100))
        read += arrived
        reading.advance(len(arrived))
        if not reading.left:
            reading.ended()
            break
        vain = 0 if arrived else vain + 1
        pause = reading.pause_after(ObjectError("broke", kind))
        assert (pause is None) == (vain >= ATTEMPTS[kind])
        if pause is None:
            return
        assert pause == (0.2 * 2 ** (vain - 1) if vain else 0)
    assert read == list(range(start, 100 if whole else 90))


def test_an_answer_that_ends_too_early_without_an_error_counts_as_a_cut() -> None:
    reading = RangeReading("s3://b/a", 0, 100)
    reading.answered(OBJECT, (0, 100))
    reading.advance(60)
    with pytest.raises(ObjectError, match=r"s3://b/a: needed bytes up to 100, .* at 60") as caught:
        reading.ended()
    assert caught.value.kind == "cut"


@pytest.mark.parametrize("now", [StoredObject("a", 100, '"x"'), StoredObject("a", 99, '"tag"')])
def test_another_object_is_noticed_before_its_bytes_are_read(now: StoredObject) -> None:
    reading = RangeReading("s3://b/a", 0, 90)
    reading.answered(OBJECT, (0, 90))
    reading.advance(50)
    with pytest.raises(ObjectError, match="s3://b/a: the object was replaced") as caught:
        reading.answered(now, (50, 90))
    assert reading.pause_after(caught.value) is None


@pytest.mark.parametrize("etag", ['"tag"', "tag", 'W/"tag"'])
def test_the_tag_of_a_list_is_that_of_an_answer_however_it_is_written(etag: str) -> None:
    RangeReading("s3://b/a", 0, None, etag).answered(OBJECT, (0, 100))
    with pytest.raises(ObjectError, match="was replaced"):
        RangeReading("s3://b/a", 0, None, f"{etag}2").answered(OBJECT, (0, 100))


def test_an_object_that_is_too_short_says_how_long_it_is() -> None:
    with pytest.raises(ObjectError, match="needed bytes 90 to 110, but the object has 100 bytes"):
        RangeReading("s3://b/a", 90, 110).answered(OBJECT, (90, 100))
