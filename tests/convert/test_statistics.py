"""Sums and counts are exact, and memory decides how many work."""

from __future__ import annotations

import dataclasses

import numpy as np
import psutil
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from zarrfeed import StoreError, ZarrSequence, open_split
from zarrfeed.store.descriptive_arrays import normalization_of
from zarrfeed_convert import Header, PairedFolders, Source, convert, repack, verify
from zarrfeed_convert.class_counts import value_counts
from zarrfeed_convert.planning.memory import MIB, Need, fit_workers
from zarrfeed_convert.shards.statistics import channel_sums, spread_of
from zarrfeed_convert.source import PAIR, Field

IMAGES = st.sampled_from(["uint8", "uint16"]).flatmap(
    lambda dtype: arrays.arrays(
        dtype, st.tuples(st.integers(1, 300), st.integers(1, 5), st.integers(1, 4))
    )
)


@given(IMAGES)
def test_sums_of_integers_are_exact(image):
    exact = image.reshape(-1, image.shape[2]).astype(object)
    assert channel_sums(image).tolist() == [
        [float(total), float(squares), 0.0]
        for total, squares in zip(exact.sum(axis=0), (exact**2).sum(axis=0), strict=True)
    ]


def test_the_brightest_image_is_summed_exactly():
    image = np.full((2048, 9, 3), 255, np.uint8)
    assert channel_sums(image).tolist() == [[2048 * 9 * 255.0, 2048 * 9 * 255.0**2, 0.0]] * 3


@given(arrays.arrays(np.float32, (7, 5, 2), elements=st.floats(-1e3, 1e3, width=32)))
def test_mean_and_spread_of_floats(image):
    mean, std = spread_of(channel_sums(image), 35)
    wide = image.astype(np.float64)
    np.testing.assert_allclose(mean, wide.mean(axis=(0, 1)), atol=1e-9)
    np.testing.assert_allclose(std, wide.std(axis=(0, 1)), atol=1e-4)


@given(
    arrays.arrays(
        np.float32,
        (7, 5, 2),
        elements=st.floats(-1e3, 1e3, width=32) | st.sampled_from([np.nan, np.inf, -np.inf]),
    )
)
def test_what_is_not_finite_is_left_out_and_counted(image):
    sums = channel_sums(image)
    for channel, found in enumerate(np.moveaxis(image, 2, 0)):
        finite = found[np.isfinite(found)].astype(np.float64)
        needed = [finite.sum(), (finite**2).sum(), 35 - finite.size]
        np.testing.assert_allclose(sums[channel], needed, rtol=1e-9, atol=1e-9)


@given(
    st.sampled_from(["uint8", "uint16"]).flatmap(
        lambda dtype: arrays.arrays(
            dtype,
            st.tuples(st.integers(1, 200), st.integers(1, 200)),
            elements=st.integers(0, 250),
            fill=st.just(3),
        )
    )
)
def test_values_are_counted_as_numpy_counts_them(mask):
    counts = value_counts(mask)
    np.testing.assert_array_equal(np.trim_zeros(counts, "b"), np.bincount(mask.ravel()))


@given(
    workers=st.integers(1, 64),
    sample=st.integers(1, 500 * MIB),
    chunks=st.integers(1, 500 * MIB),
    free=st.integers(1, 100_000 * MIB),
)
def test_no_more_work_than_memory_allows(workers, sample, chunks, free):
    need = Need(sample, chunks, source=0)
    few, decision = fit_workers(workers, need, free=free)
    assert 1 <= few <= workers
    assert few == 1 or few * need.nbytes <= 0.8 * free
    assert few == workers or (few + 1) * need.nbytes > 0.8 * free
    assert decision.value == (str(workers) if few == workers else f"{few} of {workers}")


def test_workers_are_lowered_and_the_report_says_so(tmp_path, write_pairs, monkeypatch):
    memory = dataclasses.make_dataclass("Memory", ["available", "total"])(300 * MIB, 8192 * MIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    folders = write_pairs(12)
    report = convert(PairedFolders(*folders), tmp_path / "o", split="s", workers=3)
    about = report.decisions[-1]
    assert (about.what, about.value) == ("workers", "2 of 3")
    assert "each needs up to 100 MiB, 300 MiB are free" in about.reason
    dry = convert(PairedFolders(*folders), tmp_path / "p", split="s", workers=1, dry_run=True)
    assert dry.decisions[-1].value == "1"
    assert "together 100 MiB at most" in dry.decisions[-1].reason


@pytest.mark.parametrize("workers", [1, 2])
def test_the_memory_that_is_stated_is_the_sum_of_its_parts(tmp_path, write_pairs, workers):
    folders = write_pairs(2, shape=(900, 900, 3))
    report = convert(PairedFolders(*folders), tmp_path / "o", split="s", workers=workers)
    # Four copies of the largest sample, whose mask may have ids of 16 bits; its fields as chunks
    # twice.
    each = 4 * (3 + 2) + 2 * (3 + 1)
    assert f"{(100 * MIB + 900 * 900 * each) / MIB:.0f} MiB" in report.decisions[-1].reason


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_normalization_is_that_of_finite_values(tmp_path, odd):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(6, 8, 8, 2)).astype(np.float32)
    images[1, 2, 3, 0] = images[4, 0, 0, 1] = images[4, 0, 1, 1] = odd
    masks = rng.integers(0, 2, (6, 8, 8), np.uint8)
    report = convert(
        zip(images, masks, strict=True), tmp_path / "o", split="s", order="source", workers=1
    )
    about = [decision.value for decision in report.decisions if decision.what == "not finite"]
    assert about == ["3 values"]
    repack(tmp_path / "o/s", tmp_path / "p", split="s", codec="zstd", workers=1)
    for out in ("o", "p"):
        assert verify(tmp_path / out / "s", workers=1).ok
        for subset in (range(6), [4]):
            split = open_split(tmp_path / out / "s")
            mean, variance = normalization_of(split, subset)
            some = np.where(np.isfinite(images), images, np.nan)[list(subset)].astype(np.float64)
            np.testing.assert_allclose(mean, np.nanmean(some, axis=(0, 1, 2)), atol=1e-9)
            np.testing.assert_allclose(variance, np.nanvar(some, axis=(0, 1, 2)), rtol=1e-9)
        packed = zarr.open_group(tmp_path / out / "s", mode="r")
        np.testing.assert_array_equal(packed["image"][:], images)


class Changes(Source):
    """A scene before and after, and what changed."""

    fields = (*PAIR, Field("after", "image"))

    def __init__(self):
        rng = np.random.default_rng(0)
        self.before = rng.integers(0, 256, (5, 6, 4, 3), np.uint8)
        self.after = rng.normal(size=(5, 6, 4, 2)).astype(np.float32)
        self.masks = rng.integers(0, 2, (5, 6, 4), np.uint8)

    @property
    def keys(self):
        return [*"abcde"]

    def describe(self):
        return {"kind": "changes"}

    def probe(self, sample):
        arrays = zip(("image", "mask", "after"), self.read(sample), strict=True)
        return Header({name: (array.shape, str(array.dtype)) for name, array in arrays})

    def read(self, sample):
        return self.before[sample], self.masks[sample], self.after[sample]


def test_every_image_of_a_sample_has_its_normalization(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    changes = Changes()
    convert(changes, "o", split="s", order="source", workers=1, classes=2)
    repack("o/s", "p", split="s", order="shuffled", codec="zstd", workers=1)
    for path in ("o/s", "p/s"):
        found = verify(path, source=changes, workers=1)
        assert found.ok, found.problems
        with ZarrSequence(path, 2) as seq:
            mean, variance = seq.normalization_of("after")
            np.testing.assert_allclose(mean, changes.after.mean(axis=(0, 1, 2)), rtol=1e-5)
            np.testing.assert_allclose(variance, changes.after.var(axis=(0, 1, 2)), rtol=1e-5)
            mean, variance = seq.normalization
            np.testing.assert_allclose(mean, changes.before.mean(axis=(0, 1, 2)))
            np.testing.assert_allclose(variance, changes.before.var(axis=(0, 1, 2)))
            with pytest.raises(StoreError, match="needed a field of images, image or after"):
                seq.normalization_of("mask")


def later(after, rng):
    return {"pixels": after}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"inputs": "after", "targets": "mask"}, "after"),
        ({"inputs": {"x": "after"}, "targets": "mask"}, "after"),
        ({"fields": ("after", "mask")}, "after"),
        ({"inputs": ("image", "mask")}, "before"),
        ({"fields": "after", "inputs": "pixels", "transform": later}, "after"),
        ({}, "before"),
    ],
)
def test_the_normalization_is_that_of_the_image_among_the_inputs(tmp_path, given, field):
    changes = Changes()
    convert(changes, tmp_path / "o", split="s", order="source", workers=1, classes=2)
    with ZarrSequence(tmp_path / "o/s", 2, **given) as seq:
        images = getattr(changes, field)
        np.testing.assert_allclose(seq.normalization.mean, images.mean(axis=(0, 1, 2)), rtol=1e-5)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (("image", "after"), "found image and after: choose one by normalization_of.'image'"),
        ("mask", "among mask, found none: choose one by normalization_of.'image'"),
    ],
)
def test_a_normalization_of_no_or_of_several_images_is_refused(tmp_path, inputs, said):
    convert(Changes(), tmp_path / "o", split="s", order="source", workers=1, classes=2)
    with (
        ZarrSequence(tmp_path / "o/s", 2, inputs=inputs) as seq,
        pytest.raises(ValueError, match=said),
    ):
        _ = seq.normalization


def test_a_batch_is_image_and_mask_unless_other_fields_are_named(tmp_path):
    convert(Changes(), tmp_path / "o", split="s", workers=1, classes=2)
    with ZarrSequence(tmp_path / "o/s", 2) as seq:
        assert seq.fields == ("image", "mask")


@pytest.mark.parametrize("channel", [1, 4])  # of the first image, of the second
def test_sums_of_any_image_that_are_changed_are_found(tmp_path, channel):
    convert(Changes(), tmp_path / "o", split="s", order="source", workers=1, classes=2)
    sums = zarr.open_array(tmp_path / "o/s/channel_sums", mode="r+")
    assert sums.shape == (5, 5, 2)
    sums[2, channel, 0] += 1
    found = [problem.what for problem in verify(tmp_path / "o/s", workers=1).problems]
    assert any("needed the channel sums" in what for what in found), found
