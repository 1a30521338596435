"""A request is checked once and then holds; a position counts batches and needs no store."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, replace
from typing import TYPE_CHECKING, Any

import pytest

from zarrfeed import FrontEnd
from zarrfeed.feed.position import Position
from zarrfeed.feed.rank_share import Sharing
from zarrfeed.feed.request import Request
from zarrfeed.feed.stats import Tally
from zarrfeed.order.ranks import DetectedRank, RequestedRank
from zarrfeed.order.schedule import Schedule

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def request_of_defaults(split: Path) -> Request:
    return FrontEnd(split, 4)._request


def test_a_request_cannot_be_changed(request_of_defaults: Request) -> None:
    with pytest.raises(FrozenInstanceError):
        request_of_defaults.workers = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"workers": -1}, ValueError, "workers must be at least 0, not -1"),
        ({"batch_size": 2.0}, TypeError, "batch_size must be a whole number, not 2.0"),
        ({"seed": -3}, ValueError, "seed must be at least 0"),
        ({"shuffle": "blocks"}, ValueError, "shuffle must be True, False or 'block', not 'blocks'"),
        ({"timeout": 0}, ValueError, "timeout must be above 0 seconds"),
        ({"fields": ()}, ValueError, "fields must name at least one array"),
        ({"fields": ("a", "b", "a")}, ValueError, "fields names 'a' 2 times"),
        ({"transform": 3, "fields": "x"}, TypeError, r"transform must be a function \(x, rng\)"),
        ({"rank": -1}, ValueError, "rank must be at least 0"),
        ({"world_size": 0}, ValueError, "world_size must be at least 1"),
        ({"drop_remainder": True, "pad_remainder": True}, ValueError, "give one of them"),
        ({"path": "ftp://b/c"}, ValueError, "needed the path of a local folder"),
        ({"path": 3}, TypeError, "needed the path of one store, such as 'cells.zarr/train', got 3"),
    ],
    ids=str,
)
def test_every_way_to_make_a_request_checks_it(
    request_of_defaults: Request, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        replace(request_of_defaults, **change)


def test_a_request_has_its_final_form(
    request_of_defaults: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = replace(
        request_of_defaults, path="s/train", fields="image", use_multiprocessing=True, workers=0
    )
    assert made.path == tmp_path / "s" / "train"
    assert made.fields == ("image",)
    assert not made.processes  # there is no worker
    assert replace(made, workers=2).processes
    assert made.requested_rank == RequestedRank(None, None)
    assert replace(made, rank=1, world_size=4).requested_rank == RequestedRank(1, 4)
    copied = pickle.loads(pickle.dumps(made))
    assert all(getattr(copied, name) == getattr(made, name) for name in Request.__slots__)


@pytest.fixture
def position() -> Position:
    """Three batches an epoch."""
    schedule = Schedule(
        range(6), batch_size=2, shuffle=True, block=1, seed=0, drop_remainder=False, rank=0,
        world_size=1,
    )  # fmt: skip
    return Position(Sharing("six", schedule, RequestedRank(None, None), DetectedRank), random=False)


def hand_out(position: Position, batches: int, peek_limit: int | None = None) -> None:
    current = position.begin(position.schedule, peek_limit, lambda epoch: Tally(epoch, workers=1))
    for _ in range(batches):
        position.advance(current)
    current.ended = True


def test_a_complete_pass_goes_on_to_the_next_epoch(position: Position) -> None:
    hand_out(position, 3)
    assert position.coming == (1, 0)
    assert [stats.epoch for stats in position.stats()] == [0]


def test_a_pass_that_is_given_up_begins_again(position: Position) -> None:
    hand_out(position, 2)
    assert position.coming == (0, 0)
    assert position.reached == (0, 2)


def test_a_saved_position_is_the_next_batch(position: Position) -> None:
    hand_out(position, 2)
    state = position.state()
    position.seek(7)
    position.restore(state)
    assert position.coming == position.reached == (0, 2)
    hand_out(position, 1)
    assert position.coming == (1, 0)


def test_an_epoch_that_was_chosen_holds_though_a_pass_ends_later(position: Position) -> None:
    current = position.begin(position.schedule, None, lambda epoch: Tally(epoch, workers=1))
    position.seek(5)
    for _ in range(3):
        position.advance(current)
    assert position.coming == (5, 0)


def test_epochs_by_index_end_when_more_is_asked_for(position: Position) -> None:
    for batch in (2, 0, 1):
        position.indexed.take(batch)
    assert position.epoch == 0
    assert position.coming == (1, 0)
    position.indexed.turn(3)
    assert position.epoch == 1
