"""Workers of any number and kind make the same batches, wherever a transform keeps its state."""

from __future__ import annotations

import functools
import sys
import threading
import weakref
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import pipelines
from kinds import KINDS
from locked_pipeline import locked
from zarrfeed import WorkerError, ZarrSequence
from zarrfeed.feed.workers.function_copies import own_copies

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipelines import Pair
    from transforms import Array
    from zarrfeed.feed.workers.batch_spec import BatchSpec


def images(split: Path, transform: Any, **kind: Any) -> list[np.ndarray]:
    with ZarrSequence(split, 2, seed=2, transform=transform, **kind) as seq:
        return [image for image, _ in seq]


@pytest.mark.parametrize("place", pipelines.PLACES)
def test_threads_make_the_same_batches_wherever_a_pipeline_is_kept(place: str, split: Path) -> None:
    make = pipelines.PLACES[place]
    expected = images(split, make(), workers=0)
    for _ in range(2):
        found = images(split, make(), workers=4)
        assert [np.array_equal(a, b) for a, b in zip(found, expected, strict=True)] == [True] * 11


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["a closure", "a global variable", "a class", "a cache"])
def test_every_kind_of_worker_makes_the_same_batches(kind: str, place: str, split: Path) -> None:
    make = pipelines.PLACES[place]
    expected = images(split, make(), workers=0)
    found = images(split, make(), **KINDS[kind])
    assert [np.array_equal(a, b) for a, b in zip(found, expected, strict=True)] == [True] * 11


@pytest.mark.parametrize("place", ["a class", "NumPy's generator", "what cannot be copied"])
def test_sequences_that_read_at_once_do_not_share_a_state(place: str, split: Path) -> None:
    """As those for training and for validation do, with one worker each."""
    uncopyable = functools.partial(pipelines.run, pipelines.WithALock())
    transform = {**pipelines.PLACES, "what cannot be copied": lambda: uncopyable}[place]()
    expected = images(split, transform, workers=0)
    threads = [
        ZarrSequence(split, 2, seed=2, transform=transform, workers=1, max_queue_size=1)
        for _ in range(3)
    ]
    for batches in zip(*threads, expected, strict=True):
        assert all(np.array_equal(image, batches[-1]) for image, _ in batches[:-1])
    for seq in threads:
        seq.close()


# -- what is copied, and what is not --------------------------------------------------------------


@pytest.fixture
def batch_spec(split: Path) -> BatchSpec:
    with ZarrSequence(split, 2) as seq:
        return seq._stream.batch_spec


def test_every_thread_gets_a_closure_of_its_own(batch_spec: BatchSpec) -> None:
    original = pipelines.in_a_closure()
    copies = own_copies(replace(batch_spec, transform=original), 3)
    kept = [copy.transform.__closure__[0].cell_contents for copy in copies]  # type: ignore[union-attr]
    assert len({id(pipeline) for pipeline in (*kept, original.__closure__[0].cell_contents)}) == 4  # type: ignore[attr-defined]
    assert len({id(copy.call_lock) for copy in copies}) == 3  # and waits for nobody


def test_a_transform_and_a_batch_transform_share_what_they_shared(batch_spec: BatchSpec) -> None:
    holder = pipelines.Holder()
    [copy] = own_copies(replace(batch_spec, transform=holder, batch_transform=holder.augment), 1)
    assert copy.batch_transform.__self__ is copy.transform  # type: ignore[union-attr]
    assert copy.transform is not holder


def test_a_script_s_global_variables_are_copied(batch_spec: BatchSpec) -> None:
    script: dict[str, Any] = {"__name__": "__main__", "Pipeline": pipelines.Pipeline}
    exec("pipeline = Pipeline()\ndef augment(*arrays): return pipeline", script)
    copies = own_copies(replace(batch_spec, transform=script["augment"]), 2)
    kept = [copy.transform() for copy in copies]  # type: ignore[misc]
    assert len({id(pipeline) for pipeline in (*kept, script["pipeline"])}) == 3


def test_what_belongs_to_each_thread_already_and_what_nobody_writes_to_is_shared(
    batch_spec: BatchSpec,
) -> None:
    local, table, mark = threading.local(), np.arange(9), object()
    table.flags.writeable = False

    def augment(*arrays: Any) -> Any:
        return local, table, mark, np.take

    for copy in own_copies(replace(batch_spec, transform=augment), 2):
        assert copy.transform is not augment
        for one, other in zip(copy.transform(), augment(), strict=True):  # type: ignore[misc]
            assert one is other


@dataclass
class Flip:
    """A class without a state of its own: threads need not wait for each other."""

    axis: int = 1

    def __call__(self, image: Array, mask: Array, rng: np.random.Generator) -> Pair:
        return np.flip(image, self.axis), np.flip(mask, self.axis)


def test_threads_wait_for_each_other_only_where_classes_keep_a_state(batch_spec: BatchSpec) -> None:
    for transform, alone in ((Flip(), True), (pipelines.OfTheClass(), False)):
        first, second = own_copies(replace(batch_spec, transform=transform), 2)
        assert (first.call_lock is not second.call_lock) is alone


# -- what cannot be copied ------------------------------------------------------------------------


def around(held: object) -> pipelines.Transform:
    pipeline = pipelines.Pipeline()

    def augment(image: Array, mask: Array, rng: np.random.Generator) -> Pair:
        assert held is not None
        return pipeline.seeded(rng)(image, mask)

    return augment


@pytest.mark.parametrize(
    "held",
    [threading.Lock(), (number for number in range(3)), sys.stderr, weakref.WeakSet[Any]()],
    ids=lambda held: type(held).__name__,
)
def test_what_cannot_be_copied_is_refused_for_several_threads_alone(
    held: object, split: Path
) -> None:
    transform = around(held)
    said = r"transform augment cannot be copied.* 2 worker threads .*cannot pickle.*set workers=1"
    with pytest.raises(WorkerError, match=said):
        images(split, transform, workers=2)
    expected = images(split, pipelines.in_a_closure(), workers=0)
    for workers in (0, 1):
        assert np.array_equal(images(split, transform, workers=workers), expected)


def test_a_function_of_a_module_that_cannot_be_copied_goes_to_processes(split: Path) -> None:
    with pytest.raises(WorkerError, match="use_multiprocessing=True"):
        images(split, locked, workers=2)
    expected = images(split, locked, workers=0)
    assert np.array_equal(images(split, locked, workers=2, use_multiprocessing=True), expected)


@pytest.mark.parametrize("make", [pipelines.in_a_closure, lambda: around(threading.Lock())])
@pytest.mark.parametrize("workers", [0, 1])
def test_items_that_are_read_meanwhile_are_the_same(
    make: Callable[[], Any], workers: int, split: Path
) -> None:
    expected = images(split, pipelines.in_a_closure(), workers=0)
    with ZarrSequence(split, 2, seed=2, transform=make(), workers=workers) as seq:
        items: list[list[Array]] = []
        reader = threading.Thread(target=lambda: items.extend([seq[i][0]] for i in range(11)))
        batches = iter(seq)
        found = [next(batches)[0]]
        reader.start()
        found += [image for image, _ in batches]
        reader.join()
    assert np.array_equal(found, expected)
    assert len(items) == 11
