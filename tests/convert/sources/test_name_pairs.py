"""Names pair by one rule in all formats, and never by their order alone."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.name_differences import remarks_on_names
from zarrfeed_convert.sources.name_pairs import pair_all, pairs_of, unpaired

WORDS = st.lists(st.integers(0, 10**6).map(str), min_size=2, max_size=20, unique=True)
FRAME = st.sampled_from(["", "img_", "case-", "a b."])


@given(numbers=WORDS, begin=FRAME, end=st.sampled_from(["", "_mask", "/seg", "-m.x"]))
def test_what_all_names_of_a_side_share_does_not_keep_them_from_pairing(numbers, begin, end):
    images = sorted(f"{number}_img" for number in numbers)
    masks = sorted(f"{begin}{number}{end}" for number in numbers)
    partner = pair_all(images, masks)
    assert sorted(partner) == list(range(len(numbers)))
    for image, place in zip(images, partner, strict=True):
        assert masks[place] == f"{begin}{image.removesuffix('_img')}{end}"


@given(numbers=WORDS, lost=st.data())
def test_a_lost_file_never_shifts_the_others(numbers, lost):
    """Two sides that each lost another file have as many; by order they would pair wrongly."""
    if len(numbers) < 3:
        return
    one, other = lost.draw(st.permutations(numbers))[:2]
    images = sorted(f"{number}_img" for number in numbers if number != one)
    masks = sorted(f"{number}_mask" for number in numbers if number != other)
    with pytest.raises(SourceError) as error:
        pair_all(images, masks)
    assert f"1 image without mask: {other}_img, 1 mask without image: {one}_mask" in str(
        error.value
    )


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["image_1", "image_2"], ["gt_1", "gt_2"]),
        (["1_image_a", "2_image_a"], ["1_mask_a", "2_mask_a"]),
        (["t1/images/01", "t2/images/01"], ["t1/masks/01", "t2/masks/01"]),
        (["IMG_9", "IMG_10"], ["img_9", "img_10"]),
        (["1", "2", "10"], ["001", "002", "010"]),
        (["frame1", "frame2"], ["m-1", "m-2"]),
        (["scan", "scan2"], ["label", "label2"]),
        (["s8 1", "s8 2"], ["1", "2"]),
        (["volume-0", "volume-1"], ["segmentation-0", "segmentation-1"]),
    ],
)
def test_what_one_side_has_more_is_left_out(images, masks):
    assert pairs_of(images, masks) == dict(zip(images, masks, strict=True))
    assert pairs_of(images[::-1], masks) == dict(zip(images, masks, strict=True))


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["dog", "emu"], ["x", "y"]),
        (["frame1", "frame2"], ["m10", "m11"]),
        (["a1", "a_1"], ["b1", "b2"]),  # two images come to the same
        (["a_1", "a_2"], ["1_color", "1_ids", "2_color", "2_ids"]),  # two masks of each
        (["1", "2", "3", "4"], ["m3", "m9", "m8", "m7"]),  # one by chance
    ],
)
def test_names_that_do_not_tell_are_not_paired_by_order(images, masks):
    assert pairs_of(images, masks) == {}


def test_equal_names_come_first_and_one_name_of_each_side_always_pairs():
    assert pairs_of(["a", "b"], ["b", "a"]) == {"a": "a", "b": "b"}
    assert pairs_of(["a_1", "b_1"], ["a_1", "c_1"]) == {"a_1": "a_1"}
    assert pair_all(["only"], ["other"]) == [0]
    assert unpaired(["a"], ["b", "c"]) == ""
    with pytest.raises(SourceError, match=r"2 images without mask: dog, emu, .* rename files"):
        pair_all(["dog", "emu"], ["x", "y"])


def test_files_without_a_partner_are_left_over_where_most_have_one():
    assert pairs_of(["i_1", "i_2", "i_3"], ["m_1", "m_3"]) == {"i_1": "m_1", "i_3": "m_3"}


@pytest.mark.parametrize(
    ("images", "masks", "differ"),
    [
        (["train_0", "train_1"], ["val_0", "val_1"], "'train' and 'val'"),
        (["a/Training/7"], ["b/TEST/7"], "'training' and 'test'"),
        (["x_valid1", "x_valid2"], ["m1_train", "m2_train"], "'valid' and 'train'"),
    ],
)
def test_names_of_different_splits_are_never_paired(images, masks, differ):
    first = f"the image {images[0]!r} and its mask {masks[0]!r}, which differ in {differ}; give "
    for pair in (pairs_of, pair_all, unpaired):
        with pytest.raises(SourceError, match=re.escape(first)):
            pair(images, masks)


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["train_0", "train_1"], ["gt_0", "gt_1"]),  # one side does not say
        (["val_0", "val_1"], ["validation_mask_0", "validation_mask_1"]),
        (["train_0", "val_0"], ["train_0_m", "val_0_m"]),
        (["test_train_0", "test_train_1"], ["train_0", "train_1"]),
        (["interval_0", "interval_1"], ["strain_0", "strain_1"]),  # parts of words
    ],
)
def test_other_names_with_words_for_splits_pair(images, masks):
    assert pairs_of(images, masks) == dict(zip(images, masks, strict=True))


@pytest.mark.parametrize(
    ("pairs", "remarks"),
    [
        ({"a": "a", "b": "b"}, []),
        ({"scan": "labels"}, []),
        ({"i_1": "m_1", "i_2": "m_2"}, [("names", "2 pairs differ", "i_1 and m_1: .* 'i', 'm'")]),
        ({"A_1": "a-01", "b": "b"}, [("names", "1 pair differs", "without case, punctuation and")]),
    ],
)
def test_what_was_left_out_to_pair_names_is_told(pairs, remarks):
    found = remarks_on_names(pairs, "train/images", "train/masks")
    assert [each[:2] for each in found] == [each[:2] for each in remarks]
    for one, expected in zip(found, remarks, strict=True):
        assert re.search(expected[2], one[2])


def test_folders_of_different_splits_are_told():
    [(what, value, why)] = remarks_on_names({"a": "a"}, "d/train/images", "d/val/masks")
    assert (what, value) == ("folders", "of train and val")
    assert why.startswith("d/train/images and d/val/masks: check")
