"""A sequence over a mix feeds the pixels of each store, with common ids of classes."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from zarr import codecs

from case_stores import write_cases
from kinds import KINDS
from patch_stores import ct, write_classed_cases
from stores import Pixels, write_split
from zarrfeed import (
    Balanced,
    CoverPatches,
    FrontEnd,
    GridPatches,
    Mix,
    RandomPatches,
    Shares,
    SplitReader,
    StoreError,
    Weights,
    evaluate,
    list_splits,
    open_case,
    open_cases,
    open_split,
    stitch,
)
from zarrfeed.store.mirror.origin import Remote
from zarrfeed.store.predicted_cases import open_predicted

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

A, B = ["background", "car", "road"], ["road", "background", "cow"]
# Ids of B's classes as A has them; cows are ignored.
COMMON = np.array([2, 0, 255], np.uint8)
SIZES = {"a": 10, "b": 7}
LZ4 = codecs.BloscCodec(cname="lz4")
LAYOUTS: dict[str, dict[str, dict[str, Any]]] = {
    "raw, alike": {"a": {"shard": 4}, "b": {"shard": 4}},
    "raw, other shards": {"a": {"shard": 4}, "b": {"shard": None}},
    "raw, 2 a chunk": {"a": {"shard": 4, "chunk": 2}, "b": {"shard": 6, "chunk": 2}},
    "lz4": {"a": {"compressors": LZ4, "chunk": 2}, "b": {"compressors": LZ4, "chunk": 2}},
    "raw and lz4": {"a": {"compressors": None}, "b": {"compressors": LZ4, "chunk": 2}},
    "whole and halves": {"a": {"shard": 4}, "b": {"halves": True}},
}


def say(path: Path, classes: list[str] | None, ignore: int | None = None) -> Path:
    """Write the attributes of a packed split."""
    for group, said in (
        (path, {"format": 1, "fields": ["image", "mask"]}),
        (path.parent, {"format": 1, "classes": classes or [], "ignore": ignore}),
    ):
        zarr.open_group(str(group), mode="a").attrs["zarrfeed"] = said
    return path


def pixels_of(name: str, size: tuple[int, int] = (8, 6)) -> Pixels:
    """Random pixels; the first of each image tells the sample."""
    rng = np.random.default_rng(ord(name))
    count = SIZES[name]
    image = rng.integers(0, 255, (count, *size, 3), np.uint8)
    image[:, 0, 0, 0] = np.arange(count) + 100 * (name == "b")
    return {"image": image, "mask": rng.integers(0, 3, (count, *size), np.uint8)}


def counted(pixels: Pixels) -> Pixels:
    """Add the descriptive arrays that a packer would."""
    masks = pixels["mask"]
    counts = [[int((mask == label).sum()) for label in range(3)] for mask in masks]
    image = pixels["image"].astype(float)
    sums = np.stack([image.sum(axis=(1, 2)), (image**2).sum(axis=(1, 2))], axis=-1)
    keys = [f"img{n}".encode() for n in range(len(masks))]
    names = np.array(keys).view(np.uint8).reshape(len(keys), -1)
    digests = 1 + masks.sum(axis=(1, 2), dtype=np.uint64)
    told = {"class_pixels": np.array(counts), "channel_sums": sums, "key": names}
    return {**pixels, **told, "digest": digests}


def write_both(folder: Path, layouts: dict[str, dict[str, Any]]) -> dict[str, Path]:
    """Write both stores; "halves" are chunks of two halves of samples."""
    found = {}
    for name, classes in (("a", A), ("b", B)):
        options, pixels = dict(layouts[name]), pixels_of(name)
        if options.pop("halves", False):
            group = zarr.open_group(str(folder / f"{name}.zarr/train"), mode="w")
            for field, values in pixels.items():
                group.create_array(field, data=values, chunks=(2, 4, *values.shape[2:]))
        else:
            write_split(folder / f"{name}.zarr/train", pixels, **options)
        found[name] = say(folder / f"{name}.zarr/train", classes)
    return found


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two stores with keys, counts and sums."""
    folder = tmp_path_factory.mktemp("mix")
    return {
        name: say(write_split(folder / f"{name}.zarr/train", counted(pixels_of(name))), classes)
        for name, classes in (("a", A), ("b", B))
    }


ignoring = pytest.mark.filterwarnings("ignore:.*become the ignore id")
pytestmark = ignoring


def mix(stores: dict[str, Path], a: float = 3, b: float = 1, **options: Any) -> Mix:
    return Mix({stores["a"]: a, stores["b"]: b}, **options)


def epoch_of(sequence: FrontEnd) -> list[list[NDArray[Any]]]:
    return [[array.copy() for array in batch] for batch in sequence]


def require_equal(found: list[Any], needed: list[Any]) -> None:
    assert len(found) == len(needed)
    for batch, right in zip(found, needed, strict=True):
        for array, values in zip(batch, right, strict=True):
            np.testing.assert_array_equal(array, values)


def require_pixels(batches: list[list[NDArray[Any]]]) -> Counter[int]:
    """Every row is the sample that its first pixel names, with common ids; count the samples."""
    truth = {name: pixels_of(name) for name in SIZES}
    seen = Counter[int]()
    for images, masks in batches:
        for image, mask in zip(images, masks, strict=True):
            name, sample = (
                ("b", image[0, 0, 0] - 100) if image[0, 0, 0] >= 100 else ("a", image[0, 0, 0])
            )
            np.testing.assert_array_equal(image, truth[name]["image"][sample])
            right = truth[name]["mask"][sample]
            np.testing.assert_array_equal(mask, COMMON[right] if name == "b" else right)
            seen[int(image[0, 0, 0])] += 1
    return seen


# -- pixels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("layouts", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("kind", ["inline", "three threads"])
@pytest.mark.filterwarnings("ignore:.*read chunk by chunk")
def test_rows_are_those_of_each_store(tmp_path: Path, layouts: dict[str, Any], kind: str) -> None:
    paths = write_both(tmp_path, layouts)
    with FrontEnd(mix(paths, per_epoch=20), 6, **KINDS[kind]) as sequence:
        seen = sum((require_pixels(epoch_of(sequence)) for _ in range(2)), Counter[int]())
    # 40 draws: 30 of the first store, three passes; 10 of the second one, a pass and 3 samples.
    assert [seen[n] for n in range(10)] == [3] * 10
    assert sorted(seen[100 + n] for n in range(7)) == [1, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("kind", ["one thread", "three threads", "two processes"])
def test_workers_never_change_a_batch(stores: dict[str, Path], kind: str) -> None:
    options: dict[str, Any] = {"transform": noise, "seed": 4}
    with FrontEnd(mix(stores), 4, workers=0, **options) as inline:
        right = [epoch_of(inline) for _ in range(2)]
    with FrontEnd(mix(stores), 4, **options, **KINDS[kind]) as other:
        for batches in right:
            require_equal(epoch_of(other), batches)


def noise(image: Any, mask: Any, rng: np.random.Generator) -> Any:
    return image + rng.integers(0, 9, image.shape, np.uint8), mask


def words(image: Any, mask: Any, rng: np.random.Generator) -> Any:
    return np.array([rng.integers(0, 2**62)]), mask


def test_a_sample_drawn_twice_in_an_epoch_is_transformed_anew(stores: dict[str, Path]) -> None:
    with FrontEnd(mix(stores, per_epoch=60), 4, transform=words, workers=0) as sequence:
        found = [int(word) for batch in sequence for word in batch[0][:, 0]]
    assert len(set(found)) == 60


def test_small_files_limits_read_the_same(stores: dict[str, Path]) -> None:
    """With fewer open files than shards, rows are copied one by one."""
    from zarrfeed.store.reader import BatchReader

    with FrontEnd(mix(stores), 4, workers=0) as sequence:
        split = sequence._stream.split
        ids = np.array([16, 0, 9, 10, 3, 12])
        out = [[np.empty((6, 8, 6, 3), np.uint8), np.empty((6, 8, 6), np.uint8)] for _ in range(2)]
        for arrays, files in zip(out, (2, 200), strict=True):
            reader = BatchReader(split, ["image", "mask"], open_files=files)
            reader.prefetch(ids)
            reader.read_into(ids, arrays)
            reader.close()
    require_equal([out[0]], [out[1]])
    require_pixels([out[0]])


# -- what a mix says of itself --------------------------------------------------------------------


def test_keys_tell_the_stores_apart(stores: dict[str, Path]) -> None:
    with FrontEnd(mix(stores), 17, workers=0) as sequence:
        images, _ = next(iter(sequence))
        keys = sequence.batch_keys(0, epoch=0)
        assert "Mix(a.zarr/train, b.zarr/train)" in repr(sequence)
    for image, key in zip(images, keys, strict=True):
        number = int(image[0, 0, 0])
        store = "b" if number >= 100 else "a"
        assert key == f"{store}.zarr/train:img{number % 100}"


def test_classes_are_those_of_the_first_store_or_those_given(stores: dict[str, Path]) -> None:
    with FrontEnd(mix(stores), 4, workers=0) as sequence:
        assert (sequence.classes, sequence.ignore) == (tuple(A), 255)
    every = [*B, "car"]
    with FrontEnd(mix(stores, classes=every), 17, workers=0, shuffle=False) as sequence:
        assert (sequence.classes, sequence.ignore) == (tuple(every), None)
        images, masks = next(iter(sequence))
    for image, mask in zip(images, masks, strict=True):
        number = int(image[0, 0, 0])
        name, names = ("b", B) if number >= 100 else ("a", A)
        stored = pixels_of(name)["mask"][number % 100]
        assert (np.array(every)[mask] == np.array(names)[stored]).all()


@pytest.mark.filterwarnings("default:.*become the ignore id")
def test_lost_classes_are_reported_once(stores: dict[str, Path]) -> None:
    with pytest.warns(
        UserWarning, match=r"has no class cow of b.zarr/train: .* id \(255, ch"
    ) as told:
        FrontEnd(mix(stores), 4, workers=0).close()
    assert len(told) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        {"class_weight": {"cow": 2.0}},
        {"sampling": Shares({"cow": 0.5})},
        {"patches": RandomPatches((4, 4), per_epoch=8, shares={"cow": 0.5})},
    ],
    ids=["class_weight", "sampling", "patches"],
)
def test_a_class_that_the_mix_leaves_out_is_told_from_a_misspelt_one(
    stores: dict[str, Path], arguments: dict[str, Any]
) -> None:
    said = "names class 'cow', which the Mix leaves out, because its classes are background, car"
    with pytest.raises(ValueError, match=said):
        FrontEnd(mix(stores), 4, workers=0, **arguments)


def test_balanced_class_weights_count_what_the_weights_draw(stores: dict[str, Path]) -> None:
    with FrontEnd(mix(stores), 4, workers=0, class_weight="balanced") as sequence:
        _, mask, weight = next(iter(sequence))
    pixels = np.zeros(3)
    for name, share in (("a", 0.75), ("b", 0.25)):
        masks = pixels_of(name)["mask"]
        ids = COMMON[masks] if name == "b" else masks
        pixels += [share * (ids == label).sum() / SIZES[name] for label in range(3)]
    right = pixels.sum() / (3 * pixels)
    for label in range(3):
        np.testing.assert_allclose(weight[mask == label], right[label], rtol=1e-5)
    assert (weight[mask == 255] == 0).all()


def test_shares_count_the_draws(stores: dict[str, Path]) -> None:
    with FrontEnd(mix(stores), 4, workers=0) as sequence:
        masks = np.concatenate([batch[1] for batch in epoch_of(sequence)])
        shares = sequence.shares(epoch=0)
    for label, name in enumerate(A):
        with_class = (masks == label).any(axis=(1, 2)).mean()
        assert shares[name].achieved == pytest.approx(with_class)


def test_normalization_weighs_the_stores(stores: dict[str, Path]) -> None:
    with FrontEnd(mix(stores), 4, workers=0) as sequence:
        mean, variance = sequence.normalization
    images = {name: pixels_of(name)["image"].astype(float) for name in SIZES}
    right = sum(s * images[n].mean(axis=(0, 1, 2)) for n, s in (("a", 0.75), ("b", 0.25)))
    square = sum(s * (images[n] ** 2).mean(axis=(0, 1, 2)) for n, s in (("a", 0.75), ("b", 0.25)))
    np.testing.assert_allclose(mean, right)
    np.testing.assert_allclose(variance, square - right**2)


# -- what is drawn --------------------------------------------------------------------------------


def test_subset_is_of_each_store(stores: dict[str, Path]) -> None:
    subset = {stores["a"]: ["img3", "img1"], str(stores["b"]): slice(2)}
    with FrontEnd(mix(stores, per_epoch=16), 16, workers=0, subset=subset) as sequence:
        seen = require_pixels(epoch_of(sequence))
    assert seen == {1: 6, 3: 6, 100: 2, 101: 2}
    with FrontEnd(mix(stores), 4, workers=0, subset=subset) as sequence:
        assert sequence.samples == 4
        assert sequence.normalization.mean.shape == (3,)


@pytest.mark.parametrize(
    ("subset", "error", "said"),
    [
        ([1, 2], TypeError, "subset of a Mix must be"),
        ({"c.zarr/train": None}, ValueError, "no store of the Mix: it has"),
        ({"b": [99]}, ValueError, r"b.zarr/train: subset holds id 99"),
    ],
)
def test_wrong_subsets_are_refused(
    stores: dict[str, Path], subset: Any, error: type[Exception], said: str
) -> None:
    if isinstance(subset, dict):
        subset = {stores.get(name, name): chosen for name, chosen in subset.items()}
    with pytest.raises(error, match=said):
        FrontEnd(mix(stores), 4, subset=subset)
    with pytest.raises(TypeError, match="is for a Mix"):
        FrontEnd(stores["a"], 4, subset={str(stores["a"]): None})


def test_sampling_is_within_each_store(stores: dict[str, Path]) -> None:
    weights = np.arange(17) % 10  # 0 for the first sample of each store
    for sampling in (Weights(weights), Weights(weights, per_epoch=40)):
        with FrontEnd(mix(stores), 8, workers=0, sampling=sampling) as sequence:
            seen = Counter[int]()
            seen += require_pixels(epoch_of(sequence))
            assert seen.total() == sequence.samples == (sampling.per_epoch or 17)
        assert seen[0] == seen[100] == 0
    with FrontEnd(mix(stores), 8, workers=0, sampling=Balanced()) as sequence:
        require_pixels(epoch_of(sequence))
        assert sequence.shares().keys() == set(A)


def test_counts_of_draws_that_contradict_are_refused(stores: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match=r"given twice, by the Mix \(9\) and by Balanced \(8\)"):
        FrontEnd(mix(stores, per_epoch=9), 4, sampling=Balanced(per_epoch=8))
    with pytest.raises(ValueError, match="each of the 17 samples of all stores"):
        FrontEnd(mix(stores), 4, sampling=Weights(np.ones(16)))
    with pytest.raises(ValueError, match=r"0 for all samples of b\.zarr/train"):
        FrontEnd(mix(stores), 4, sampling=Weights([1] * 10 + [0] * 7))
    with pytest.raises(ValueError, match=r"a.zarr/train: every sample .* contains 'background'"):
        FrontEnd(mix(stores), 4, sampling=Shares({"background": 0.5}))


@pytest.mark.parametrize("shuffle", [True, False, "block"])
def test_ranks_share_every_epoch(stores: dict[str, Path], shuffle: Any) -> None:
    options: dict[str, Any] = {"workers": 0, "shuffle": shuffle, "seed": 2}
    with FrontEnd(mix(stores, per_epoch=24), 24, **options) as single:
        whole = require_pixels(epoch_of(single))
    ranks = Counter[int]()
    for rank in range(3):
        with FrontEnd(mix(stores, per_epoch=24), 4, rank=rank, world_size=3, **options) as part:
            for batch in epoch_of(part):
                seen = require_pixels([batch])
                assert seen.total() == 4
                assert sum(seen[n] for n in seen if n >= 100) == 1, "a quarter on every rank"
                ranks += seen
    assert ranks == whole


# -- patches --------------------------------------------------------------------------------------

CLASSES = ["background", "organ", "lesion"]
OTHERS = ["lesion", "background", "organ"]
TO_OTHER = np.array([1, 2, 0], np.uint8)
CASES = {"one": ct((9, 14, 11), 0, lesions=40), "two": ct((4, 17, 20), 1, lesions=9)}
MORE = {"one": ct((12, 5, 6), 2, lesions=30), "three": ct((8, 8, 8), 3, lesions=5)}


def classed(path: Path, cases: Any, classes: list[str], **options: Any) -> Path:
    write_classed_cases(path, cases, (4, 6, 5), **options)
    dataset = {"format": 1, "classes": classes, "ignore": None}
    zarr.open_group(str(path.parent), mode="a").attrs["zarrfeed"] = dataset
    return path


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Volumes in two stores, whose classes have other ids; one key occurs in both."""
    folder = tmp_path_factory.mktemp("volumes")
    other = {k: {**case, "mask": TO_OTHER[case["mask"]]} for k, case in MORE.items()}
    return {
        "a": classed(folder / "a.zarr/train", CASES, CLASSES, compressors=None),
        "b": classed(folder / "b.zarr/train", other, OTHERS, compressors=LZ4),
    }


PATCHES = [
    RandomPatches((5, 6, 7), per_epoch=48, shares={"lesion": 1 / 3}, jitter=0.5, flips=True),
    CoverPatches((5, 6, 7)),
    GridPatches((5, 6, 7), overlap=0.3),
]


@pytest.mark.parametrize("patches", PATCHES, ids=lambda p: type(p).__name__)
def test_patches_are_cut_from_the_named_cases(volumes: dict[str, Path], patches: Any) -> None:
    truth = {
        f"{s}.zarr/train:{k}": c for s, cs in (("a", CASES), ("b", MORE)) for k, c in cs.items()
    }
    with FrontEnd(mix(volumes), 6, workers=0, patches=patches) as sequence:
        for number, (images, masks) in enumerate(sequence):
            places = sequence.batch_places(number, epoch=0)
            for image, mask, place in zip(images, masks, places, strict=True):
                case = truth[place.key]
                for found, values in ((image, case["image"]), (mask, case["mask"])):
                    np.testing.assert_array_equal(*shown(found, values, place))
                if place.forced is not None:
                    assert place.forced == 2
                    assert (mask == 2).any()


def shown(found: Any, values: Any, place: Any) -> tuple[Any, Any]:
    """The part of a patch that is inside its case, and the same part of the case."""
    axes = len(place.origin)
    found = np.flip(found, [axis for axis in range(axes) if place.flips[axis]])
    inside, box = [], []
    for first, extent, of_case in zip(place.origin, found.shape, values.shape, strict=False):
        start, stop = max(first, 0), min(first + extent, of_case)
        inside.append(slice(start - first, stop - first))
        box.append(slice(start, stop))
    return found[tuple(inside[:axes])], values[tuple(box[:axes])]


def test_shares_hold_in_every_store(volumes: dict[str, Path]) -> None:
    with FrontEnd(mix(volumes), 6, workers=0, patches=PATCHES[0]) as sequence:
        places = [p for n in range(len(sequence)) for p in sequence.batch_places(n, epoch=0)]
        assert sequence.shares(epoch=0)["lesion"].achieved == pytest.approx(1 / 3)
    of_a = [p.forced for p in places if p.key.startswith("a")]
    assert (len(of_a), of_a.count(2)) == (36, 12)
    assert [p.forced for p in places if p.key.startswith("b")].count(2) == 4


def test_a_store_without_a_class_draws_freely(volumes: dict[str, Path], tmp_path: Path) -> None:
    healthy = {"x": ct((8, 8, 8), 5, lesions=0), "y": ct((8, 9, 8), 6, lesions=0)}
    other = classed(tmp_path / "h.zarr/train", healthy, CLASSES, compressors=None)
    both = Mix({volumes["a"]: 1, other: 1}, per_epoch=24)
    patches = RandomPatches((5, 6, 7), shares={"lesion": 0.5})
    said = "h.zarr/train has no 'lesion': its patches are drawn freely"
    with pytest.warns(UserWarning, match=said):
        sequence = FrontEnd(both, 4, workers=0, patches=patches)
    with sequence:
        assert sequence.shares(epoch=0)["lesion"].achieved == 0.25
        epoch_of(sequence)
    with pytest.raises(ValueError, match="of which they have no pixel"):
        FrontEnd(Mix({other: 1}), 4, patches=patches)


@pytest.mark.parametrize("patches", PATCHES, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("kind", ["three threads", "two processes"])
def test_workers_never_change_patches(volumes: dict[str, Path], patches: Any, kind: str) -> None:
    options: dict[str, Any] = {"patches": patches, "transform": lighter, "seed": 1}
    with FrontEnd(mix(volumes), 5, workers=0, **options) as inline:
        right = epoch_of(inline)
    with FrontEnd(mix(volumes), 5, **options, **KINDS[kind]) as other:
        require_equal(epoch_of(other), right)


def lighter(image: Any, mask: Any, rng: np.random.Generator) -> Any:
    return image + rng.integers(0, 99, image.shape, np.int16), mask


def test_images_of_one_size_are_mixed_with_patches(stores: dict[str, Path]) -> None:
    with FrontEnd(mix(stores), 5, workers=0, patches=CoverPatches((4, 4))) as sequence:
        for number, (images, _) in enumerate(sequence):
            for image, place in zip(images, sequence.batch_places(number, epoch=0), strict=True):
                store, _, key = place.key.partition(".zarr/train:img")
                values = pixels_of(store)["image"][int(key)]
                np.testing.assert_array_equal(*shown(image, values, place))


# -- what differs ---------------------------------------------------------------------------------


def test_a_table_tells_what_differs(stores: dict[str, Path], tmp_path: Path) -> None:
    other = write_split(tmp_path / "c.zarr/train", {"image": pixels_of("a", (9, 6))["image"]})
    with pytest.raises(StoreError) as failed:
        FrontEnd(Mix({stores["a"]: 1, stores["b"]: 1, say(other, A): 1}), 4)
    lines = str(failed.value).splitlines()
    assert lines[0].endswith("needed the same in every store, found")
    assert lines[2:6] == [
        "              image            mask          mask holds",
        "a.zarr/train  uint8 (8, 6, 3)  uint8 (8, 6)  class ids",
        "b.zarr/train  uint8 (8, 6, 3)  uint8 (8, 6)  class ids",
        "c.zarr/train  uint8 (9, 6, 3)  none          none",
    ]
    assert "zarrfeed repack" in lines[-1]


def test_fields_that_are_not_read_may_differ(stores: dict[str, Path], tmp_path: Path) -> None:
    more = {**pixels_of("b"), "depth": np.zeros((7, 8, 6), np.float32)}
    other = say(write_split(tmp_path / "b.zarr/train", more), A)
    both = Mix({stores["a"]: 1, other: 1})
    with FrontEnd(both, 4, workers=0) as sequence:
        assert sequence.fields == ("image", "mask")
    with pytest.raises(StoreError, match="depth"):
        FrontEnd(both, 4, fields=("image", "depth"))


def test_tiles_of_other_sizes_are_refused(volumes: dict[str, Path], tmp_path: Path) -> None:
    attributes = {"format": 1, "fields": ["image", "mask"], "cases": 2}
    other = write_cases(tmp_path / "o.zarr/train", MORE, (4, 4, 4), attributes=attributes)
    with pytest.raises(StoreError, match=r"tiles \(4, 4, 4\)"):
        FrontEnd(Mix({volumes["a"]: 1, other: 1}), 4, patches=PATCHES[2], fields="image")


def test_masks_of_channels_need_the_same_classes(tmp_path: Path) -> None:
    def store(name: str, classes: list[str]) -> Path:
        mask = np.ones((4, 8, 6, 3), np.uint8)
        pixels = {"image": np.ones((4, 8, 6, 3), np.uint8), "mask": mask}
        return say(write_split(tmp_path / f"{name}.zarr/train", pixels), classes)

    first, same, other = store("a", A), store("b", A), store("c", B)
    with FrontEnd(Mix({first: 1, same: 2}), 4, workers=0) as sequence:
        assert next(iter(sequence))[1].shape == (4, 8, 6, 3)
    with pytest.raises(StoreError, match=r"same classes in the same order.*channels of classes"):
        FrontEnd(Mix({first: 1, other: 1}), 4)


def test_names_and_no_names_are_refused(stores: dict[str, Path], tmp_path: Path) -> None:
    other = say(write_split(tmp_path / "n.zarr/train", pixels_of("b")), None)
    with pytest.raises(StoreError, match=r"Mix\(.*\)/mask: classes are joined by name"):
        FrontEnd(Mix({stores["a"]: 1, other: 1}), 4)
    with FrontEnd(Mix({stores["a"]: 1, other: 1}), 4, workers=0, fields="image") as sequence:
        assert next(iter(sequence))[0].shape == (4, 8, 6, 3)
    with FrontEnd(Mix({other: 1}), 4, workers=0) as sequence:
        assert sequence.classes == ()


def test_the_same_store_twice_is_refused(stores: dict[str, Path]) -> None:
    twice = Mix({stores["a"]: 1, f"{stores['a']}/../train": 1, str(stores["a"].parent): 1})
    with pytest.raises(ValueError, match=r"names .* twice"):
        FrontEnd(Mix({**twice.stores, f"{stores['a'].parent}/./train": 2}), 4)


# -- going on -------------------------------------------------------------------------------------


@pytest.mark.parametrize("copied", [copy.copy, lambda s: pickle.loads(pickle.dumps(s))])
def test_a_copy_goes_on_where_the_sequence_is(stores: dict[str, Path], copied: Any) -> None:
    with FrontEnd(mix(stores), 4, workers=1) as sequence:
        batches = iter(sequence)
        next(batches)
        with copied(sequence) as other:
            require_equal(epoch_of(other), [[a.copy() for a in batch] for batch in batches])


def test_a_state_goes_on_in_mid_epoch(stores: dict[str, Path]) -> None:
    with FrontEnd(mix(stores), 4, workers=0) as sequence:
        epoch_of(sequence)
        next(batches := iter(sequence))
        state = json.loads(json.dumps(sequence.state_dict()))
        rest = [[array.copy() for array in batch] for batch in batches]
    with FrontEnd(mix(stores), 4, workers=2) as other:
        other.load_state_dict(state)
        require_equal(epoch_of(other), rest)


def test_cases_can_be_opened_beside(volumes: dict[str, Path]) -> None:
    """The stores of a mix stay as they are."""
    cases = open_cases(volumes["b"])
    np.testing.assert_array_equal(cases.open("one", "mask")[:], TO_OTHER[MORE["one"]["mask"]])


@pytest.mark.parametrize("weights", [(3, 1), (1, 1), (1, 5)], ids=str)
@pytest.mark.parametrize("world_size", [1, 2])
def test_training_goes_on_with_other_weights_and_ranks(
    stores: dict[str, Path], weights: tuple[float, float], world_size: int
) -> None:
    """Nothing is lost or repeated: every store's passes go on where they were."""
    with FrontEnd(mix(stores, per_epoch=16), 2, workers=0) as sequence:
        before = [epoch_of(sequence)]
        batches = iter(sequence)
        before.append([[a.copy() for a in next(batches)] for _ in range(3)])
        state = json.loads(json.dumps(sequence.state_dict()))
    rest = Counter[int]()
    for rank in range(world_size):
        with FrontEnd(
            mix(stores, *weights, per_epoch=16), 2, workers=0, rank=rank, world_size=world_size
        ) as other:
            other.load_state_dict(state)
            assert other.epoch == 1
            for _ in range(2):
                rest += require_pixels(epoch_of(other))
            later = other.state_dict()
    drawn = sum((require_pixels(batches) for batches in before), Counter[int]())
    assert (drawn.total(), rest.total()) == (22, 10 + 16)
    for first, size, share in ((0, 10, weights[0]), (100, 7, weights[1])):
        both = [drawn[first + n] + rest[first + n] for n in range(size)]
        assert max(both) - min(both) <= 1, "each pass visits each sample once"
        of_store = sum(rest[first + n] for n in range(size))
        assert abs(of_store - 26 * share / sum(weights)) < 1
    kept = later["draws"]["weights"]
    assert kept[0] == [0, ["3/4", "1/4"]]
    assert len(kept) == (1 if weights == (3, 1) else 2)
    assert kept[-1][0] == (0 if weights == (3, 1) else 22)


def test_a_moved_store_resumes_and_another_is_refused(
    stores: dict[str, Path], tmp_path: Path
) -> None:
    with FrontEnd(mix(stores), 4, workers=0) as sequence:
        state = sequence.state_dict()
    moved = shutil.copytree(stores["b"].parent, tmp_path / "m.zarr") / "train"
    with FrontEnd(Mix({stores["a"]: 3, moved: 1}), 4, workers=0) as sequence:
        sequence.load_state_dict(state)
    changed = zarr.open_array(str(moved / "digest"), mode="a")
    changed[3] += 1
    with (
        FrontEnd(Mix({stores["a"]: 3, moved: 1}), 4, workers=0) as sequence,
        pytest.raises(ValueError, match=r"place of m.zarr/train \(number 2 of .*: digest was"),
    ):
        sequence.load_state_dict(state)
    with (
        FrontEnd(stores["a"], 4, workers=0) as alone,
        pytest.raises(ValueError, match="another order of samples: sampler was"),
    ):
        alone.load_state_dict(state)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"subset": slice(1, 4)}, r"otherwise from b.zarr/train .*: subset chose other samples\."),
        ({"shuffle": False}, r"draws otherwise from a.zarr/train .*shuffle was True and is False"),
        ({"per_epoch": 24}, r"per_epoch \(draws of an epoch\) was 13 and is 24"),
        ({"classes": ["car", "road", "background"]}, r"classes was \['background.* and is \['car"),
    ],
    ids=["subset", "shuffle", "per_epoch", "classes"],
)
@ignoring
def test_a_state_of_another_mix_is_refused_by_what_changed(
    stores: dict[str, Path], options: dict[str, Any], said: str
) -> None:
    def sequence(subset: Any = slice(0, 3), shuffle: Any = True, **of_mix: Any) -> FrontEnd:
        both = Mix({stores["a"]: 3, stores["b"]: 1}, **of_mix)
        return FrontEnd(both, 4, workers=0, subset={stores["b"]: subset}, shuffle=shuffle)

    state = json.loads(json.dumps(sequence().state_dict()))
    sequence().load_state_dict(state)
    with pytest.raises(ValueError, match=said):
        sequence(**options).load_state_dict(state)
    for name in ("classes", "ignore"):  # as older versions saved it
        del state["schedule"]["sampler"][name]
    for store in state["draws"]["stores"]:
        del store["subset"]
    if options.keys() & {"subset", "classes"}:
        sequence(**options).load_state_dict(state)


def test_a_class_that_no_store_has_is_named(stores: dict[str, Path]) -> None:
    both = Mix({stores["a"]: 3, stores["b"]: 1}, classes=[*A, "cow", "cars"])
    with pytest.warns(UserWarning, match=r"no store has a class 'cars'.*did you mean 'car'\?"):
        FrontEnd(both, 4, workers=0)


def test_a_link_to_the_same_store_is_refused(stores: dict[str, Path], tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(stores["a"])
    with pytest.raises(ValueError, match=r"names .* twice: add its weights"):
        FrontEnd(Mix({stores["a"]: 1, link: 1}), 4)


def test_several_paths_hint_at_a_mix(stores: dict[str, Path]) -> None:
    for several in ({stores["a"]: 1, stores["b"]: 1}, [*stores.values()]):
        with pytest.raises(TypeError, match=r"several are Mix\(\{path: weight\}\)"):
            FrontEnd(several, 4)  # type: ignore[arg-type]


def test_a_copy_remembers_other_weights(stores: dict[str, Path]) -> None:
    with FrontEnd(mix(stores), 4, workers=0) as sequence:
        next(iter(sequence))
        state = sequence.state_dict()
    with FrontEnd(mix(stores, 1, 1), 4, workers=0) as sequence:
        sequence.load_state_dict(state)
        with pickle.loads(pickle.dumps(sequence)) as other:
            require_equal(epoch_of(other), epoch_of(sequence))
            assert other.state_dict() == sequence.state_dict()


@pytest.mark.parametrize("shuffle", ["block", True, False])
def test_an_epoch_goes_on_in_batches_of_another_size(stores: dict[str, Path], shuffle: Any) -> None:
    """Blocks stay those of the first run, also at the second resume: passes may be under way."""

    def images(batches: Iterable[Any]) -> NDArray[Any]:
        return np.concatenate([batch[0] for batch in batches])

    options: dict[str, Any] = {"workers": 0, "shuffle": shuffle, "seed": 2}
    with FrontEnd(mix(stores), 4, **options) as sequence:
        batches = iter(sequence)
        for _ in range(2):
            next(batches)
        state = json.loads(json.dumps(sequence.state_dict()))
        right = images(map(copy.deepcopy, batches)), images(epoch_of(sequence))
    with FrontEnd(mix(stores), 3, **options) as other:
        other.load_state_dict(state)
        np.testing.assert_array_equal(images(epoch_of(other)), right[0])
        state = json.loads(json.dumps(other.state_dict()))
    with FrontEnd(mix(stores), 7, **options) as third:
        third.load_state_dict(state)
        np.testing.assert_array_equal(images(epoch_of(third)), right[1])
    if shuffle == "block":
        state["draws"]["stores"][0]["block"] = 0
        with (
            FrontEnd(mix(stores), 3, **options) as other,
            pytest.raises(ValueError, match=r"needed the stores of a Mix.*found"),
        ):
            other.load_state_dict(state)


# -- other doors ----------------------------------------------------------------------------------

DOORS: dict[str, Any] = {
    "open_split": open_split,
    "list_splits": list_splits,
    "open_cases": open_cases,
    "open_case": lambda both: open_case(both, "img0"),
    "stitch": lambda both: stitch(both, np.zeros((17, 8, 6))),
    "evaluate, truth": lambda both: evaluate(both, "predictions.zarr"),
    "evaluate, predictions": lambda both: evaluate("a.zarr/train", both),
    "open_predicted": lambda both: open_predicted(both, 2, None, Remote.of()),
    "SplitReader": SplitReader,
}


@pytest.mark.parametrize("door", DOORS)
def test_what_reads_one_store_says_so_of_a_mix(stores: dict[str, Path], door: str) -> None:
    said = r"needed the path of one store.*got Mix.*give each store by itself"
    if door == "SplitReader":
        said = r"needed a split that is open, such as open_split\('cells.zarr/train'\), got Mix"
    with pytest.raises(TypeError, match=said):
        DOORS[door](mix(stores))
