"""A sequence of patches keeps every promise of a sequence of samples."""

from __future__ import annotations

import copy
import itertools
import json
import math
import pickle
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from zarr import codecs

from kinds import KINDS
from patch_stores import CLASSES, ct, write_classed_cases, write_classed_samples
from stores import write_split
from zarrfeed import CoverPatches, FrontEnd, GridPatches, RandomPatches, open_cases
from zarrfeed.feed.workers.batch_maker import generator

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CASES = {
    "a": ct((9, 14, 11), 0, lesions=40),
    "b": ct((4, 17, 20), 1, lesions=0),
    "c": ct((12, 5, 6), 2, lesions=3),
}
SIZE = (5, 6, 7)
RANDOM = RandomPatches(SIZE, per_epoch=22, shares={"lesion": 1 / 3}, jitter=0.5, flips=True)
KINDS_OF_PATCHES = [RANDOM, CoverPatches(SIZE, flips=True), GridPatches(SIZE, overlap=0.3)]
every_kind = pytest.mark.parametrize("patches", KINDS_OF_PATCHES, ids=lambda p: type(p).__name__)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three volumes in raw tiles; class 2 is rare, and absent in one of them."""
    folder = tmp_path_factory.mktemp("ct")
    return write_classed_cases(folder / "train", CASES, (4, 6, 5), compressors=None)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, NDArray[Any]]]:
    """Seven images of one size, of which three have class 2."""
    cases = [ct((12, 15), n, lesions=9 * (n % 3 == 0)) for n in range(7)]
    pixels = {name: np.stack([case[name] for case in cases]) for name in cases[0]}
    folder = tmp_path_factory.mktemp("images")
    return write_classed_samples(folder / "train", pixels, chunk=2), pixels


def epoch_of(sequence: FrontEnd) -> list[list[NDArray[Any]]]:
    """Return copies of the batches of an epoch."""
    return [[array.copy() for array in batch] for batch in sequence]


def joined(batches: list[list[NDArray[Any]]]) -> list[NDArray[Any]]:
    return [np.concatenate(arrays) for arrays in zip(*batches, strict=True)]


def require_equal(found: list[Any], needed: list[Any]) -> None:
    assert len(found) == len(needed)
    for batch, right in zip(found, needed, strict=True):
        for array, values in zip(batch, right, strict=True):
            np.testing.assert_array_equal(array, values)


def numbers_of(sequence: FrontEnd, epoch: int) -> list[list[int]]:
    """Return the numbers of the patches in every batch."""
    schedule = sequence._stream.schedule
    return [schedule.batch_ids(epoch, batch).tolist() for batch in range(len(sequence))]


def noise(image: Any, mask: Any, rng: np.random.Generator) -> Any:
    return (image + rng.integers(0, 99, image.shape, np.int16)).astype(np.float32), mask


def mix(images: Any, masks: Any, rng: np.random.Generator) -> Any:
    return images + images[rng.permutation(len(images))], masks


# -- what batches depend on -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def right(split: Path) -> list[Any]:
    with FrontEnd(
        split, 4, patches=RANDOM, workers=0, seed=5, transform=noise, batch_transform=mix
    ) as sequence:
        return [epoch_of(sequence) for _ in range(2)]


@pytest.mark.parametrize("kind", ["one thread", "three threads", "two processes"])
def test_workers_never_change_a_batch(split: Path, right: list[Any], kind: str) -> None:
    with FrontEnd(
        split, 4, patches=RANDOM, seed=5, transform=noise, batch_transform=mix, **KINDS[kind]
    ) as sequence:
        for batches in right:
            require_equal(epoch_of(sequence), batches)


def test_codecs_and_tiles_never_change_a_batch(
    split: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lz4 = codecs.BloscCodec(cname="lz4")
    other = write_classed_cases(
        tmp_path_factory.mktemp("lz4") / "train", CASES, (4, 6, 5), compressors=lz4, chunk=1
    )
    for patches in KINDS_OF_PATCHES:
        with (
            FrontEnd(split, 4, patches=patches, workers=0) as raw,
            FrontEnd(other, 4, patches=patches, workers=2) as packed,
        ):
            require_equal(epoch_of(packed), epoch_of(raw))


@every_kind
def test_batch_size_only_cuts_the_epoch(split: Path, patches: Any) -> None:
    epochs = []
    for batch_size in (1, 3, 50):
        with FrontEnd(split, batch_size, patches=patches, workers=0, seed=2) as sequence:
            epoch_of(sequence)
            epochs.append(joined(epoch_of(sequence)))
    require_equal(epochs[1:], [epochs[0]] * 2)


@every_kind
@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("padded", [False, True], ids=["cut", "padded"])
def test_ranks_share_an_epoch(split: Path, patches: Any, world_size: int, padded: bool) -> None:
    options: dict[str, Any] = {"patches": patches, "workers": 0, "seed": 3}
    with FrontEnd(split, 4, **options) as single:
        whole = sorted(itertools.chain(*numbers_of(single, 1)))
        assert whole == list(range(len(whole)))
    real = []
    for rank in range(world_size):
        with FrontEnd(
            split, 4, rank=rank, world_size=world_size, pad_remainder=padded, **options
        ) as sequence:
            schedule = sequence._stream.schedule
            batches = numbers_of(sequence, 1)
            real += [
                number
                for nth, batch in enumerate(batches)
                for number in batch[: schedule.real_rows(1, nth)]
            ]
            for nth, batch in enumerate(batches):
                if patches is RANDOM:  # a run of successive draws
                    assert batch == [(batch[0] + n) % 22 for n in range(len(batch))]
                    forced = [p.forced for p in sequence.batch_places(nth, epoch=1)].count(2)
                    rows = schedule.real_rows(1, nth)
                    assert rows // 3 <= forced <= -(-rows // 3)
                if padded:
                    assert len(batch) == 4
    assert len(set(real)) == len(real)
    assert len(real) == len(whole) - (0 if padded else len(whole) % world_size)
    assert set(real) <= set(whole)


@every_kind
def test_training_goes_on_in_mid_epoch(split: Path, patches: Any) -> None:
    options: dict[str, Any] = {"patches": patches, "seed": 4, "transform": noise}
    with FrontEnd(split, 4, workers=0, **options) as sequence:
        epoch_of(sequence)
        batches = iter(sequence)
        for _ in range(2):
            next(batches)
        state = json.loads(json.dumps(sequence.state_dict()))
        rest = [[array.copy() for array in batch] for batch in batches]
    with FrontEnd(split, 4, workers=2, **options) as other:
        other.load_state_dict(state)
        assert (other.epoch, other.batch) == (1, 2)
        require_equal(epoch_of(other), rest)
        assert other.epoch == 2


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (None, r"sampler was \{'kind': 'RandomPatches'.*\} and is None"),
        (replace(RANDOM, size=(5, 6, 6)), r": size was \[5, 6, 7\] and is \[5, 6, 6\]\. Use"),
        (replace(RANDOM, shares={1: 0.1, "lesion": 0.25}),
         r"samples: shares was \{'lesion': 0.3\d*\} and is \{'1': 0.1, 'lesion': 0.25\}\. Use"),
        (replace(RANDOM, shares=None, flips=False),
         r": shares was \{'lesion': 0.3\d*\} and is None; flips was True and is False\. Use"),
        (replace(RANDOM, per_epoch=21),
         r"samples: per_epoch was 22 and is 21"),
        (CoverPatches(SIZE), "samples: sampler was RandomPatches and is CoverPatches; "),
    ],
)  # fmt: skip
def test_a_state_of_other_patches_is_refused_and_says_what_differs(
    split: Path, other: Any, said: str
) -> None:
    with FrontEnd(split, 4, patches=RANDOM) as sequence:
        state = sequence.state_dict()
    fields = ["image", "mask"]
    with FrontEnd(split, 4, patches=other, fields=fields) as sequence:
        with pytest.raises(ValueError, match=said):
            sequence.load_state_dict(state)
        state = sequence.state_dict()
    with (
        FrontEnd(split, 4, patches=RANDOM) as sequence,
        pytest.raises(ValueError, match="saved by a sequence with another order of samples"),
    ):
        sequence.load_state_dict(state)


@pytest.mark.parametrize("copied", [copy.copy, lambda s: pickle.loads(pickle.dumps(s))])
@every_kind
def test_a_copy_goes_on_where_the_sequence_is(split: Path, patches: Any, copied: Any) -> None:
    with FrontEnd(split, 4, patches=patches, workers=1) as sequence:
        batches = iter(sequence)
        next(batches)
        with copied(sequence) as other:
            require_equal(epoch_of(other), [[a.copy() for a in batch] for batch in batches])


def first_word(image: Any, mask: Any, rng: np.random.Generator) -> Any:
    return np.array([rng.integers(0, 2**62)]), mask


@every_kind
def test_transforms_get_generators_of_the_seed_the_epoch_and_the_patch(
    split: Path, patches: Any
) -> None:
    with FrontEnd(split, 4, patches=patches, transform=first_word, workers=0, seed=6) as sequence:
        for epoch in range(2):
            for numbers, (words, _) in zip(numbers_of(sequence, epoch), sequence, strict=True):
                right = [
                    generator(6, epoch, number, stream=0).integers(0, 2**62) for number in numbers
                ]
                assert words[:, 0].tolist() == right


# -- what patches are cut from --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subset", "keys"),
    [([2, 0], "ca"), (np.array([True, False, True]), "ac"), (slice(1, None), "bc"), ([-2], "b")],
)
@every_kind
def test_subset_chooses_cases(split: Path, patches: Any, subset: Any, keys: str) -> None:
    if patches is RANDOM:
        patches = RandomPatches(SIZE, per_epoch=60)
    with FrontEnd(split, 4, patches=patches, subset=subset, workers=0, shuffle=False) as sequence:
        places = [p for n in range(len(sequence)) for p in sequence.batch_places(n)]
        names = [key for n in range(len(sequence)) for key in sequence.batch_keys(n)]
    assert [place.key for place in places] == names
    assert set(names) == set(keys)
    if isinstance(patches, GridPatches):
        assert [key for nth, key in enumerate(names) if key not in names[:nth]] == list(keys)


def test_a_case_without_a_class_is_drawn_freely_alone(split: Path) -> None:
    patches = RandomPatches(SIZE, per_epoch=200, shares={"lesion": 0.5}, by="case")
    with FrontEnd(split, 50, patches=patches, workers=0) as sequence:
        places = [p for n in range(4) for p in sequence.batch_places(n)]
    assert Counter(place.forced for place in places) == {None: 100, 2: 100}
    assert {place.key for place in places if place.forced is None} == {"a", "b", "c"}
    assert {place.key for place in places if place.forced == 2} == {"a", "c"}


def test_every_pixel_of_a_class_is_in_the_middle_equally_often(split: Path) -> None:
    """χ² over the 43 lesion pixels of two cases, by patches of one pixel in the mask itself."""
    patches = RandomPatches((1, 1, 1), per_epoch=1720, shares={"lesion": 1.0}, border="fill")
    with FrontEnd(split, 1720, patches=patches, workers=0, fields="mask") as sequence:
        [(mask,)] = list(sequence)
        counts = Counter((p.key, p.origin) for p in sequence.batch_places(0, epoch=0))
    assert (mask == 2).all()
    assert len(counts) == 43
    assert sum((n - 40) ** 2 / 40 for n in counts.values()) < 42 + 5 * math.sqrt(84)


def test_crops_of_samples_are_slices_of_them(images: Any) -> None:
    path, pixels = images
    patches = RandomPatches((5, 6), per_epoch=30, shares={2: 0.5}, flips=True, jitter=1)
    with FrontEnd(path, 4, patches=patches, workers=0, fields=["depth", "mask"]) as sequence:
        found = set()
        for nth, batch in enumerate(sequence):
            for row, place in enumerate(sequence.batch_places(nth)):
                sample = int(place.key.removeprefix("sample "))
                found.add((sample, place.forced))
                box = tuple(slice(at, at + n) for at, n in zip(place.origin, (5, 6), strict=True))
                flips = [axis for axis in range(2) if place.flips[axis]]
                for array, name in zip(batch, ("depth", "mask"), strict=True):
                    right = np.flip(pixels[name][sample][box], flips)
                    np.testing.assert_array_equal(array[row], right)
                if place.forced is not None:
                    assert (batch[1][row] == 2).any()
    assert {sample for sample, forced in found if forced} == {0, 3, 6}
    assert {sample for sample, forced in found if not forced} & {1, 2, 4, 5}


@pytest.mark.parametrize("subset", [[6, 1], np.arange(7) % 5 == 1, slice(1, 7, 5)])
@pytest.mark.parametrize("patches", [CoverPatches((5, 6)), RandomPatches((5, 6), per_epoch=40)])
def test_subset_chooses_samples(images: Any, patches: Any, subset: Any) -> None:
    with FrontEnd(images[0], 4, patches=patches, subset=subset, workers=0) as sequence:
        keys = {key for n in range(len(sequence)) for key in sequence.batch_keys(n)}
    assert keys == {"sample 1", "sample 6"}


def test_ranks_that_get_no_batch_are_told(split: Path) -> None:
    patches = RandomPatches(SIZE, per_epoch=2)
    with pytest.raises(ValueError, match=r"2 samples .* 3 ranks"):
        FrontEnd(split, 4, patches=patches, rank=0, world_size=3)


def test_multi_hot_masks_have_shares(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    masks = (rng.random((5, 12, 13, 3)) < [0.5, 0.1, 0.01]).astype(np.uint8)
    masks[1, ..., 2] = 0
    pixels = {"image": rng.integers(0, 255, (5, 12, 13, 3), np.uint8), "mask": masks}
    path = write_classed_samples(tmp_path / "train", pixels)
    patches = RandomPatches((3, 4), per_epoch=40, shares={"lesion": 0.5, "organ": 0.25})
    with FrontEnd(path, 8, patches=patches, workers=0, subset=[1, 2, 3]) as sequence:
        for nth, (_, mask) in enumerate(sequence):
            forced = [place.forced for place in sequence.batch_places(nth)]
            assert Counter(forced) == {2: 4, 1: 2, None: 2}
            for row, label in enumerate(forced):
                assert label is None or mask[row, ..., label].any()


def test_volumes_of_one_size_are_cropped(tmp_path: Path) -> None:
    volumes = [ct((6, 9, 8), n, lesions=5) for n in range(3)]
    pixels = {name: np.stack([volume[name] for volume in volumes]) for name in volumes[0]}
    path = write_classed_samples(tmp_path / "train", pixels)
    patches = RandomPatches((3, 4, 5), per_epoch=8, shares={"lesion": 0.5})
    with FrontEnd(path, 8, patches=patches, workers=0) as sequence:
        [(image, _)] = list(sequence)
        for row, place in zip(image, sequence.batch_places(0, epoch=0), strict=True):
            box = tuple(slice(a, a + n) for a, n in zip(place.origin, (3, 4, 5), strict=True))
            sample = int(place.key.removeprefix("sample "))
            np.testing.assert_array_equal(row, pixels["image"][sample][box])


# -- what batches consist of ----------------------------------------------------------------------


def test_fields_are_cut_together_and_nested(split: Path) -> None:
    options: dict[str, Any] = {"patches": RANDOM, "workers": 0}
    with (
        FrontEnd(split, 4, fields=["image", "mask", "depth"], **options) as flat,
        FrontEnd(
            split, 4, inputs={"ct": "image"}, targets={"seg": "mask"}, weights={"seg": "depth"},
            **options,
        ) as nested,
    ):  # fmt: skip
        for (image, mask, depth), (x, y, w) in zip(flat, nested, strict=True):
            np.testing.assert_array_equal(x["ct"], image)
            np.testing.assert_array_equal(y["seg"], mask)
            np.testing.assert_array_equal(w["seg"], depth)
        assert image.dtype == np.int16
        assert image.shape == (2, *SIZE, 1)
        assert depth.shape == (2, *SIZE)


def test_class_weights_weigh_the_pixels_of_patches(split: Path) -> None:
    with FrontEnd(
        split, 4, patches=RANDOM, class_weight={"lesion": 5, "organ": 2}, workers=0
    ) as sequence:
        for _, mask, weights in sequence:
            np.testing.assert_array_equal(weights, np.array([1, 2, 5], np.float32)[mask])


def test_balanced_weights_and_normalization_are_those_of_the_chosen_cases(split: Path) -> None:
    counts = np.bincount(np.concatenate([CASES[key]["mask"].ravel() for key in "ac"]))
    right = (counts.sum() / (3 * counts)).astype(np.float32)
    pixels = np.concatenate([CASES[key]["image"].ravel() for key in "ac"]).astype(float)
    with FrontEnd(
        split, 4, patches=RANDOM, class_weight="balanced", subset=[0, 2], workers=0
    ) as sequence:
        for _, mask, weights in sequence:
            np.testing.assert_array_equal(weights, right[mask])
        mean, variance = sequence.normalization
    assert mean == pytest.approx([pixels.mean()])
    assert variance == pytest.approx([pixels.var()])


@pytest.mark.parametrize("shuffle", [True, "block", False])
@pytest.mark.parametrize("patches", KINDS_OF_PATCHES[1:], ids=["CoverPatches", "GridPatches"])
def test_every_patch_comes_once_in_any_order(split: Path, patches: Any, shuffle: Any) -> None:
    with FrontEnd(split, 4, patches=patches, shuffle=shuffle, workers=0) as sequence:
        orders = [[*itertools.chain(*numbers_of(sequence, epoch))] for epoch in range(2)]
    for order in orders:
        assert sorted(order) == list(range(sequence.samples))
        assert (order == sorted(order)) is (shuffle is False)
    assert (orders[0] == orders[1]) is (shuffle is False)


def test_padding_weighs_nothing_and_a_remainder_can_be_dropped(split: Path) -> None:
    options: dict[str, Any] = {"patches": GridPatches(SIZE), "workers": 0, "shuffle": False}
    with (
        FrontEnd(split, 5, **options) as plain,
        FrontEnd(split, 5, **options, pad_remainder=True) as padded,
        FrontEnd(split, 5, **options, drop_remainder=True) as cut,
    ):
        whole, full = joined(epoch_of(plain)), joined(epoch_of(padded))
        rest = plain.samples % 5
        assert rest
        assert len(full[0]) == 5 * len(padded)
        require_equal([[a[: plain.samples] for a in full[:2]]], [whole])
        assert (full[2][: plain.samples] == 1).all()
        assert (full[2][plain.samples :] == 0).all()
        require_equal([joined(epoch_of(cut))], [[a[:-rest] for a in whole]])


def test_places_are_those_of_the_batch_at_hand(split: Path) -> None:
    whole = {key: np.asarray(open_cases(split).open(key, "depth")) for key in "abc"}
    with FrontEnd(
        split, 4, patches=CoverPatches(SIZE), workers=1, fields=["image", "depth"], seed=7
    ) as sequence:
        for _ in range(2):
            outside = sequence.batch_places(0)
            for nth, (_, depth) in enumerate(sequence):
                places = sequence.batch_places(nth)
                assert sequence.batch_keys(nth) == [place.key for place in places]
                if nth == 0:
                    assert places == outside
                for row, place in zip(depth, places, strict=True):
                    lands = tuple(slice(max(-at, 0), None) for at in place.origin)
                    box = tuple(
                        slice(max(at, 0), at + n) for at, n in zip(place.origin, SIZE, strict=True)
                    )
                    inside = whole[place.key][box]
                    cut = row[lands][tuple(slice(n) for n in inside.shape)]
                    np.testing.assert_array_equal(cut, inside)
        assert sequence.batch_places(-1) == sequence.batch_places(len(sequence) - 1)


def test_a_sequence_tells_what_it_is(split: Path) -> None:
    with FrontEnd(split, 4, patches=RANDOM, workers=0) as sequence:
        assert len(sequence) == 6
        assert sequence.samples == 22
        assert sequence.classes == CLASSES
        assert repr(sequence).endswith(
            "22 samples in 6 batches of 4; image int16[5, 6, 7, 1], mask uint8[5, 6, 7])"
        )
        require_equal([sequence[0]], [next(iter(sequence))])
    voxels = sum(case["mask"].size for case in CASES.values())
    with FrontEnd(split, 4, patches=RandomPatches(SIZE), workers=0) as sequence:
        assert sequence.samples == math.ceil(voxels / math.prod(SIZE))


def test_a_tf_dataset_has_the_batches_of_the_sequence(split: Path) -> None:
    with (
        FrontEnd(split, 4, patches=RANDOM, workers=2) as sequence,
        FrontEnd(split, 4, patches=RANDOM, workers=0) as plain,
    ):
        dataset = sequence.to_tf_dataset()
        assert dataset.element_spec[0].shape.as_list() == [None, *SIZE, 1]
        require_equal([[a.numpy() for a in batch] for batch in dataset], epoch_of(plain))


# -- what is refused at the start -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: RandomPatches(128), TypeError, r"not 128: give \(128, 128\) or \(128, 128, 128\)"),
        (lambda: RandomPatches("12"), TypeError, "size must be a tuple of whole numbers, not '12'"),
        (lambda: RandomPatches((8, 8.0)), TypeError, r"not \(8, 8.0\): give \(8, 8\)"),
        (lambda: RandomPatches((8, math.nan)), TypeError, r"whole numbers, not \(8, nan\)$"),
        (lambda: RandomPatches((8, 0)), ValueError, "size must be at least 1, not 0"),
        (lambda: RandomPatches((8,)), ValueError, r"must be \(h, w\) or \(d, h, w\)"),
        (lambda: GridPatches((2**40, 2**40)), ValueError, "size must be of at most"),
        (lambda: RandomPatches((8, 8), flips=(True,)), ValueError, "flips must be one bool or 2"),
        (lambda: CoverPatches((8, 8), flips=1), ValueError, "flips must be one bool or 2"),
        (lambda: RandomPatches((8, 8), turns="yes"), TypeError, "turns must be True or False"),
        (lambda: RandomPatches((8, 9), turns=True), ValueError, "square in their last two axes"),
        (lambda: RandomPatches((8, 8), shares={}), TypeError, "shares must be {class: share}"),
        (lambda: RandomPatches((8, 8), shares={1: 0}), ValueError, r"shares\[1\] must be from"),
        (lambda: RandomPatches((8, 8), shares={1: 1e-9}), ValueError, "must be from 1e-6 to 1"),
        (lambda: RandomPatches((8, 8), shares={1: "x"}), TypeError, r"shares\[1\] must be a numb"),
        (lambda: RandomPatches((8, 8), shares={1: 0.7, 2: 0.6}), ValueError, "sum to at most 1"),
        (lambda: RandomPatches((8, 8), shares={(1,): 0.7}), TypeError, "shares must name classes"),
        (lambda: RandomPatches((8, 8), jitter=2), ValueError, "jitter must be from 0 to 1"),
        (lambda: RandomPatches((8, 8), jitter="a"), TypeError, "jitter must be a number"),
        (lambda: RandomPatches((8, 8), per_epoch=0), ValueError, "per_epoch must be at least 1"),
        (lambda: RandomPatches((8, 8), per_epoch=2**50), ValueError, "per_epoch must be at most"),
        (lambda: RandomPatches((8, 8), by="volume"), ValueError, "by must be 'size' or 'case'"),
        (lambda: RandomPatches((8, 8), border="pad"), ValueError, "border must be 'shift' or"),
        (lambda: RandomPatches((8, 8), fill="black"), TypeError, "fill must be a number"),
        (lambda: GridPatches((8, 8), overlap=1), ValueError, "overlap must be at least 0 and"),
        (lambda: GridPatches((8, 8), overlap="half"), TypeError, "overlap must be a number"),
        (lambda: GridPatches((8, 8), float("nan")), ValueError, "overlap must be"),
    ],
)  # fmt: skip
def test_values_are_checked_when_they_are_made(make: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"patches": SIZE}, TypeError, r"patches must be RandomPatches.*not \(5, 6, 7\)"),
        ({"patches": RandomPatches}, TypeError, "patches must be RandomPatches"),
        ({"patches": RandomPatches((8, 8))}, ValueError, "patches with 2 axes need tiles with 2"),
        (
            {"patches": RandomPatches(SIZE, shares={"leison": 0.5})},
            ValueError,
            "shares names class 'leison'.*did you mean 'lesion'",
        ),
        ({"patches": RandomPatches(SIZE, shares={3: 0.5})}, ValueError, "ids go from 0 to 2"),
        (
            {"patches": RandomPatches(SIZE, shares={2: 0.5, "lesion": 0.2})},
            ValueError,
            "shares names class 'lesion' twice",
        ),
        (
            {"patches": RANDOM, "subset": [1]},
            ValueError,
            "got 'lesion', of which they have no pixel; they have background, organ",
        ),
        ({"patches": RANDOM, "subset": []}, ValueError, "chooses none of the 3 cases"),
        (
            {"patches": RANDOM, "subset": ["a", "aa"]},
            ValueError,
            "names case 'aa', which is none of the 3 cases of .*: did you mean 'a'",
        ),
        ({"subset": ["a"]}, ValueError, r"names sample 'a', which is none .*: .*'a#0,0,0'"),
        ({"patches": RANDOM, "subset": [3]}, ValueError, "but the split has 3 cases"),
        (
            {"patches": RandomPatches(SIZE, fill={"imge": 1})},
            ValueError,
            "fill names a field 'imge' that the split lacks: did you mean 'image'",
        ),
        (
            {"patches": RandomPatches(SIZE, fill={"mask": 256})},
            ValueError,
            "fill needs a whole number from 0 to 255 for uint8 'mask', got 256: give",
        ),
        (
            {"patches": GridPatches(SIZE, fill=0.5)},
            ValueError,
            "a whole number from -32768 to 32767 for int16 'image', got 0.5",
        ),
        ({"patches": GridPatches(SIZE, fill=float("nan"))}, ValueError, "int16 'image', got nan"),
        (
            {"patches": GridPatches(SIZE, fill=1e300), "fields": "depth"},
            ValueError,
            r"a number from -3.40282e\+38 to 3.40282e\+38 for float32 'depth'",
        ),
        ({"patches": GridPatches((2**20,) * 3)}, ValueError, "of memory"),
    ],
)
def test_what_does_not_fit_the_split_is_refused(
    split: Path, options: Any, error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        FrontEnd(split, 4, workers=0, **options)


def test_floats_may_be_filled_with_nan(split: Path) -> None:
    with FrontEnd(split, 1, patches=GridPatches((20,) * 3, fill=0.1), fields="depth") as sequence:
        assert (sequence[0][0] == np.float32(0.1)).any(), "the nearest float"
    patches = GridPatches((20, 20, 20), fill={"depth": float("nan"), "image": 0.0})
    with FrontEnd(split, 4, patches=patches, workers=0, fields="depth") as sequence:
        [(depth,)] = list(sequence)
        sequence.load_state_dict(json.loads(json.dumps(sequence.state_dict())))
    inside = [int((~np.isnan(row)).sum()) for row in depth]
    assert sorted(inside) == sorted(case["mask"].size for case in CASES.values())


def test_filling_a_mask_with_no_class_is_warned_of(split: Path) -> None:
    said = r"fill=\{'mask': 9\} is neither a class of .* nor its ignore id \(it has none\)"
    with pytest.warns(UserWarning, match=said) as found:
        FrontEnd(split, 4, patches=GridPatches(SIZE, fill={"mask": 9}))
    assert found[0].filename == __file__
    FrontEnd(split, 4, patches=GridPatches(SIZE, fill={"mask": 2}))


def test_axes_are_those_of_the_masks(images: Any, tmp_path: Path) -> None:
    path, _ = images
    for fields in (None, "image"):
        with pytest.raises(ValueError, match="patches with 3 axes need samples with 3"):
            FrontEnd(path, 4, patches=RandomPatches((4, 4, 1)), fields=fields)
    volume = ct((6, 9, 8), 0, lesions=1)
    pixels = {name: volume[name][None] for name in ("image", "mask")}
    volumes = write_classed_samples(tmp_path / "train", pixels)
    with pytest.raises(ValueError, match=r"found mask.*, which have 3: give the patches as many"):
        FrontEnd(volumes, 1, patches=RandomPatches((4, 4)), fields="mask")


def test_shares_need_counts(split: Path, images: Any, tmp_path: Path) -> None:
    path = write_split(tmp_path / "train", images[1])
    with pytest.raises(ValueError, match=r"shares need 'mask' and 'class_pixels'.*convert"):
        FrontEnd(path, 4, patches=RandomPatches((4, 4), shares={2: 0.5}))
    other = dict(images[1], depth=images[1]["depth"][:, :5])
    path = write_split(tmp_path / "other", other)
    with pytest.raises(ValueError, match=r"the same for every field, found .*depth \(5, 15\)"):
        FrontEnd(path, 4, patches=RandomPatches((4, 4)), fields=["image", "mask", "depth"])


def test_whole_samples_have_no_places(images: Any) -> None:
    with (
        FrontEnd(images[0], 4, workers=0) as sequence,
        pytest.raises(ValueError, match=r"batch_places\(\) needs ZarrSequence\(patches=…\)"),
    ):
        sequence.batch_places(0)


def test_a_state_of_other_cases_is_refused(split: Path) -> None:
    random = RandomPatches(SIZE, per_epoch=8, flips=np.True_, per_case=10**30)
    for patches in (random, CoverPatches(SIZE), GridPatches(SIZE)):
        first = FrontEnd(split, 2, patches=patches, subset=[0, 1], workers=0)
        state = json.loads(json.dumps(first.state_dict()))
        next(iter(first))
        with pytest.raises(ValueError, match=r"another order.* cases was '.*' and is '"):
            FrontEnd(split, 2, patches=patches, subset=[0, 2], workers=0).load_state_dict(state)
