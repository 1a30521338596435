"""What to measure and how often: plain values that are passed to child processes as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

# The settings that are measured: arguments of a ``ZarrSequence``.
SETTINGS: dict[str, dict[str, Any]] = {
    "no worker": {"workers": 0},
    "1 thread": {"workers": 1},
    "1 process": {"workers": 1, "use_multiprocessing": True},
    "2 processes": {"workers": 2, "use_multiprocessing": True},
}
AHEAD = {name: SETTINGS[name] for name in ("1 thread", "1 process", "2 processes")}
PROCESSES = {name: SETTINGS[name] for name in ("1 process", "2 processes")}


@dataclass(frozen=True, slots=True)
class Workload:
    """Packed samples.

    Attributes
    ----------
    raw, lz4
        Splits of the same samples, uncompressed and as Blosc-LZ4.
    small
        A split of 64 of the samples, uncompressed.
    samples, size
        Number of samples, and their height and width in pixels.
    batch_size
        Samples per batch.
    origin
        Description of the pixels.
    """

    raw: str
    lz4: str
    small: str
    samples: int
    size: int
    batch_size: int
    origin: str

    @property
    def batches(self) -> int:
        """Number of full batches per epoch."""
        return self.samples // self.batch_size

    @property
    def batch_nbytes(self) -> int:
        """Decoded size of a batch in bytes: per pixel, three bytes of image and one of mask."""
        return self.batch_size * self.size**2 * 4


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of the benchmark.

    Attributes
    ----------
    workload
        The samples.
    rounds
        Number of rounds, in each of which every way takes a turn. The first is dropped.
    seconds
        Least duration of a turn.
    """

    workload: Workload
    rounds: int
    seconds: float = 1.0

    def to_json(self) -> str:
        """Return the trial as JSON for a child process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Trial:
        """Make a trial from the return value of :meth:`to_json`."""
        found = json.loads(text)
        return cls(**{**found, "workload": Workload(**found["workload"])})


def take_turns(ways: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Call every function once per round, starting each round with another one.

    A machine that is busy for a while slows down all functions of a round, which hardly affects the
    ratios within the round.

    Parameters
    ----------
    ways
        Functions that measure, by name.
    rounds
        Number of rounds, at least 2.

    Returns
    -------
    dict of lists
        The results of each function in every round but the first.

    Examples
    --------
    >>> take_turns({"one": lambda: 1, "two": lambda: 2}, rounds=3)
    {'one': [1, 1], 'two': [2, 2]}
    """
    found: dict[str, list[T]] = {way: [] for way in ways}
    names = list(ways)
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            result = ways[name]()
            if turn:
                found[name].append(result)
    return found
