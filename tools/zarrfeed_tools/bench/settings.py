"""Which settings of a sequence are measured?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# Largest default number of workers, because every setting takes time and more are rarely useful.
_MOST_WORKERS = 8


@dataclass(frozen=True, slots=True)
class Setting:
    """Number and kind of workers.

    Attributes
    ----------
    workers
        Number of workers; 0 reads in the caller.
    processes
        Whether the workers are processes; False if there are none.
    """

    workers: int
    processes: bool

    def __str__(self) -> str:
        if not self.workers:
            return "no worker"
        kind = "process" if self.processes else "thread"
        plural = "" if self.workers == 1 else "es" if self.processes else "s"
        return f"{self.workers} {kind}{plural}"

    @property
    def arguments(self) -> dict[str, Any]:
        """The setting as arguments of ``ZarrSequence``."""
        kind = {"use_multiprocessing": True} if self.processes else {}
        return {"workers": self.workers, **kind}


def worker_counts(cores: int) -> tuple[int, ...]:
    """Return numbers of workers for a machine: 0, 1, 2, 4 … up to the number of cores.

    Examples
    --------
    >>> worker_counts(2), worker_counts(6), worker_counts(64)
    ((0, 1, 2), (0, 1, 2, 4, 6), (0, 1, 2, 4, 8))
    """
    most = min(cores, _MOST_WORKERS)
    return tuple(sorted({0, most, *(n for n in (1, 2, 4, 8) if n <= most)}))


def sweep(workers: Sequence[int], kinds: Sequence[bool]) -> tuple[Setting, ...]:
    """Return the settings to measure, without duplicates.

    Parameters
    ----------
    workers
        Numbers of workers.
    kinds
        Kinds of workers: False for threads, True for processes. Reading without workers comes
        first, only once.

    Examples
    --------
    >>> [str(setting) for setting in sweep([0, 2], [False, True])]
    ['no worker', '2 threads', '2 processes']
    """
    none = [Setting(0, False)] if 0 in workers else []
    some = sorted(set(workers) - {0})
    return (*none, *(Setting(count, kind) for kind in kinds for count in some))


def argument_text(path: str, batch_size: int, arguments: dict[str, Any]) -> str:
    """Write the construction of a sequence in Python.

    Examples
    --------
    >>> argument_text("a.zarr/train", 32, {"workers": 2, "use_multiprocessing": True})
    "ZarrSequence('a.zarr/train', 32, workers=2, use_multiprocessing=True)"
    """
    named = "".join(f", {name}={_source(value)}" for name, value in arguments.items())
    return f"ZarrSequence({path!r}, {batch_size}{named})"


def _source(value: object) -> str:
    """Write a value in Python; a function by its name."""
    return str(getattr(value, "__name__", type(value).__name__)) if callable(value) else repr(value)
