"""Volumes that a program has in hand are packed, checked, repacked and fed."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from zarrfeed import ZarrSequence
from zarrfeed.errors import SourceError
from zarrfeed_convert import convert, repack, verify
from zarrfeed_convert.sources.iterables.spool import source_of_samples

SIZE = (4, 8, 6)
RNG = np.random.default_rng(3)
VOLUMES = RNG.integers(0, 60_000, (4, *SIZE, 2)).astype(np.uint16)
LABELS = RNG.integers(0, 3, (4, *SIZE), np.uint8)
DOSES = RNG.random((4, *SIZE), np.float32)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def samples(**fields):
    return (dict(zip(fields, each, strict=True)) for each in zip(*fields.values(), strict=True))


def require_packed(**expected):
    repack("o.zarr/t", "p.zarr", split="t", codec="zstd", workers=1)
    for path in ("o.zarr/t", "p.zarr/t"):
        found = verify(path)
        assert found.ok, found.problems
        root = zarr.open_group(path)
        for name, values in expected.items():
            np.testing.assert_array_equal(root[name][:], values)
    with ZarrSequence("o.zarr/t", 2, shuffle=False, fields=tuple(expected)) as sequence:
        for found, values in zip(sequence[1], expected.values(), strict=True):
            np.testing.assert_array_equal(found, values[2:])


HOW = {"split": "t", "order": "source", "workers": 1}


def test_images_with_an_axis_more_than_their_masks_have_channels():
    convert(zip(VOLUMES, LABELS, strict=True), "o.zarr", classes=3, **HOW)
    require_packed(image=VOLUMES, mask=LABELS)


def test_images_of_the_shape_of_their_masks_are_volumes_of_one_channel():
    masks = [LABELS[0], LABELS[1, ..., np.newaxis], *LABELS[2:]]
    convert(zip(VOLUMES[..., 0], masks, strict=True), "o.zarr", classes=3, **HOW)
    require_packed(image=VOLUMES[..., :1], mask=LABELS)


def test_masks_of_volumes_may_have_a_channel_for_each_class():
    masks = RNG.random((4, *SIZE, 3)) > 0.5
    convert(zip(VOLUMES, masks, strict=True), "o.zarr", **HOW)
    require_packed(image=VOLUMES, mask=masks.astype(np.uint8))


def test_truth_values_of_the_shape_of_their_image_are_refused_until_it_has_channels():
    volume, mask = VOLUMES[0, ..., 0], LABELS[0] > 0
    with (
        pytest.raises(
            SourceError, match=r"volumes without channels\? Give image\[\.\.\., np\.newaxis"
        ),
        source_of_samples([(volume, mask)], "."),
    ):
        pass
    with source_of_samples([(volume[..., np.newaxis], mask.astype(np.uint8))], ".") as source:
        assert source.probe(0).image.shape == (*SIZE, 1)


def test_volumes_may_have_other_maps_and_no_masks():
    convert(samples(image=VOLUMES, dose=DOSES), "o.zarr", **HOW)
    require_packed(image=VOLUMES, dose=DOSES)


@pytest.mark.parametrize("how", [{"size": (2, 4, 6), "fit": "crop"}, {"tile": (2, 4, 6)}], ids=str)
def test_volumes_get_another_size(how):
    convert(samples(image=VOLUMES, mask=LABELS, dose=DOSES), "o.zarr", classes=3, **how, **HOW)
    found = zarr.open_group("o.zarr/t")
    places = (slice(1, 3), slice(2, 6)) if "fit" in how else (slice(0, 2), slice(0, 4))
    for name, values in (("image", VOLUMES), ("mask", LABELS), ("dose", DOSES)):
        np.testing.assert_array_equal(found[name][0], values[0][places])


@pytest.mark.parametrize(
    ("image", "mask", "said"),
    [
        (VOLUMES[0], LABELS[0, :3], "image: needed 3x8x6 pixels as the mask has, found the shape"),
        (VOLUMES[0], LABELS[0, 0], "mask: needed class ids (D, H, W), found the shape (8, 6)"),
        (VOLUMES[0, 0, ..., 0], LABELS[0], "mask: needed class ids (H, W), found the shape (4, 8"),
        (VOLUMES[0, ..., :3, 0], LABELS[0, ..., :3], "a volume is (D, H, W, C), its mask (D, H, W"),
        (
            VOLUMES[0, ..., 0],
            LABELS[0, :3, :5],
            "image: needed 3x5x6 pixels as the mask has, found",
        ),
        (VOLUMES[0, ..., 0], LABELS[0, :3, :5] > 0, "(4, 8, 6); image and mask must have one size"),
        (np.moveaxis(VOLUMES[0], 3, 0), LABELS[0], "put the channels last, like np.moveaxis"),
        (VOLUMES, None, "image: needed an image (H, W) or (H, W, C), or a volume (D, H, W, C)"),
    ],
)
def test_what_is_no_volume_is_refused(image, mask, said):
    sample = {"image": image} | ({} if mask is None else {"mask": mask})
    with pytest.raises(SourceError) as error, source_of_samples([sample], "."):
        pass
    assert said in str(error.value)


def test_maps_of_a_plane_are_no_maps_of_a_volume():
    sample = {"image": VOLUMES[0], "dose": DOSES[0, :, :, :5]}
    with (
        pytest.raises(SourceError, match="dose: needed 4x8x6 pixels as the image has"),
        source_of_samples([sample], "."),
    ):
        pass


PLAIN = VOLUMES[..., 0]


def test_volumes_without_channels_and_masks_are_refused_until_something_says_so():
    with pytest.raises(SourceError) as error:
        convert(samples(image=PLAIN), "o.zarr", **HOW)
    said = str(error.value)
    assert "samples[0] image: needed axes that can be read in one way, found (4, 8, 6): " in said
    assert "give volumes as image[..., np.newaxis]" in said
    assert "for bands, give the size of all samples, like size=(4, 8)" in said
    convert(samples(image=PLAIN[..., np.newaxis]), "volumes.zarr", **HOW)
    assert zarr.open_group("volumes.zarr/t")["image"].shape == (4, 4, 8, 6, 1)
    convert(samples(image=PLAIN), "bands.zarr", size=(4, 8), **HOW)
    assert zarr.open_group("bands.zarr/t")["image"].shape == (4, 4, 8, 6)


def test_a_size_of_three_numbers_says_that_samples_are_volumes():
    convert(samples(image=PLAIN), "o.zarr", size=SIZE, **HOW)
    require_packed(image=PLAIN[..., np.newaxis])
    again = convert(samples(image=PLAIN), "o.zarr", size=SIZE, **HOW)
    assert again.status == "already packed"
    convert(samples(image=PLAIN[..., :3]), "narrow.zarr", size=(4, 8, 3), **HOW)
    assert zarr.open_group("narrow.zarr/t")["image"].shape == (4, 4, 8, 3, 1)


def test_a_size_says_what_truth_values_of_the_shape_of_their_image_are():
    pairs = [(PLAIN[0], LABELS[0] > 0)]
    convert(pairs, "volumes.zarr", size=SIZE, **HOW)
    assert zarr.open_group("volumes.zarr/t")["mask"].shape == (1, *SIZE)
    convert(pairs, "bands.zarr", size=SIZE[:2], **HOW)
    assert zarr.open_group("bands.zarr/t")["mask"].shape == (1, *SIZE)
    assert zarr.open_group("bands.zarr/t")["image"].shape == (1, *SIZE)


@pytest.mark.parametrize(("train", "rank"), [(VOLUMES, 5), (PLAIN[..., :3], 4)])
def test_the_other_splits_say_whether_samples_are_volumes(train, rank):
    convert(samples(image=train), "o.zarr", **{**HOW, "split": "train"})
    convert(samples(image=PLAIN), "o.zarr", **HOW)
    assert zarr.open_group("o.zarr/t")["image"].ndim == rank
    assert convert(samples(image=PLAIN), "o.zarr", **HOW).status == "already packed"


def test_a_split_that_is_replaced_does_not_say_what_its_samples_are():
    convert(samples(image=PLAIN), "o.zarr", size=SIZE[:2], **HOW)
    with pytest.raises(SourceError, match="can be read in one way"):
        convert(samples(image=PLAIN), "o.zarr", overwrite=True, **HOW)


@pytest.mark.parametrize(("more", "rank"), [(DOSES[:, :, :, 0], 3), (VOLUMES, 4)])
def test_other_maps_say_whether_samples_are_volumes(more, rank):
    with source_of_samples(samples(image=PLAIN, dose=more), ".") as source:
        assert len(source.probe(0).image.shape) == rank


def test_colours_need_nobody_to_say_that_they_are_colours():
    with source_of_samples(samples(image=PLAIN[..., :4]), ".") as source:
        assert source.probe(0).image.shape == (4, 8, 4)
