"""Splits of other fields than image and mask: packed, checked, repacked, and fed to Keras."""

from __future__ import annotations

import json

import imagecodecs
import keras
import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

from stored_samples import in_order_of_keys as stored
from stored_samples import require_verified
from zarrfeed import ZarrSequence, open_split
from zarrfeed.errors import SourceError, StoreError
from zarrfeed_convert import Header, PairedFolders, Source, convert, repack, verify
from zarrfeed_convert.source import Field
from zarrfeed_tools.cli import app

COUNT, SIZE = 6, (12, 10)
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (COUNT, *SIZE, 3), np.uint8)
MASKS = RNG.integers(0, 3, (COUNT, *SIZE), np.uint8)
DEPTHS = RNG.random((COUNT, *SIZE), np.float32)
OBJECTS = RNG.integers(0, 60_000, (COUNT, *SIZE)).astype(np.uint16)
BOTH = RNG.integers(-1000, 3000, (COUNT, *SIZE, 2)).astype(np.int16)
ALL = {"image": IMAGES, "mask": MASKS, "depth": DEPTHS, "objects": OBJECTS, "both": BOTH}


@pytest.fixture
def images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    for number, image in enumerate(IMAGES):
        (tmp_path / "images" / f"{number}.png").write_bytes(imagecodecs.png_encode(image))
    return "images"


def samples(**arrays):
    return [dict(zip(arrays, each, strict=True)) for each in zip(*arrays.values(), strict=True)]


def test_images_without_masks_are_packed_checked_and_repacked(images):
    report = convert(PairedFolders(images), "o.zarr", split="test", workers=1)
    assert [field.name for field in report.fields] == ["image"]
    assert report.classes == ()
    assert "none" in {decision.value for decision in report.decisions if decision.what == "masks"}
    assert convert(PairedFolders(images), "o.zarr", split="test").status == "already packed"
    repack("o.zarr/test", "p.zarr", split="test", codec="zstd", workers=1)
    for path in ("o.zarr/test", "p.zarr/test"):
        require_verified(path, source=True)
        np.testing.assert_array_equal(stored(path)["image"], IMAGES)


def test_images_without_masks_feed_predict(images):
    convert(PairedFolders(images), "o.zarr", split="test", order="source", workers=1)
    model = keras.Sequential([keras.Input((*SIZE, 3)), keras.layers.Conv2D(2, 1)])
    with ZarrSequence("o.zarr/test", 4, shuffle=False) as seq:
        found = model.predict(seq, verbose=0)
    np.testing.assert_allclose(found, model.predict(IMAGES, verbose=0), atol=1e-3)


def test_the_command_packs_images_alone_and_says_so(images):
    arguments = ["convert", "o.zarr", "--split", "test", "--images", images, "--workers", "1"]
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "Packed 6 images into 6 samples" in done.output
    assert "masks: the source has none" in done.output
    assert [*open_split("o.zarr/test").default_fields] == ["image"]
    done = CliRunner().invoke(app, ["verify", "o.zarr"])
    assert done.exit_code == 0, done.output


def test_none_is_no_folder_of_masks(images):
    source = PairedFolders(images, "none")
    convert(source, "o.zarr", split="test", workers=1)
    assert [field.name for field in source.fields] == ["image"]
    require_verified("o.zarr", source=True)


def test_what_masks_would_mean_is_refused_without_them(images):
    with pytest.raises(SourceError, match="--masks: is needed"):
        PairedFolders(images, mask_suffix="_m")


def test_masked_splits_join_a_dataset_of_images_alone_and_bind_it(images):
    convert(PairedFolders(images), "o.zarr", split="test", workers=1)
    pairs = zip(IMAGES, MASKS, strict=True)
    convert(pairs, "o.zarr", split="train", classes="sky,tree,road", workers=1)
    convert(samples(image=IMAGES), "o.zarr", split="more", workers=1)
    assert open_split("o.zarr/more").classes == ("sky", "tree", "road")
    require_verified("o.zarr")
    with pytest.raises(SourceError, match="classes must be the same in all splits"):
        convert(zip(IMAGES, MASKS, strict=True), "o.zarr", split="val", classes=5, workers=1)


@pytest.mark.parametrize("workers", [1, 2])
def test_all_maps_of_a_mapping_are_packed_checked_and_repacked(tmp_path, workers):
    out, again = tmp_path / "o.zarr", tmp_path / "p.zarr"
    convert(samples(**ALL), out, split="train", classes=3, workers=workers)
    repack(out / "train", again, split="train", codec="lz4", order="source", workers=workers)
    for path in (out, again):
        require_verified(path)
        found = stored(path / "train")
        assert list(found) == list(ALL)
        for name, values in ALL.items():
            assert found[name].dtype == values.dtype
            np.testing.assert_array_equal(found[name], values)


def test_a_flipped_byte_of_a_further_field_is_found(tmp_path):
    convert(samples(**ALL), tmp_path / "o.zarr", split="train", classes=3, workers=1)
    path = tmp_path / "o.zarr" / "train" / "both" / "c" / "0" / "0" / "0" / "0"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    found = verify(tmp_path / "o.zarr")
    assert {problem.kind for problem in found.problems} == {"file-damaged", "sample-changed"}
    assert {file for problem in found.problems for file in problem.files} == {str(path)}


def test_maps_go_through_the_geometry_with_the_mask(tmp_path):
    made = samples(image=IMAGES, mask=MASKS, depth=MASKS * np.float32(0.5))
    convert(
        made, tmp_path / "o.zarr", split="train", classes=3, size=(5, 7), fit="resize", workers=1
    )
    found = stored(tmp_path / "o.zarr" / "train")
    np.testing.assert_array_equal(found["depth"], found["mask"] * np.float32(0.5))


def test_a_depth_map_trains(tmp_path):
    made = samples(image=IMAGES, mask=MASKS, depth=DEPTHS)
    convert(made, tmp_path / "o.zarr", split="train", classes=3, workers=1)
    model = keras.Sequential(
        [keras.Input((*SIZE, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(1, 1)]
    )
    model.compile(loss="mse")
    with ZarrSequence(tmp_path / "o.zarr" / "train", 3, fields=("image", "depth")) as seq:
        images, depths = seq[0]
        assert (images.shape, depths.shape) == ((3, *SIZE, 3), (3, *SIZE))
        history = model.fit(seq, epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"depth": [*DEPTHS[:5], DEPTHS[5].astype(np.float64)]}, "every depth to be of one kind"),
        ({"key!": DEPTHS}, "needed names of fields like 'depth'"),
        ({"digest": DEPTHS}, "needed names of fields like 'depth'"),
        ({"depth": DEPTHS[:, :5]}, r"samples\[0\] depth: needed 12x10 pixels as the image has"),
        ({"depth": DEPTHS * 1j}, "needed an array of numbers, found complex64"),
        ({"ids": OBJECTS.astype(np.int64) << 20}, "needed integers that int32 holds"),
    ],
)
def test_maps_that_cannot_be_packed_are_named(tmp_path, more, said):
    with pytest.raises(SourceError, match=said):
        convert(
            samples(image=IMAGES, mask=MASKS, **more),
            tmp_path / "o.zarr",
            split="train",
            classes=3,
            workers=1,
        )


class WithIds(Source):
    """Images, and ids of objects in a dtype of their own."""

    def __init__(self, dtype, *, said=True):
        self.fields = (Field("image", "image"), Field("ids", "mask"))
        self._ids, self._said = np.ones((8, 8), dtype), said

    @property
    def keys(self):
        return ["a"]

    def describe(self):
        return {"kind": "ids"}

    def probe(self, sample):
        dtype = str(self._ids.dtype) if self._said else None
        return Header({"image": ((8, 8, 1), "uint8"), "ids": ((8, 8), dtype)})

    def read(self, sample):
        return np.zeros((8, 8, 1), np.uint8), self._ids


@pytest.mark.parametrize("dtype", ["int16", "uint16", "int32"])
def test_a_further_mask_keeps_its_dtype_when_it_is_padded(tmp_path, dtype):
    how = {"size": (9, 9), "fit": "pad", "ignore": 300}
    convert(WithIds(dtype), tmp_path / "o", split="s", workers=1, **how)
    ids = zarr.open_array(tmp_path / "o/s/ids", mode="r")
    assert ids.dtype == dtype
    assert (ids[0, :8, :8] == 1).all()
    assert (ids[0, 8] == 300).all()


def test_a_further_mask_needs_a_dtype_in_its_header(tmp_path):
    with pytest.raises(SourceError, match="needed the dtype of ids in its header"):
        convert(WithIds("uint8", said=False), tmp_path / "o", split="s", workers=1)


@pytest.mark.parametrize(
    "roles", [{"image": "image", "ids": 5}, {"image": "image", "../ids": "mask"}, {"/a": "mask"}]
)
def test_roles_that_are_none_and_names_that_are_paths_do_not_open(tmp_path, roles):
    convert(WithIds("uint8"), tmp_path / "o", split="s", workers=1)
    path = tmp_path / "o/s/zarr.json"
    metadata = json.loads(path.read_text())
    metadata["attributes"]["zarrfeed"]["packed"]["roles"] = roles
    path.write_text(json.dumps(metadata))
    with pytest.raises(StoreError, match="needed fields and their roles image, mask, target"):
        open_split(tmp_path / "o/s")
