"""Which settings of a sequence are tried?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# More than this many is seldom asked for, and every setting takes its time.
_MOST_WORKERS = 8


@dataclass(frozen=True, slots=True)
class Setting:
    """How many workers, of which kind.

    Attributes
    ----------
    workers
        How many; 0 reads in the caller.
    processes
        Whether they are processes; False where there are none.
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
        """What ``ZarrSequence`` takes."""
        kind = {"use_multiprocessing": True} if self.processes else {}
        return {"workers": self.workers, **kind}


def worker_counts(cores: int) -> tuple[int, ...]:
    """Choose numbers of workers that fit a machine: none, 1, 2, 4 … and one for each core.

    Examples
    --------
    >>> worker_counts(2), worker_counts(6), worker_counts(64)
    ((0, 1, 2), (0, 1, 2, 4, 6), (0, 1, 2, 4, 8))
    """
    most = min(cores, _MOST_WORKERS)
    return tuple(sorted({0, most, *(n for n in (1, 2, 4, 8) if n <= most)}))


def sweep(workers: Sequence[int], kinds: Sequence[bool]) -> tuple[Setting, ...]:
    """List what is tried, each once.

    Parameters
    ----------
    workers
        Numbers of workers.
    kinds
        Of False (threads) and True (processes). No worker is of neither kind, and comes first.

    Examples
    --------
    >>> [str(setting) for setting in sweep([0, 2], [False, True])]
    ['no worker', '2 threads', '2 processes']
    """
    none = [Setting(0, False)] if 0 in workers else []
    some = sorted(set(workers) - {0})
    return (*none, *(Setting(count, kind) for kind in kinds for count in some))


def argument_text(path: str, batch_size: int, arguments: dict[str, Any]) -> str:
    """Write a sequence as Python, to be copied.

    Examples
    --------
    >>> argument_text("a.zarr/train", 32, {"workers": 2, "use_multiprocessing": True})
    "ZarrSequence('a.zarr/train', 32, workers=2, use_multiprocessing=True)"
    """
    named = "".join(f", {name}={_source(value)}" for name, value in arguments.items())
    return f"ZarrSequence({path!r}, {batch_size}{named})"


def _source(value: object) -> str:
    """Write a value as Python; a function by its name."""
    return str(getattr(value, "__name__", type(value).__name__)) if callable(value) else repr(value)
