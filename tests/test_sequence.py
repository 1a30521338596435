"""What the arguments of a sequence mean, and which are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr

import transforms
from kinds import PROCESSES, Kind, ids_of
from stores import Pixels, traced_pixels, write_split
from zarrfeed import StoreError, WorkerError, ZarrSequence

if TYPE_CHECKING:
    from pathlib import Path


def test_items_are_the_batches_of_the_coming_epoch(split: Path) -> None:
    with ZarrSequence(split, 4, seed=2, workers=1) as seq:
        assert len(seq) == 6
        items = [ids_of(seq[i]) for i in range(6)]
        assert items[-1] == ids_of(seq[-1])
        seq.set_epoch(0)
        assert [ids_of(batch) for batch in seq] == items
        assert seq.epoch == 1
        assert [ids_of(seq[i]) for i in range(6)] != items
        with pytest.raises(IndexError, match="batch from -6 to 5, got 6"):
            seq[6]
        assert [len(batch[0]) for batch in seq] == [4, 4, 4, 4, 4, 2]
        assert seq.partial_batch_size == 2


def test_unshuffled_batches_stand_in_storage_order(split: Path) -> None:
    with ZarrSequence(split, 5, shuffle=False, drop_remainder=True) as seq:
        assert [i for batch in seq for i in ids_of(batch)] == list(range(20))
        assert not seq.has_partial_batch


def test_block_shuffles_visit_everything(split: Path) -> None:
    with ZarrSequence(split, 4, shuffle="block", workers=2) as seq:
        order = [i for batch in seq for i in ids_of(batch)]
    assert sorted(order) == list(range(22))
    assert order != sorted(order)


@pytest.mark.parametrize(
    "subset", [[3, 1, -1], slice(1, 9, 2), np.arange(22) % 2 == 0, np.array([], np.int64)]
)
def test_a_subset_is_ids_a_slice_or_a_mask(split: Path, subset: Any) -> None:
    expected = np.arange(22)[subset].tolist()
    if not expected:
        with pytest.raises(ValueError, match="subset chooses none of the 22 samples"):
            ZarrSequence(split, 2, subset=subset)
        return
    with ZarrSequence(split, 2, subset=subset, shuffle=False) as seq:
        assert [i for batch in seq for i in ids_of(batch)] == expected


def test_ranks_see_disjoint_shares_of_one_order(split: Path) -> None:
    shares = []
    for rank in range(3):
        with ZarrSequence(split, 2, rank=rank, world_size=3, seed=4) as seq:
            assert len(seq) == 4
            shares.append([i for batch in seq for i in ids_of(batch)])
    assert {len(share) for share in shares} == {7}
    assert len({i for share in shares for i in share}) == 21


def test_fields_stand_in_the_order_that_was_asked_for(split: Path, pixels: Pixels) -> None:
    with ZarrSequence(split, 22, fields=("mask",), shuffle=False) as seq:
        [(mask,)] = list(seq)
        assert np.array_equal(mask, pixels["mask"])


def test_class_weights_become_a_weight_map(split: Path) -> None:
    with ZarrSequence(split, 4, class_weight={3: 0.5, 4: 2.0}) as seq:
        for _, mask, weight in seq:
            assert weight.dtype == np.float32
            assert np.array_equal(weight, np.where(mask == 3, 0.5, np.where(mask == 4, 2.0, 1.0)))


def test_class_weights_are_named_counted_or_balanced(tmp_path: Path) -> None:
    """By hand: 3 classes, 96 pixels: 48, 36 and 12 of them."""
    mask = np.zeros((2, 8, 6), np.uint8)
    mask[0, :6], mask[1, :2] = 1, 2
    pixels = {"image": traced_pixels(2)["image"], "mask": mask}
    pixels["class_pixels"] = np.array([[12, 36, 0], [36, 0, 12]], np.uint32)
    path = write_split(tmp_path / "d" / "train", pixels)
    for group, attributes in (
        (path, {"format": 1, "fields": ["image", "mask"]}),
        (path.parent, {"format": 1, "classes": ["sky", "road", "car"], "ignore": 9}),
    ):
        zarr.open_group(str(group), mode="a").attrs["zarrfeed"] = attributes
    for given, expected in (
        ("balanced", [96 / (3 * 48), 96 / (3 * 36), 96 / (3 * 12)]),
        ({"road": 5.0, 2: 0.5}, [1, 5, 0.5]),
        ([1, 2, 3], [1, 2, 3]),
    ):
        with ZarrSequence(path, 2, shuffle=False, class_weight=given) as seq:
            [(_, _, weight)] = list(seq)
            assert np.array_equal(weight, np.float32(expected)[mask])
    for given, message in (
        ([1.0, 2.0], "one weight for each of the 3 classes, not 2: sky, road, car"),
        ({"tree": 1.0}, "class 'tree', but the store has sky, road, car"),
        ({"Road": 1.0}, "sky, road, car: did you mean 'road'"),
        ({3: 1.0}, "class 3, the ids go from 0 to 2"),
    ):
        with pytest.raises(ValueError, match=message):
            ZarrSequence(path, 2, class_weight=given)
    attributes["ignore"] = 0  # though it has a name: then the other two are balanced
    zarr.open_group(str(path.parent), mode="a").attrs["zarrfeed"] = attributes
    with ZarrSequence(path, 2, shuffle=False, class_weight="balanced") as seq:
        [(_, _, weight)] = list(seq)
    assert np.array_equal(weight, np.float32([0, 48 / (2 * 36), 48 / (2 * 12)])[mask])
    attributes["ignore"] = 300  # no uint8 mask holds it
    zarr.open_group(str(path.parent), mode="a").attrs["zarrfeed"] = attributes
    with ZarrSequence(path, 2, shuffle=False, class_weight=[1, 2, 3]) as seq:
        [(_, _, weight)] = list(seq)
    assert np.array_equal(weight, np.float32([1, 2, 3])[mask])


def test_a_sequence_says_what_it_is(split: Path) -> None:
    assert repr(ZarrSequence(split, 4)).endswith(
        "train': 22 samples in 6 batches of 4; image uint8[8, 6, 3], mask uint8[8, 6])"
    )


def test_one_field_may_be_named_alone(split: Path, pixels: Pixels) -> None:
    with ZarrSequence(split, 22, fields="image", shuffle=False) as seq:
        [(image,)] = list(seq)
        assert np.array_equal(image, pixels["image"])


def test_a_transform_may_change_shape_and_dtype(split: Path) -> None:
    with ZarrSequence(split, 4, transform=transforms.to_float_crop, **PROCESSES) as seq:
        for image, mask in seq:
            assert (image.shape[1:], image.dtype) == ((4, 4, 3), np.float32)
            assert mask.shape[1:] == (4, 4)


def test_batch_keys_name_the_rows_of_a_batch(split: Path) -> None:
    with ZarrSequence(split, 4) as seq:
        names = seq.batch_keys(2)
        assert names == [f"sample {i}" for i in ids_of(seq[2])]
        assert seq.batch_keys(0, epoch=1) != seq.batch_keys(0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"batch_size": 2.5}, "batch_size must be a whole number, not 2.5"),
        ({"shuffle": "yes"}, "shuffle must be True, False or 'block', not 'yes'"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"workers": -1}, "workers must be at least 0"),
        ({"max_queue_size": 0}, "max_queue_size must be at least 1"),
        ({"rank": 2, "world_size": 2}, "rank must be below world_size, not 2 of 2"),
        ({"timeout": 0}, "timeout must be above 0"),
        ({"subset": [1, 1]}, "holds id 1 2 times"),
        ({"subset": [22]}, "holds id 22, but the split has 22"),
        ({"subset": [True, False]}, "a mask of 2 values, but the split has 22"),
        ({"subset": [0.5]}, "must be ids"),
        (
            {"batch_size": 30, "drop_remainder": True},
            "no batch: 22 samples in .* drop_remainder; use a smaller",
        ),
        ({"class_weight": {300: 1.0}}, "class 300, the ids go from 0 to 255"),
        ({"class_weight": {"sky": 1.0}}, "class 'sky', but the store has no class names"),
        (
            {"class_weight": {1: -1}},
            r"class_weight\[1\] must be a finite number of at least 0, not -1",
        ),
        ({"class_weight": [1.0, float("nan")]}, r"class_weight\[1\] must be a finite number"),
        ({"class_weight": {1: "3"}}, r"class_weight\[1\] must be a finite number"),
        ({"class_weight": "even"}, "a dict, a list or 'balanced', not 'even'"),
        ({"class_weight": "balanced"}, "needs class_pixels, which this store lacks"),
    ],
)
def test_bad_arguments_are_named_at_the_door(split: Path, arguments: Kind, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        ZarrSequence(split, **{"batch_size": 4, **arguments})


def test_bad_transforms_are_found_at_the_door(split: Path) -> None:
    with pytest.raises(WorkerError, match="forgets_the_mask must return 2 arrays"):
        ZarrSequence(split, 4, transform=transforms.forgets_the_mask)


def test_class_weights_need_a_mask(split: Path) -> None:
    with pytest.raises(StoreError, match="needs a uint8 or uint16 mask"):
        ZarrSequence(
            split, 4, class_weight=[1.0], transform=lambda i, m, rng: (i, m.astype(np.float32))
        )


def test_a_closed_sequence_starts_anew(split: Path) -> None:
    seq = ZarrSequence(split, 4, workers=2)
    first = [ids_of(batch) for batch in seq]
    seq.close()
    seq.close()
    seq.set_epoch(0)
    assert [ids_of(batch) for batch in seq] == first
    assert ids_of(seq[0]) != first[0]
    seq.close()
