"""Functions and models that do the same are the same, in other processes, too."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

from identified import CASES, DIFFERENT, Scaled
from scripts import environment
from zarrfeed.feed.workers.object_identity import identity_of


def test_what_does_the_same_is_the_same_in_another_process():
    script = (
        "import identified, zarrfeed.feed.workers.object_identity as o\n"
        "for name, make in identified.CASES.items(): print(name, o.identity_of(make()))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], env=environment() | {"PYTHONHASHSEED": "7"},
        check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    assert found == [f"{name} {identity_of(make())}" for name, make in CASES.items()]
    assert not any(line.endswith("None") for line in found)


@pytest.mark.parametrize("name", CASES)
def test_what_is_made_again_is_the_same(name):
    assert identity_of(CASES[name]()) == identity_of(CASES[name]())


def test_what_does_something_else_is_something_else():
    digests = [identity_of(value) for value in DIFFERENT]
    assert None not in digests
    assert len(set(digests)) == len(digests)


def test_a_global_variable_counts(monkeypatch):
    import identified

    before = identity_of(identified.uses_a_variable)
    monkeypatch.setattr(identified, "FACTOR", 3.0)
    assert identity_of(identified.uses_a_variable) != before


def test_what_is_in_this_process_alone_is_not_known():
    for value in (
        Scaled(threading.Lock()),
        functools.partial(CASES["function"](), threading.Lock()),
        Scaled(sys.stdout),
        Scaled(iter_forever()),
    ):
        assert identity_of(value) is None


def iter_forever():
    yield np.zeros(1)


@pytest.fixture(scope="module")
def network():
    keras = pytest.importorskip("keras")

    def make(activation="softmax", dtype="float32", custom=None):
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(0)
        layer = custom or keras.layers.Conv2D
        return keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                layer(2, 3, padding="same", activation=activation, dtype=dtype),
            ]
        )

    return make


def test_networks_of_keras_are_known_by_architecture_weights_and_dtype(network):
    import keras

    class Doubled(keras.layers.Conv2D):
        def call(self, inputs: Any) -> Any:
            return keras.ops.multiply(super().call(inputs), 2)

    class Tripled(keras.layers.Conv2D):
        def call(self, inputs: Any) -> Any:
            return keras.ops.multiply(super().call(inputs), 3)

    Tripled.__qualname__, Tripled.__name__ = Doubled.__qualname__, Doubled.__name__
    moved = network()
    moved.set_weights([weights + 1 for weights in moved.get_weights()])
    all_kinds = [
        network(), network("sigmoid"), network(dtype="mixed_float16"), moved,
        network(custom=Doubled), network(custom=Tripled),
    ]  # fmt: skip
    digests = [identity_of(each) for each in all_kinds]
    assert None not in digests
    assert len(set(digests)) == len(digests)
    assert identity_of(network()) == digests[0]
    wrapped = [identity_of(Scaled(each)) for each in (network(), network("sigmoid"))]
    assert wrapped[0] != wrapped[1]


def test_networks_of_own_classes_without_configuration_are_not_known():
    keras = pytest.importorskip("keras")

    class Own(keras.Model):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def call(self, inputs):
            return self.function(inputs)

    assert identity_of(Own(np.sin)) is None


def test_modules_of_torch_are_known_by_architecture_and_weights():
    torch = pytest.importorskip("torch")

    def make(seed, *, bias=True):
        torch.manual_seed(seed)
        return torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3, bias=bias), torch.nn.Softmax(1))

    assert identity_of(make(0)) == identity_of(make(0)) is not None
    assert len({identity_of(each) for each in (make(0), make(1), make(0, bias=False))}) == 3
