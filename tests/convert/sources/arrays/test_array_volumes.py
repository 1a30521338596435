"""Arrays of volumes, of images alone and of further fields go through HDF5, NPZ and Zarr alike."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import keras
import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from stored_samples import require_verified, texts
from zarrfeed import ZarrSequence
from zarrfeed.errors import SourceError
from zarrfeed_convert import Limits, convert, open_source, repack, verify
from zarrfeed_tools.cli import app

h5py = pytest.importorskip("h5py")

COUNT, SIZE = 6, (5, 8, 6)
RNG = np.random.default_rng(7)
VOLUMES = RNG.integers(0, 60_000, (COUNT, *SIZE, 2)).astype(np.uint16)
LABELS = RNG.integers(0, 3, (COUNT, *SIZE), np.uint8)
IMAGES, MASKS = VOLUMES[:, 0], LABELS[:, 0]
DEPTHS = RNG.random((COUNT, *SIZE), np.float32)
FLOWS = RNG.integers(-900, 900, (COUNT, *SIZE, 3)).astype(np.int16)


def write_hdf5(**arrays):
    Path("a.h5").unlink(missing_ok=True)  # a source may have it open
    with h5py.File("a.h5", "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, chunks=True, compression="gzip")


def write_zarr(**arrays):
    group = zarr.open_group("a.zarr", mode="w")
    for name, values in arrays.items():
        group.create_array(name, data=values, chunks=(2, *values.shape[1:]))


# How arrays are written, and how one of them is named.
FORMATS = {
    "hdf5": (write_hdf5, "a.h5:{}".format),
    "npz": (lambda **arrays: np.savez("a.npz", **arrays), "a.npz:{}".format),
    "zarr": (write_zarr, "a.zarr/{}".format),
}


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=FORMATS)
def opened(request):
    """Write arrays, and open them."""
    write, at = FORMATS[request.param]

    def opened(arrays, *, fields=None, limits=None, **options):
        write(**arrays)
        places = {"images": at("x")} | ({"masks": at("y")} if "y" in arrays else {})
        if fields:
            places["fields"] = {name: f"{role}:{at(name)}" for name, role in fields.items()}
        return open_source(request.param, places | options, limits=limits)

    return opened


def require_packed(source, **expected):
    """Require that a source is packed, checked, repacked and fed as these arrays."""
    classes = {"classes": 3} if "mask" in expected else {}
    convert(source, "o.zarr", split="t", order="source", workers=1, **classes)
    repack("o.zarr/t", "p.zarr", split="t", codec="zstd", order="shuffled", seed=1, workers=1)
    for path in ("o.zarr/t", "p.zarr/t"):
        require_verified(path, source=True)
        root = zarr.open_group(path)
        order = np.argsort(texts(root["key"][:]))
        for name, values in expected.items():
            assert root[name].dtype == values.dtype
            np.testing.assert_array_equal(root[name][:][order], values)
    with ZarrSequence("o.zarr/t", 2, shuffle=False, fields=tuple(expected)) as sequence:
        batch = sequence[1]
    for values, found in zip(expected.values(), batch, strict=True):
        np.testing.assert_array_equal(found, values[2:4])


@pytest.mark.parametrize("channels", [0, 1, 2])
def test_volumes_are_packed_checked_repacked_and_fed(opened, channels):
    volumes = VOLUMES[..., :channels] if channels else VOLUMES[..., 0]
    source = opened({"x": volumes, "y": LABELS})
    require_packed(source, image=volumes.reshape(COUNT, *SIZE, -1), mask=LABELS)


def test_a_changed_voxel_of_an_original_is_found(opened):
    convert(opened({"x": VOLUMES, "y": LABELS}), "o.zarr", split="t", workers=1, classes=3)
    changed = VOLUMES.copy()
    changed[3, 2, 7, 5, 1] ^= 1
    found = verify("o.zarr", source=opened({"x": changed, "y": LABELS}), workers=1)
    assert [problem.key for problem in found.problems] == ["a/0003"]


@pytest.mark.parametrize(
    ("images", "options"),
    [(IMAGES, {}), (IMAGES[..., 0], {}), (VOLUMES, {}), (VOLUMES[..., 0], {"axes": "NDHW"})],
)
def test_images_without_masks_are_packed_alone(opened, images, options):
    source = opened({"x": images}, **options)
    assert len(source.names(1)) == 1
    expected = images if images.shape[-1] == 2 else images[..., np.newaxis]
    require_packed(source, image=expected)


def test_masks_that_are_there_are_left_out_by_a_word(opened):
    source = opened({"x": IMAGES, "y": MASKS}, masks="none")
    require_packed(source, image=IMAGES)


@pytest.mark.parametrize("spatial", [2, 3])
def test_further_fields_are_arrays_beside_the_images(opened, spatial):
    cut = (slice(None), 0) if spatial == 2 else ()
    arrays = {"x": VOLUMES[cut], "y": LABELS[cut], "depth": DEPTHS[cut], "flow": FLOWS[cut]}
    arrays |= {"after": VOLUMES[cut] // 2, "cells": VOLUMES[cut][..., 0]}
    roles = {"depth": "target", "flow": "target", "after": "image", "cells": "mask"}
    source = opened(arrays, fields=roles)
    image, mask = arrays.pop("x"), arrays.pop("y")
    require_packed(source, image=image, mask=mask, **arrays)


def test_a_changed_number_of_a_target_is_found(opened):
    fields = {"depth": "target"}
    source = opened({"x": VOLUMES, "depth": DEPTHS}, fields=fields)
    convert(source, "o.zarr", split="t", workers=1)
    changed = DEPTHS.copy()
    changed[2, 1, 0, 0] += 1
    found = verify(
        "o.zarr", source=opened({"x": VOLUMES, "depth": changed}, fields=fields), workers=1
    )
    assert [problem.key for problem in found.problems] == ["a/0002"]


@pytest.mark.parametrize("fit", ["resize", "crop", "pad"])
def test_volumes_get_another_size(opened, fit):
    size = {"resize": (2, 9, 6), "crop": (3, 4, 6), "pad": (5, 8, 8)}[fit]
    source = opened({"x": VOLUMES, "y": LABELS})
    convert(source, "o.zarr", split="t", size=size, fit=fit, order="source", workers=1,
            classes=3, ignore=9)  # fmt: skip
    require_verified("o.zarr/t", source=True)
    root = zarr.open_group("o.zarr/t")
    assert root["mask"].shape[1:] == size
    if fit == "crop":
        np.testing.assert_array_equal(root["image"][:], VOLUMES[:, 1:4, 2:6])


def test_one_volume_per_file(tmp_path):
    for number in range(COUNT):
        np.save(f"x{number}.npy", VOLUMES[number, ..., 0])
        np.save(f"y{number}.npy", LABELS[number])
    slices = open_source("npz", {"images": "x*.npy", "masks": "y*.npy"})
    assert len(slices.keys) == COUNT * SIZE[0]
    whole = open_source("npz", {"images": "x*.npy", "masks": "y*.npy", "axes": "DHW"})
    assert whole.keys == [f"x{number}" for number in range(COUNT)]
    require_packed(whole, image=VOLUMES[..., :1], mask=LABELS)


@given(data=st.data(), spatial=st.sampled_from(["HW", "DHW"]), channels=st.booleans())
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_law_a_sample_is_the_same_whatever_the_order_of_its_axes(data, spatial, channels):
    natural = "N" + spatial + "C" * channels
    inner = data.draw(st.sampled_from(sorted(permutations(natural[1:]))))
    letters = "N" + "".join(inner)
    values, masks = VOLUMES if channels else VOLUMES[..., 0], LABELS
    if spatial == "HW":
        values, masks = values[:, 0], masks[:, 0]
    plain = letters.replace("C", "")
    np.savez(
        "a.npz",
        x=values.transpose([natural.index(letter) for letter in letters]),
        y=masks.transpose([natural.index(letter) for letter in plain]),
    )
    source = open_source("npz", {"images": "a.npz:x", "masks": "a.npz:y", "axes": letters})
    for number in range(COUNT):
        image, mask = source.read(number)
        assert source.probe(number).arrays["image"] == (image.shape, str(image.dtype))
        np.testing.assert_array_equal(image, values[number].reshape(image.shape))
        np.testing.assert_array_equal(mask, masks[number])


@pytest.mark.parametrize(
    ("shapes", "said", "advice"),
    [
        ([(9, 3, 8, 6), (9, 3, 8, 6)], r"9 volumes of 3x8x6 \(NDHW\) or 9 images of 8x6 with 3 "
         r"channels \(NCHW\)", "NDHW"),
        ([(5, 9, 8, 6)], r"5 images of 9x8 with 6 channels \(NHWC\) or 5 volumes of 9x8x6", "NHWC"),
        ([(5, 3, 9, 8, 6)], r"channels \(NDHWC\) or 5 volumes of 9x8x6 with 3 .*NCDHW", "NDHWC"),
        ([(3, 8, 6)], r"3 images of 8x6 \(NHW\) or 1 image of 8x6 with 3 channels \(CHW\)", "NHW"),
    ],
)  # fmt: skip
def test_what_can_be_read_in_several_ways_is_refused_until_it_is_said(opened, shapes, said, advice):
    arrays = {name: np.ones(shape, np.uint8) for name, shape in zip("xy", shapes, strict=False)}
    with pytest.raises(SourceError, match=f"{said}.*; say which, like --option axes={advice}$"):
        opened(arrays)
    image = opened(arrays, axes=advice).probe(0).image.shape
    assert len(image) == len(advice.removeprefix("N")) + ("C" not in advice)


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ("NHWX", "needed a letter for each axis.*found 'NHWX'"),
        ("NHHW", "found 'NHHW'"),
        ("HWN", "found 'HWN'"),
        ("NHW", r"images: needed arrays of 3 axes, as --option axes=NHW says, found \(6, 5, 8, 6"),
        ("NHWC", r"masks.*: needed arrays of shape \(N, H, W\)|needed as many samples|one value"),
    ],
)
def test_letters_that_no_array_has_are_refused(opened, axes, said):
    with pytest.raises(SourceError, match=said):
        opened({"x": VOLUMES[..., 0], "y": LABELS}, axes=axes)


def test_options_that_say_the_same_or_nothing_are_refused(opened):
    with pytest.raises(SourceError, match="needed axes or channels_first, found both"):
        opened({"x": IMAGES, "y": MASKS}, axes="NHWC", channels_first=True)
    with pytest.raises(SourceError, match="--masks: is needed"):
        opened({"x": IMAGES}, mask_map="1=2")
    with pytest.raises(SourceError, match="--masks: is needed"):
        opened({"x": IMAGES, "ids": MASKS}, mask_map="1=2", fields={"ids": "target"})


@pytest.mark.parametrize("options", [{"mask_map": "multi-hot"}, {"one_hot": True}])
def test_options_of_masks_are_for_further_masks_too(opened, options):
    hot = np.eye(3, dtype=np.uint8)[MASKS]
    source = opened({"x": IMAGES, "ids": hot}, fields={"ids": "mask"}, **options)
    expected = hot[1] if "mask_map" in options else MASKS[1]
    header, ids = source.probe(1).arrays["ids"], source.read(1)[1]
    np.testing.assert_array_equal(ids, expected)
    assert header == (ids.shape, ids.dtype)


def test_fields_of_other_samples_are_refused(opened):
    fields = {"depth": "target"}
    with pytest.raises(SourceError, match=r"images and depth: .*6 images.*\(5, 5, 8, 6\)"):
        opened({"x": VOLUMES, "depth": DEPTHS[1:]}, fields=fields)
    with pytest.raises(SourceError, match=r"depth: needed arrays of shape \(N, D, H, W\)"):
        opened({"x": VOLUMES, "depth": DEPTHS[0, 0]}, fields=fields)
    with pytest.raises(SourceError, match="needed an array of numbers"):
        opened({"x": IMAGES, "depth": MASKS + 1j}, fields=fields)


def test_a_volume_of_which_too_much_is_claimed_is_never_read(opened):
    arrays = {"x": VOLUMES, "y": LABELS}
    opened(arrays)
    with pytest.raises(SourceError, match=r"--max-sample-size"):
        opened(arrays, limits=Limits(sample_nbytes=500))


def test_the_command_packs_volumes_with_depths(tmp_path):
    np.savez("a.npz", x=VOLUMES, y=LABELS, depth=DEPTHS)
    arguments = ["convert", "o.zarr", "--split", "t", "--format", "npz", "--images", "a.npz:x"]
    arguments += ["--masks", "a.npz:y", "--field", "depth=target:a.npz:depth", "--workers", "1"]
    arguments += ["--tile", "4x4x4"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert zarr.open_group("o.zarr/t")["depth"].shape == (8 * COUNT, 4, 4, 4)
    assert CliRunner().invoke(app, ["verify", "o.zarr", "--source"]).exit_code == 0


def test_volumes_train_a_model(opened):
    source = opened({"x": VOLUMES, "y": LABELS})
    convert(source, "o.zarr", split="t", workers=1, classes=3)
    model = keras.Sequential(
        [keras.Input((*SIZE, 2)), keras.layers.Conv3D(3, 3, padding="same", activation="softmax")]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    with ZarrSequence("o.zarr/t", 2) as sequence:
        history = model.fit(sequence, epochs=2, verbose=0)
    assert len(history.history["loss"]) == 2
    assert np.isfinite(history.history["loss"]).all()
