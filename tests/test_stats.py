"""What an epoch cost, and whether the model waited."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import keras
import pytest
from hypothesis import given
from hypothesis import strategies as st

import transforms
from stores import traced_pixels, write_split
from zarrfeed import EpochStats, FeedMonitor, ZarrSequence
from zarrfeed.feed.stats import model_waits
from zarrfeed.fronts.epoch_report import epoch_line

if TYPE_CHECKING:
    from pathlib import Path

times = st.floats(0, 100, allow_nan=False)


@given(st.lists(times, min_size=1, max_size=20), st.data())
def test_a_model_waits_no_longer_than_its_epoch(steps: list[float], data: st.DataObject) -> None:
    """Batches come one after the other, and every step takes its time."""
    computing = data.draw(st.lists(times, min_size=len(steps), max_size=len(steps)))
    taken, finished, waited = [], [], 0.0
    now = came = 0.0
    for reading, compute in zip(steps, computing, strict=True):
        came += reading
        waited += max(0.0, came - now) if taken else 0.0
        now = max(now, came) + compute
        taken.append(came)
        finished.append(now)
    assert model_waits(taken, finished) == pytest.approx(waited)
    assert model_waits(taken, finished) <= finished[-1] + 1e-9


@pytest.mark.parametrize(
    "workers",
    [{"workers": 0}, {"workers": 2}, {"workers": 2, "use_multiprocessing": True}],
    ids=str,
)
def test_stats_count_what_was_handed_out(split: Path, workers: dict[str, Any]) -> None:
    with ZarrSequence(split, 4, transform=transforms.noisy, **workers) as seq:
        assert seq.stats() == []
        for _ in range(2):
            list(seq)
        next(passed := iter(seq))
        first, second, third = seq.stats()
        passed.close()
    for epoch, found in enumerate((first, second)):
        assert (found.epoch, found.batches, found.samples) == (epoch, 6, 22)
        assert found.nbytes == 22 * (8 * 6 * 3 + 8 * 6)
        assert 0 <= found.waited <= found.seconds
        assert found.transformed > 0
        assert found.read > 0
        assert found.decoded > 0
        assert found.idle >= 0
        assert found.rss > 2**20
        assert found.batches_per_second == found.batches / found.seconds
    assert (third.epoch, third.batches) == (2, 1)
    assert third.rss > 2**20


def test_raw_chunks_are_not_decoded(tmp_path: Path) -> None:
    path = write_split(tmp_path / "s", traced_pixels(22), compressors=None)
    with ZarrSequence(path, 4, workers=1) as seq:
        list(seq)
        assert seq.stats()[0].decoded == 0


def stats(**parts: float) -> EpochStats:
    seconds = {"read": 0.0, "decoded": 0.0, "transformed": 0.0, "idle": 0.0, "waited": 0.0} | parts
    return EpochStats(
        epoch=0, batches=100, samples=800, nbytes=10**9, seconds=10.0, rss=10**9, **seconds
    )


def line(found: EpochStats, waited: float, workers: int = 2, processes: bool = True) -> str:
    return epoch_line(
        2, steps=100, seconds=10.0, waited=waited, stats=found, workers=workers,
        processes=processes,
    )  # fmt: skip


def test_the_line_names_what_limits_and_what_would_help() -> None:
    busy = stats(read=1.0, decoded=2.0, transformed=15.0, idle=2.0)
    assert line(busy, 0.2) == (
        "epoch 3: 10 batches/s, model waited 2% of the time: compute is the limit"
    )
    assert line(busy, 4.0) == (
        "epoch 3: 10 batches/s, model waited 40% of the time: input is the limit (workers: "
        "read 5%, decode 10%, transform 75%, idle 10%); try more workers or a cheaper transform"
        " (look up: slow-training)"
    )
    topic = " (look up: slow-training)"
    assert line(busy, 4.0, processes=False).endswith(f"try use_multiprocessing=True{topic}")
    assert line(busy, 4.0, workers=0).endswith(f"try workers=2 or more{topic}")
    assert line(stats(decoded=2.0), 4.0).endswith(f"or a store with --codec raw{topic}")
    assert line(stats(read=2.0), 4.0).endswith(f"or a faster disk{topic}")


def test_threads_that_compete_with_the_model_are_named() -> None:
    """By themselves they keep the model fed, but slow it down."""
    found = stats(read=0.1, transformed=9.9)
    assert "share Python's lock with the model" in line(found, 0.0, processes=False)
    assert line(found, 0.0).endswith("compute is the limit")


def test_stats_read_like_a_sentence() -> None:
    assert str(stats(read=1.0, waited=2.0)) == (
        "epoch 0 (from 0): 100 batches, 800 samples, 1,000.0 MB in 10 s; waited 2 s; workers: "
        "read 1, decoded 0, transformed 0, idle 0 s; 1,000 MB resident"
    )


def model() -> keras.Model:
    made = keras.Sequential([keras.Input((8, 6, 3)), keras.layers.Conv2D(22, 1)])
    made.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return made


def test_a_slow_transform_is_found_to_be_the_limit(split: Path) -> None:
    lines: list[str] = []
    with ZarrSequence(split, 4, transform=transforms.slow, workers=1) as seq:
        model().fit(seq, epochs=2, verbose=0, callbacks=[FeedMonitor(seq, lines.append)])
    pattern = r"epoch 2: [\d.]+ batches/s, model waited \d+% .*: input is the limit \(.*transform"
    assert re.match(pattern, lines[1])
    assert int(lines[1].split("transform ")[1].split("%")[0]) > 50


def test_a_slow_model_is_found_to_be_the_limit(split: Path) -> None:
    lines: list[str] = []
    pause = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: time.sleep(0.1))
    with ZarrSequence(split, 4, workers=1) as seq:
        monitor = FeedMonitor(seq, lines.append)
        model().fit(seq, epochs=3, steps_per_epoch=2, verbose=0, callbacks=[pause, monitor])
    assert len(lines) == 3
    assert "compute is the limit" in lines[1]
