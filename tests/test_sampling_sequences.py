"""A sequence with `sampling` feeds each sample as often as it says, to all who take batches."""

from __future__ import annotations

import json
import os
import pickle
from collections import Counter
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import zarr

from case_stores import write_cases
from cases import pair
from kinds import KINDS, ids_of
from stores import traced_pixels, write_split
from traced_model import traced_model
from zarrfeed import (
    Balanced,
    ClassShare,
    FrontEnd,
    GridPatches,
    RandomPatches,
    RepeatFactor,
    Shares,
    StoreError,
    Weights,
    ZarrSequence,
)
from zarrfeed.order.random_draws import RandomDraws

if TYPE_CHECKING:
    from pathlib import Path

SAMPLES = 40
LESIONS = frozenset(range(0, SAMPLES, 10))
CLASSES = ["tissue", "organ", "lesion", "tool", "void"]
SAMPLINGS = {
    "shares": Shares({"lesion": 0.5}, per_epoch=50),
    "balanced": Balanced(),
    "weights": Weights(np.arange(SAMPLES) % 7),
    "repeat factor": RepeatFactor(0.9),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All have tissue, every other one an organ, every tenth a lesion, none a tool, half void."""
    path = tmp_path_factory.mktemp("sampling") / "train"
    ids = np.arange(SAMPLES)
    present = np.stack([ids >= 0, ids % 2 == 0, ids % 10 == 0, ids < 0, ids < 20], axis=1)
    pixels = {**traced_pixels(SAMPLES), "class_pixels": present * np.array([9, 5, 2, 3, 4], "u4")}
    write_split(path, pixels, chunk=2)
    for group, attributes in (
        (path, {"format": 1, "fields": ["image", "mask"]}),
        (path.parent, {"format": 1, "classes": CLASSES, "ignore": 4}),
    ):
        zarr.open_group(str(group), mode="a").attrs["zarrfeed"] = attributes
    return path


def epoch_of(seq: FrontEnd) -> list[int]:
    """The sample ids of the next epoch, in order."""
    return [sample for batch in seq for sample in ids_of(batch)]


def lesions_of(ids: list[int]) -> int:
    return sum(sample in LESIONS for sample in ids)


# -- what is drawn ------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
@pytest.mark.parametrize("shuffle", [True, "block", False])
def test_an_epoch_draws_each_sample_exactly_n_times(
    store: Path, sampling: Any, shuffle: Any
) -> None:
    with FrontEnd(store, 4, shuffle=shuffle, sampling=sampling) as seq:
        sampler = seq._stream.schedule.sampler
        assert sampler is not None
        assert sampler.length == seq.samples
        for epoch in range(3):
            ids = epoch_of(seq)
            counts = sampler.counts(seed=0, epoch=epoch)  # type: ignore[attr-defined]
            assert Counter(ids) == {i: n for i, n in enumerate(counts.tolist()) if n}
            if shuffle is False:
                assert ids == sorted(ids)
            else:
                assert ids != sorted(ids)


def test_half_of_every_epoch_has_a_lesion(store: Path) -> None:
    with FrontEnd(store, 8, sampling=Shares({"lesion": 0.5})) as seq:
        for _ in range(3):
            ids = epoch_of(seq)
            assert len(ids) == SAMPLES
            assert lesions_of(ids) == SAMPLES / 2
            assert {Counter(ids)[sample] for sample in LESIONS} == {5}


@pytest.mark.parametrize("kind", ["three threads", "two processes"])
def test_workers_and_batch_sizes_never_change_the_draws(store: Path, kind: str) -> None:
    sampling = SAMPLINGS["shares"]
    with FrontEnd(store, 1, seed=3, workers=0, sampling=sampling) as seq:
        needed = epoch_of(seq) + epoch_of(seq)
    with FrontEnd(store, 7, seed=3, sampling=sampling, **KINDS[kind]) as seq:
        assert epoch_of(seq) + epoch_of(seq) == needed


@pytest.mark.parametrize("pad", [False, True])
def test_ranks_share_the_draws_of_an_epoch(store: Path, pad: bool) -> None:
    sampling = SAMPLINGS["shares"]  # 50 draws
    with FrontEnd(store, 4, seed=1, workers=0, sampling=sampling) as seq:
        needed = epoch_of(seq)
    found: list[list[int]] = []
    for rank in range(3):
        with FrontEnd(
            store, 4, seed=1, workers=0, sampling=sampling, rank=rank, world_size=3,
            pad_remainder=pad,
        ) as seq:  # fmt: skip
            ids = epoch_of(seq)
            assert len(ids) == (20 if pad else 16)
            found.append(ids[: seq.samples])
    assert found == [needed[rank : 50 if pad else 48 : 3] for rank in range(3)]


def test_the_last_batch_can_be_dropped_or_padded(store: Path) -> None:
    sampling = SAMPLINGS["shares"]
    with FrontEnd(store, 8, sampling=sampling, drop_remainder=True) as seq:
        assert [len(ids_of(batch)) for batch in seq] == [8] * 6
    with FrontEnd(store, 8, sampling=sampling, pad_remainder=True) as seq:
        *_, (_, _, weights) = seq
        assert weights[:, 0, 0].tolist() == [1] * 2 + [0] * 6


def test_weights_are_of_the_samples_of_the_subset(store: Path) -> None:
    subset = [30, 7, 9]
    with FrontEnd(store, 2, subset=subset, sampling=Weights([3, 0, 1], per_epoch=8)) as seq:
        assert Counter(epoch_of(seq)) == {30: 6, 9: 2}
        assert set(seq.batch_keys(0)) <= {"sample 30", "sample 9"}
    with pytest.raises(ValueError, match="one weight for each of the 3 samples of the subset, not"):
        FrontEnd(store, 2, subset=subset, sampling=Weights([1, 2]))


def test_repeats_of_a_sample_are_augmented_differently(store: Path) -> None:
    """Each from its own generator, whatever the workers; the first time as without sampling."""

    def marked(image: Any, mask: Any, rng: np.random.Generator) -> Any:
        image[:] = 0
        image[0, 0] = np.frombuffer(rng.bytes(3), np.uint8)
        return image, mask

    def marks(**arguments: Any) -> list[tuple[int, ...]]:
        with FrontEnd(store, 8, transform=marked, **arguments) as seq:
            return [
                (int(mask[0, 0]), *image[0, 0].tolist())
                for images, masks in seq
                for image, mask in zip(images, masks, strict=True)
            ]

    sampling = Shares({"lesion": 0.5})
    inline = marks(workers=0, sampling=sampling)
    assert len(set(inline)) == SAMPLES
    assert marks(workers=2, use_multiprocessing=True, sampling=sampling) == inline
    once = set(marks())
    assert len(once & set(inline)) == len({sample for sample, *_ in inline})


def test_tiles_of_cases_are_samples_too(tmp_path: Path) -> None:
    path = write_cases(tmp_path / "s", {"a": pair((5, 9), 1), "b": pair((8, 4), 2)}, (4, 4))
    with FrontEnd(path, 2, sampling=Weights(np.arange(8)), shuffle=False) as seq:
        assert len(epoch_of(seq)) == 8
        assert len({key for i in range(4) for key in seq.batch_keys(i)}) < 8


def test_masks_of_overlapping_classes_are_sampled_by_each(tmp_path: Path) -> None:
    path = tmp_path / "train"
    ids = np.arange(8)
    masks = np.zeros((8, 8, 6, 2), np.uint8)
    masks[ids % 2 == 0, 0, 0, 0] = masks[ids % 4 == 0, 1, 1, 1] = 1
    masks[1, 0, 0, 1] = 1
    counts = masks.sum(axis=(1, 2), dtype=np.uint32)
    write_split(path, {"image": traced_pixels(8)["image"], "mask": masks, "class_pixels": counts})
    zarr.open_group(str(path), mode="a").attrs["zarrfeed"] = {
        "format": 1, "fields": ["image", "mask"],
    }  # fmt: skip
    with FrontEnd(path, 4, sampling=Shares({0: 0.75, 1: 0.25}, per_epoch=16)) as seq:
        drawn = np.concatenate([mask.any(axis=(1, 2)) for _, mask in seq])
        assert drawn.sum(axis=0).tolist() == [12, 4]
        assert seq.shares() == {0: ClassShare(0.75, 0.75), 1: ClassShare(0.25, 0.25)}


# -- resuming -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_another_sequence_goes_on_in_mid_epoch(store: Path, sampling: Any) -> None:
    with FrontEnd(store, 4, sampling=sampling, workers=2) as seq:
        everything = [ids_of(batch) for _ in range(2) for batch in seq]
        seq.set_epoch(0)
        passed = iter(seq)
        for _ in range(5):
            next(passed)
        state = json.loads(json.dumps(seq.state_dict()))
        copy = pickle.loads(pickle.dumps(seq))
        passed.close()
    with FrontEnd(store, 4, sampling=sampling, workers=0) as second:
        second.load_state_dict(state)
        assert [ids_of(batch) for batch in second] == everything[5 : len(second)]
        assert [ids_of(batch) for batch in second] == everything[len(second) :]
    with copy:
        assert [ids_of(batch) for batch in copy] == everything[5 : len(copy)]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (None, r"sampler was \{'kind': 'Shares', .*\} and is None"),
        (
            Shares({"lesion": 0.4}),
            r"shares was \{'lesion': 0.5\} and is \{'lesion': 0.4\}; w",
        ),
        (Weights([1.0] * 40), "samples: sampler was Shares and is Weights"),
        (Weights([*[1.0] * 39, 0.99]), "samples: sampler was Shares and is Weights"),
    ],
    ids=["none", "shares", "equal weights", "weights"],
)
def test_a_state_of_another_sampling_is_refused(store: Path, other: Any, said: str) -> None:
    state = FrontEnd(store, 4, sampling=Shares({"lesion": 0.5})).state_dict()
    with pytest.raises(ValueError, match=said):
        FrontEnd(store, 4, sampling=other).load_state_dict(state)
    state = FrontEnd(store, 4, sampling=Weights([1.0] * 39 + [1.1])).state_dict()
    with pytest.raises(ValueError, match=r"sampler was .* and is|samples: weights was '"):
        FrontEnd(store, 4, sampling=other).load_state_dict(state)


# -- what is told -------------------------------------------------------------------------------


def test_shares_tell_what_an_epoch_holds(store: Path) -> None:
    with FrontEnd(store, 8, sampling=Shares({"lesion": 0.3, "organ": 0.55})) as seq:
        for epoch in range(2):
            shares = seq.shares()
            ids = epoch_of(seq)
            assert list(shares) == ["tissue", "organ", "lesion", "tool"]
            assert shares["tissue"] == ClassShare(None, 1.0)
            assert shares["lesion"] == ClassShare(0.3, lesions_of(ids) / SAMPLES)
            assert shares["organ"] == ClassShare(0.55, sum(i % 2 == 0 for i in ids) / SAMPLES)
            assert shares["tool"] == ClassShare(None, 0.0)
            assert seq.shares(epoch=epoch) == shares
    with FrontEnd(store, 8, subset=slice(5)) as seq:
        assert seq.shares()["lesion"] == ClassShare(None, 0.2)


@pytest.mark.parametrize("per_epoch", [1, 7, 50, 3000])
@pytest.mark.parametrize(
    "shares", [{"lesion": 1 / 3}, {"lesion": 0.25, "organ": 0.75}, {"organ": 0.1, 0: 0.2}]
)
def test_shares_of_patches_tell_how_many_had_to_contain_a_class(
    store: Path, per_epoch: int, shares: dict[str | int, float]
) -> None:
    patches = RandomPatches((4, 4), per_epoch=per_epoch, shares=shares)
    with FrontEnd(store, 4, patches=patches) as seq:
        sampler = seq._stream.schedule.sampler
        assert isinstance(sampler, RandomDraws)
        for epoch in range(3):
            forced = sampler.draws(np.arange(per_epoch), seed=0, epoch=epoch)["label"].tolist()
            ids = [seq.classes.index(n) if isinstance(n, str) else n for n in shares]
            assert seq.shares(epoch=epoch) == {
                name: ClassShare(share, forced.count(label) / per_epoch)
                for label, (name, share) in zip(ids, shares.items(), strict=True)
            }
        assert repr(seq.shares()).splitlines()[0].split() == ["class", "target", "forced"]
    with (
        FrontEnd(store, 4, patches=RandomPatches((4, 4))) as seq,
        pytest.raises(ValueError, match="how many patches had to contain a class: give RandomP"),
    ):
        seq.shares()


def test_balanced_class_weights_count_the_pixels_that_are_drawn(store: Path) -> None:
    """By hand: of 40 draws 20 have a lesion and an organ, 20 × 16/36 more an organ alone."""
    drawn = np.array([40 * 9, (20 + 20 * 16 / 36) * 5, 20 * 2, 0])
    weights = np.divide(drawn.sum(), 4 * drawn, out=np.zeros(4), where=drawn > 0)
    with FrontEnd(store, 4, sampling=Shares({"lesion": 0.5}), class_weight="balanced") as seq:
        for _, masks, found in seq:
            for label in range(3):
                assert np.allclose(found[masks == label], weights[label])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"sampling": "balanced"}, TypeError, r"sampling must be Balanced\(\), .*, not 'balanced'"),
        ({"sampling": Balanced}, TypeError, "sampling must be"),
        ({"sampling": Shares({"leison": 0.5})}, ValueError, "did you mean 'lesion'"),
        ({"sampling": Shares({5: 0.5})}, ValueError, "names class 5, the ids go from 0 to 4"),
        (
            {"sampling": Shares({"tool": 0.5})},
            ValueError,
            "no sample of the subset contains 'tool'",
        ),
        ({"sampling": Shares({"void": 0.5})}, ValueError, "'void', which is the ignore id"),
        ({"sampling": Shares({"lesion": 0.5, 2: 0.5})}, ValueError, "class 2 twice"),
        (
            {"sampling": Shares({"lesion": 0.5}), "subset": [1, 3]},
            ValueError,
            "no sample of the subset contains 'lesion'",
        ),
        ({"sampling": Balanced(), "subset": []}, ValueError, "chooses none of the 40 samples"),
        (
            {"sampling": Balanced(), "patches": GridPatches((4, 4))},
            ValueError,
            "sampling draws whole samples, patches parts of them: .* RandomPatches",
        ),
    ],
)
def test_what_cannot_be_drawn_is_an_error_at_the_start(
    store: Path, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        FrontEnd(store, 4, **arguments)


@pytest.mark.parametrize("sampling", [Balanced(), RepeatFactor(), Shares({0: 0.5})], ids=repr)
def test_a_store_without_counts_says_what_to_do(split: Path, sampling: Any) -> None:
    with pytest.raises(StoreError, match=r"needed 'class_pixels', .* only sampling=Weights"):
        FrontEnd(split, 4, sampling=sampling)
    with FrontEnd(split, 4, sampling=Weights([1, *[0] * 21])) as seq:
        assert set(epoch_of(seq)) == {0}
        with pytest.raises(StoreError, match="needed 'class_pixels'"):
            seq.shares()


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (np.full((8, 2), -1), "needed counts of at least 0, found -1"),
        (np.ones((8, 3), np.int64), "needed counts of 2 classes, found 3"),
        (np.ones((7, 2), np.int64), "needed 'class_pixels'"),
        (np.zeros((8, 2), np.int64), "needs samples that contain a class, found none"),
    ],
)
def test_damaged_counts_are_an_error_at_the_start(
    tmp_path: Path, counts: Any, message: str
) -> None:
    pixels = {**traced_pixels(8), "class_pixels": counts}
    write_split(tmp_path / "train", pixels, config={"write_empty_chunks": True})
    for folder, attributes in (("train", {"fields": ["image"]}), ("", {"classes": ["a", "b"]})):
        group = zarr.open_group(str(tmp_path / folder), mode="a")
        group.attrs["zarrfeed"] = {"format": 1, **attributes}
    with pytest.raises((StoreError, ValueError), match=message):
        FrontEnd(tmp_path / "train", 2, sampling=Balanced())


# -- training -----------------------------------------------------------------------------------


@pytest.mark.skipif(os.environ.get("KERAS_BACKEND") != "tensorflow", reason="TensorFlow's fit")
def test_fit_trains_on_the_draws(store: Path) -> None:
    log: list[list[int]] = []
    model = traced_model(keras, log)
    sampling = Shares({"lesion": 0.5})
    with ZarrSequence(store, 8, sampling=sampling, workers=2, subset=slice(22)) as seq:
        needed = [ids_of(batch) for _ in range(2) for batch in seq]
        seq.set_epoch(0)
        history = model.fit(seq, epochs=2, verbose=0)
    assert log == needed
    assert lesions_of([sample for batch in log[: len(log) // 2] for sample in batch]) == 11
    assert np.isfinite(history.history["loss"]).all()
