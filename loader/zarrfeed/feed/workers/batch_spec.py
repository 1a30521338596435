"""What does a worker need to know to make batches? It can be sent to another process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from numpy.typing import NDArray

from zarrfeed.feed.forks import register_at_fork
from zarrfeed.store.schema import CLASS_PIXELS, MASK

if TYPE_CHECKING:
    import numpy as np

    from zarrfeed.feed.batch_structure import BatchStructure
    from zarrfeed.feed.slot import SlotLayout, Spec
    from zarrfeed.store.files import Stamp
    from zarrfeed.store.split import Split

# augment(image, mask, rng) -> (image, mask): one array per field, then the generator
Transform: TypeAlias = Callable[..., Any]
Named: TypeAlias = Mapping[str, NDArray[Any]]


class CallLock:
    """A lock around calls of functions that threads share."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        register_at_fork(self)

    def before_fork(self) -> None:
        """Nothing to do; see :mod:`zarrfeed.feed.forks`."""

    def after_fork(self, *, child: bool) -> None:
        """In a child, make a new lock, because the thread that held the old one does not exist."""
        if child:
            self.lock = threading.RLock()

    def __reduce__(self) -> tuple[type[CallLock], tuple[()]]:
        return CallLock, ()  # another process has copies of the functions


# One lock for all sequences, because they may get the same function or functions that share state.
ORIGINALS = CallLock()


@dataclass(frozen=True, slots=True)
class PatchSpec:
    """What is equal for all patches.

    Attributes
    ----------
    size
        Size of a patch in pixels.
    tile
        Size of a tile in pixels; that of a sample, in a split of samples.
    shift
        Whether a patch around a pixel of a class is moved into its case.
    fill
        Value beyond the border, for each field that is read.
    finds_classes
        Whether draws may ask for a pixel of a class.
    """

    size: tuple[int, ...]
    tile: tuple[int, ...]
    shift: bool
    fill: tuple[float, ...]
    finds_classes: bool

    def fields_read(self, fields: Iterable[str]) -> list[str]:
        """Return the fields of patches, and the mask if pixels of classes are looked up in it."""
        names = list(fields)
        if self.finds_classes and MASK not in names:
            names.append(MASK)
        return names


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """What to read, and what to make of it.

    Attributes
    ----------
    split
        The opened split.
    source
        The fields to read, in the order in which transforms take them.
    patches
        What is equal for all patches; None if samples are read whole.
    layout
        Layout of the slots. Its specs are the arrays of a batch, read or made by the transforms,
        followed by `added`.
    structure
        Which of these arrays are inputs, targets and weights.
    seed
        Seed of the transforms' random numbers.
    transform, batch_transform
        The user's functions; None for none.
    between
        Names of the arrays that `batch_transform` takes, in order: those of `source`, or those that
        `transform` returns.
    added
        Names of added arrays of weights, each with the mask whose ids are weighed, or None if all
        weigh 1.
    weights
        (256,) or (65536,) float32 weight of every mask id; None if no mask is weighed.
    open_files
        Number of descriptors that one worker may keep open.
    call_lock
        Lock to hold while a function is called. By default one lock for the whole process, because
        other sequences may have the same functions.
    """

    split: Split
    source: tuple[Spec, ...]
    patches: PatchSpec | None
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
    def stamps(self) -> dict[str, Stamp | None]:
        """Stamps of the arrays to read; see :func:`zarrfeed.store.files.require_same`."""
        names = [spec.name for spec in self.source]
        if self.patches is not None and self.patches.finds_classes:
            names += [MASK, CLASS_PIXELS]
        return {name: self.split.stamps.get(name) for name in names}

    @property
    def function_names(self) -> str:
        """Names of the user's functions for error messages."""
        functions = (self.transform, self.batch_transform)
        return ", ".join(function_name(f) for f in functions if f is not None)


def function_name(function: Transform) -> str:
    """Return the name of a function, or of a callable object's class."""
    return str(getattr(function, "__name__", type(function).__name__))
