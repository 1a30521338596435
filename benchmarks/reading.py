"""How fast is iterating by hand, relative to the limits? Rows 1, 2, 5, 6 and 7.

By hand means ``for image, mask in sequence: pass``, which makes arrays in the main process without
a model.
"""

from __future__ import annotations

import itertools
import statistics
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from busy import SECONDS as HELD_SECONDS
from busy import hold_gil
from decoding import Decoders
from figures import Figure, quantity, ratio
from limits import Epoch, from_memory, load, shuffled
from trial import AHEAD, PROCESSES, SETTINGS, Trial, take_turns
from zarrfeed import ZarrSequence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_BUSY_SAMPLES = 512
_EPOCHS = 8  # per turn that measures epoch boundaries


def raw_store(trial: Trial) -> list[Figure]:
    """Row 1: the uncompressed store, relative to ``np.take`` from RAM."""
    work = trial.workload
    take = from_memory(load(work.raw, "image"), load(work.raw, "mask"), work.batch_size)
    with _opened(work.raw, work.batch_size, SETTINGS) as sequences:
        rates = take_turns(
            {
                "limit": partial(_take_rate, take, work.samples, work.batch_size, trial.seconds),
                **_hand_rates(sequences, trial.seconds),
            },
            trial.rounds,
        )
    needed = {"1 thread": 0.7, "2 processes": 1.0}
    return [
        *(
            ratio(
                1,
                f"raw by hand, {name} / `np.take` from RAM",
                rates[name],
                rates["limit"],
                at_least=needed.get(name),
                how="the limit runs in one thread on arrays in large pages of RAM, the loader on "
                "files in the page cache. The first epoch of every turn is not timed.",
            )
            for name in SETTINGS
        ),
        quantity(1, "`np.take` from RAM into one aligned buffer", "batches/s", rates["limit"]),
        *(quantity(1, f"raw by hand, {name}", "batches/s", rates[name]) for name in SETTINGS),
    ]


def lz4_store(trial: Trial) -> list[Figure]:
    """Row 2: the LZ4 store, relative to decoding the same chunks from RAM."""
    work = trial.workload
    decoders = Decoders(work.lz4, work.batch_size, 2)
    try:
        with _opened(work.lz4, work.batch_size, AHEAD) as sequences:
            rates = take_turns(
                {
                    "limit 1": partial(decoders.rate, 1, trial.seconds),
                    "limit 2": partial(decoders.rate, 2, trial.seconds),
                    **_hand_rates(sequences, trial.seconds),
                },
                trial.rounds,
            )
    finally:
        decoders.close()
    compared = {
        "1 thread": ("limit 1", "1 process", 0.75),
        "1 process": ("limit 1", "1 process", 0.85),
        "2 processes": ("limit 2", "2 processes", 0.85),
    }
    return [
        *(
            ratio(
                2,
                f"lz4 by hand, {name} / decoding from RAM, {decoded_by}",
                rates[name],
                rates[limit],
                at_least=least,
                how="the limit decodes the same chunks, in random order, into one aligned batch "
                "that each process reuses; the loader's processes fill several in turn, and "
                "share the cores with the parent.",
            )
            for name, (limit, decoded_by, least) in compared.items()
        ),
        quantity(2, "decoding from RAM, 1 process", "batches/s", rates["limit 1"]),
        quantity(2, "decoding from RAM, 2 processes", "batches/s", rates["limit 2"]),
        *(quantity(2, f"lz4 by hand, {name}", "batches/s", rates[name]) for name in AHEAD),
    ]


def busy_transform(trial: Trial) -> list[Figure]:
    """Row 5: are two processes twice as fast as one with a transform that holds the GIL?"""
    work = trial.workload
    more = {"subset": slice(0, min(_BUSY_SAMPLES, work.samples)), "transform": hold_gil}
    with _opened(work.raw, work.batch_size, PROCESSES, **more) as sequences:
        rates = take_turns(_hand_rates(sequences, trial.seconds), trial.rounds)
    return [
        ratio(
            5,
            f"transform of {HELD_SECONDS * 1e3:g} ms per sample that holds the GIL, 2 processes / "
            "1 process",
            rates["2 processes"],
            rates["1 process"],
            at_least=1.8,
            how="the transform waits by the wall clock (`time.perf_counter`), so that it does not "
            "take longer if other processes use the cores.",
        ),
        *(quantity(5, f"busy transform, {name}", "batches/s", rates[name]) for name in PROCESSES),
    ]


def epoch_boundary(trial: Trial) -> list[Figure]:
    """Row 6: the time from the last batch of an epoch to the first of the next, in batch times."""
    work = trial.workload
    with _opened(work.raw, work.batch_size, AHEAD) as sequences:
        found = take_turns(
            {name: partial(_boundaries, sequence) for name, sequence in sequences.items()},
            trial.rounds,
        )
    how = (
        f"median of the {_EPOCHS - 1} boundaries of a round over the round's median time between "
        "two batches. The loader measures its memory at the last batch of an epoch, whose time is "
        "listed separately."
    )
    figures = []
    for name, rounds in found.items():
        boundaries, worst, last, batch = zip(*rounds, strict=True)
        figures += [
            ratio(6, f"epoch boundary, {name} / a batch", boundaries, batch, at_most=2.0, how=how),
            ratio(6, f"epoch boundary, {name}, longest of a round / a batch", worst, batch),
            ratio(6, f"last batch of an epoch, {name} / a batch", last, batch),
            quantity(6, f"time of a batch, {name}", "ms", [1e3 * seconds for seconds in batch]),
        ]
    return figures


def parent_cpu(trial: Trial) -> list[Figure]:
    """Row 7: CPU time of the parent per batch that processes make."""
    work = trial.workload
    with _opened(work.raw, work.batch_size, PROCESSES) as sequences:
        found = take_turns(
            {
                name: partial(_cpu_per_batch, sequence, trial.seconds)
                for name, sequence in sequences.items()
            },
            trial.rounds,
        )
    size = work.batch_nbytes / 1e6
    return [
        quantity(
            7,
            f"CPU of the parent per batch of {size:.1f} MB, {name}",
            "ms",
            found[name],
            at_most=0.2,
            how="user and system time of all threads of the parent (`time.process_time`).",
        )
        for name in PROCESSES
    ]


@contextmanager
def _opened(
    store: str, batch_size: int, settings: Mapping[str, dict[str, Any]], **more: Any
) -> Iterator[dict[str, ZarrSequence]]:
    """Open a sequence per setting. All stay open, and are idle between their turns."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                ZarrSequence(store, batch_size, drop_remainder=True, **setting, **more)
            )
            for name, setting in settings.items()
        }


def _hand_rates(
    sequences: Mapping[str, ZarrSequence], seconds: float
) -> dict[str, Callable[[], float]]:
    return {name: partial(_hand_rate, seq, seconds) for name, seq in sequences.items()}


def _hand_rate(sequence: ZarrSequence, seconds: float) -> float:
    """Iterate over epochs by hand, and return the batches per second.

    The first epoch is not timed. It consumes the batches that were read ahead before the turn, and
    ends with as many batches under way as the end of the turn.
    """
    for _image, _mask in sequence:
        pass
    epochs, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        for _image, _mask in sequence:
            pass
        epochs += 1
    return epochs * len(sequence) / spent


def _take_rate(take: Epoch, samples: int, batch_size: int, seconds: float) -> float:
    order = shuffled(samples, batch_size, seed=0)
    for _ in take(order):
        pass
    epochs, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        for _image, _mask in take(order):
            pass
        epochs += 1
    return epochs * len(order) / spent


def _boundaries(sequence: ZarrSequence) -> tuple[float, float, float, float]:
    """Time every batch of several epochs.

    Returns
    -------
    median and longest boundary, median time of an epoch's last batch, median time of a batch
        In seconds.
    """
    for _image, _mask in sequence:
        pass
    epochs: list[list[float]] = []
    for _ in range(_EPOCHS):
        taken: list[float] = []
        for _image, _mask in sequence:
            taken.append(time.perf_counter())
        epochs.append(taken)
    boundaries = [after[0] - before[-1] for before, after in itertools.pairwise(epochs)]
    batches = [b - a for taken in epochs for a, b in itertools.pairwise(taken)]
    last = [taken[-1] - taken[-2] for taken in epochs]
    return (
        statistics.median(boundaries),
        max(boundaries),
        statistics.median(last),
        statistics.median(batches),
    )


def _cpu_per_batch(sequence: ZarrSequence, seconds: float) -> float:
    """Return the milliseconds of this process's CPU time per batch when iterating by hand."""
    for _image, _mask in sequence:
        pass
    epochs, cpu, began = 0, time.process_time(), time.perf_counter()
    while time.perf_counter() - began < seconds:
        for _image, _mask in sequence:
            pass
        epochs += 1
    return (time.process_time() - cpu) * 1e3 / (epochs * len(sequence))
