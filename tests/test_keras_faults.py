"""A `model.fit` that stops, fails or is interrupted harms no later one and leaves nothing."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import keras
import pytest

from keras_client import small_model
from kinds import KINDS, PROCESSES, children
from scripts import gone, interrupt, running, wait_until
from traced_model import traced_model
from transforms import SignsIn
from zarrfeed import ZarrSequence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class StopAfterTwo(keras.callbacks.Callback):
    """Stops training in the middle of an epoch."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.model.stop_training = batch == 1


@pytest.mark.parametrize("kind", ["inline", "three threads", "two processes"])
def test_a_fit_that_stops_in_mid_epoch_leaves_the_next_one_exact(kind: str, split: Path) -> None:
    log: list[list[int]] = []
    model = traced_model(keras, log)
    with ZarrSequence(split, 4, seed=1, **KINDS[kind]) as seq:
        model.fit(seq, epochs=5, verbose=0, callbacks=[StopAfterTwo()])
        assert len(log) == 2
        model.fit(seq, epochs=2, verbose=0)
    for epoch in (log[2:8], log[8:]):
        assert sorted(sample for batch in epoch for sample in batch) == list(range(22))


class Fails(keras.callbacks.Callback):
    """Ends training by an error of the user's own."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        raise ZeroDivisionError("a user's own mistake")


def fit_and_forget(split: Path, *callbacks: keras.callbacks.Callback) -> None:
    model, _ = small_model()
    model.fit(ZarrSequence(split, 4, **PROCESSES), verbose=0, callbacks=list(callbacks))


@pytest.fixture
def cleaned() -> Iterator[None]:
    """A process that a failing test leaves must not fail the tests to come."""
    yield
    for child in children():
        child.kill()
        child.wait()


@pytest.mark.usefixtures("cleaned")
def test_a_sequence_that_only_fit_knew_leaves_no_process(split: Path) -> None:
    fit_and_forget(split)
    gc.collect()
    wait_until(lambda: not children(), 5)


@pytest.mark.usefixtures("cleaned")
def test_a_fit_that_failed_leaves_no_process(split: Path) -> None:
    with pytest.raises(ZeroDivisionError, match="a user's own mistake"):
        fit_and_forget(split, Fails())
    gc.collect()
    wait_until(lambda: not children(), 5)


SCRIPT = """
import sys
from keras_client import small_model
from transforms import SignsIn
from zarrfeed import ZarrSequence

split, signs = sys.argv[1:]
train = ZarrSequence(split, 4, transform=SignsIn(signs), workers=2, use_multiprocessing=True)
small_model()[0].fit(train, epochs=1_000_000, verbose=0)
"""


def test_ctrl_c_in_fit_ends_everything_with_one_traceback(split: Path, tmp_path: Path) -> None:
    signs = SignsIn(str(tmp_path))
    with running(SCRIPT, split, tmp_path, KERAS_BACKEND="tensorflow") as process:
        wait_until(lambda: signs.samples() > 10 * 22, 60)
        assert interrupt(process).endswith("KeyboardInterrupt")
        wait_until(lambda: gone(signs.processes()), 5)
