"""Images of every dtype, and patches of volumes, feed `fit` and `predict` on every backend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from patch_stores import ct, write_classed_cases
from scripts import backends, output_on
from stores import write_split

if TYPE_CHECKING:
    from fork_server import ForkServers

CLIENT = Path(__file__).with_name("dtypes_client.py")
DTYPES = [
    "int8", "int16", "int32", "uint8", "uint16", "uint32", "float16", "float32", "float64",
]  # fmt: skip
FUNCTIONAL = {"functional: fit", "functional: predict"}
SUBCLASSED = {"subclassed: fit", "subclassed: predict"}


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images of each dtype, over all of its range, with masks; and two int16 volumes."""
    folder, rng = tmp_path_factory.mktemp("dtypes"), np.random.default_rng(0)
    masks = rng.integers(0, 3, (12, 6, 5), np.uint8)
    for dtype in DTYPES:
        if dtype.startswith("float"):
            images = rng.normal(0, 1000, (12, 6, 5, 2)).astype(dtype)
        else:
            limits = np.iinfo(dtype)
            images = rng.integers(limits.min, limits.max, (12, 6, 5, 2), dtype, endpoint=True)
        write_split(folder / "dtypes" / dtype, {"image": images, "mask": masks})
    volumes = {f"v{n}": ct(size, n, lesions=9) for n, size in enumerate([(5, 9, 12), (7, 6, 8)])}
    write_classed_cases(folder / "volumes/train", volumes, (3, 4, 4))
    return folder


@pytest.fixture(scope="module", params=backends("tensorflow", soak=("jax", "torch", "tf_keras")))
def differences(
    request: pytest.FixtureRequest, splits: Path, imported: ForkServers | None
) -> dict[str, Any]:
    """What a user on one backend found of each dtype; one process for each backend."""
    output = output_on(request.param, CLIENT, splits, servers=imported)
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


@pytest.mark.parametrize("dtype", DTYPES)
def test_losses_and_predictions_are_those_of_the_same_numbers_in_memory(
    differences: dict[str, Any], dtype: str
) -> None:
    assert set(differences[dtype]) in (FUNCTIONAL, FUNCTIONAL | SUBCLASSED)
    for what, difference in differences[dtype].items():
        assert difference < 1e-5, what


def test_patches_of_volumes_train_as_those_that_numpy_cuts(differences: dict[str, Any]) -> None:
    assert sum(set(found) >= SUBCLASSED for found in differences.values()) == 3
    found = differences["patches"]
    assert found.pop("moved") > 0.01
    assert len(found) == 5
    for what, difference in found.items():
        assert difference < 1e-4, what
