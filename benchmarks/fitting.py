"""How fast is ``fit`` of a model that does nothing? Rows 3 and 4.

``keras_fit.py`` runs every ``fit`` in its own process, and the ways of feeding take turns.
"""

from __future__ import annotations

import statistics
from functools import partial
from typing import TYPE_CHECKING

import children
from figures import Figure, quantity, ratio
from fit_memory import compare_memory
from trial import AHEAD, Trial, take_turns

if TYPE_CHECKING:
    from collections.abc import Iterable

_IN_MEMORY = ("tf.data, slices", "tf.data, gather", "tf.data, parallel gather")


def against_constant(trial: Trial) -> list[Figure]:
    """Row 3: compared with a serial PyDataset whose batch is always ready."""
    rates = _rates(trial, ("constant", *AHEAD))
    needed = {"1 process": 0.75, "1 thread": 0.65}
    how = (
        "the time of an epoch is that from its beginning to the beginning of the next; "
        f"{trial.workload.batches} batches per epoch, the median of at least 8 epochs after 2 of "
        "warm-up, each way in its own process."
    )
    return [
        *(
            ratio(
                3,
                f"fit of a no-op model on TensorFlow, raw, {name} / one constant aligned batch",
                rates[name],
                rates["constant"],
                at_least=needed.get(name),
                how=how,
            )
            for name in AHEAD
        ),
        *(quantity(3, f"fit, {way}", "batches/s", found) for way, found in rates.items()),
    ]


def against_memory(trial: Trial) -> list[Figure]:
    """Row 4: compared with tf.data and the whole dataset in RAM."""
    rates = _rates(trial, (*AHEAD, *_IN_MEMORY))
    ours, theirs = _fastest(rates, AHEAD), _fastest(rates, _IN_MEMORY)
    return [
        ratio(
            4,
            f"fit, {ours} (our fastest) / {theirs}, all in RAM (its fastest)",
            rates[ours],
            rates[theirs],
            at_least=1.1,
        ),
        *(quantity(4, f"fit, {way}", "batches/s", found) for way, found in rates.items()),
        *compare_memory(trial, ours, theirs),
    ]


def _rates(trial: Trial, ways: Iterable[str]) -> dict[str, list[float]]:
    return take_turns({way: partial(_rate, trial, way) for way in ways}, trial.rounds)


def _rate(trial: Trial, way: str) -> float:
    (found,) = children.run("keras_fit.py", way, trial.to_json())
    return float(found["batches_per_second"])


def _fastest(rates: dict[str, list[float]], ways: Iterable[str]) -> str:
    return max(ways, key=lambda way: statistics.median(rates[way]))
