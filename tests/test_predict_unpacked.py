"""``zarrfeed.predict`` of groups that zarrfeed did not pack, with several inputs and transforms."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from zarrfeed import GridPatches, open_case, open_cases, predict

SIZE = (10, 32, 24)
PATCHES = GridPatches((4, 16, 16), 0.5)
INPUTS = {"a": "image", "b": "depth"}
IMAGE = np.random.default_rng(0).random((*SIZE, 3), np.float32)
DEPTH = np.random.default_rng(1).random(SIZE, np.float32)


class First:
    """A model whose scores are the first channel of its input, and 1."""

    def predict_on_batch(self, x):
        return np.stack([x[..., 0], np.ones_like(x[..., 0])], -1)


class Named:
    """A model of two inputs, which are its scores."""

    def predict_on_batch(self, x):
        depth = x["b"]
        assert depth.shape == (4, *PATCHES.size)
        return np.stack([x["a"][..., 0], depth], -1)


@pytest.fixture
def group(tmp_path):
    def write(**arrays):
        path = tmp_path / "scan"
        made = zarr.open_group(str(path), mode="w")
        for name, values in arrays.items():
            made.create_array(name, data=values, chunks=tuple(min(n, 9) for n in values.shape))
        return path

    return write


def predicted(model, path, out, **options):
    done = predict(model, path, out, PATCHES, classes="probabilities", **options)
    [key] = open_cases(done)
    return np.asarray(open_case(done, key, "probabilities"))


def test_a_transform_changes_the_image_of_a_group(group, tmp_path):
    path = group(image=IMAGE, mask=np.zeros(SIZE, np.uint8))
    found = predicted(
        First(), path, tmp_path / "o", transform=lambda image, rng: image * np.float32(3)
    )
    np.testing.assert_allclose(found[..., 0], IMAGE[..., 0] * 3, rtol=1e-5)
    np.testing.assert_allclose(found[..., 1], 1, rtol=1e-5)


def test_two_fields_of_a_group_are_two_inputs(group, tmp_path):
    path = group(image=IMAGE, depth=DEPTH)
    found = predicted(Named(), path, tmp_path / "o", inputs=INPUTS)
    np.testing.assert_allclose(found, np.stack([IMAGE[..., 0], DEPTH], -1), rtol=1e-5)


def test_a_transform_makes_an_input_of_a_group(group, tmp_path):
    path = group(image=IMAGE, mask=np.zeros(SIZE, np.uint8))

    def with_depth(image, rng):
        return {"image": image, "depth": image[..., 2]}

    found = predicted(Named(), path, tmp_path / "o", inputs=INPUTS, transform=with_depth)
    np.testing.assert_allclose(found, IMAGE[..., ::2], rtol=1e-5)
