"""An epoch is over when its last batch was handed out, whichever way batches are taken."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from kinds import KINDS, ids_of
from stores import traced_pixels, write_split
from zarrfeed import FrontEnd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BATCHES = 6  # of 4, the last of 2: 22 samples
Batches = list[tuple[np.ndarray, ...]]


def by_next(seq: FrontEnd) -> Batches:
    batches = iter(seq)
    return [next(batches) for _ in range(len(seq))]


def by_index(seq: FrontEnd) -> Batches:
    return [seq[i] for i in range(len(seq))]


def by_index_backwards(seq: FrontEnd) -> Batches:
    return [seq[i] for i in reversed(range(len(seq)))][::-1]


WAYS: dict[str, Callable[[FrontEnd], Batches]] = {
    "for": list,
    "next": by_next,
    "islice": lambda seq: list(itertools.islice(seq, len(seq))),
    "zip(range, seq)": lambda seq: [batch for _, batch in zip(range(BATCHES), seq, strict=False)],
    "zip(seq, range)": lambda seq: [batch for batch, _ in zip(seq, range(BATCHES), strict=False)],
    "enumerate": lambda seq: [batch for _, batch in enumerate(seq)],
    "seq[i]": by_index,
    "seq[i] backwards": by_index_backwards,
}


def noisy(image: Any, mask: Any, rng: np.random.Generator) -> Any:
    return rng.integers(0, 256, image.shape, np.uint8), mask


def expected(split: Path, epochs: int, **arguments: Any) -> list[list[tuple[list[int], bytes]]]:
    """Every epoch, chosen by its number, of a sequence that is new for each."""
    found = []
    for epoch in range(epochs):
        with FrontEnd(split, 4, transform=noisy, workers=0, **arguments) as seq:
            seq.set_epoch(epoch)
            found.append(seen(list(seq)))
    return found


def seen(batches: Batches) -> list[tuple[list[int], bytes]]:
    return [(ids_of(batch), batch[0].tobytes()) for batch in batches]


def names(batch: tuple[np.ndarray, ...]) -> list[str]:
    return [f"sample {sample}" for sample in ids_of(batch)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["inline", "three threads"])
def test_every_way_of_taking_batches_goes_through_the_epochs(
    split: Path, way: str, kind: str
) -> None:
    """Order and augmentation alike; in between, a state says where the next epoch begins."""
    right = expected(split, 3)
    assert len({str(epoch) for epoch in right}) == 3
    with FrontEnd(split, 4, transform=noisy, **KINDS[kind]) as seq:
        for epoch in range(3):
            assert seen(WAYS[way](seq)) == right[epoch]
            state = seq.state_dict()
            assert (state["epoch"], state["batch"]) == (epoch + 1, 0) == (seq.epoch, seq.batch)


@pytest.mark.parametrize("way", WAYS)
def test_ways_can_be_mixed(split: Path, way: str) -> None:
    right = expected(split, 6)
    with FrontEnd(split, 4, transform=noisy) as seq:
        assert seen(list(seq)) == right[0]
        assert seen(WAYS[way](seq)) == right[1]
        assert seen(by_next(seq)) == right[2]
        assert seen(WAYS[way](seq)) == right[3]
        assert seen(by_index(seq)) == right[4]
        assert seen(list(seq)) == right[5]


@pytest.mark.parametrize("after", ["for", "seq[i]", "seq[i] backwards"])
def test_an_iterator_that_is_given_up_does_not_hide_what_is_taken_by_index(
    split: Path, after: str
) -> None:
    right = expected(split, 2)
    with FrontEnd(split, 4, transform=noisy) as seq:
        assert seen([next(iter(seq))]) == right[0][:1]
        assert seen(by_index(seq)) == right[0]
        assert (seq.state_dict()["epoch"], seq.state_dict()["batch"]) == (1, 0)
        assert seen(WAYS[after](seq)) == right[1]


@pytest.mark.parametrize("after", ["for", "seq[i]", "seq[i] backwards"])
def test_a_resumed_epoch_is_over_by_index_when_the_rest_of_it_was_taken(
    split: Path, after: str
) -> None:
    right = expected(split, 2)
    with FrontEnd(split, 4, transform=noisy) as seq:
        seq.load_state_dict({**seq.state_dict(), "batch": 4})
        assert seen([seq[i] for i in range(seq.batch, len(seq))]) == right[0][4:]
        assert (seq.epoch, seq.batch) == (1, 0)
        assert len(list(seq.to_tf_dataset())) == BATCHES
        seq.set_epoch(0)
        seq.load_state_dict({**seq.state_dict(), "batch": 4})
        assert seen([seq[4], seq[5]]) == right[0][4:]
        assert seen(WAYS[after](seq)) == right[1]


def test_an_epoch_that_is_chosen_after_all_items_is_the_next(split: Path) -> None:
    right = expected(split, 1)
    with FrontEnd(split, 4, transform=noisy) as seq:
        for way in ("seq[i]", "seq[i] backwards", "for"):
            assert seen(WAYS[way](seq)) == right[0]
            seq.set_epoch(0)
            assert (seq.epoch, seq.state_dict()["epoch"]) == (0, 0)


def test_a_loop_names_the_batches_at_hand(split: Path) -> None:
    """The last one, too, with which its epoch is over."""
    with FrontEnd(split, 4) as seq:
        for _ in range(2):
            for i in range(len(seq)):
                batch = seq[i]
                assert seq.batch_keys(i) == names(batch)
            for i, batch in enumerate(seq):
                assert seq.batch_keys(i) == names(batch)
        coming = [seq.batch_keys(i) for i in range(len(seq))]
        assert coming == [names(batch) for batch in seq]


def test_sequences_in_a_zip_keep_their_samples_together(split: Path) -> None:
    """``zip`` asks the second one for no more than the first one gives, and the other way round."""
    right = expected(split, 3)
    with (
        FrontEnd(split, 4, transform=noisy, workers=1) as first,
        FrontEnd(split, 4, transform=noisy, workers=2) as second,
    ):
        for epoch in range(3):
            pairs = list(zip(first, second, strict=False))
            assert seen([a for a, _ in pairs]) == seen([b for _, b in pairs]) == right[epoch]


def test_one_sequence_in_a_zip_with_itself_is_the_same_twice(split: Path) -> None:
    right = expected(split, 2)
    with FrontEnd(split, 4, transform=noisy) as seq:
        for epoch in range(2):
            pairs = list(zip(seq, seq, strict=False))
            assert seen([a for a, _ in pairs]) == seen([b for _, b in pairs]) == right[epoch]


def test_sequences_in_a_row_advance_together(split: Path) -> None:
    right = expected(split, 2)
    with (
        FrontEnd(split, 4, transform=noisy) as first,
        FrontEnd(split, 4, transform=noisy) as second,
    ):
        for epoch in range(2):
            both = seen(list(itertools.islice(itertools.chain(first, second), 2 * BATCHES)))
            assert both == right[epoch] * 2


def test_every_nested_iterator_goes_through_one_epoch(split: Path) -> None:
    """The outer one began with epoch 0 and ends it; the inner ones advance."""
    right = expected(split, 7)
    with FrontEnd(split, 4, transform=noisy) as seq:
        outer = []
        for turn, batch in enumerate(seq):
            outer.append(batch)
            assert seen(list(seq)) == right[turn]
        assert seen(outer) == right[0]
        assert seq.epoch == BATCHES


def test_an_iterator_that_is_given_up_begins_again(split: Path) -> None:
    right = expected(split, 2)
    with FrontEnd(split, 4, transform=noisy) as seq:
        for taken in (1, 5):
            assert seen(list(itertools.islice(seq, taken))) == right[0][:taken]
            assert seq.state_dict()["batch"] == taken
        assert seen(list(seq)) == right[0]
        assert seen(list(seq)) == right[1]


def test_an_iterator_that_was_given_up_may_be_taken_up_again(split: Path) -> None:
    right = expected(split, 3)
    with FrontEnd(split, 4, transform=noisy) as seq:
        early = iter(seq)
        first = [next(early), next(early)]
        assert seen(list(seq)) == right[0]
        assert seen([*first, *early]) == right[0]
        assert seen(list(seq)) == right[1]
        assert seq.epoch == 2


def test_passes_that_are_always_given_up_are_told_once(split: Path) -> None:
    with FrontEnd(split, 4) as seq:
        for _ in range(2):
            list(itertools.islice(seq, 4))
        with pytest.warns(
            UserWarning, match=r"epoch 0 begins once more.*Take all 6.*set_epoch"
        ) as told:
            list(itertools.islice(seq, 4))
        assert told[0].filename == __file__
        list(itertools.islice(seq, 4))
    with FrontEnd(split, 4, shuffle=False) as seq:  # an evaluation of the first batches
        for _ in range(4):
            list(itertools.islice(seq, 4))


def test_an_epoch_that_is_chosen_on_the_way_is_the_next(split: Path) -> None:
    right = expected(split, 6)
    with FrontEnd(split, 4, transform=noisy) as seq:
        for chosen in (5, 0):
            batches = iter(seq)
            begun = [next(batches)]
            seq.set_epoch(chosen)
            list(batches)
            assert seen(list(seq)) == right[chosen], begun
            seq.set_epoch(0)


def test_looks_by_index_do_not_count(split: Path) -> None:
    right = expected(split, 2)
    with FrontEnd(split, 4, transform=noisy) as seq:
        for epoch in range(2):
            assert seen([seq[0], seq[1], seq[-1], seq[0]])[2] == right[epoch][-1]
            assert seen(by_index(seq)) == right[epoch]
            assert seen([seq[-1]]) == right[epoch][-1:]


@pytest.mark.parametrize("samples", [2, 4])
def test_an_epoch_of_one_batch_is_over_at_once(tmp_path: Path, samples: int) -> None:
    split = write_split(tmp_path / "s", traced_pixels(samples))
    right = expected(split, 4)
    for way in WAYS.values():
        if way in (WAYS["zip(range, seq)"], WAYS["zip(seq, range)"]):
            continue
        with FrontEnd(split, 4, transform=noisy) as seq:
            assert [seen(way(seq)) for _ in range(4)] == right


def test_a_tf_dataset_goes_through_the_epochs_by_hand(split: Path) -> None:
    right = expected(split, 3)
    with FrontEnd(split, 4, transform=noisy) as seq:
        dataset = seq.to_tf_dataset()
        for epoch in range(3):
            steps = zip(range(BATCHES), dataset, strict=False)
            batches = [tuple(np.asarray(array) for array in batch) for _, batch in steps]
            assert seen(batches) == right[epoch]
