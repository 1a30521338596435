"""What is measured on, and how often? Plain values, which travel to child processes as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

# The ways of feeding that figures are about: arguments of a ``ZarrSequence``.
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
        Splits that hold the same samples, uncompressed and as Blosc-LZ4.
    small
        A split of 64 of them, uncompressed.
    samples, size
        How many, and their height and width in pixels.
    batch_size
        Samples per batch.
    origin
        What the pixels are, in words.
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
        """Full batches per epoch."""
        return self.samples // self.batch_size

    @property
    def batch_nbytes(self) -> int:
        """Decoded bytes of a batch: three bytes of image and one of mask per pixel."""
        return self.batch_size * self.size**2 * 4


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of the benchmark.

    Attributes
    ----------
    workload
        What is read.
    rounds
        In each, every way takes a turn; the first warms up and is dropped.
    seconds
        Of a turn, at least, where nothing else bounds it.
    """

    workload: Workload
    rounds: int
    seconds: float = 1.0

    def to_json(self) -> str:
        """Write it down for a child process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Trial:
        """Read what :meth:`to_json` wrote."""
        found = json.loads(text)
        return cls(**{**found, "workload": Workload(**found["workload"])})


def take_turns(ways: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Let every way take its turn in every round, each round beginning with another one.

    A machine that is busy for a while is so to all ways of a round, which the ratio within the
    round then does not see.

    Parameters
    ----------
    ways
        What is measured, by name.
    rounds
        At least 2.

    Returns
    -------
    dict of lists
        What each way found in each round but the first.

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
