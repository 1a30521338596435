"""Every epoch visits every sample exactly once, in an order that depends on its seed alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed.order.large_shuffle import IndexShuffle
from zarrfeed.order.schedule import Schedule
from zarrfeed.order.shuffle import (
    BLOCKS_MIXED,
    IN_MEMORY,
    Shuffle,
    block_permutation,
    epoch_order,
    permutation,
)
from zarrfeed.store.read_plan import ReadPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

sizes = st.integers(0, 300)
limits = st.sampled_from([0, 10, IN_MEMORY])  # samples whose order is kept in memory
seeds = st.integers(0, 2**40)
shuffles: st.SearchStrategy[Shuffle] = st.sampled_from([True, False, "block"])


def schedules(**fixed: object) -> st.SearchStrategy[Schedule]:
    """Every schedule that the front door lets through, up to a few hundred samples."""
    drawn: dict[str, st.SearchStrategy[object]] = {
        "ids": st.lists(st.integers(0, 5000), unique=True, min_size=1, max_size=200).map(
            lambda ids: np.array(ids, np.int64)
        )
        | st.builds(range, st.integers(0, 9), st.integers(10, 400), st.integers(1, 3)),
        "batch_size": st.integers(1, 70),
        "shuffle": shuffles,
        "block": st.integers(1, 40),
        "seed": seeds,
        "drop_remainder": st.booleans(),
        "rank": st.just(0),
        "world_size": st.just(1),
        "in_memory": limits,
    }
    drawn |= {name: st.just(value) for name, value in fixed.items()}
    return st.builds(Schedule, **drawn)  # type: ignore[arg-type]


def epoch_of(schedule: Schedule, epoch: int) -> list[int]:
    """All batches of an epoch, one after the other."""
    batches = range(schedule.batches)
    return [i for batch in batches for i in schedule.batch_ids(epoch, batch).tolist()]


def test_an_order_can_be_checked_on_paper() -> None:
    words = np.random.Philox(np.random.SeedSequence((0, 0))).random_raw(6)
    assert permutation(6, seed=0, epoch=0).tolist() == sorted(range(6), key=lambda i: words[i])


def test_orders_never_change_between_releases() -> None:
    """A published experiment must stay repeatable, whatever NumPy or zarrfeed is installed."""
    assert permutation(10, seed=1, epoch=2).tolist() == [7, 1, 3, 0, 4, 8, 9, 2, 6, 5]
    assert block_permutation(10, block=1, seed=1, epoch=2).tolist() == [
        7,
        1,
        3,
        0,
        4,
        8,
        9,
        6,
        2,
        5,
    ]
    computed = IndexShuffle(10, (1, 2))(np.arange(10))
    assert computed.tolist() == [0, 7, 3, 4, 5, 6, 2, 9, 1, 8]
    far = IndexShuffle(10**8, (1, 2))(np.array([0, 1, 10**8 - 1]))
    assert far.tolist() == [79963181, 66223243, 72875317]
    blocks = epoch_order(20, shuffle="block", block=2, seed=1, epoch=2, in_memory=0)
    assert blocks(np.arange(20)).tolist() == [
        13,
        7,
        17,
        3,
        6,
        5,
        18,
        2,
        12,
        16,
        0,
        9,
        1,
        4,
        19,
        8,
        10,
        15,
        11,
        14,
    ]


@given(st.integers(1, 300), st.integers(1, 50), seeds, st.sampled_from([True, "block"]))
def test_up_to_the_limit_an_order_is_what_it_always_was(
    size: int, block: int, seed: int, shuffle: Shuffle
) -> None:
    order = epoch_order(size, shuffle=shuffle, block=block, seed=seed, epoch=1, in_memory=size)
    kept = (
        permutation(size, seed=seed, epoch=1)
        if shuffle is True
        else block_permutation(size, block=block, seed=seed, epoch=1)
    )
    assert order(np.arange(size)).tolist() == kept.tolist()
    assert IN_MEMORY == 1 << 22, "orders of stores in between would change"


@given(sizes, seeds, st.integers(0, 1000))
def test_a_permutation_holds_every_position_once(size: int, seed: int, epoch: int) -> None:
    assert sorted(permutation(size, seed=seed, epoch=epoch)) == list(range(size))


@given(st.integers(40, 300), seeds)
def test_epochs_and_seeds_differ(size: int, seed: int) -> None:
    first = permutation(size, seed=seed, epoch=0).tolist()
    assert first != permutation(size, seed=seed, epoch=1).tolist()
    assert first != permutation(size, seed=seed + 1, epoch=0).tolist()


@given(st.integers(1, 2000), seeds, st.integers(1, 12))
def test_a_computed_shuffle_holds_every_value_once(size: int, seed: int, rounds: int) -> None:
    values = IndexShuffle(size, (seed,), rounds=rounds)(np.arange(size))
    assert sorted(values) == list(range(size))


@given(st.integers(2**22, 2**61), seeds, st.lists(st.integers(0, 2**61), min_size=2, unique=True))
def test_a_computed_shuffle_never_leaves_its_size(size: int, seed: int, drawn: list[int]) -> None:
    places = np.unique(np.array(drawn) % size)
    values = IndexShuffle(size, (seed,))(places)
    assert (values >= 0).all()
    assert (values < size).all()
    assert np.unique(values).size == places.size


@given(st.integers(1, 300), st.integers(1, 50), seeds, limits)
def test_a_block_order_mixes_only_a_few_blocks_at_a_time(
    size: int, block: int, seed: int, in_memory: int
) -> None:
    order = epoch_order(
        size, shuffle="block", block=block, seed=seed, epoch=3, in_memory=in_memory
    )(np.arange(size))
    assert sorted(order) == list(range(size))
    at = 0
    while at < size:  # every group of positions spans at most BLOCKS_MIXED blocks
        blocks: set[int] = set()
        start = at
        while at < size and len(blocks | {int(order[at]) // block}) <= BLOCKS_MIXED:
            blocks.add(int(order[at]) // block)
            at += 1
        assert at - start == sum(min(block, size - b * block) for b in blocks)


@given(schedules(), st.integers(0, 20))
def test_an_epoch_visits_every_sample_exactly_once(schedule: Schedule, epoch: int) -> None:
    batches = [schedule.batch_ids(epoch, batch) for batch in range(schedule.batches)]
    seen = np.concatenate([np.empty(0, np.int64), *batches])
    full = [batch.size == schedule.batch_size for batch in batches]
    if schedule.drop_remainder:
        assert all(full)
        assert seen.size == schedule.samples // schedule.batch_size * schedule.batch_size
        assert len(set(seen.tolist())) == seen.size
    else:
        assert sorted(seen) == sorted(schedule.ids)
        assert all(full[:-1])
        assert batches[-1].size > 0


@given(schedules(drop_remainder=False), st.integers(1, 9), st.integers(0, 5))
def test_ranks_share_an_epoch_equally_and_without_overlap(
    whole: Schedule, world_size: int, epoch: int
) -> None:
    order = epoch_of(whole, epoch)
    shared = order[: len(order) - len(order) % world_size]
    for rank in range(world_size):
        share = epoch_of(replace(whole, rank=rank, world_size=world_size), epoch)
        assert share == shared[rank::world_size]


@given(schedules(), st.integers(0, 20))
def test_the_same_seed_gives_the_same_order(schedule: Schedule, epoch: int) -> None:
    assert epoch_of(schedule, epoch) == epoch_of(replace(schedule), epoch)


@given(schedules(drop_remainder=False), st.integers(0, 20), st.data())
def test_any_batch_can_be_asked_for_by_itself(
    schedule: Schedule, epoch: int, data: st.DataObject
) -> None:
    batch = data.draw(st.integers(0, schedule.batches - 1))
    alone = replace(schedule).batch_ids(epoch, batch)
    assert alone.tolist() == epoch_of(schedule, epoch)[schedule.grid(epoch).rows(batch)]


@given(
    st.lists(st.integers(0, 999), min_size=1, max_size=80),
    st.integers(1, 9),
    st.integers(1, 9),
)
def test_a_plan_reads_each_sample_in_storage_order_into_its_own_row(
    ids: list[int], chunk_rows: int, chunks: int
) -> None:
    shard_rows = chunk_rows * chunks
    reads = ReadPlan(np.array(ids)).on(chunk_rows=chunk_rows, shard_rows=shard_rows)
    found = reads.shard * shard_rows + reads.chunk * chunk_rows + reads.row
    assert (np.diff(found) >= 0).all()
    assert (reads.row < chunk_rows).all()
    assert (reads.chunk < chunks).all()
    landed = np.empty(len(ids), np.int64)
    landed[reads.land] = found
    assert landed.tolist() == ids


@pytest.mark.parametrize("in_memory", [IN_MEMORY, 0])
@pytest.mark.parametrize("shuffle", [True, "block"])
def test_a_shuffle_is_fair(shuffle: Shuffle, in_memory: int) -> None:
    """Over many epochs a sample comes in every part of the epoch equally often (χ², p > 0.001)."""
    schedule = Schedule(
        ids=range(94), batch_size=8, shuffle=shuffle, block=4, seed=3,
        drop_remainder=False, rank=0, world_size=1, in_memory=in_memory,
    )  # fmt: skip
    epochs = [epoch_of(schedule, e) for e in range(400)]
    for sample in (0, 93):  # the last block, of 2 samples, is no exception
        observed = np.bincount([epoch.index(sample) * 4 // 94 for epoch in epochs], minlength=4)
        assert ((observed - 100) ** 2 / 100).sum() < 16.27


def chi_squared(observed: NDArray[np.int64], expected: float, freedom: int) -> float:
    """How far counts are from equal ones, in standard deviations of χ²."""
    return float(((observed - expected) ** 2 / expected).sum() - freedom) / (2 * freedom) ** 0.5


@pytest.mark.parametrize("size", [23, 64])
def test_a_computed_shuffle_brings_every_value_to_every_place(size: int) -> None:
    epochs = 3000
    count = np.zeros((size, size), np.int64)
    for epoch in range(epochs):
        count[np.arange(size), IndexShuffle(size, (7, epoch))(np.arange(size))] += 1
    assert abs(chi_squared(count, epochs / size, (size - 1) ** 2)) < 4


@pytest.mark.parametrize("stride", [1, 10_000])
def test_values_of_near_places_have_nothing_in_common(stride: int) -> None:
    """Pairs of values, a step apart along either side of the network's grid of 10^4 × 10^4."""
    shuffle = IndexShuffle(10**8, (7, 0))
    places = np.arange(10**6)
    pairs = [shuffle(at) * 32 // 10**8 for at in (places, places + stride)]
    assert abs(chi_squared(np.bincount(pairs[0] * 32 + pairs[1]), 10**6 / 1024, 1023)) < 4
    apart = (shuffle(places + stride) - shuffle(places)) % 10**8 * 1024 // 10**8
    assert abs(chi_squared(np.bincount(apart), 10**6 / 1024, 1023)) < 4


def test_epochs_have_nothing_in_common() -> None:
    places = np.arange(10**6)
    first, second = (IndexShuffle(10**8, (7, epoch))(places) for epoch in (0, 1))
    apart = (second - first) % 10**8 * 1024 // 10**8
    assert abs(chi_squared(np.bincount(apart), 10**6 / 1024, 1023)) < 4
