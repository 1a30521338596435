"""A user's mistake is named with the way out."""

from __future__ import annotations

import copy
import os
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr

import transforms
from kinds import KINDS, ids_of
from stores import traced_pixels, write_split
from zarrfeed import (
    FeedMonitor,
    FrontEnd,
    ResumeCallback,
    StoreError,
    WorkerError,
    ZarrSequence,
    list_splits,
    open_split,
)
from zarrfeed_convert import PairedFolders, convert, repack, verify

if TYPE_CHECKING:
    from pathlib import Path

FRONTS = [FrontEnd, ZarrSequence]
Arrays = Any


# -- arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_sise": 4}, "has no argument 'batch_sise': did you mean 'batch_size'"),
        ({"batch_size": 4, "suffle": True}, "has no argument 'suffle': did you mean 'shuffle'"),
        ({"batch_size": 4, "transforms": None}, "'transforms': did you mean 'transform'"),
        ({"batch_size": 4, "zzz": 1}, "has no argument 'zzz': it has path, batch_size, shuffle"),
        ({}, r"missing a required argument: 'batch_size'; the call is .*\(path, batch_size, …\)"),
    ],
)
def test_a_misspelt_argument_names_the_class_and_the_nearest(
    split: Path, front: type[FrontEnd], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message) as raised:
        front(split, **arguments)
    assert str(raised.value).startswith(front.__name__)


def test_a_misspelt_argument_of_a_callback_is_named(split: Path) -> None:
    seq = ZarrSequence(split, 4)
    with pytest.raises(
        TypeError, match="FeedMonitor has no argument 'print_lines': did you mean 'print_l"
    ):
        FeedMonitor(seq, print_lines=print)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="ResumeCallback: missing a required argument: 'path'"):
        ResumeCallback(seq)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: convert([], "x", splt="a"),
            "convert has no argument 'splt': did you mean 'split'",
        ),
        (
            lambda: repack("x", "y", overwite=1),
            "repack has no argument 'overwite': did you mean 'overwrite'",
        ),
        (lambda: verify("x", sorce=True), "verify has no argument 'sorce': did you mean 'source'"),
        (lambda: verify(), "verify: missing a required argument: 'path'"),
        (lambda: PairedFolders("a", "b", mask_sufix="m"), "PairedFolders .* mean 'mask_suffix'"),
    ],
)
def test_a_misspelt_argument_of_the_converter_is_named(call: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize("name", ["__getitem__", "__iter__", "__len__", "num_batches"])
@pytest.mark.parametrize("front", FRONTS)
def test_a_subclass_that_overrides_what_is_not_called_is_refused(
    split: Path, front: type[FrontEnd], name: str
) -> None:
    mixin = type("Mixin", (), {name: lambda self, *_: None})
    for bases in ((front,), (mixin, front)):
        mine: Any = type("Mine", bases, {name: lambda self, *_: None} if len(bases) == 1 else {})
        with pytest.raises(TypeError, match=rf"Mine overrides {name}, .*transform=.*batch_transf"):
            mine(split, 4)


def test_a_subclass_may_add_to_a_sequence(split: Path) -> None:
    class Mine(ZarrSequence):
        def __init__(self, path: Path) -> None:
            super().__init__(path, 4)

        def on_epoch_end(self) -> None:
            super().on_epoch_end()

    with Mine(split) as seq:
        assert len(list(seq)) == 6


@pytest.mark.parametrize("index", [slice(1, 3), 1.0, "1", None, np.array([1, 2]), (1, 2)])
def test_what_is_no_number_of_a_batch_is_refused(split: Path, index: Any) -> None:
    with FrontEnd(split, 4) as seq:
        with pytest.raises(TypeError, match=r"needed the number of one batch, 0 … 5, got"):
            seq[index]
        with pytest.raises(TypeError, match=r"needed the number of one batch"):
            seq.batch_keys(index)


@pytest.mark.parametrize("index", [np.int64(2), np.uint8(2), np.array(2), -4])
def test_every_whole_number_is_an_index(split: Path, index: Any) -> None:
    with FrontEnd(split, 4) as seq:
        assert ids_of(seq[index]) == ids_of(seq[2])


# -- fields -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arrays", "proposal"),
    [
        ({"labels": 3, "raw": 4}, ("raw", "labels")),
        ({"images": 4, "masks": 3}, ("images", "masks")),
        ({"depth": 3, "image": 4}, ("image", "depth")),
        ({"mask": 3, "photo": 4, "weight": 3}, ("photo", "mask")),
        ({"a": 3, "b": 3}, ("a", "b")),
    ],
    ids=str,
)
def test_arrays_of_unknown_names_ask_for_fields(
    tmp_path: Path, arrays: dict[str, int], proposal: tuple[str, str]
) -> None:
    pixels = traced_pixels(6)
    path = write_split(
        tmp_path / "s", {n: pixels["image" if d == 4 else "mask"] for n, d in arrays.items()}
    )
    with pytest.raises(StoreError, match="which of its arrays are the images") as raised:
        FrontEnd(path, 4)
    assert str(raised.value).endswith(f"fields={proposal!r} (look up: fields)")
    with FrontEnd(path, 4, fields=proposal) as seq:  # the advice is right
        assert seq.fields == proposal
        assert len(next(iter(seq))) == 2


def test_what_needs_no_names_asks_for_none(tmp_path: Path) -> None:
    pixels = traced_pixels(6)
    alone = write_split(tmp_path / "alone", {"photos": pixels["image"]})
    assert FrontEnd(alone, 4).fields == ("photos",)
    more = write_split(tmp_path / "more", {**pixels, "weight": pixels["mask"]})
    assert FrontEnd(more, 4).fields == ("image", "mask")
    packed = write_split(tmp_path / "packed", {"x": pixels["image"], "y": pixels["mask"]})
    group = zarr.open_group(str(packed), mode="a")
    group.attrs["zarrfeed"] = {"format": 1, "fields": ["x", "y"]}
    assert FrontEnd(packed, 4).fields == ("x", "y")


def test_a_field_that_is_named_twice_is_refused(split: Path) -> None:
    with pytest.raises(ValueError, match="fields names 'image' 2 times"):
        FrontEnd(split, 4, fields=("image", "image"))


# -- transforms ---------------------------------------------------------------------------------


def too_few(image: Arrays, mask: Arrays) -> Arrays:
    return image, mask


def too_many(image: Arrays, mask: Arrays, rng: Any) -> Arrays:
    return image, mask, mask


def nothing(image: Arrays, mask: Arrays, rng: Any) -> Arrays:
    return None


def a_dict(image: Arrays, mask: Arrays, rng: Any) -> Arrays:
    return {"image": image, "maks": mask}


def no_mask(image: Arrays, mask: Arrays, rng: Any) -> Arrays:
    return image, None


def wrong_inside(image: Arrays, mask: Arrays, rng: Any) -> Arrays:
    return len(3), mask  # type: ignore[arg-type]


@pytest.mark.parametrize("which", ["transform", "batch_transform"])
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (too_few, r"too_few cannot be called as too_few\(image, mask, rng\): .*define it as"),
        (too_many, r"too_many must return 2 arrays, one per field \(image, mask\), as a tuple, "
                   r"or a dict {name: array}; it returned a tuple of 3 \(ndarray, ndarray, ndar"),
        (nothing, "nothing must return 2 arrays.*it returned None on sample"),
        (a_dict, "a_dict must return 'mask', as a batch needs it; it returned image, maks on"),
        (no_mask, "no_mask must return arrays of numbers; it returned None as mask"),
        (wrong_inside, r"wrong_inside raised TypeError.*test_messages.py:\d+ on sample"),
    ],
)  # fmt: skip
def test_a_transform_that_cannot_be_right_is_named(
    split: Path, which: str, function: Any, message: str
) -> None:
    with pytest.raises(WorkerError, match=message):
        FrontEnd(split, 4, **{which: function})


@pytest.mark.parametrize("which", ["transform", "batch_transform"])
def test_a_transform_is_a_function(split: Path, which: str) -> None:
    with pytest.raises(
        TypeError, match=rf"{which} must be a function \(image, mask, rng\).*'flip'"
    ):
        FrontEnd(split, 4, **{which: "flip"})


def crops_some(image: Arrays, mask: Arrays, rng: Any) -> Arrays:
    return (image[1:] if mask[0, 0] == 7 else image), mask


def test_a_transform_that_changes_its_mind_is_named(split: Path) -> None:
    with (
        FrontEnd(split, 4, transform=crops_some) as seq,
        pytest.raises(WorkerError, match=r"transform crops_some returned image of shape \(7, 6, 3"),
    ):
        list(seq)


# -- copies -------------------------------------------------------------------------------------

COPIES = {
    "pickle": lambda seq: pickle.loads(pickle.dumps(seq)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize(
    ("front", "kind"),
    [
        *((front, "three threads") for front in FRONTS),
        (ZarrSequence, "two processes"),
        pytest.param(FrontEnd, "two processes", marks=pytest.mark.soak),
    ],
)
def test_a_copy_goes_on_where_the_sequence_stood(
    split: Path, way: str, front: type[FrontEnd], kind: str
) -> None:
    """And has workers of its own, when it needs some."""
    arguments = {"seed": 3, "transform": transforms.to_float_crop, **KINDS[kind]}
    with front(split, 4, **arguments) as seq:
        for _ in range(2):
            list(seq)
            passing = iter(seq)
            taken = [ids_of(next(passing)), ids_of(next(passing))]
            made = COPIES[way](seq)
            assert made._stream._feeder is None
            rest = [ids_of(batch) for batch in passing]
            with made:
                assert made.state_dict()["epoch"] == seq.epoch - 1
                assert [ids_of(batch) for batch in made] == rest
                assert made.state_dict() == seq.state_dict()
            assert len(taken + rest) == 6


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_of_a_sequence_that_is_read_by_index_has_its_epoch(split: Path, way: str) -> None:
    with FrontEnd(split, 4) as seq:
        first = [ids_of(seq[i]) for i in range(6)]
        with COPIES[way](seq) as made:
            assert (
                [ids_of(made[i]) for i in range(6)] == [ids_of(seq[i]) for i in range(6)] != first
            )


# -- paths --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_relative_path_holds_when_the_current_folder_changes(
    split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(split.parent)
    with FrontEnd(split.name, 4, shuffle=False, **KINDS[kind]) as seq:
        seq_copy = pickle.dumps(seq)
        relative, splits = open_split(split.name), list_splits
        monkeypatch.chdir(tmp_path)
        assert [i for batch in seq for i in ids_of(batch)] == list(range(22))
        assert ids_of(seq[0]) == ids_of(pickle.loads(seq_copy)[0])
    assert relative.path == split
    assert splits is list_splits


def test_a_tilde_is_the_home_folder(
    split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(split.parent))
    assert open_split(f"~/{split.name}").path == split
    with FrontEnd(f"~/{split.name}", 4) as seq:
        assert len(list(seq)) == 6
    assert (
        ResumeCallback(ZarrSequence(split, 4), "~/kept")._path
        == split.parent / "kept/zarrfeed.json"
    )


@pytest.mark.parametrize("path", ["ftp://host/camvid.zarr/train", "file:///tmp/x"])
def test_a_url_is_no_local_folder(path: str) -> None:
    for door in (open_split, list_splits, lambda p: FrontEnd(p, 4)):
        with pytest.raises(StoreError, match="needed the path of a local folder"):
            door(path)


def test_a_current_folder_that_is_gone_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(
        StoreError, match="store: is relative to the current folder, which was removed"
    ):
        open_split("store")
    os.chdir(tmp_path)
