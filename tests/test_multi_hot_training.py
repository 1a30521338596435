"""Models learn classes that overlap, on every backend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from scripts import backends, output_on
from zarrfeed_convert import convert

if TYPE_CHECKING:
    from fork_server import ForkServers

CLIENT = Path(__file__).with_name("multi_hot_client.py")
COUNT, SIZE = 18, (16, 12)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images whose red pixels are of one class and whose green ones of another; some are both."""
    path = tmp_path_factory.mktemp("multi_hot") / "o.zarr"
    blobs = np.random.default_rng(0).random((COUNT, 4, 3, 3)) < 0.5
    images = np.kron(blobs, np.ones((1, 4, 4, 1))).astype(np.uint8) * np.uint8(200)
    masks = images[..., :2] > 0
    convert(zip(images, masks, strict=True), path, split="train", classes="red,green", workers=1)
    return path / "train"


@pytest.fixture(scope="module", params=backends("torch", soak=("tensorflow", "jax")))
def seen(
    request: pytest.FixtureRequest, store: Path, imported: ForkServers | None
) -> dict[str, Any]:
    """What a user on one backend saw; one process for each."""
    output = output_on(request.param, CLIENT, store, servers=imported)
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def test_a_unet_with_a_sigmoid_for_each_class_learns_them(seen: dict[str, Any]) -> None:
    assert seen["losses"][-1] < 0.7 * seen["losses"][0]
    assert seen["right"] > 0.85  # a class is half of all pixels


@pytest.mark.parametrize("workers", ["inline", "processes"])
def test_losses_are_those_of_the_arrays_themselves(seen: dict[str, Any], workers: str) -> None:
    assert seen[workers]


def test_padding_weighs_nothing_and_every_pixel_once(seen: dict[str, Any]) -> None:
    shape, rest = seen["weights"]
    assert shape == [8, *SIZE]
    assert rest == (COUNT % 8) * SIZE[0] * SIZE[1]
