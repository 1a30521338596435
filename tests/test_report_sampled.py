"""What a report sees in pixels."""

from __future__ import annotations

import shutil
import tracemalloc

import numpy as np
import pytest
import zarr

from case_stores import stored_names
from report_stores import cell_sample, pack, textured
from zarrfeed import open_split
from zarrfeed_tools.report.choice import Place
from zarrfeed_tools.report.collection import collect_facts
from zarrfeed_tools.report.sample_reading import SampleReader
from zarrfeed_tools.report.sampled import look_at_samples
from zarrfeed_tools.report.thumbnails import Fit, thumbnails_of

BOUND = 300


def look(store):
    steps = []
    found = look_at_samples(collect_facts(store), store, lambda *step: steps.append(step))
    assert steps[-1] == ("Look at samples", len(found.views), len(found.views))
    return found


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """A split of 400 samples, one of which alone has debris, and another of 3."""
    store = tmp_path_factory.mktemp("report") / "cells.zarr"
    samples = {f"cell_{number:03}": cell_sample(number, (24, 32)) for number in range(400)}
    for key, sample in samples.items():
        if key != "cell_123":
            sample["mask"][sample["mask"] == 2] = 0
    pack(store, "train", samples)
    return pack(store, "val", {f"val_{n}": cell_sample(1000 + n, (24, 32)) for n in range(3)})


def test_at_most_300_samples_are_looked_at_and_every_class_is_seen(cells):
    found = look(cells)
    assert BOUND - 3 <= len(found.views) <= BOUND
    assert Place("train", 123) in found.choice.of_classes
    assert {place.split for place in found.choice.spread} == {"train", "val"}
    assert not any(view.error for view in found.views.values())


def test_the_same_samples_are_chosen_every_time(cells):
    assert look(cells).choice == look(cells).choice


def test_views_are_named_and_show_the_sample(cells):
    found = look(cells)
    view = found.views[Place("train", 123)]
    sample = cell_sample(123, (24, 32))
    assert (view.key, view.size, view.shown) == ("cell_123", (24, 32), "")
    np.testing.assert_array_equal(view.picture, sample["image"])
    np.testing.assert_array_equal(view.overlay[..., 3] > 0, sample["mask"] > 0)


def test_one_image_with_two_masks_is_found_and_a_mirrored_image_is_not(tmp_path):
    samples = {f"s{number}": cell_sample(number) for number in range(6)}
    twice = dict(samples["s2"], mask=np.roll(samples["s2"]["mask"], 3, axis=0))
    mirrored = dict(samples["s4"], image=samples["s4"]["image"][:, ::-1])
    store = pack(tmp_path / "a.zarr", "train", {**samples, "mirrored": mirrored})
    pack(store, "val", {"twice": twice, "copy": samples["s3"]})
    found = look(store)
    [image] = found.relabelled
    assert [found.views[place].key for place in image.places] == ["s2", "twice"]
    assert image.count == 2


def test_constant_images_and_values_that_are_not_finite_are_seen(tmp_path):
    images = {name: {"image": textured(n).astype(np.float32)} for n, name in enumerate("abc")}
    images["b"]["image"][...] = 7
    images["c"]["image"][3, 4:6, 1] = np.nan, np.inf
    views = look(pack(tmp_path / "a.zarr", "train", images)).views
    assert [view.constant for view in views.values()] == [False, True, False]
    assert [view.not_finite for view in views.values()] == [0, 0, 2]


def test_specks_in_masks_are_found_where_they_are(tmp_path):
    pytest.importorskip("scipy")
    samples = {f"s{number}": cell_sample(number) for number in range(4)}
    samples["s1"]["mask"][40, 10] = 1
    samples["s1"]["mask"][5, 50:52] = 2
    found = look(pack(tmp_path / "a.zarr", "train", samples))
    [(place, islands)] = found.with_islands
    assert (place, islands) == (Place("train", 1), {1: 1, 2: 1})
    marks = found.views[place].marks()
    assert [(x * 64 - 0.5, y * 48 - 0.5) for x, y in marks] == [(10, 40), (50, 5)]


def test_a_damaged_shard_is_a_finding_and_no_error(tmp_path):
    samples = {f"s{number}": cell_sample(number) for number in range(8)}
    store = pack(
        tmp_path / "a.zarr",
        "train",
        samples,
        codec="raw",
        chunk_samples=2,
        shard_size=4 * 48 * 64 * 3,
    )
    shards = sorted(path for path in (store / "train/image/c").rglob("*") if path.is_file())
    assert len(shards) == 2
    shards[1].write_bytes(b"")
    found = look(store)
    assert [place.number for place in found.unreadable] == [4, 5, 6, 7]
    assert "image" in found.views[Place("train", 5)].error
    assert len(thumbnails_of(found.views, Fit(64, 60, 300, 100))) == 4


def test_images_without_masks_have_no_overlay(tmp_path):
    found = look(pack(tmp_path / "a.zarr", "train", {"a": {"image": textured(1)}}))
    [view] = found.views.values()
    assert view.overlay is None
    assert found.palettes == {}


def test_multi_hot_masks_are_overlaid(tmp_path):
    mask = np.zeros((48, 64, 2), np.uint8)
    mask[:20, :30, 0] = 1
    mask[10:30, 20:40, 1] = 1
    store = pack(
        tmp_path / "a.zarr", "train", {"a": {"image": textured(1), "mask": mask}},
        classes=["cell", "nucleus"],
    )  # fmt: skip
    found = look(store)
    [view] = found.views.values()
    np.testing.assert_array_equal(view.overlay[..., 3] > 0, mask.any(axis=-1))
    assert found.palettes["train"].multi_hot


def test_of_volumes_the_slice_with_most_classes_is_shown(tmp_path):
    volumes = {f"v{n}": cell_sample(n, (12 + n, 40, 44)) for n in range(3)}
    for sample in volumes.values():
        sample["image"] = sample["image"][..., :1].astype(np.int16) - 100
        sample["mask"][...] = 0
        sample["mask"][9, 10:20, 10:20] = 1
        sample["mask"][9, 25:30, 25:30] = 2
    found = look(pack(tmp_path / "a.zarr", "train", volumes, tile=(8, 16, 16)))
    assert [view.shown for view in found.views.values()] == [
        "z = 9 of 12", "z = 9 of 13", "z = 9 of 14",
    ]  # fmt: skip
    for view in found.views.values():
        assert set(map(tuple, view.overlay.reshape(-1, 4).tolist())) > {(0, 0, 0, 0)}
        assert view.picture.shape == (40, 44, 3)


@pytest.fixture
def huge(tmp_path):
    """A case of 80,000² pixels with a mask, of which almost nothing is stored."""
    size, tile = 80_000, 256
    tiles = (-(-size // tile)) ** 2
    group = zarr.open_group(str(tmp_path / "huge.zarr"), mode="w").create_group("train")
    described = {
        "case_key": stored_names(["scene"]),
        "case_size": np.array([[size, size]]),
        "case_first_tile": np.array([0]),
    }
    for name, values in described.items():
        group.create_array(name, data=values)
    for name, channels in (("image", (3,)), ("mask", ())):
        group.create_array(
            name, shape=(tiles, tile, tile, *channels), chunks=(1, tile, tile, *channels),
            dtype="uint8", fill_value=7,
        )  # fmt: skip
    return tmp_path / "huge.zarr"


def test_of_a_huge_case_only_a_part_is_read(huge):
    reader = SampleReader(open_split(huge / "train"))
    tracemalloc.start()
    seen = reader.read(0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not seen.whole
    assert seen.image.nbytes + seen.mask.nbytes < 100 << 20
    assert peak < 400 << 20
    found = look(huge)
    [view] = found.views.values()
    assert view.shown == "y 39,424–40,703, x 38,656–41,215"
    assert view.image_hash == b""  # of a part, which says nothing of the whole


def test_a_split_without_images_is_named(tmp_path):
    store = pack(tmp_path / "a.zarr", "train", {"a": cell_sample(1)})
    group = zarr.open_group(str(store / "numbers"), mode="w")
    group.create_array("x", data=np.arange(10))
    found = look(store)
    assert list(found.unread) == ["numbers"]
    assert "needed a field of images" in found.unread["numbers"]
    assert len(found.views) == 1


def test_images_are_looked_at_when_the_masks_are_lost(tmp_path):
    store = pack(tmp_path / "a.zarr", "train", {"a": cell_sample(1)})
    shutil.rmtree(store / "train" / "mask")
    [view] = look(store).views.values()
    assert (view.overlay, view.error, view.size) == (None, "", (48, 64))


@pytest.mark.parametrize(
    ("image", "mask", "size"),
    [
        ((5, 24, 32), None, (24, 32)),  # of one channel that has no axis
        ((5, 24, 32, 3), None, (24, 32)),
        ((5, 10, 24, 32), None, (10, 24, 32)),
        ((5, 10, 24, 32), (5, 10, 24, 32), (10, 24, 32)),
        ((5, 24, 32, 9), (5, 24, 32), (24, 32)),
        ((5, 10, 24, 32, 2), (5, 10, 24, 32), (10, 24, 32)),
        ((5, 24, 32, 3), (5, 24, 32, 1), (24, 32)),
    ],
)  # fmt: skip
def test_axes_of_arrays_that_zarrfeed_did_not_pack_are_told_by_the_mask(
    image, mask, size, tmp_path
):
    group = zarr.open_group(str(tmp_path / "o.zarr"), mode="w")
    rng = np.random.default_rng(0)
    group.create_array("image", data=rng.integers(0, 255, image, np.uint8), chunks=(1, *image[1:]))
    if mask:
        group.create_array("mask", data=rng.integers(0, 3, mask, np.uint8), chunks=(1, *mask[1:]))
    found = look(tmp_path / "o.zarr")
    for view in found.views.values():
        assert (view.size, view.error) == (size, "")
        assert (view.overlay is None) == (mask is None)
