"""A real model trains, evaluates and predicts from a sequence, on every Keras backend."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

from kinds import ids_of
from scripts import output_on
from zarrfeed import FrontEnd, ZarrSequence

if TYPE_CHECKING:
    from fork_server import ForkServers
    from stores import Pixels

CLIENT = Path(__file__).with_name("keras_client.py")
ONCE = [1] * 22


@pytest.fixture(scope="module", params=["tensorflow", "jax", "torch"])
def seen(
    request: pytest.FixtureRequest, split: Path, imported: ForkServers | None
) -> dict[str, Any]:
    """What a user on one backend saw."""
    output = output_on(request.param, CLIENT, split, servers=imported)
    result: dict[str, Any] = json.loads(output)
    assert result["backend"] == request.param
    return result


@pytest.mark.parametrize("workers", ["inline", "threads", "processes"])
class TestEveryBackend:
    def test_fit_sees_every_sample_once_per_epoch(self, seen: dict[str, Any], workers: str) -> None:
        assert seen[f"{workers}: fit"] == [ONCE] * 3
        assert seen[f"{workers}: steps_per_execution"] == [ONCE] * 3

    def test_validation_sees_every_sample_once(self, seen: dict[str, Any], workers: str) -> None:
        assert seen[f"{workers}: validation"] == [ONCE] * 3
        assert seen[f"{workers}: evaluate"] == [ONCE]

    def test_validation_steps_take_the_same_first_batches(
        self, seen: dict[str, Any], workers: str
    ) -> None:
        assert seen[f"{workers}: validation_steps=2"] == [[1] * 10 + [0] * 12] * 3

    def test_steps_per_epoch_goes_on_where_it_stopped(
        self, seen: dict[str, Any], workers: str
    ) -> None:
        """3 epochs of 2 steps are one pass over 6 batches, the last of them ragged."""
        assert np.sum(seen[f"{workers}: steps_per_epoch=2"], axis=0).tolist() == ONCE

    def test_batches_come_in_the_order_of_the_seed(
        self, seen: dict[str, Any], workers: str, split: Path
    ) -> None:
        """From the first epoch on: Keras probes a batch on JAX and torch, which must not count."""
        with ZarrSequence(split, 4, seed=1, workers=0) as seq:
            assert seen[f"{workers}: order"] == [
                mask[:, 0, 0].tolist() for _ in range(2) for _, mask in seq
            ]

    def test_predict_gives_one_prediction_per_sample_in_order(
        self, seen: dict[str, Any], workers: str
    ) -> None:
        assert seen[f"{workers}: predict"] == [[22, 8, 6, 22], True]


def epochs(split: Path, batch_size: int) -> list[list[list[int]]]:
    with FrontEnd(split, batch_size, seed=1, workers=0) as seq:
        return [[ids_of(batch) for batch in seq] for _ in range(3)]


@pytest.mark.parametrize(("name", "batch_size"), [("one batch", 22), ("two batches", 11)])
def test_a_look_at_all_of_a_short_epoch_does_not_count(
    seen: dict[str, Any], split: Path, name: str, batch_size: int
) -> None:
    """To build the model, Keras on JAX and torch takes as many batches as there are."""
    assert seen[f"{name}: order"] == [b for epoch in epochs(split, batch_size) for b in epoch]


def test_a_dataset_around_a_sequence_has_the_epochs_of_keras(
    seen: dict[str, Any], split: Path
) -> None:
    """Though it tells the sequence nothing, and Keras looks at batches first, or shuffles them."""
    right = epochs(split, 4)
    assert seen["around: order"] == [batch for epoch in right for batch in epoch]
    shuffled = seen["around, shuffled: order"]
    for epoch in range(3):
        assert sorted(shuffled[6 * epoch : 6 * epoch + 6]) == sorted(right[epoch])


@pytest.mark.parametrize("name", ["short fits", "around, short fits"])
def test_a_fit_of_few_steps_is_followed_by_one_of_other_batches(
    seen: dict[str, Any], split: Path, name: str
) -> None:
    """Within a ``fit`` Keras goes on with its iterator; the next one begins an epoch."""
    right = epochs(split, 4)
    assert seen[f"{name}: order"] == right[0] + right[1][:3]


def test_a_fit_that_was_stopped_is_followed_by_one_of_other_batches(
    seen: dict[str, Any], split: Path
) -> None:
    """Keras does not say that the epoch ended."""
    right = epochs(split, 4)
    assert seen["stopped fits: order"] == right[0][:3] + right[1][:3]


def test_jax_takes_batches_without_a_copy(seen: dict[str, Any]) -> None:
    if seen["backend"] != "jax":
        pytest.skip("of JAX")
    assert seen["jax shares memory"]


def test_class_weights_train(seen: dict[str, Any]) -> None:
    assert seen["weights: fit"] == [ONCE]


def test_it_is_a_keras_sequence(split: Path) -> None:
    with ZarrSequence(split, 4) as seq:
        assert isinstance(seq, keras.utils.Sequence)
        assert isinstance(seq, keras.utils.PyDataset)


def test_tensors_under_prefetch_are_never_overwritten(split: Path, pixels: Pixels) -> None:
    """TensorFlow aliases the batches: a reused buffer would corrupt what it still holds."""
    with ZarrSequence(split, 2, workers=2, max_queue_size=2) as seq:
        dataset = seq.get_tf_dataset().prefetch(6)
        held = [batch for _ in range(3) for batch in dataset]
        assert len(held) == 33
        for image, mask in held:
            assert np.array_equal(image.numpy(), pixels["image"][mask.numpy()[:, 0, 0]])


def test_tensorflow_takes_batches_without_a_copy(split: Path) -> None:
    with ZarrSequence(split, 4, workers=1) as seq:
        batch = next(iter(seq.get_tf_dataset()))
        feeder = seq._stream._feeder
        assert feeder is not None
        memory = feeder._arena._memory
        start = memory.ctypes.data
        for tensor in batch:
            address = np.asarray(memoryview(tensor)).ctypes.data
            assert start <= address < start + memory.nbytes


def test_the_spec_is_known_without_reading(split: Path) -> None:
    import tensorflow as tf

    options = {"fields": ("image",), "drop_remainder": True}
    with ZarrSequence(split, 11, **options) as full, ZarrSequence(split, 4) as ragged:
        assert full.get_tf_dataset().element_spec == (tf.TensorSpec((11, 8, 6, 3), tf.uint8),)
        assert ragged.get_tf_dataset().element_spec[1].shape.as_list() == [None, 8, 6]
        assert full._stream._feeder is None


def test_a_tf_dataset_is_the_same_stream_with_known_cardinality(split: Path) -> None:
    with ZarrSequence(split, 4, workers=2) as seq, ZarrSequence(split, 4, workers=0) as plain:
        dataset = seq.to_tf_dataset()
        assert int(dataset.cardinality()) == 6
        for _ in range(2):  # two epochs, each with its own order
            for ours, theirs in zip(dataset, plain, strict=True):
                assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
        assert seq.epoch == 2


def test_what_users_build_on_a_tf_dataset_is_tuned_and_fit_is_not(split: Path) -> None:
    with ZarrSequence(split, 4) as seq:
        assert seq.to_tf_dataset().map(lambda *batch: batch).options().autotune.enabled is None
        assert seq.get_tf_dataset().options().autotune.enabled is False


def test_a_failure_in_fit_names_the_file(split: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(split, tmp_path / "s")
    (tmp_path / "s/image/c/2/0/0/0").write_bytes(b"x" * 10)
    model = keras.Sequential([keras.Input((8, 6, 3)), keras.layers.Conv2D(22, 1)])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with (
        ZarrSequence(tmp_path / "s", 4, workers=2) as seq,
        pytest.raises(Exception, match=r"image/c/2/0/0/0: .*truncated"),
    ):
        model.fit(seq, verbose=0)


PLAIN = """
import sys
import keras
sys.modules["keras.src.trainers.data_adapters.data_adapter"] = None  # as if it had moved
from traced_model import traced_model
from kinds import ids_of
from zarrfeed import FrontEnd, ZarrSequence
with ZarrSequence(sys.argv[1], 4, workers=2) as seq:
    assert "DataAdapter" not in [parent.__name__ for parent in type(seq).__mro__]
    log = []
    traced_model(keras, log).fit(seq, epochs=2, verbose=0, validation_data=seq)
    print(seq.epoch, sorted(sum(log[:6], [])), sorted(sum(log[6:], [])), sep=";")
"""


def test_the_plain_sequence_is_as_exact(split: Path) -> None:
    """Keras before 3.7, or one that moves its private class: the PyDataset way, tried by force."""
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, str(split)],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "KERAS_BACKEND": "tensorflow", "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    _, first, second = done.stdout.strip().split(";")
    assert first == second == str(list(range(22)))
