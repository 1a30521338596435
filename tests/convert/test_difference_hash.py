"""Images that look alike have hashes of few different bits, the same as other programs compute."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import imagehash
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from cases import CaseArrays
from zarrfeed_convert import PairedFolders, convert, open_source, repack, verify
from zarrfeed_convert.shards.difference_hash import difference_hash

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIZES = st.integers(1, 40)
SHAPES = st.tuples(SIZES, SIZES, st.integers(1, 4)) | st.tuples(
    st.integers(1, 4), SIZES, SIZES, st.integers(1, 2)
)
BYTES = arrays.arrays("uint8", SHAPES)
DTYPES = ("uint16", "uint32", "int16", "int32", "float16", "float32", "float64")


def theirs(image: NDArray[Any]) -> int:
    """Compute the hash of an image of 8 bits by imagehash."""
    return int(str(imagehash.dhash(Image.fromarray(image.squeeze()))), 16)


def distance(one: int, other: int) -> int:
    return (one ^ other).bit_count()


def by_hand(image: NDArray[Any]) -> int:
    """Compute the hash as it is defined, cell by cell, in exact numbers."""
    *_, height, width, _ = image.shape
    bits = ""
    for row in range(8):
        means = []
        for column in range(9):
            top, left = row * height // 8, column * width // 9
            cell = image[
                ...,
                top : max(top + 1, (row + 1) * height // 8),
                left : max(left + 1, (column + 1) * width // 9),
                :,
            ]
            means.append(Fraction(int(cell.astype(np.int64).sum()), cell.size))
        bits += "".join("01"[one < other] for one, other in itertools.pairwise(means))
    return int(bits, 2)


def landscape(seed: int, size: tuple[int, int] = (120, 160)) -> NDArray[np.uint8]:
    """Draw a picture that is smooth at all scales, as photographs are."""
    rng = np.random.default_rng(seed)
    picture = np.zeros(size)
    for cells in (3, 6, 12, 24):
        coarse = rng.standard_normal((cells, cells)).astype(np.float32)
        picture += np.array(Image.fromarray(coarse).resize(size[::-1], Image.BICUBIC)) / cells
    picture -= picture.min()
    grey = np.uint8(picture / picture.max() * 255)
    tint = np.array([1.0, 0.9, 0.7])
    return np.uint8(grey[..., None] * tint)


# -- As it is defined ------------------------------------------------------------------------------


@given(BYTES)
def test_it_is_what_its_definition_says(image):
    assert difference_hash(image) == by_hand(image)


@given(arrays.arrays("int16", SHAPES) | arrays.arrays("uint32", SHAPES))
def test_it_is_exact_for_wider_integers(image):
    assert difference_hash(image) == by_hand(image)


@pytest.mark.parametrize(("dtype", "value"), [("uint8", 255), ("int16", -(2**15)), ("int8", -128)])
def test_sums_of_large_images_do_not_overflow(dtype, value):
    image = np.full((8 * 300, 9 * 2, 1), value, dtype)
    image[:, -2:] = 1 if value < 0 else 0
    expected = "00000001" if value < 0 else "00000000"
    assert f"{difference_hash(image):064b}" == expected * 8


@given(BYTES, st.sampled_from(DTYPES))
def test_the_type_of_numbers_changes_nothing(image, dtype):
    assert difference_hash(image.astype(dtype)) == difference_hash(image)


@given(BYTES, st.integers(1, 100), st.integers(-10_000, 10_000))
def test_brightness_and_contrast_change_nothing(image, contrast, brightness):
    other = image.astype(np.int32) * contrast + brightness
    assert difference_hash(other) == difference_hash(image)
    assert difference_hash(other.astype(np.float64)) == difference_hash(image)


@given(SHAPES, st.sampled_from(("uint8", *DTYPES)), st.floats(0, 200, width=16))
def test_a_constant_image_has_the_hash_0(shape, dtype, value):
    assert difference_hash(np.full(shape, value).astype(dtype)) == 0


@given(arrays.arrays("uint8", (8, 9, 1)), st.integers(1, 6), st.integers(1, 6), st.integers(1, 3))
def test_larger_pixels_change_nothing(image, taller, wider, channels):
    large = image.repeat(taller, axis=0).repeat(wider, axis=1).repeat(channels, axis=2)
    assert difference_hash(large) == difference_hash(image)


@given(arrays.arrays("uint8", st.tuples(SIZES, SIZES, st.just(1))), st.integers(1, 5))
def test_a_volume_of_equal_planes_has_the_hash_of_one(image, planes):
    assert difference_hash(np.stack([image] * planes)) == difference_hash(image)


@given(
    arrays.arrays(
        np.float32,
        SHAPES,
        elements=st.floats(-1e3, 1e3, width=32) | st.sampled_from([np.nan, np.inf, -np.inf]),
    )
)
def test_numbers_that_are_not_finite_are_left_out(image):
    assert 0 <= difference_hash(image) < 2**64
    filled = np.where(np.isfinite(image), image, np.float32(np.nan))
    assert difference_hash(filled) == difference_hash(image)


def test_a_scratch_of_nan_changes_no_bit():
    image = landscape(0)[..., :1].astype(np.float32)
    hurt = image.copy()
    hurt[50:52, 60:70] = np.nan
    hurt[100, :5] = np.inf
    assert distance(difference_hash(hurt), difference_hash(image)) <= 1
    assert difference_hash(np.full((20, 20, 1), np.nan)) == 0
    assert difference_hash(np.array([[[1e308], [np.nan], [-1e308]]] * 9)) == 0


# -- As others compute it --------------------------------------------------------------------------


@given(arrays.arrays("uint8", (8, 9, 1)))
def test_an_image_of_its_own_cells_has_the_hash_of_imagehash(cells):
    assert difference_hash(cells) == theirs(cells)


@given(arrays.arrays("uint8", (8, 9, 1)), st.integers(1, 9), st.integers(1, 9))
def test_sizes_that_divide_evenly_have_the_hash_of_imagehash_of_the_reduced(cells, taller, wider):
    large = Image.fromarray(cells.repeat(taller, axis=0).repeat(wider, axis=1).squeeze())
    reduced = large.reduce((wider, taller))
    assert difference_hash(np.array(large)[..., None]) == theirs(np.array(reduced))


@pytest.mark.parametrize("seed", range(8))
def test_a_picture_has_nearly_the_hash_of_imagehash(seed):
    picture = landscape(seed)
    assert distance(difference_hash(picture), theirs(picture)) <= 4


def test_photographs_have_nearly_the_hash_of_imagehash(camvid):
    """Whose filter, Lanczos, is wider than a cell; without it, two bits of 64 differ."""
    paths = sorted((camvid / "val").glob("*.png"))
    apart, alike = [], []
    for photograph in (Image.open(path).convert("RGB") for path in paths[::5]):
        found = difference_hash(np.array(photograph))
        apart.append(distance(found, theirs(np.array(photograph))))
        cells = photograph.convert("L").resize((9, 8), Image.BOX)
        alike.append(distance(found, theirs(np.array(cells))))
    assert np.mean(apart) <= 8
    assert np.mean(alike) <= 3


def test_copies_are_near_and_other_pictures_far(tmp_path):
    for seed in range(5):
        picture = landscape(seed)
        found = difference_hash(picture)
        Image.fromarray(picture).save(tmp_path / "p.jpg", quality=30)
        half = Image.fromarray(picture).resize((80, 60), Image.BICUBIC)
        for copy in (Image.open(tmp_path / "p.jpg"), half):
            assert distance(difference_hash(np.array(copy)), found) <= 4
        assert distance(difference_hash(landscape(seed + 100)), found) >= 12


# -- In a store ------------------------------------------------------------------------------------


def hashes(split: Path) -> list[int]:
    found = zarr.open_array(str(split / "dhash"))[:]
    assert found.dtype == np.uint64
    return [int(value) for value in found]


def test_every_sample_of_a_split_has_that_of_its_image(tmp_path, write_pairs):
    pairs = PairedFolders(*write_pairs(7))
    convert(pairs, tmp_path / "o.zarr", split="s", workers=1, chunk_samples=2, shard_size=1)
    images = zarr.open_array(str(tmp_path / "o.zarr/s/image"))[:]
    assert hashes(tmp_path / "o.zarr/s") == [difference_hash(image) for image in images]
    repack(tmp_path / "o.zarr", tmp_path / "new.zarr", split="n", subset=[2, 5], workers=1)
    assert hashes(tmp_path / "new.zarr/n") == [difference_hash(images[row]) for row in (2, 5)]


def test_only_the_first_image_counts(tmp_path):
    rng = np.random.default_rng(0)
    image, other = rng.integers(0, 256, (2, 4, 12, 10, 3), np.uint8)
    np.savez(tmp_path / "a.npz", x=image, other=other, y=np.zeros((4, 12, 10), np.uint8))
    at = str(tmp_path / "a.npz")
    places = {"images": f"{at}:x", "masks": f"{at}:y", "fields": {"other": f"image:{at}:other"}}
    source = open_source("npz", places)
    convert(source, tmp_path / "o.zarr", split="s", classes=1, order="source", workers=1)
    assert hashes(tmp_path / "o.zarr/s") == [difference_hash(values) for values in image]


def test_padding_of_tiles_does_not_count(tmp_path):
    image = landscape(1, (23, 21))
    cases = CaseArrays({"c": {"image": image, "mask": np.zeros((23, 21), np.uint8)}})
    for pad_value in (0, 255):
        out = tmp_path / f"{pad_value}.zarr"
        convert(cases, out, split="s", classes=1, tile=(16, 16), pad_value=pad_value, workers=1)
        assert hashes(out / "s") == [
            difference_hash(image[y : y + 16, x : x + 16]) for y in (0, 16) for x in (0, 16)
        ]
        assert verify(out, workers=1).ok
    repack(out, tmp_path / "new.zarr", split="s", tile=(23, 21), workers=1)
    assert hashes(tmp_path / "new.zarr/s") == [difference_hash(image)]
