"""Classes of several stores get common ids by name, and no pixel gets another class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed.store.mixed.class_join import ClassTable, Relabelling, id_table, join_classes
from zarrfeed.store.mixed.differences import differing, table_of

NAMES = st.lists(st.sampled_from("abcdefgh"), min_size=1, unique=True).map(tuple)


@st.composite
def tables(draw: st.DrawFn) -> ClassTable:
    names = draw(NAMES)
    ignore = draw(st.none() | st.integers(0, len(names) - 1) | st.integers(8, 255))
    return ClassTable(names, ignore)


@given(
    stores=st.lists(tables(), min_size=1, max_size=4),
    given_names=st.none() | NAMES,
    dtype=st.sampled_from(["u1", "u2", "i2", "i4"]),
)
def test_a_pixel_keeps_the_name_of_its_class_or_is_ignored(
    stores: list[ClassTable], given_names: Any, dtype: str
) -> None:
    names = {*(stores[0].names if given_names is None else given_names)}
    own = [{name for at, name in enumerate(s.names) if at != s.ignore} for s in stores]
    if any(mine and not mine & names for mine in own):
        with pytest.raises(ValueError, match="has none of its classes"):
            join_classes(stores, given_names)
        return
    joined = join_classes(stores, given_names)
    common = joined.table
    assert common.names == (stores[0].names if given_names is None else given_names)
    void = None if common.ignore is None or common.ignore >= len(common.names) else common.ignore
    for store, ids, unknown in zip(stores, joined.ids, joined.unknown, strict=True):
        mask = np.arange(len(store.names), dtype=dtype)
        if store.ignore is not None:
            mask = np.append(mask, np.array(store.ignore, dtype))
        found = mask.copy()
        if ids is not None:
            table = id_table(ids, store, common.ignore, found.dtype)
            Relabelling(table, common.ignore).apply(found)
        for before, after in zip(mask.tolist(), found.tolist(), strict=True):
            if before == store.ignore or store.names[before] in unknown:
                assert after == common.ignore
            else:
                assert common.names[after] == store.names[before] or after == void


def test_first_store_names_the_classes():
    joined = join_classes([ClassTable(("road", "car")), ClassTable(("car", "cow", "road"))], None)
    assert joined.table == ClassTable(("road", "car"), 255)
    assert joined.ids == (None, (1, 255, 0, 255))
    assert joined.unknown == ((), ("cow",))
    assert joined.chose_ignore


def test_given_names_fix_the_ids():
    joined = join_classes([ClassTable(("a", "b"), 255), ClassTable(("b", "a"))], ["b", "a"])
    assert joined.ids == ((1, 0, 255), None)
    assert joined.table.ignore == 255
    assert not joined.chose_ignore


def test_an_ignore_id_that_is_a_class_here_moves():
    """Id 2 is ignored in the first store, and the third class of the mix."""
    joined = join_classes([ClassTable(("a", "b"), 2)], ["a", "b", "c"])
    assert joined.table.ignore == 255
    assert joined.ids == ((0, 1, 255),)


def test_a_named_ignore_id_stays_that_name():
    joined = join_classes([ClassTable(("a", "void"), 1), ClassTable(("void", "a"), 0)], None)
    assert joined.table.ignore == 1
    assert joined.ids == (None, (1, 0, 1))


def test_stores_without_names_keep_their_ids():
    joined = join_classes([ClassTable((), 255), ClassTable((), 0)], None)
    assert joined.ids == (None, (255,))
    mask = np.array([0, 1, 2], np.uint8)
    Relabelling(id_table((255,), ClassTable((), 0), 255, mask.dtype), 255).apply(mask)
    assert mask.tolist() == [255, 1, 2]


def test_names_and_no_names_are_refused():
    with pytest.raises(ValueError, match=r"stores number 2 of the Mix have no class names"):
        join_classes([ClassTable(("a",)), ClassTable()], None)


def test_a_store_without_any_common_class_is_refused():
    said = r"store number 1 .*the Mix has cars, y, the store car, cow; did you mean 'car'\?"
    with pytest.raises(ValueError, match=said):
        join_classes([ClassTable(("car", "cow"))], ["cars", "y"])


def test_masks_without_room_for_an_ignore_id_are_refused():
    full = tuple(f"c{n}" for n in range(256))
    with pytest.raises(ValueError, match="256 classes take all ids up to 255"):
        join_classes([ClassTable(full), ClassTable(("x", "c0"))], None)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i1", "i2", "u4", "i4"])
@pytest.mark.parametrize("strided", [False, True])
def test_masks_of_any_layout_are_relabelled_in_place(dtype: str, strided: bool) -> None:
    mask = np.array([[0, 1, 2], [2, 1, 0]], dtype)
    out = np.empty((2, 6), dtype)[:, ::-2] if strided else np.empty((2, 3), dtype)
    out[...] = mask
    table = id_table((2, 0, 1, 9), ClassTable(("a", "b", "c")), 9, mask.dtype)
    Relabelling(table, 9).apply(out)
    assert out.tolist() == [[2, 0, 1], [1, 0, 2]]


def test_large_ids_are_ignored():
    mask = np.array([0, -3, 1 << 20], np.int32)
    Relabelling(id_table((1, 9), ClassTable(("a",)), 9, mask.dtype), 9).apply(mask)
    assert mask.tolist() == [1, 9, 9]


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("size", [200_000, 199_999])
def test_a_large_mask_is_relabelled_in_parts(first: int, size: int) -> None:
    values = np.arange(size, dtype=np.uint32).astype(np.uint8)
    mask = np.empty(size + 1, np.uint8)[first : first + size]
    mask[:] = values
    Relabelling(np.arange(256, dtype=np.uint8)[::-1].copy(), None).apply(mask)
    assert (mask == 255 - values).all()


def test_a_table_shows_what_differs_alone():
    facts = {"image": ["uint8 (8, 8)", "int16 (8, 8)"], "mask": ["uint8 (8, 8)"] * 2}
    assert table_of(["a\nb", "c"], differing(facts)).splitlines() == [
        "      image",
        "a\\nb  uint8 (8, 8)",
        "c     int16 (8, 8)",
    ]


def test_classes_that_nobody_named_are_told() -> None:
    named, numbered = ClassTable(("road", "car")), ClassTable(("0", "1"))
    for tables_of_both in ([named, numbered], [numbered, named]):
        with pytest.raises(ValueError, match=r"nobody named those .* give .* --classes"):
            join_classes(tables_of_both, None)
