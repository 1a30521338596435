"""Padded pixels of masks that look like those of a class are told, with the id to ignore."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from cases import CaseArrays, pair
from zarrfeed_convert import convert, repack

SIZES = [(9, 12), (8, 10)]


def source(sizes=SIZES, **options):
    return CaseArrays({f"c{at}": pair(size, at, **options) for at, size in enumerate(sizes)})


def told(samples, **options):
    options = {"tile": (8, 8), "workers": 1, "dry_run": True, **options}
    report = convert(samples, "o.zarr", split="s", **options)
    return [
        each.reason for each in report.decisions if each.what == "padding" and each.value == "0"
    ]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_class_that_padding_looks_like_is_named():
    [said] = told(source(), classes="sky,road,tree")
    assert said == (
        "padded pixels of masks are 0, class 'sky', for a model that trains on whole tiles: "
        "--ignore 255 makes them pixels of no class; those of images are 0, --pad-value chooses "
        "another value; open_case, stitch and the statistics leave padding out"
    )
    [said] = told(source(), classes="sky,road,tree", pad_value=7)
    assert "--pad-value" not in said


def test_the_advice_is_taken():
    """Then padding is of no class, and nothing is told."""
    assert not told(source(), classes="sky,road,tree", ignore=255)
    convert(source(), "o.zarr", split="s", tile=(8, 8), classes=3, ignore=255, workers=1)
    assert (zarr.open_array("o.zarr/s/mask")[:] == 255).any()


@pytest.mark.parametrize(
    ("classes", "option"), [(255, "--ignore 255 "), (256, "--ignore 256 "), (300, "--ignore 300 ")]
)
def test_the_id_is_free(classes, option):
    [said] = told(source(), classes=classes)
    assert option in said


def test_binary_masks_need_their_255_to_be_mapped():
    samples = source()
    for arrays in samples.cases.values():
        arrays["mask"] = np.where(arrays["mask"] == 0, np.uint8(255), np.uint8(0))
    [said] = told(samples)
    assert "class 'background'" in said
    assert "--mask-map 255=1 --ignore 255 " in said


def test_other_splits_need_the_id_too():
    convert(source(), "o.zarr", split="val", tile=(8, 8), classes=3, workers=1)
    [said] = told(source())
    assert "--ignore 255, in all splits, makes" in said


def test_cases_that_are_not_padded_and_multi_hot_masks_need_no_word():
    assert not told(source([(8, 16), (24, 8)]))
    samples = source()
    for arrays in samples.cases.values():
        arrays["mask"] = np.stack([arrays["mask"] == 1] * 2, axis=-1).astype(np.uint8)
    assert not told(samples)


def test_shares_of_multi_hot_classes_are_of_the_pixels_of_cases():
    samples = source()
    for arrays in samples.cases.values():
        arrays["mask"] = np.ones((*arrays["mask"].shape, 2), np.uint8)
    convert(samples, "o.zarr", split="s", tile=(8, 8), workers=1)
    for tile in (None, (5, 5)):
        dry = repack("o.zarr/s", "p.zarr", split="s", tile=tile, workers=1, dry_run=True)
        assert [one.share for one in dry.classes] == [1, 1]
