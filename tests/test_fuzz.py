"""Mutated input ends in right samples or in one of our errors; the long form is `make fuzz`."""

from __future__ import annotations

import random
import sys

import pytest

from fuzzing import Finding, fuzz, setting


def test_the_driver_sees_errors_crashes_hangs_and_bombs() -> None:
    kinds = [random.Random(f"27/{number}").randrange(6) for number in range(8)]
    found = {
        finding.number: finding.what
        for finding in fuzz("fuzzed:Faulty", seed=27, count=8, seconds=10.0)
    }
    marks = {1: "KeyError", 2: "Segmentation fault", 3: "Timeout", 4: "bytes of memory"}
    if sys.platform != "linux":
        del marks[4]
    assert set(kinds) == set(range(6))
    assert sorted(found) == [number for number, kind in enumerate(kinds) if kind in marks]
    for number, what in found.items():
        assert marks[kinds[number]] in what


# A class of trials for every kind of input; the number of trials of the short form.
TRIALS = {
    "store_trials:StoreTrials": 60,
    "store_trials:PackedTrials": 10,
    "in_place_trials:InPlaceTrials": 60,
    "source_trials:SourceTrials": 80,
}


SHARES = {"store_trials:PackedTrials": 0.02}  # of COUNT: one takes as long as many others


def nothing(found: list[Finding]) -> None:
    assert not found, "\n\n".join(f"trial {one.number}: {one.what}" for one in found)


@pytest.mark.parametrize("trials", TRIALS)
def test_mutated_input_ends_in_right_samples_or_our_errors(trials: str) -> None:
    nothing(fuzz(trials, seed=11, count=TRIALS[trials]))


@pytest.mark.fuzz
@pytest.mark.parametrize("trials", TRIALS)
def test_mutated_input_of_new_seeds(trials: str) -> None:
    """`make fuzz SEED=… COUNT=…`; without SEED, another one every time."""
    seed = setting("SEED", random.SystemRandom().randrange(1 << 32))
    print(f"{trials}: SEED={seed}")
    count = setting("COUNT", 100_000) * SHARES.get(trials, 1.0)
    nothing(fuzz(trials, seed=seed, count=int(count)))
