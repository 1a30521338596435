"""What must a worker know to make batches? An address that can be sent to another process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from numpy.typing import NDArray

from zarrfeed.feed.forks import register_at_fork

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from zarrfeed.feed.batch_structure import BatchStructure
    from zarrfeed.feed.slot import SlotLayout, Spec
    from zarrfeed.store.files import Stamp

# augment(image, mask, rng) -> (image, mask): one array per field, then the generator
Transform: TypeAlias = Callable[..., Any]
Named: TypeAlias = Mapping[str, NDArray[Any]]


class CallLock:
    """A lock around calls of the user's functions, for threads that share these functions."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        register_at_fork(self)

    def before_fork(self) -> None:
        """Nothing to do; see :mod:`zarrfeed.feed.forks`."""

    def after_fork(self, *, child: bool) -> None:
        """In a child, make a new lock: the thread that held the old one is gone."""
        if child:
            self.lock = threading.RLock()

    def __reduce__(self) -> tuple[type[CallLock], tuple[()]]:
        return CallLock, ()  # another process has functions of its own


# Of all sequences: they may be given the same function, or functions that share a state.
ORIGINALS = CallLock()


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """What to read, and what to make of it.

    Attributes
    ----------
    path
        Of the split.
    stamps
        Of the arrays that are read; see :func:`zarrfeed.store.files.require_same`.
    source
        What is read: one spec per field, in the order in which transforms take them.
    layout
        Of the slots; its specs are the arrays of a batch, read or made by the transforms, followed
        by `added`.
    structure
        Of a batch: which of these arrays are inputs, targets and weights.
    seed
        Of the transforms' random numbers.
    transform, batch_transform
        The user's functions; None for none.
    between
        The arrays that `batch_transform` takes, in order: `source`, or what `transform` returns.
    added
        Arrays of weights, by name: the mask whose ids are weighed, or None where all weigh 1.
    weights
        (256,) or (65536,) float32 weight of every mask id; None if no mask is weighed.
    open_files
        Descriptors that one worker may keep open.
    call_lock
        Held while a function is called. By default one lock for the whole process, because other
        sequences may have the same functions.
    """

    path: Path
    stamps: Mapping[str, Stamp | None]
    source: tuple[Spec, ...]
    layout: SlotLayout
    structure: BatchStructure
    seed: int
    transform: Transform | None
    batch_transform: Transform | None
    between: tuple[str, ...]
    added: Mapping[str, str | None]
    weights: NDArray[np.float32] | None
    open_files: int
    call_lock: CallLock = field(default_factory=lambda: ORIGINALS)

    @property
    def function_names(self) -> str:
        """The user's functions, by name, for error messages."""
        functions = (self.transform, self.batch_transform)
        return ", ".join(function_name(f) for f in functions if f is not None)


def function_name(function: Transform) -> str:
    """Name a function, or the class of a callable object."""
    return str(getattr(function, "__name__", type(function).__name__))
