"""How long does it take from constructing a sequence to its first batch? Row 8.

``python first_batch.py SETTING TRIAL`` runs one measurement: it imports everything, constructs a
sequence, takes one batch, and prints the milliseconds.
"""

from __future__ import annotations

import sys
import time
from functools import partial

import children
from figures import Figure, quantity
from trial import AHEAD, Trial, take_turns


def first_batch(trial: Trial) -> list[Figure]:
    """Measure in a new interpreter per turn."""
    found = take_turns({name: partial(_once, trial, name) for name in AHEAD}, trial.rounds)
    return [
        quantity(
            8,
            f"construction to first batch, {name}",
            "ms",
            found[name],
            at_most=30.0 if name == "1 thread" else 400.0,
            how="in a new interpreter that has imported zarrfeed, Keras and NumPy, including the "
            "opening of the store, whose files are in the page cache.",
        )
        for name in AHEAD
    ]


def _once(trial: Trial, setting: str) -> float:
    (found,) = children.run("first_batch.py", setting, trial.to_json())
    return float(found[0])


def main(setting: str, trial: str) -> None:
    """Measure in this interpreter."""
    from zarrfeed import ZarrSequence  # imports Keras, which the parent process does not need

    work = Trial.from_json(trial).workload
    began = time.perf_counter()
    sequence = ZarrSequence(work.raw, work.batch_size, drop_remainder=True, **AHEAD[setting])
    batch = next(iter(sequence))
    milliseconds = (time.perf_counter() - began) * 1e3
    del batch
    sequence.close()
    print([milliseconds])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
