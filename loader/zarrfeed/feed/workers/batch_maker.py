"""How is a slot filled? The same code in every kind of worker, so that the kind cannot matter.

A :class:`BatchSpec` is an address (path, fields, seed, functions) that can travel; a
:class:`BatchMaker` is the open thing that a worker makes of it.
"""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from zarrfeed.arrays import Arrays, aligned_empty
from zarrfeed.errors import WorkerError
from zarrfeed.feed.forks import ask_at_forks
from zarrfeed.feed.slot import NOTHING, Slot, SlotLayout, Spec
from zarrfeed.store.files import require_same
from zarrfeed.store.reader import BatchReader, sample_names
from zarrfeed.store.split import open_split

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed.feed.arena import Arena
    from zarrfeed.feed.workers import Task
    from zarrfeed.store.files import Stamp

_WHO = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)  # the former on Linux alone

_SHOWN = 20_000  # characters of an error
# augment(image, mask, rng) -> (image, mask): one array per field, then the generator
Transform: TypeAlias = Callable[..., Any]


class Turns:
    """Who calls the user's functions next, where several threads have the same ones."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        ask_at_forks(self)

    def before_fork(self) -> None:
        """Nothing to do; see :mod:`zarrfeed.feed.forks`."""

    def after_fork(self, *, child: bool) -> None:
        """In a child, begin anew: whoever had the turn is not there."""
        if child:
            self.lock = threading.RLock()

    def __reduce__(self) -> tuple[type[Turns], tuple[()]]:
        return Turns, ()  # another process has functions of its own


# Of all sequences: they may be given the same function, or functions that share a state.
_ORIGINALS = Turns()


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """All that a worker must know.

    Attributes
    ----------
    path
        Of the split.
    stamps
        Of the arrays that are read; see :func:`zarrfeed.store.files.require_same`.
    source
        What is read: one spec per field, in batch order.
    layout
        Of the slots; its specs are what the transforms make of `source`, then weights where there
        are any.
    seed
        Of the transforms' random numbers.
    transform, batch_transform
        The user's functions; None for none.
    weights
        (256,) or (65536,) float32 weight of every mask id; None where all weigh 1. The mask is the
        last field.
    open_files
        Descriptors that one worker may keep open.
    turns
        In which the functions are called: by default with all others of this process, as they may
        be another sequence's, too.
    """

    path: Path
    stamps: Mapping[str, Stamp | None]
    source: tuple[Spec, ...]
    layout: SlotLayout
    seed: int
    transform: Transform | None
    batch_transform: Transform | None
    weights: NDArray[np.float32] | None
    open_files: int
    turns: Turns = field(default_factory=lambda: _ORIGINALS)


class BatchMaker:
    """Fills slots by a batch_spec. Not thread-safe: every worker has its own."""

    def __init__(self, batch_spec: BatchSpec) -> None:
        self._batch_spec = batch_spec
        self._split = open_split(batch_spec.path)
        for (
            name,
            stamp,
        ) in batch_spec.stamps.items():  # it may be another split by now
            require_same(batch_spec.path / name, stamp)
        self._fields = [spec.name for spec in batch_spec.source]
        self._reader = BatchReader(self._split, self._fields, open_files=batch_spec.open_files)
        self._scratch: Arrays | None = None
        if batch_spec.transform is not None or batch_spec.batch_transform is not None:
            scratch = SlotLayout.of(batch_spec.source, batch_spec.layout.rows)
            self._scratch = scratch.slot(aligned_empty(scratch.nbytes)).arrays

    def do(self, task: Task, arena: Arena) -> None:
        """Fill the slot of a task; errors are those of :meth:`fill`."""
        self.fill(arena.slot(task.slot), rows=task.rows, epoch=task.epoch, batch=task.batch)

    def fill(self, slot: Slot, *, rows: int, epoch: int, batch: int) -> None:
        """Fill a slot whose sample ids already stand in it.

        Parameters
        ----------
        slot
            Of the batch_spec's layout.
        rows
            How many samples.
        epoch, batch
            Which batch it is.

        Raises
        ------
        ReadError
            The store could not be read.
        WorkerError
            A transform raised, or returned another shape or dtype than at first.
        """
        ids = slot.ids[:rows]
        if slot.coming[0] != NOTHING:
            self._reader.advise(slot.coming[slot.coming != NOTHING])
        outputs = slot.first_rows(rows)
        targets = outputs[: len(self._fields)]
        sources = targets
        if self._scratch is not None:
            sources = tuple(array[:rows] for array in self._scratch)
        began, decoding, faults = time.perf_counter(), self._reader.decode_seconds, _disk_reads()
        self._reader.read_into(ids, sources)
        decoded = self._reader.decode_seconds - decoding
        read = time.perf_counter()
        if self._scratch is not None:
            self._transform(ids, sources, targets, epoch=epoch, batch=batch)
        if self._batch_spec.weights is not None:
            np.take(self._batch_spec.weights, targets[-1], out=outputs[-1], mode="clip")
        elif len(outputs) > len(targets):
            outputs[-1].fill(1)  # whoever hands the batch out knows which rows are padding
        transformed = time.perf_counter() - read
        slot.spent[:] = (
            read - began - decoded, decoded, transformed, _disk_reads() - faults,
        )  # fmt: skip

    def close(self) -> None:
        """Close the store's files."""
        self._reader.close()

    def _transform(
        self,
        ids: NDArray[np.int64],
        sources: Sequence[NDArray[Any]],
        targets: Sequence[NDArray[Any]],
        *,
        epoch: int,
        batch: int,
    ) -> None:
        batch_spec = self._batch_spec
        if batch_spec.transform is not None:
            # With a batch transform to follow, its input may have any one shape: collect it.
            into = targets if batch_spec.batch_transform is None else None
            made = self._per_sample(ids, sources, into, epoch=epoch)
        else:
            made = sources
        if batch_spec.batch_transform is not None:
            rng = generator(batch_spec.seed, epoch, batch, stream=1)
            names = SampleNames(self._split, ids)
            with batch_spec.turns.lock:
                results = _call(batch_spec.batch_transform, made, rng, self._fields, names)
                for name, target, result in zip(self._fields, targets, results, strict=True):
                    _expect(
                        batch_spec.batch_transform, name, result, target.shape, target.dtype, names
                    )
                    target[...] = result  # in its turn: it may be a buffer of the function's

    def _per_sample(
        self,
        ids: NDArray[np.int64],
        sources: Sequence[NDArray[Any]],
        targets: Sequence[NDArray[Any]] | None,
        *,
        epoch: int,
    ) -> Sequence[NDArray[Any]]:
        batch_spec = self._batch_spec
        assert batch_spec.transform is not None
        lock = batch_spec.turns.lock
        for row, sample in enumerate(ids.tolist()):
            names = SampleNames(self._split, ids[row : row + 1])
            rng = generator(batch_spec.seed, epoch, sample, stream=0)
            arrays = [array[row] for array in sources]
            with lock:
                results = _call(batch_spec.transform, arrays, rng, self._fields, names)
                if targets is None:
                    targets = [np.empty((ids.size, *r.shape), r.dtype) for r in results]
                for name, target, result in zip(self._fields, targets, results, strict=True):
                    _expect(
                        batch_spec.transform, name, result, target.shape[1:], target.dtype, names
                    )
                    target[row] = result  # in its turn: it may be a buffer of the function's
        return targets if targets is not None else sources


def names_of(batch_spec: BatchSpec) -> str:
    """Name the user's functions."""
    functions = [f for f in (batch_spec.transform, batch_spec.batch_transform) if f is not None]
    return ", ".join(map(_name_of, functions))


def shortened(say: Callable[[BaseException], str], error: BaseException) -> str:
    """Make a text of an error, whatever the user's error does; of a very long one, both ends."""
    try:
        made = say(error)
    except Exception as failure:
        made = f"(an error that cannot be shown: {type(failure).__name__})"
    if len(made) <= _SHOWN:
        return made
    half = _SHOWN // 2
    return f"{made[:half]} … {len(made) - 2 * half:,} characters … {made[-half:]}"


class SampleNames:
    """The keys of samples, looked up only when an error needs them."""

    def __init__(self, split: Any, ids: NDArray[np.int64]) -> None:
        self._split = split
        self._ids = ids.copy()

    def __str__(self) -> str:
        names = sample_names(self._split, self._ids[:4])
        more = f" and {self._ids.size - 4} more" if self._ids.size > 4 else ""
        return ", ".join(names) + more


def _disk_reads() -> int:
    """Count the pages that this thread had to wait for: major faults."""
    return resource.getrusage(_WHO).ru_majflt


def generator(seed: int, epoch: int, index: int, *, stream: int) -> np.random.Generator:
    """Make the random generator of one sample (stream 0) or one batch (stream 1)."""
    return np.random.Generator(
        np.random.PCG64(np.random.SeedSequence((seed, epoch, index, stream)))
    )


def apply(
    function: Transform | None,
    arrays: Sequence[NDArray[Any]],
    rng: np.random.Generator,
    fields: Sequence[str],
    name: str,
) -> list[NDArray[Any]]:
    """Call a transform once, as a worker would; used to learn what it returns."""
    if function is None:
        return list(arrays)
    with _ORIGINALS.lock:
        return _call(function, arrays, rng, fields, name)


def _call(
    function: Transform,
    arrays: Sequence[NDArray[Any]],
    rng: np.random.Generator,
    fields: Sequence[str],
    names: object,
) -> list[NDArray[Any]]:
    called = _name_of(function)
    try:
        results = function(*arrays, rng)
    except Exception as error:
        where = _line_of_transform(error)
        said = shortened(repr, error)
        if not where and isinstance(error, TypeError):  # the call itself failed
            needed = f"({', '.join(fields)}, rng)"
            raise WorkerError(
                f"transform {called} cannot be called as {called}{needed}: {said}; define it as "
                f"{needed} -> ({', '.join(fields)}): one array per field, then a "
                "numpy.random.Generator"
            ) from error
        raise WorkerError(f"transform {called} raised {said}{where} on {names}") from error
    if len(arrays) == 1 and isinstance(results, np.ndarray):
        results = (results,)
    if not isinstance(results, tuple | list) or len(results) != len(arrays):
        raise WorkerError(
            f"transform {called} must return {len(arrays)} arrays, one per field "
            f"({', '.join(fields)}), as a tuple; it returned {_describe(results)} on {names}"
        )
    made = [np.asarray(result) for result in results]
    for field_name, result, array in zip(fields, results, made, strict=True):
        if array.dtype.kind not in "biuf":
            raise WorkerError(
                f"transform {called} must return arrays of numbers; it returned "
                f"{_describe(result)} as {field_name} on {names}"
            )
    return made


def _name_of(function: Transform) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _describe(value: object) -> str:
    """Say what somebody returned, in the words that he needs to see his mistake.

    >>> _describe((1, None, np.zeros((2, 3)))), _describe({"image": 1}), _describe(None)
    ('a tuple of 3 (int, None, ndarray)', 'a dict of 1 (image)', 'None')
    """
    if isinstance(value, dict):
        return f"a dict of {len(value)} ({', '.join(map(str, list(value)[:4]))})"
    if isinstance(value, tuple | list):
        kinds = ", ".join("None" if v is None else type(v).__name__ for v in value[:4])
        return f"a {type(value).__name__} of {len(value)} ({kinds})"
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}{list(value.shape)}"
    return "None" if value is None else f"a {type(value).__name__}"


def _line_of_transform(error: Exception) -> str:
    """Name the line of the user's function that led to an error; "" if it is not Python's."""
    called = error.__traceback__ and error.__traceback__.tb_next  # below our own line
    return f" at {called.tb_frame.f_code.co_filename}:{called.tb_lineno}" if called else ""


def _expect(
    function: Transform,
    name: str,
    result: NDArray[Any],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    names: object,
) -> None:
    if result.shape != shape or result.dtype != dtype:
        raise WorkerError(
            f"transform {_name_of(function)} returned {name} of shape {result.shape}, "
            f"{result.dtype} on {names}; needed {shape}, {dtype}, as on the first sample: every "
            "sample of a batch must have one shape and dtype"
        )
