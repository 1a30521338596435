"""A slot is aligned, shared, and never overwritten while anything still looks at it."""

from __future__ import annotations

import gc
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed.arrays import ALIGNMENT, aligned_empty
from zarrfeed.feed.arena import Arena
from zarrfeed.feed.slot import SlotLayout, Spec

LAYOUT = SlotLayout.of(
    [Spec("image", (5, 3, 3), np.dtype("uint8")), Spec("mask", (5, 3), np.dtype("uint16"))], rows=3
)

specs = st.builds(
    Spec,
    st.just("a"),
    st.lists(st.integers(0, 9), max_size=3).map(tuple),
    st.sampled_from(["uint8", "uint16", "float32", "float64"]).map(np.dtype),
)


@given(st.lists(specs, min_size=1, max_size=5), st.integers(1, 40))
def test_fields_start_on_a_boundary_and_never_overlap(fields: list[Spec], rows: int) -> None:
    layout = SlotLayout.of(fields, rows)
    memory = aligned_empty(layout.nbytes)
    memory[:] = 0
    views = [(slot := layout.slot(memory)).draws.view(np.int64), *slot.arrays]
    for number, view in enumerate(views, 1):
        assert view.ctypes.data % ALIGNMENT == 0
        assert view.flags.c_contiguous
        assert not view.any()  # nobody else has written here
        view[...] = number
    assert layout.nbytes % 4096 == 0


def test_a_slot_comes_back_when_the_last_array_dies() -> None:
    arena = Arena(LAYOUT, 2)
    image, mask = arena.lease(arena.take(), rows=2)
    view = mask[1:, ::2]
    del image, mask
    gc.collect()
    assert arena.free == 1
    del view
    gc.collect()
    assert arena.free == 2
    arena.close()


def test_the_slot_freed_last_is_handed_out_first() -> None:
    arena = Arena(LAYOUT, 4)
    taken = [arena.take() for _ in range(4)]
    for slot in (taken[2], taken[0]):
        arena.give_back(slot)
    assert [arena.take(), arena.take()] == [taken[0], taken[2]]
    with pytest.raises(IndexError):
        arena.take()
    arena.close()


def test_leased_arrays_are_what_the_slot_holds() -> None:
    arena = Arena(LAYOUT, 1)
    slot = arena.take()
    arena.slot(slot).arrays[1][...] = 7
    image, mask = arena.lease(slot, rows=2)
    assert (image.shape, mask.shape) == ((2, 5, 3, 3), (2, 5, 3))
    assert (mask == 7).all()
    assert mask.flags.writeable
    assert {array.ctypes.data % ALIGNMENT for array in (image, mask)} == {0}
    arena.close()
    assert (mask == 7).all()  # the memory outlives the arena


def test_an_arena_is_shared_by_its_descriptor_and_leaves_nothing_open() -> None:
    before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
    arena = Arena(LAYOUT, 2)
    other = Arena(LAYOUT, 2, descriptor=os.dup(arena.descriptor))
    other.slot(1).draws["id"][:] = [3, 1, 4]
    assert arena.slot(1).draws["id"].tolist() == [3, 1, 4]
    arena.close()
    other.close()
    arena.close()
    del arena, other
    gc.collect()
    if before:
        assert set(os.listdir("/proc/self/fd")) <= before
