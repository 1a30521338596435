"""A run goes on with another number of ranks: no sample twice, none lost."""

from __future__ import annotations

import json
import logging
import pickle
import tracemalloc
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinds import ids_of
from zarrfeed import FrontEnd, GridPatches, RandomPatches
from zarrfeed.order.class_pixels import ClassPixels
from zarrfeed.order.grid_draws import CoverDraws, GridDraws
from zarrfeed.order.mixed_draws import MixedDraws
from zarrfeed.order.patch_cases import PatchCases
from zarrfeed.order.patches import CoverPatches
from zarrfeed.order.random_draws import RandomDraws
from zarrfeed.order.ranks import DetectedRank
from zarrfeed.order.repeated_samples import RepeatedSamples
from zarrfeed.order.resume_state import ResumeJournal, saved_schedule, state_of
from zarrfeed.order.schedule import EpochRest, Schedule
from zarrfeed.order.shuffle import IN_MEMORY
from zarrfeed.order.store_draws import StoreDraws
from zarrfeed.order.weight_history import WeightHistory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from zarrfeed.order.draws import Sampler

EPOCH = 3

# -- laws ---------------------------------------------------------------------------------------


def cases_of(sizes: list[tuple[int, ...]]) -> PatchCases:
    count = len(sizes)
    tiles = np.full(count, 2)
    return PatchCases(
        np.arange(count), np.array(sizes), first_tile=2 * np.arange(count), tiles=tiles
    )


def random_patches(length: int) -> RandomDraws:
    patches = RandomPatches((4, 5), per_epoch=length, shares={"a": 0.4, "b": 0.3})
    counts = ClassPixels(np.array([[0, 3], [5, 0], [2, 4], [1, 1]], np.uint32))
    return RandomDraws(patches, cases_of([(9, 8), (7, 12)]), [3, 8], counts)


def repeated_samples(length: int) -> RepeatedSamples:
    return RepeatedSamples(range(10, 17), np.arange(7.0), length=length)


def cover(length: int) -> CoverDraws:
    return CoverDraws(CoverPatches((3, 2)), cases_of([(length, 3), (4, 5)]))


def windows(length: int) -> GridDraws:
    return GridDraws(GridPatches((4, 4), 0.5), cases_of([(length + 3, 4), (9, 9)]))


def mix(length: int) -> MixedDraws:
    options: dict[str, Any] = {"shuffle": True, "block": 2, "first_case": 0, "identity": {}}
    stores = [
        StoreDraws("a", range(7), None, first_row=0, **options),
        StoreDraws("b", range(4), None, first_row=7, **options),
    ]
    shares = Fraction(2, 3), Fraction(1, 3)
    return MixedDraws(stores, WeightHistory([(0, shares)]), length=length)


SAMPLERS: list[Callable[[int], Sampler] | None] = [
    None, random_patches, repeated_samples, cover, windows, mix,
]  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A run that takes some batches and is killed; the last one takes all that are left."""

    batch_size: int
    world_size: int
    block: int
    ending: str
    taken: float


PARTS = st.builds(
    Part,
    batch_size=st.integers(1, 9),
    world_size=st.integers(1, 7),
    block=st.integers(1, 6),
    ending=st.sampled_from(["short", "drop", "pad"]),
    taken=st.floats(0, 1),
)


@st.composite
def plans(draw: st.DrawFn) -> Schedule:
    """What never changes while a run goes on."""
    length = draw(st.integers(1, 70))
    make = draw(st.sampled_from(SAMPLERS))
    return Schedule(
        range(100, 100 + length), 1, block=1, seed=draw(st.integers(0, 9)),
        shuffle=draw(st.sampled_from([True, False, "block"])),
        drop_remainder=False, rank=0, world_size=1,
        in_memory=draw(st.sampled_from([0, IN_MEMORY])),
        sampler=None if make is None else make(length),
    )  # fmt: skip


def ranks_of(plan: Schedule, part: Part) -> list[Schedule]:
    return [
        replace(
            plan, batch_size=part.batch_size, block=part.block, rank=rank,
            world_size=part.world_size, drop_remainder=part.ending == "drop",
            pad_remainder=part.ending == "pad",
        )
        for rank in range(part.world_size)
    ]  # fmt: skip


def real_draws(schedule: Schedule, epoch: int, batches: range) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for batch in batches:
        rows = schedule.batch_draws(epoch, batch)[: schedule.real_rows(epoch, batch)]
        found += zip(rows["id"].tolist(), rows["repeat"].tolist(), strict=True)
    return found


@settings(max_examples=100)
@given(plans(), st.lists(PARTS, min_size=2, max_size=4))
def test_each_place_of_an_epoch_comes_exactly_once_whoever_goes_on(
    plan: Schedule, parts: list[Part]
) -> None:
    parts = [part for part in parts if ranks_of(plan, part)[0].batches]
    if not parts:
        return
    order = replace(plan, block=parts[0].block)
    every = real_draws(replace(order, batch_size=plan.length), EPOCH, range(1))
    seen: list[tuple[int, int]] = []
    state = None
    for part in parts:
        ranks = ranks_of(plan, part)
        if state is not None:
            ranks = [replace(r, rest=saved_schedule(r, state).rest) for r in ranks]
        grids = [rank.grid(EPOCH) for rank in ranks]
        [(first, count)] = {(grid.first, grid.count) for grid in grids}  # equal on all ranks
        assert first + count == ranks[0].batches  # the last batch has its usual number
        last = part is parts[-1]
        taken = range(first, first + (count if last else int(part.taken * count)))
        for rank, grid in zip(ranks, grids, strict=True):
            sizes = [rank.batch_ids(EPOCH, batch).size for batch in taken]
            full = part.ending != "short" or taken.stop < rank.batches
            assert all(size == part.batch_size for size in (sizes if full else sizes[:-1]))
            assert sizes[-1:] == [ranks[0].batch_ids(EPOCH, batch).size for batch in taken[-1:]]
            seen += real_draws(rank, EPOCH, taken)
            assert grid.samples == len(real_draws(rank, EPOCH, range(first, first + count))) or (
                part.ending == "drop"
            )
        states = [json.loads(json.dumps(state_of(rank, EPOCH, taken.stop))) for rank in ranks]
        assert (
            len({json.dumps({**s, "schedule": {**s["schedule"], "rank": 0}}) for s in states}) == 1
        )
        state = states[-1]
        if state["epoch"] > EPOCH:
            break
    # All but those at the end of the order that the last ranks leave out.
    left_out = grids[0].left_out
    assert sorted(seen) == sorted(every[: plan.length - left_out])
    assert left_out < {"pad": 1, "short": part.world_size, "drop": grids[0].dealt}[part.ending]
    # The epochs after it are those that these ranks have in any run.
    for rank, fresh in zip(ranks, ranks_of(plan, part), strict=True):
        batches = range(rank.batches)
        assert real_draws(rank, EPOCH + 1, batches) == real_draws(fresh, EPOCH + 1, batches)
        assert state_of(rank, EPOCH + 1, 0) == state_of(fresh, EPOCH + 1, 0)


@given(plans(), PARTS, st.data())
def test_the_same_ranks_go_on_with_the_same_batches(
    plan: Schedule, part: Part, data: st.DataObject
) -> None:
    for rank in ranks_of(plan, part):
        if not rank.batches:
            continue
        batch = data.draw(st.integers(0, rank.batches - 1))
        state = state_of(rank, EPOCH, batch)
        assert (state["version"], "place" in state) == (1, False)  # as releases before wrote it
        later = replace(rank, rest=saved_schedule(rank, state).rest)
        assert (later.grid(EPOCH).first, later.grid(EPOCH).shifted) == (batch, False)
        for each in range(rank.batches):
            assert later.batch_ids(EPOCH, each).tolist() == rank.batch_ids(EPOCH, each).tolist()


def test_an_epoch_that_is_shared_anew_can_be_checked_on_paper() -> None:
    """Two ranks deal a batch of 2 each, then three ranks go on: 18 places, 6 for each rank."""
    plan = Schedule(
        range(22), 2, shuffle=False, block=1, seed=0, drop_remainder=False, rank=0, world_size=1
    )
    two = [replace(plan, rank=rank, world_size=2) for rank in range(2)]
    assert [rank.batch_ids(0, 0).tolist() for rank in two] == [[0, 2], [1, 3]]
    state = state_of(two[0], 0, 1)
    three = [replace(plan, rank=rank, world_size=3) for rank in range(3)]
    three = [replace(rank, rest=saved_schedule(rank, state).rest) for rank in three]
    assert three[0].batches == 4
    assert [[rank.batch_ids(0, batch).tolist() for rank in three] for batch in (1, 2, 3)] == [
        [[4, 7], [5, 8], [6, 9]],
        [[10, 13], [11, 14], [12, 15]],
        [[16, 19], [17, 20], [18, 21]],
    ]
    again = state_of(three[1], 0, 2)
    assert (again["version"], again["batch"], again["place"]) == (2, 2, 10)
    one = replace(plan, rest=saved_schedule(plan, again).rest)
    assert [one.batch_ids(0, batch).tolist() for batch in range(5, 11)] == [
        [n, n + 1] for n in range(10, 22, 2)
    ]


def test_a_place_decides_which_epoch_a_journal_means() -> None:
    """Keras' epoch is over, too, if fewer samples of it are left than there are ranks now."""
    plan = Schedule(
        range(10), 1, shuffle=True, block=1, seed=0, drop_remainder=False, rank=0, world_size=2
    )
    journal = ResumeJournal()
    journal.note(100, 7, 5, state_of(plan, EPOCH, 0))
    four, three = replace(plan, world_size=4), replace(plan, world_size=3, batch_size=2)
    found = {schedule: journal.look_up(104, schedule) for schedule in (plan, three, four)}
    assert {ranks.world_size: at and at[0] for ranks, at in found.items()} == {2: 7, 3: 8, 4: 8}
    assert len({json.dumps(at) for at in found.values() if at and at[0] == 8}) == 1
    assert journal.look_up(105, four) == (8, state_of(replace(plan, rank=0), EPOCH + 1, 0))


@pytest.mark.parametrize(
    "damage",
    [
        {"batch_size": 0},
        {"world_size": -1},
        {"world_size": "2"},
        {"batch_size": None},
        {"block": 0},
    ],
    ids=str,
)
def test_a_damaged_state_is_named(split: Path, damage: dict[str, Any]) -> None:
    with FrontEnd(split, 4) as seq:
        state = seq.state_dict()
        with pytest.raises(ValueError, match="needed a state from ZarrSequence"):
            seq.load_state_dict({**state, "schedule": {**state["schedule"], **damage}})
        for place in (-1, 22, 10**30):
            with pytest.raises(ValueError, match=f"place {place} of 22"):
                seq.load_state_dict({**state, "version": 2, "place": place})


def test_a_block_shuffle_keeps_its_blocks_until_the_epoch_is_over(split: Path) -> None:
    options: dict[str, Any] = {"shuffle": "block", "workers": 0}
    with FrontEnd(split, 2, **options) as two, FrontEnd(split, 5, **options) as five:
        order = [sample for batch in two for sample in ids_of(batch)]
        following = [ids_of(batch) for _ in range(2) for batch in five][len(five) :]
        two.set_epoch(0)
        batches = iter(two)
        next(batches)
        next(batches)
        state = two.state_dict()
        assert state["schedule"]["block"] == 2
    with FrontEnd(split, 5, **options) as seq:
        seq.load_state_dict(state)
        passed = iter(seq)
        seen = ids_of(next(passed))
        second = seq.state_dict()  # of blocks that are not its own
        assert (second["version"], second["schedule"]["block"]) == (2, 2)
        seen += [sample for batch in passed for sample in ids_of(batch)]
        assert seen == order[4:]
        assert [ids_of(batch) for batch in seq] == following
        assert seq.state_dict()["schedule"]["block"] == 5
        seq.load_state_dict(second)
        assert [sample for batch in seq for sample in ids_of(batch)] == order[9:]
        older = {name: value for name, value in state["schedule"].items() if name != "block"}
        with pytest.raises(ValueError, match="batch_size was 2 and is 5"):
            seq.load_state_dict({**state, "schedule": older})


@pytest.mark.parametrize("shuffle", [True, "block", "patches", "shares"])
def test_a_billion_samples_and_a_thousand_ranks_take_no_memory(shuffle: Any) -> None:
    """Nothing grows with either: not with the epochs begun, nor with the rest of one."""
    sampler = None
    if shuffle == "patches":
        patches = RandomPatches((4, 5), per_epoch=10**9)
        sampler = RandomDraws(patches, cases_of([(9, 8), (7, 12)]))
    elif shuffle == "shares":
        sampler = random_patches(10**9)
    last = Schedule(
        range(10**9), 32, shuffle=True if sampler else shuffle, block=32, seed=0,
        drop_remainder=False, rank=1023, world_size=1024, sampler=sampler,
        rest=EpochRest(2, 12_345 * 32 * 768, 32),
    )  # fmt: skip
    last.batch_ids(0, 0)  # what NumPy loads once
    tracemalloc.start()
    try:
        for epoch in range(4):
            for batch in (last.grid(epoch).first, last.batches // 2, last.batches - 1):
                size = last.batch_ids(epoch, batch).size
                assert size == 32 or batch == last.batches - 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1e6


# -- sequences ----------------------------------------------------------------------------------


def taken(sequences: list[FrontEnd], batches: int | None = None) -> list[int]:
    """Take some batches, or all that are left of the epoch, from every rank."""
    seen = []
    for sequence in sequences:
        passed = iter(sequence)
        for _ in range(len(sequence) - sequence.batch if batches is None else batches):
            seen += ids_of(next(passed))
    return seen


@pytest.mark.parametrize(
    "options",
    [
        {"workers": 0},
        {"workers": 2},
        {"workers": 1, "use_multiprocessing": True},
        {"workers": 1, "shuffle": False},
    ],
    ids=str,
)
def test_more_and_fewer_processes_go_on_within_the_epoch(
    split: Path, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """4 samples by two ranks, 6 by three, 12 by one."""
    caplog.set_level(logging.INFO, logger="zarrfeed")
    made: list[FrontEnd] = []

    def run(batch_size: int, world_size: int) -> list[FrontEnd]:
        made.extend(
            FrontEnd(split, batch_size, seed=5, rank=rank, world_size=world_size, **options)
            for rank in range(world_size)
        )
        return made[-world_size:]

    try:
        two, three, [one] = run(2, 2), run(2, 3), run(7, 1)
        seen = taken(two, 1)
        for rank in three:
            rank.load_state_dict(json.loads(json.dumps(two[0].state_dict())))
        assert len(three[0]) == 4
        assert {(rank.epoch, rank.batch) for rank in three} == {(0, 1)}
        first_of_third = three[2].batch_keys(1)
        seen += taken(three, 1)
        assert first_of_third == [f"sample {sample}" for sample in seen[-2:]]
        with pytest.raises(IndexError, match=r"needed one of the batches that are left, 1 … 3"):
            three[0][0]
        with pytest.raises(IndexError, match="begun by a run with other ranks"):
            three[0].batch_keys(0, epoch=0)
        one.load_state_dict(three[1].state_dict())
        assert (one.epoch, one.batch, len(one)) == (0, 2, 4)
        seen += [sample for batch in range(2, 4) for sample in ids_of(one[batch])]
        assert sorted(seen) == list(range(22))
        assert one.epoch == 1
        assert sorted(taken([one])) == list(range(22))
        said = [record.getMessage() for record in caplog.records]
        for where, changes, times in (
            ("4 of 22, with 3 of 4 batches", "world_size from 2 to 3", 3),
            ("10 of 22, with 2 of 4 batches", "batch_size from 2 to 7, world_size from 3 to 1", 1),
        ):
            wanted = f"epoch 0 goes on at place {where} ({changes})"
            assert len([line for line in said if wanted in line]) == times
    finally:
        for sequence in made:
            sequence.close()


def test_an_epoch_that_was_shared_anew_can_be_begun_again(split: Path) -> None:
    with (
        FrontEnd(split, 3, rank=0, world_size=2) as half,
        FrontEnd(split, 4, workers=2) as seq,
        FrontEnd(split, 4, workers=0) as fresh,
    ):
        whole = [ids_of(batch) for batch in fresh]
        taken([half], 1)
        state = half.state_dict()
        seq.load_state_dict(state)
        rest = [ids_of(batch) for batch in seq]
        assert sum(map(len, rest)) == 16
        fresh.set_epoch(0)
        beginning = fresh.state_dict()
        for go_back in (lambda: seq.set_epoch(0), lambda: seq.load_state_dict(beginning)):
            seq.load_state_dict(state)
            assert ids_of(next(iter(seq))) == rest[0]
            assert ids_of(next(iter(seq))) == rest[0]  # given up, as in any epoch
            go_back()
            assert [ids_of(batch) for batch in seq] == whole
        seq.load_state_dict(state)
        seq.set_epoch(7)
        seq.set_epoch(0)
        assert ids_of(seq[0]) == whole[0]


def test_ranks_that_are_found_later_share_the_rest(
    split: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = [DetectedRank()]
    with FrontEnd(split, 22, workers=0) as seq:
        order = ids_of(seq[0])
    monkeypatch.setattr(FrontEnd, "_detect_rank", staticmethod(lambda: found[0]))
    with FrontEnd(split, 5, rank=0, world_size=2) as seq:
        taken([seq], 2)
        nearly = seq.state_dict()  # 20 of 22 samples
    with FrontEnd(split, 2, workers=1) as seq:
        seq.load_state_dict(nearly)
        assert (seq.epoch, seq.batch) == (0, 10)
        assert len(list(seq)) == 1
        seen = []
        for rank in range(2):
            found[0] = DetectedRank()
            seq.load_state_dict(nearly)
            found[0] = DetectedRank(rank, 2, "torch.distributed")
            assert (seq.epoch, seq.batch) == (0, 5)
            seen += [sample for batch in seq for sample in ids_of(batch)]
        assert seen == order[20:]
        # Three ranks cannot share two samples: the usual rule leaves them out.
        found[0] = DetectedRank(2, 3, "torch.distributed")
        seq.load_state_dict(nearly)
        assert (seq.epoch, seq.batch) == (1, 0)
        assert (seq.state_dict()["epoch"], seq.state_dict()["batch"]) == (1, 0)
        assert len(list(seq)) == len(seq)
        assert seq.epoch == 2
    assert "the last 2 samples of epoch 0 are left out, so that all 3 ranks" in caplog.text


def test_a_copy_goes_on_where_the_original_is(split: Path) -> None:
    with FrontEnd(split, 3, rank=1, world_size=2) as half, FrontEnd(split, 4, workers=0) as seq:
        taken([half], 1)
        seq.load_state_dict(half.state_dict())
        passed = iter(seq)
        next(passed)
        with pickle.loads(pickle.dumps(seq)) as copied:
            assert copied.state_dict() == seq.state_dict()
            assert [ids_of(b) for b in copied] == [ids_of(b) for b in passed]


def test_padding_fills_the_rest_of_an_epoch(split: Path) -> None:
    padded: dict[str, Any] = {"pad_remainder": True, "workers": 1}
    with FrontEnd(split, 3, rank=0, world_size=2) as half:
        taken([half], 1)
        state = half.state_dict()
    seen = []
    for rank in range(3):
        with FrontEnd(split, 4, rank=rank, world_size=3, **padded) as seq:
            seq.load_state_dict(state)
            for images, masks, weights in seq:
                assert len(images) == 4
                seen += masks[weights.any(axis=(1, 2)), 0, 0].tolist()
    with FrontEnd(split, 6, workers=0) as seq:
        assert sorted(seen + ids_of(seq[0])) == list(range(22))
