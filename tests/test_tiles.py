"""Tiles of splits of before, and the sums of channels: what packing leaves for the model."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from former_tiles import pack_former_tiles
from zarrfeed import StoreError, ZarrSequence, open_split, read_samples, stitch
from zarrfeed.store.descriptive_arrays import sample_names
from zarrfeed_convert import Header, Source, convert, repack, verify


@dataclasses.dataclass
class Pictures(Source):
    """Random images of given sizes, of up to 200 classes."""

    sizes: list[tuple[int, int]]
    dtype: str = "uint8"

    @property
    def keys(self):
        return [f"picture{number}" for number in range(len(self.sizes))]

    def describe(self):
        return {"kind": "pictures"}

    def names(self, sample):
        return f"i{sample}", f"m{sample}"

    def probe(self, sample):
        height, width = self.sizes[sample]
        return Header.of_pair((height, width, 3), self.dtype, (height, width))

    def read(self, sample):
        rng = np.random.default_rng(sample)
        image = rng.integers(0, 256, (*self.sizes[sample], 3))
        if self.dtype == "float32":
            return (image / 255).astype(np.float32), self.read_mask(sample)
        return image.astype(self.dtype), self.read_mask(sample)

    def read_mask(self, sample):
        return np.random.default_rng(sample).integers(0, 200, self.sizes[sample], np.uint8)


@settings(max_examples=15, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(3, 30), st.integers(3, 30)), min_size=1, max_size=4),
    tile=st.tuples(st.integers(4, 12), st.integers(4, 12)),
    overlap=st.integers(0, 3),
    seed=st.integers(0, 3),
)
def test_stitched_tiles_are_the_images_again(tmp_path_factory, sizes, tile, overlap, seed):
    pictures, out = Pictures(sizes), tmp_path_factory.mktemp("o")
    options = {"size": tile, "overlap": overlap, "seed": seed}
    pack_former_tiles(pictures, out, split="s", classes=200, ignore=255, **options)
    split = open_split(out / "s")
    everything = np.arange(split.layouts["image"].shape[0])
    images, masks = (read_samples(split, field, everything) for field in ("image", "mask"))
    scores = dict(stitch(split, images.astype(np.float32)))
    ids = dict(stitch(split, masks))
    assert list(scores) == list(ids) == pictures.keys
    for number, key in enumerate(pictures.keys):
        image, mask = pictures.read(number)
        np.testing.assert_array_equal(scores[key], image)
        np.testing.assert_array_equal(ids[key], mask)
        assert ids[key].dtype == np.uint8
    assert verify(out / "s", workers=1).ok


def test_what_cannot_be_stitched_is_refused(tmp_path):
    convert(Pictures([(8, 8)] * 3), tmp_path / "whole", split="s", classes=200, workers=1)
    with pytest.raises(StoreError, match="needed tiles, found whole images"):
        stitch(open_split(tmp_path / "whole/s"), np.zeros((3, 8, 8)))
    pack_former_tiles(Pictures([(8, 8)]), tmp_path / "tiles", split="s", classes=200, size=(4, 4))
    for wrong in (
        np.zeros((3, 4, 4)),
        np.zeros((4, 4)),
        np.zeros((4, 4, 4), complex),
        np.zeros((4, 2, 2)),
    ):
        with pytest.raises(ValueError, match=r"needed predictions \(4, 4, 4\) or"):
            stitch(tmp_path / "tiles/s", wrong)
    for wrong in (iter(np.zeros((4, 4, 4))), [np.zeros((3, 4, 4)), np.zeros((1, 4, 4))]):
        with pytest.raises(ValueError, match=r"needed .* one for each tile, .*np\.conc"):
            stitch(tmp_path / "tiles/s", wrong)
    tiles = [np.full((4, 4), number) for number in range(4)]
    assert dict(stitch(tmp_path / "tiles/s", tiles)).keys() == {"picture0"}


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_an_image_of_which_tiles_are_missing_is_refused(tmp_path, dtype):
    pack_former_tiles(Pictures([(8, 8)] * 2), tmp_path / "o", split="s", classes=200, size=(4, 4))
    keys = sample_names(open_split(tmp_path / "o/s"), range(8))
    lost = next(key for key in keys if key.startswith("picture1"))
    kept = [key for key in keys if key != lost]
    repack(tmp_path / "o/s", tmp_path / "p", split="s", keys=kept, order="source", workers=1)
    stitched = stitch(tmp_path / "p/s", np.ones((7, 4, 4), dtype))
    key, whole = next(stitched)
    assert key == "picture0"
    assert (whole == 1).all()
    with pytest.raises(StoreError, match=r"\[8, 8\] for 'picture1', of which there are 3 tiles"):
        next(stitched)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_normalization_is_that_of_the_pixels(tmp_path, dtype):
    pictures = Pictures([(150, 7)] * 5, dtype)
    convert(pictures, tmp_path, split="s", classes=200, workers=1)
    for subset in (None, [1, 3]):
        with ZarrSequence(tmp_path / "s", 1, workers=0, subset=subset, shuffle=False) as sequence:
            mean, variance = sequence.normalization
            pixels = np.concatenate([images.reshape(-1, 3) for images, _ in sequence])
        np.testing.assert_allclose(mean, pixels.mean(axis=0, dtype=np.float64), rtol=1e-12)
        np.testing.assert_allclose(variance, pixels.var(axis=0, dtype=np.float64), rtol=1e-7)
    recorded = open_split(tmp_path / "s").attributes["channels"]
    everything = np.stack([pictures.read(number)[0] for number in range(5)]).reshape(-1, 3)
    np.testing.assert_allclose(recorded["std"], everything.std(axis=0, dtype=np.float64), rtol=1e-7)


def test_black_images_and_a_single_tile_leave_nothing_out(tmp_path):
    class Black(Pictures):
        def read(self, sample):
            return np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8)

        def read_mask(self, sample):
            return np.zeros((4, 4), np.uint8)

    pack_former_tiles(Black([(4, 4)]), tmp_path, split="s", size=(4, 4))
    split = open_split(tmp_path / "s")
    assert [key for key, _ in stitch(split, np.zeros((1, 4, 4)))] == ["picture0"]
    with ZarrSequence(tmp_path / "s", 1, workers=0) as sequence:
        assert np.stack(sequence.normalization).tolist() == [[0.0] * 3] * 2
