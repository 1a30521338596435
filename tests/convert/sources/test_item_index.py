"""Every item lies in one part, at one place."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zarrfeed_convert.sources.item_index import ItemIndex

counts = st.lists(st.integers(0, 5), max_size=12)


@given(counts)
def test_spans_follow_each_other_and_hold_every_item_once(counts: list[int]) -> None:
    index = ItemIndex.of(counts)
    items = [item for part in range(len(counts)) for item in index.span(part)]
    assert items == list(range(len(index)))
    assert [len(index.span(part)) for part in range(len(counts))] == counts


@given(counts)
def test_an_item_is_located_where_its_part_has_it(counts: list[int]) -> None:
    index = ItemIndex.of(counts)
    for item in range(len(index)):
        part, place = index.locate(item)
        assert index.span(part)[place] == item
