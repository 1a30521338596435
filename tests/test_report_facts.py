"""Facts of a report are what counting pixels says."""

from __future__ import annotations

import itertools
import shutil

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from cases import CaseArrays, pair
from odd_samples import keys_of, pack_cases, pack_samples, striped, textured
from overlapping import Overlapping
from packed import change_attributes
from stores import traced_pixels, write_split
from zarrfeed import StoreError
from zarrfeed_convert import convert
from zarrfeed_tools.report import class_counting, units
from zarrfeed_tools.report.channels import are_constant
from zarrfeed_tools.report.class_counting import Counts, Labelling, shares_of, together, total_of
from zarrfeed_tools.report.collection import collect_facts
from zarrfeed_tools.report.histograms import histogram_of
from zarrfeed_tools.report.outliers import far_shares


def shares(masks, number):
    """Return the share of a class in each mask that has it."""
    return [np.mean(mask == number) for mask in masks if (mask == number).any()]


@pytest.mark.parametrize("cut", [False, True], ids=["samples", "cases"])
@pytest.mark.parametrize("block", [1, 3, 1 << 16])
def test_classes_are_counted_as_in_masks(tmp_path, monkeypatch, cut, block):
    monkeypatch.setattr(units, "_BLOCK_ROWS", block)
    monkeypatch.setattr(class_counting, "_MOST_SHARES", 5)
    rng = np.random.default_rng(0)
    sizes = [(20, 30), (33, 17), (16, 16), (40, 9)] if cut else [(24, 20)] * 6
    masks = [
        np.minimum(rng.integers(0, 3 + number % 2, size, np.uint8), 3 - number % 3)
        for number, size in enumerate(sizes)
    ]
    masks[0][:5] = 255
    pixels = {f"s{n}": (textured(n, mask.shape), mask) for n, mask in enumerate(masks)}
    options = {"classes": 4, "ignore": 255}
    if cut:
        pack_cases(tmp_path / "o.zarr", "a", pixels, (16, 16), **options)
    else:
        pack_samples(tmp_path / "o.zarr", "a", pixels, **options)
    [split] = collect_facts(tmp_path / "o.zarr").splits
    assert (split.unit, split.units) == (("case", 4) if cut else ("sample", 6))
    total = sum(mask.size for mask in masks)
    assert split.classes.ignored == 5 * masks[0].shape[1]
    for row in split.classes.rows:
        there = shares(masks, row.id)
        assert row.pixels == sum(int((mask == row.id).sum()) for mask in masks)
        assert row.share == row.pixels / total
        assert row.units == len(there)
        assert row.median_share == (pytest.approx(np.median(there)) if there else None)
    assert split.classes.together == (0, 1, 2, 3)
    for (one, row), other in itertools.product(enumerate(split.classes.cooccurrence), range(4)):
        both = [(mask == one).any() and (mask == other).any() for mask in masks]
        assert row[other] == sum(both)
    assert [row.pixels for row in split.classes.rows] == [
        row.pixels for row in split.facts.classes[:4]
    ]


@pytest.mark.parametrize("tile", [None, (8, 8)], ids=["samples", "cases"])
def test_overlapping_classes_are_counted(tmp_path, tile):
    source = Overlapping([(12, 10)] * 5 if tile is None else [(12, 10), (9, 20), (8, 8)])
    source.masks[0][:] = 0
    source.masks[1][:] = [0, 1, 0]
    convert(source, tmp_path / "o.zarr", split="a", workers=1, tile=tile)
    [split] = collect_facts(tmp_path / "o.zarr").splits
    for row in split.classes.rows:
        assert row.pixels == sum(int(mask[..., row.id].sum()) for mask in source.masks)
        assert row.units == sum(mask[..., row.id].any() for mask in source.masks)
    both = sum(mask[..., 0].any() and mask[..., 2].any() for mask in source.masks)
    assert split.classes.cooccurrence[0][2] == both
    assert keys_of(split.masks.no_class) == ["s0"]
    assert keys_of(split.masks.one_class) == ["s1"]
    assert split.masks.background.count == split.masks.ignored.count == 0
    assert split.masks.empty == 1


@pytest.mark.parametrize("tile", [None, (16, 16)], ids=["samples", "cases"])
def test_masks_that_say_little_are_named(tmp_path, tile):
    ids = {"full": [0, 1, 2], "empty": [0], "void": [255], "half": [0, 255], "lone": [2, 255]}
    pixels = {
        key: (textured(number), striped(some)) for number, (key, some) in enumerate(ids.items())
    }
    options = {"ignore": 255}
    if tile:
        pack_cases(tmp_path / "o.zarr", "a", pixels, tile, **options)
    else:
        pack_samples(tmp_path / "o.zarr", "a", pixels, **options)
    masks = collect_facts(tmp_path / "o.zarr").splits[0].masks
    assert keys_of(masks.background) == ["empty", "half"]
    assert keys_of(masks.ignored) == ["void"]
    assert keys_of(masks.one_class) == ["lone"]
    assert masks.empty == 3


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), max_size=8),
    st.booleans(),
    st.integers(0, 4),
)
def test_kinds_of_masks_exclude_each_other(rows, multi_hot, ignore):
    counts = np.array(rows, np.int64).reshape(-1, 4)
    pixels = np.maximum(counts.sum(axis=1), 1)
    labelling = Labelling(4, ignore, multi_hot)
    kinds = class_counting.kinds_of(counts, pixels, labelling)
    assert (np.sum(list(kinds.values()), axis=0) <= 1).all()
    for place, row in enumerate(rows):
        present = [number for number, count in enumerate(row) if count and number != ignore]
        empty = any(kinds[kind][place] for kind in ("background", "ignored", "no_class"))
        assert empty == (not present or (present == [0] and not multi_hot))


@given(
    st.lists(st.lists(st.integers(0, 2), min_size=3, max_size=3), min_size=1, max_size=9),
    st.integers(1, 4),
    st.integers(1, 9),
)
def test_shares_do_not_depend_on_blocks(rows, size, most):
    counts = np.array(rows, np.int64)
    pixels = counts.sum(axis=1) + 1

    def blocks():
        for first in range(0, len(rows), size):
            some = slice(first, first + size)
            yield Counts(first, counts[some], pixels[some])

    total = total_of(blocks(), Labelling(3, None, multi_hot=False))
    assert total.having.tolist() == np.count_nonzero(counts, axis=0).tolist()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(class_counting, "_MOST_SHARES", most)
        found = list(shares_of(blocks, total.having))
    assert [each.class_id for each in found] == [0, 1, 2]
    for number, units_, values in found:
        assert units_.tolist() == np.flatnonzero(counts[:, number]).tolist()
        assert np.array_equal(values, (counts[:, number] / pixels)[units_])
    there = (counts > 0).astype(int)
    assert together(blocks(), total.having)[1].tolist() == (there.T @ there).tolist()


def test_only_the_most_frequent_classes_are_compared_two_by_two():
    counts = np.eye(100, dtype=np.int64)
    counts[:, 99] = 1
    ids, both = together([Counts(0, counts, np.full(100, 2))], np.count_nonzero(counts, axis=0))
    assert len(ids) == 64
    assert (ids[0], ids[-1]) == (0, 99)
    assert both[-1].tolist() == [1] * 63 + [100]


# -- duplicates -----------------------------------------------------------------------------------


def group_keys(grouping):
    return [sorted((unit.split, unit.key) for unit in group.units) for group in grouping.groups]


@pytest.mark.parametrize("tile", [None, (16, 16)], ids=["samples", "cases"])
def test_equal_samples_are_found_within_and_across_splits(tmp_path, tile):
    pack = (
        pack_samples
        if tile is None
        else lambda *args, **options: pack_cases(*args, tile, **options)
    )
    one, two, mask = textured(1), textured(2), striped([0, 1, 2])
    other = striped([2, 1, 0])
    train = {"a": (one, mask), "b": (two, mask), "c": (one, mask), "d": (textured(3), mask)}
    pack(tmp_path / "o.zarr", "train", train)
    pack(
        tmp_path / "o.zarr",
        "val",
        {"e": (two, mask), "f": (textured(4), mask), "g": (textured(3), other)},
    )
    facts = collect_facts(tmp_path / "o.zarr")
    assert (facts.duplicates.within, facts.duplicates.across, facts.duplicates.surplus) == (1, 1, 2)
    assert group_keys(facts.duplicates) == [
        [("train", "b"), ("val", "e")], [("train", "a"), ("train", "c")]
    ]  # fmt: skip
    assert group_keys(facts.same_image) == [[("train", "d"), ("val", "g")]]
    assert facts.duplicates.groups[0].splits == {"train": 1, "val": 1}
    if tile is None:
        stored = zarr.open_group(str(tmp_path / "o.zarr/train"))
        keys = [bytes(row).rstrip(b"\0").decode() for row in stored["key"][:]]
        first = int(stored["digest"][keys.index("b")])
        assert facts.duplicates.groups[0].what == f"{first:016x}"


def test_cases_of_equal_tiles_in_another_order_or_size_differ(tmp_path):
    tile = textured(0, (16, 16))
    row, column = np.concatenate([tile, tile], 1), np.concatenate([tile, tile], 0)
    turned = np.concatenate([tile, 255 - tile], 1)
    back = np.concatenate([255 - tile, tile], 1)
    images = {"row": row, "column": column, "turned": turned, "back": back, "again": row.copy()}
    cases = {key: (image, np.zeros(image.shape[:2], np.uint8)) for key, image in images.items()}
    pack_cases(tmp_path / "o.zarr", "a", cases, (16, 16))
    facts = collect_facts(tmp_path / "o.zarr")
    assert group_keys(facts.duplicates) == [[("a", "again"), ("a", "row")]]
    assert facts.same_image.count == 0


def test_images_that_say_little_are_not_the_same_image(tmp_path):
    flat, masks = np.full((40, 40, 3), 7, np.uint8), ([0, 1], [1, 2], [0, 2])
    binary = np.zeros((40, 40, 3), np.uint8)
    binary[::2] = 1
    images = [flat, flat, binary, binary, textured(0, (40, 40)), textured(0, (40, 40))]
    pixels = {str(n): (image, striped(masks[n % 2], (40, 40))) for n, image in enumerate(images)}
    pack_samples(tmp_path / "o.zarr", "a", pixels)
    assert group_keys(collect_facts(tmp_path / "o.zarr").same_image) == [[("a", "4"), ("a", "5")]]


def test_groups_are_cut_but_counted(tmp_path):
    image, mask = textured(0), striped([0, 1])
    pack_samples(tmp_path / "o.zarr", "train", {f"s{n}": (image, mask) for n in range(30)})
    pack_samples(tmp_path / "o.zarr", "val", {"v": (image, mask)})
    [group] = collect_facts(tmp_path / "o.zarr").duplicates.groups
    assert (group.count, len(group.units), group.splits) == (31, 20, {"train": 30, "val": 1})
    assert "v" in keys_of(group)


# -- what is odd ----------------------------------------------------------------------------------


@pytest.mark.parametrize("tile", [None, (16, 16)], ids=["samples", "cases"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_constant_images_are_found(tmp_path, tile, dtype):
    mask = striped([0, 1])
    flat = np.full((24, 20, 3), 0.1 if dtype == "float32" else 99).astype(dtype)
    flat[..., 1] = 3
    almost = flat.copy()
    almost[5, 5, 0] += 1
    zeros = np.zeros_like(flat)
    pixels = {"flat": (flat, mask), "almost": (almost, mask), "zeros": (zeros, mask)}
    pixels["wild"] = (textured(0).astype(dtype), mask)
    if tile:
        pack_cases(tmp_path / "o.zarr", "a", pixels, tile)
    else:
        pack_samples(tmp_path / "o.zarr", "a", pixels)
    [split] = collect_facts(tmp_path / "o.zarr").splits
    assert keys_of(split.constant) == ["flat", "zeros"]
    assert split.not_finite.count == 0


@given(st.lists(st.integers(-(2**15), 2**15), min_size=1, max_size=9), st.booleans())
def test_integers_are_constant_only_if_all_are_equal(values, same):
    values = [values[0]] * len(values) if same else values
    large = np.array(values, np.float64)
    sums = np.array([[[large.sum(), (large**2).sum(), 0.0]]])
    found = are_constant(sums, np.array([len(values)]))
    assert found.tolist() == [len(set(values)) == 1]


def test_one_pixel_of_very_many_is_seen():
    count, value = 10**6, 40_000
    sums = [float(count * value + 1), float(count * value**2 + 2 * value + 1)]
    assert are_constant(np.array([[sums]]), np.array([count])).tolist() == [False]


def test_values_that_are_not_finite_are_found(tmp_path):
    mask = striped([0, 1])
    broken, void = textured(1).astype(np.float32), np.full((24, 20, 3), np.nan, np.float32)
    broken[3, 3, 1] = np.inf
    pixels = {
        "fine": (textured(0).astype(np.float32), mask),
        "broken": (broken, mask),
        "void": (void, mask),
    }
    pack_samples(tmp_path / "o.zarr", "a", pixels)
    [split] = collect_facts(tmp_path / "o.zarr").splits
    assert keys_of(split.not_finite) == ["broken", "void"]
    assert split.constant.count == 0


def test_a_share_far_outside_is_found_with_its_reason(tmp_path):
    pixels = {}
    for number in range(30):
        mask = np.zeros((24, 20), np.uint8)
        mask[: 2 + number % 5, : 3 + number % 3] = 1
        pixels[f"s{number}"] = (textured(number), mask)
    huge = np.ones((24, 20), np.uint8)
    huge[:3] = 0
    pixels["huge"] = (textured(99), huge)
    pack_samples(tmp_path / "o.zarr", "a", pixels, classes=["back", "cell"])
    [split] = collect_facts(tmp_path / "o.zarr").splits
    [unit] = split.class_shares.units
    assert unit.key == "huge"
    assert unit.reason.startswith(("cell on 87.50% of the image, median", "back on 12.50% of"))


@given(st.integers(20, 60), st.floats(0.01, 0.5), st.integers(0, 2**32 - 1))
def test_shares_of_one_distribution_are_not_far(count, middle, seed):
    rng = np.random.default_rng(seed)
    odds = np.log(middle / (1 - middle)) + rng.uniform(-1, 1, count)
    found = far_shares(1 / (1 + np.exp(-odds)), np.full(count, 1e-6))
    assert found.places.size == 0
    odds[0] = 14.0
    assert far_shares(1 / (1 + np.exp(-odds)), np.full(count, 1e-6)).places.tolist() == [0]


def test_equal_shares_and_few_shares_are_not_far():
    assert far_shares(np.append(np.full(50, 0.2), 0.9), np.full(51, 1e-3)).places.size == 0
    assert (
        far_shares(np.append(np.linspace(0.1, 0.2, 10), 0.99), np.full(11, 1e-3)).places.size == 0
    )
    assert far_shares(np.zeros(0), np.zeros(0)).places.size == 0


@given(st.lists(st.one_of(st.integers(1, 10**6), st.floats()), max_size=40))
def test_histograms_count_every_finite_value_once(values):
    numbers = np.array(values, np.float64)
    finite = numbers[np.abs(numbers) < 1e300]
    found = histogram_of(numbers)
    assert sum(found.counts) == len(finite)
    if len(finite):
        assert len(found.edges) == len(found.counts) + 1
        assert (found.edges[0], found.edges[-1]) == (finite.min(), finite.max())
        assert all(np.isfinite(found.edges))


def test_sizes_and_spacings_of_cases_are_counted(tmp_path):
    sizes = [(6, 8, 9), (6, 8, 9), (4, 8, 10)]
    cases = {f"c{n}": pair(size, n) for n, size in enumerate(sizes)}
    affines = {"c0": np.diag([1, 1, 2.0, 1]), "c1": np.diag([1, 1, 3.0, 1])}
    convert(
        CaseArrays(cases, affines=affines),
        tmp_path / "o.zarr",
        split="a",
        tile=(4, 4, 4),
        workers=1,
    )
    [split] = collect_facts(tmp_path / "o.zarr").splits
    depth, height, width = split.spread.sizes
    assert (depth.edges, depth.counts) == ((4.0, 5.0, 6.0), (1, 2))
    assert (height.counts, width.counts) == ((3,), (2, 1))
    assert [each.counts for each in split.spread.spacings] == [(2,), (2,), (1, 1)]


def test_skipped_inputs_have_reasons(tmp_path):
    source = CaseArrays({key: pair((8, 8), n) for n, key in enumerate("abc")}, bad=frozenset("b"))
    options = {"tile": (8, 8), "workers": 1, "on_error": "skip", "classes": 3}
    convert(source, tmp_path / "o.zarr", split="s", **options)
    [split] = collect_facts(tmp_path / "o.zarr").splits
    assert (split.found, split.units, split.skipped_count) == (3, 2, 1)
    assert split.skipped[0].name == "b"
    assert "is damaged" in split.skipped[0].why
    assert (
        "skipped"
        not in collect_facts(tmp_path / "o.zarr").to_json()["splits"][0]["facts"]["packed"]
    )


# -- stores that say little -----------------------------------------------------------------------


def test_a_store_of_others_has_facts_and_says_what_it_lacks(tmp_path):
    write_split(tmp_path / "o.zarr", traced_pixels(5))
    facts = collect_facts(tmp_path / "o.zarr")
    [split] = facts.splits
    assert (split.units, split.unit, split.classes, split.constant) == (5, "sample", None, None)
    assert facts.duplicates is facts.same_image is facts.near_duplicates is facts.leakage is None
    assert "zarrfeed did not pack it" in split.unknown["duplicates"]
    assert set(split.unknown) >= {"constant", "empty-masks", "near-duplicates", "leakage"}


def test_splits_without_masks_have_no_class_table(tmp_path):
    samples = [{"image": textured(n)} for n in range(3)]
    convert(samples, tmp_path / "o.zarr", split="a", workers=1)
    [split] = collect_facts(tmp_path / "o.zarr").splits
    assert split.classes is split.masks is split.class_shares is None
    assert not split.unknown.keys() & {"empty-masks", "one-class-masks", "class-shares"}
    assert split.constant.count == 0


def test_masks_of_instances_have_no_classes(tmp_path):
    store = pack_samples(tmp_path / "o.zarr", "a", {"x": (textured(0), striped([0, 1]))})
    shutil.rmtree(store / "a/class_pixels")
    change_attributes(store / "a", lambda attributes: attributes["packed"].update(instances=True))
    [split] = collect_facts(store).splits
    assert split.classes is split.masks is None
    assert "numbers of instances" in split.unknown["empty-masks"]
    assert not split.unknown.keys() & {"one-class-masks", "class-shares"}


def test_counts_that_cannot_be_are_refused(tmp_path):
    store = pack_samples(tmp_path / "o.zarr", "a", {"x": (textured(0), striped([0, 1]))})
    array = zarr.open_array(str(store / "a/class_pixels"))
    array[0] = [600, 0, 0]
    with pytest.raises(StoreError, match=r"class_pixels: needed .*480.*found \[?600"):
        collect_facts(store)


@pytest.mark.parametrize("name", ["digest", "class_pixels", "channel_sums", "key"])
def test_a_store_of_which_an_array_was_lost_says_so(tmp_path, name):
    store = pack_samples(tmp_path / "o.zarr", "a", {"x": (textured(0), striped([0, 1]))})
    shutil.rmtree(store / "a" / name)
    [split] = collect_facts(store).splits
    check = {"digest": "duplicates", "class_pixels": "empty-masks", "channel_sums": "constant"}
    assert split.unknown[check.get(name, "leakage")]


# -- near duplicates ------------------------------------------------------------------------------


@pytest.mark.parametrize("tile", [None, (64, 64)], ids=["samples", "cases"])
def test_images_that_look_alike_are_found_within_and_across_splits(tmp_path, tile):
    size = (90, 140) if tile else (64, 72)
    rng = np.random.default_rng(0)

    def noisy(seed):
        """A picture of waves, nearly the same for one seed."""
        waves = np.random.default_rng(seed).uniform(0.1, 0.6, (5, 3))
        along, across = np.indices(size)
        picture = sum(np.sin(a * along + b * across + 9 * c) for a, b, c in waves)
        noise = rng.uniform(-1, 1, (*size, 3))
        return (128 + 20 * picture[..., None] + noise).astype(np.uint8)

    mask = striped([0, 1, 2], size)
    flat = np.full((*size, 3), 50, np.uint8)
    train = {"a": noisy(1), "b": noisy(2), "c": noisy(1), "d": noisy(3), "flat": flat}
    val = {"e": noisy(2), "f": noisy(4), "also flat": flat + 1}
    for split, images in (("train", train), ("val", val)):
        pixels = {key: (image, mask) for key, image in images.items()}
        if tile:
            pack_cases(tmp_path / "o.zarr", split, pixels, tile)
        else:
            pack_samples(tmp_path / "o.zarr", split, pixels)
    facts = collect_facts(tmp_path / "o.zarr")
    found = facts.near_duplicates
    assert group_keys(found) == [[("train", "b"), ("val", "e")], [("train", "a"), ("train", "c")]]
    assert (found.across, found.within) == (1, 1)
    assert all(0 <= group.distance <= 3 for group in found.groups)
    assert found.note == "2 images without structure, such as a constant one, were not compared"
    assert not any("near-duplicates" in split.unknown for split in facts.splits)
    assert facts.duplicates.count == 0


def test_exact_duplicates_are_not_told_again_as_near_ones(tmp_path):
    image, mask = textured(1, (64, 72)), striped([0, 1], (64, 72))
    store = pack_samples(tmp_path / "o.zarr", "a", {"x": (image, mask), "y": (image, mask)})
    assert collect_facts(store).near_duplicates.count == 0
    pack_samples(store, "b", {"z": (image, striped([1, 0], (64, 72)))})
    facts = collect_facts(store)
    assert facts.near_duplicates.groups[0].splits == {"a": 2, "b": 1}
    assert facts.near_duplicates.groups[0].distance == 0
    stored = zarr.open_array(str(store / "a/dhash"))[0]
    assert facts.near_duplicates.groups[0].what == f"{int(stored):016x}"
    assert facts.same_image.count == 1


def test_an_older_store_says_that_it_has_no_hashes(tmp_path):
    store = pack_samples(tmp_path / "o.zarr", "a", {"x": (textured(0), striped([0, 1]))})
    shutil.rmtree(store / "a/dhash")
    facts = collect_facts(store)
    assert facts.near_duplicates is None
    assert "`zarrfeed repack` adds them" in facts.splits[0].unknown["near-duplicates"]
