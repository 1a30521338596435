"""Every epoch visits every sample exactly once, in an order that depends on its seed alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed.order import BLOCKS_MIXED, block_permutation, permutation, rank_share
from zarrfeed.plan import plan_reads
from zarrfeed.schedule import Schedule, Shuffle

sizes = st.integers(0, 300)
seeds = st.integers(0, 2**40)
shuffles: st.SearchStrategy[Shuffle] = st.sampled_from([True, False, "block"])


def schedules(**fixed: object) -> st.SearchStrategy[Schedule]:
    """Every schedule that the front door lets through, up to a few hundred samples."""
    drawn: dict[str, st.SearchStrategy[object]] = {
        "ids": st.lists(st.integers(0, 5000), unique=True, min_size=1, max_size=200).map(
            lambda ids: np.array(ids, np.int64)
        ),
        "batch_size": st.integers(1, 70),
        "shuffle": shuffles,
        "block": st.integers(1, 40),
        "seed": seeds,
        "drop_remainder": st.booleans(),
        "rank": st.just(0),
        "world_size": st.just(1),
    }
    drawn |= {name: st.just(value) for name, value in fixed.items()}
    return st.builds(Schedule, **drawn)  # type: ignore[arg-type]


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


@given(sizes, seeds, st.integers(0, 1000))
def test_a_permutation_holds_every_position_once(size: int, seed: int, epoch: int) -> None:
    assert sorted(permutation(size, seed=seed, epoch=epoch)) == list(range(size))


@given(st.integers(40, 300), seeds)
def test_epochs_and_seeds_differ(size: int, seed: int) -> None:
    first = permutation(size, seed=seed, epoch=0).tolist()
    assert first != permutation(size, seed=seed, epoch=1).tolist()
    assert first != permutation(size, seed=seed + 1, epoch=0).tolist()


@given(sizes, st.integers(1, 50), seeds)
def test_a_block_order_mixes_only_a_few_blocks_at_a_time(size: int, block: int, seed: int) -> None:
    order = block_permutation(size, block=block, seed=seed, epoch=3)
    assert sorted(order) == list(range(size))
    at = 0
    while at < size:  # every group of positions spans at most BLOCKS_MIXED blocks
        blocks: set[int] = set()
        start = at
        while at < size and len(blocks | {int(order[at]) // block}) <= BLOCKS_MIXED:
            blocks.add(int(order[at]) // block)
            at += 1
        assert at - start == sum(min(block, size - b * block) for b in blocks)


@given(sizes, st.integers(1, 9), seeds)
def test_ranks_share_an_epoch_without_overlap(size: int, world_size: int, seed: int) -> None:
    order = permutation(size, seed=seed, epoch=0)
    shares = [rank_share(order, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert {share.size for share in shares} == {size // world_size}
    together = np.concatenate(shares)
    assert len(set(together.tolist())) == together.size == size - size % world_size


@given(schedules(), st.integers(0, 20))
def test_an_epoch_visits_every_sample_exactly_once(schedule: Schedule, epoch: int) -> None:
    ids = schedule.epoch_ids(epoch)
    batches = [ids[schedule.rows(batch)] for batch in range(schedule.batches)]
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


@given(st.data(), st.integers(2, 7), st.integers(0, 5))
def test_ranks_together_make_the_global_batches(
    data: st.DataObject, world_size: int, epoch: int
) -> None:
    whole = data.draw(schedules(drop_remainder=False))
    order = whole.epoch_ids(epoch)
    for rank in range(world_size):
        fixed = {name: getattr(whole, name) for name in Schedule.__slots__}
        share = Schedule(**{**fixed, "rank": rank, "world_size": world_size}).epoch_ids(epoch)
        assert (
            share.tolist()
            == order[: order.size - order.size % world_size][rank::world_size].tolist()
        )


@given(schedules(), st.integers(0, 20))
def test_the_same_seed_gives_the_same_order(schedule: Schedule, epoch: int) -> None:
    again = Schedule(**{name: getattr(schedule, name) for name in Schedule.__slots__})
    assert schedule.epoch_ids(epoch).tolist() == again.epoch_ids(epoch).tolist()


@given(
    st.lists(st.integers(0, 999), min_size=1, max_size=80),
    st.integers(1, 9),
    st.integers(1, 9),
)
def test_a_plan_reads_each_sample_in_storage_order_into_its_own_row(
    ids: list[int], chunk_rows: int, chunks: int
) -> None:
    shard_rows = chunk_rows * chunks
    reads = plan_reads(np.array(ids), chunk_rows=chunk_rows, shard_rows=shard_rows)
    found = reads.shard * shard_rows + reads.chunk * chunk_rows + reads.row
    assert (found == reads.sample).all()
    assert (np.diff(found) >= 0).all()
    assert (reads.row < chunk_rows).all()
    assert (reads.chunk < chunks).all()
    landed = np.empty(len(ids), np.int64)
    landed[reads.land] = reads.sample
    assert landed.tolist() == ids


@pytest.mark.parametrize("shuffle", [True, "block"])
def test_a_shuffle_is_fair(shuffle: Shuffle) -> None:
    """Over many epochs a sample comes in every part of the epoch equally often (χ², p > 0.001)."""
    schedule = Schedule(
        ids=np.arange(96), batch_size=8, shuffle=shuffle, block=4, seed=3,
        drop_remainder=False, rank=0, world_size=1,
    )  # fmt: skip
    epochs = 400
    place = np.array([np.argsort(schedule.epoch_ids(e))[0] // 24 for e in range(epochs)])
    observed = np.bincount(place, minlength=4)
    assert ((observed - epochs / 4) ** 2 / (epochs / 4)).sum() < 16.27
