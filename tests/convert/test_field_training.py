"""Folders of further fields train real models: depth, weights, a second image, instance ids."""

from __future__ import annotations

import imagecodecs
import keras
import numpy as np
import pytest
import tifffile

from zarrfeed import ZarrSequence
from zarrfeed_convert import PairedFolders, convert

COUNT, SIZE = 12, (8, 6)
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (COUNT, *SIZE, 3), np.uint8)
BRIGHT = (IMAGES[..., 0] > 127).astype(np.uint8)
# What a pixel's colours tell, so that a convolution of one pixel learns it.
DEPTHS = (IMAGES @ np.array([0.2, 0.5, 0.3]) / 255).astype(np.float32)
# Half of the pixels have the wrong class, and no weight.
WRONG = RNG.random((COUNT, *SIZE)) < 0.5
LABELS = np.where(WRONG, 1 - BRIGHT, BRIGHT).astype(np.uint8)
WEIGHTS = np.where(WRONG, 0, 1).astype(np.float32)
# Some pixels of the second image are others.
CHANGED = RNG.random((COUNT, *SIZE)) < 0.5
AFTER = np.where(CHANGED[..., None], 255 - IMAGES, IMAGES)
# Two objects an image, numbered through all of them.
OBJECTS = np.zeros((COUNT, *SIZE), np.uint16)
OBJECTS[:, 1:4, 1:3] = 5000 * np.arange(1, COUNT + 1)[:, None, None]
OBJECTS[:, 5:7, 2:5] = OBJECTS[:, 1:2, 1:2] + 1


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    numbers = {"depth": DEPTHS, "weight": WEIGHTS}
    pictures = {"images": IMAGES, "labels": LABELS, "changed": CHANGED.astype(np.uint8)}
    for name, arrays in {**pictures, "after": AFTER, "objects": OBJECTS, **numbers}.items():
        (folder / name).mkdir()
        for number, values in enumerate(arrays):
            if name in numbers:
                tifffile.imwrite(folder / name / f"{number}.tif", values)
            else:
                file = folder / name / f"{number}.png"
                file.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(values)))
    return folder


def packed(data, masks="", **fields):
    places = {name: f"{role}:{data / name}" for name, role in fields.items()}
    source = PairedFolders(data / "images", data / masks if masks else "", fields=places)
    out = data / f"{masks}-{'-'.join(fields)}.zarr"
    convert(source, out, split="train", classes=2 if masks else None, workers=1)
    return out / "train"


def pixelwise(inputs, units, activation=None):
    """Layers that see a pixel at a time."""
    rows = [keras.layers.Rescaling(1 / 127.5, -1)(each) for each in inputs]
    together = keras.layers.Concatenate()(rows) if len(rows) > 1 else rows[0]
    hidden = keras.layers.Conv2D(16, 1, activation="relu")(together)
    return keras.layers.Conv2D(units, 1, activation=activation)(hidden)


def model_of(loss, *, units=1, inputs=1, activation=None, **compiled):
    keras.utils.set_random_seed(0)
    given = [keras.Input((*SIZE, 3)) for _ in range(inputs)]
    model = keras.Model(given if inputs > 1 else given[0], pixelwise(given, units, activation))
    model.compile(keras.optimizers.Adam(0.03), loss, **compiled)
    return model


def test_a_depth_map_trains(data):
    model = model_of("mse")
    split = packed(data, depth="target")
    with ZarrSequence(split, 4, fields=("image", "depth")) as seq:
        assert seq[0][1].dtype == np.float32
        losses = model.fit(seq, epochs=40, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 20
    predicted = model.predict(IMAGES, verbose=0)[..., 0]
    assert np.abs(predicted - DEPTHS).mean() < 0.1


def test_a_weight_map_keeps_wrong_labels_out(data):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model = model_of(loss, units=2, weighted_metrics=["accuracy"])
    split = packed(data, "labels", weight="target")
    with ZarrSequence(split, 4, inputs="image", targets="mask", weights="weight") as seq:
        x, y, weight = seq[0]
        assert (x.shape, y.shape, weight.shape) == ((4, *SIZE, 3), (4, *SIZE), (4, *SIZE))
        accuracy = model.fit(seq, epochs=40, verbose=0).history["accuracy"][-1]
    assert accuracy > 0.9
    predicted = model.predict(IMAGES, verbose=0).argmax(-1)
    assert (predicted == BRIGHT).mean() > 0.9  # half of the labels say something else


def test_a_second_image_trains_a_model_of_two_inputs(data):
    split = packed(data, "changed", after="image")
    model = model_of("binary_crossentropy", inputs=2, activation="sigmoid", metrics=["accuracy"])
    with ZarrSequence(split, 4, inputs=("image", "after"), targets="mask") as seq:
        (before, after), changed = seq[0]
        flipped = (before != after).any(-1)
        np.testing.assert_array_equal(flipped, changed)
        accuracy = model.fit(seq, epochs=60, verbose=0).history["accuracy"][-1]
    assert accuracy > 0.9


def edges_of(image, objects, rng):
    """Find where an object borders on something else below, and where there is any."""
    below = np.roll(objects, -1, axis=0)
    edge, there = (objects != below).astype(np.float32), (objects > 0).astype(np.float32)
    return {"image": image, "edge": edge, "there": there}


def test_instance_ids_train_by_what_a_transform_makes_of_them(data):
    split = packed(data, objects="mask")
    pixels = keras.Input((*SIZE, 3))
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(pixels))
    maps = {
        name: keras.layers.Reshape(SIZE, name=name)(
            keras.layers.Dense(SIZE[0] * SIZE[1], activation="sigmoid")(flat)
        )
        for name in ("edge", "inside")
    }
    model = keras.Model(pixels, maps)
    model.compile(keras.optimizers.Adam(0.01), dict.fromkeys(maps, "binary_crossentropy"))
    structure = {"inputs": "image", "targets": {"edge": "edge", "inside": "there"}}
    with ZarrSequence(
        split, 4, fields=("image", "objects"), **structure, transform=edges_of
    ) as seq:
        losses = model.fit(seq, epochs=20, verbose=0).history
    for name in maps:
        assert losses[f"{name}_loss"][-1] < losses[f"{name}_loss"][0] / 2
    with ZarrSequence(split, 12, fields=("image", "objects"), shuffle=False) as seq:
        objects = seq[0][1]
    assert objects.dtype == np.uint16
    assert sorted(objects.max(axis=(1, 2)).tolist()) == OBJECTS.max(axis=(1, 2)).tolist()


def flipped(image, mask, weight, depth, rng):
    assert (image.shape, mask.shape) == ((*SIZE, 3), SIZE)
    np.testing.assert_array_equal(weight, mask == (image[..., 0] > 127))
    fields = (image, mask, weight, depth)
    return tuple(values[:, ::-1] for values in fields) if rng.integers(2) else fields


def test_transforms_get_the_fields_in_their_order(data):
    split = packed(data, "labels", weight="target", depth="target")
    short = {"fields": ("image", "mask", "weight", "depth")}
    structured = {"inputs": {"x": "image"}, "targets": {"y": "mask"}, "weights": {"y": "weight"}}
    with ZarrSequence(split, 4, **short, transform=flipped) as seq:
        for image, _, _, depth in seq:
            np.testing.assert_allclose(depth, image @ [0.2, 0.5, 0.3] / 255, atol=1e-6)
    with ZarrSequence(split, 4, **structured, transform=lambda *given: given[:-1]) as seq:
        assert seq.fields == ("image", "mask", "weight")
        for x, y, weight in seq:
            right = y["y"] == (x["x"][..., 0] > 127)
            np.testing.assert_array_equal(weight["y"], right)
