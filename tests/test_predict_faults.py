"""Predictions after errors and kills: the same call again gives what an uninterrupted one gives."""

from __future__ import annotations

import errno
import fcntl
import json
import shutil
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import zarr

from case_stores import random_case, write_cases
from ome_images import write_ome
from stores import write_split
from zarrfeed import GridPatches, StoreError, evaluate, open_case, predict
from zarrfeed.feed import case_predictions
from zarrfeed.store import folder_lock, prediction_split, shard_writer
from zarrfeed.store.plane_tiles import PlaneTiles
from zarrfeed.store.shard_file import ShardFile
from zarrfeed_convert import convert

PATCHES = GridPatches((16, 16), 0.5)


class Bright:
    """A model whose scores are a pixel's brightness; it may stop before some batch."""

    def __init__(self, stop_before: int | None = None) -> None:
        self._left = stop_before
        self.shapes: list[tuple[int, ...]] = []

    # By these it is told from others, and not by what it counts.
    def get_config(self):
        return {}

    def get_weights(self):
        return []

    def predict_on_batch(self, x):
        self.shapes.append(x.shape)
        if self._left is not None:
            if not self._left:
                raise RuntimeError("stopped")
            self._left -= 1
        found = x[..., 0].astype(np.float32) / 255
        return np.stack([1 - found, found], -1)


def tree_of(folder):
    """Return the bytes of all files of a folder, by their paths in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write_store(root, seed=0):
    zarr.open_group(str(root), mode="a").attrs["zarrfeed"] = {
        "format": 1, "classes": ["dark", "bright"], "ignore": None,
    }  # fmt: skip
    cases = {key: random_case((40, 44), "uint8", 1, seed + n) for n, key in enumerate("abcd")}
    return write_cases(
        root / "val", cases, (16, 16), attributes={"format": 1, "fields": ["image", "mask"]}
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("store") / "s.zarr")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shard_writer, "SHARD_NBYTES", 1024)  # of 4 tiles
    monkeypatch.setattr(case_predictions, "_CHUNK_NBYTES", 512)


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory):
    """The files of an uninterrupted run."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(shard_writer, "SHARD_NBYTES", 1024)
        return tree_of(predict(Bright(), store, tmp_path_factory.mktemp("whole"), PATCHES))


@pytest.mark.parametrize(
    ("kind", "calls"),
    [(ShardFile, (1, 2, 4, 5, 17, 36)), (PlaneTiles, (1, 2, 3, 8)), ("finish", (1, 3, 9))],
)
def test_after_a_failed_write_nothing_wrong_is_kept(
    store, whole, tmp_path, monkeypatch, kind, calls
):
    kind, name = (ShardFile, kind) if isinstance(kind, str) else (kind, "append")
    write = getattr(kind, name)
    for fails in calls:
        left = [fails]

        def failing(*arguments, left=left):
            left[0] -= 1
            if left[0] == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(*arguments)

        out = tmp_path / str(fails)
        with monkeypatch.context() as patched:
            patched.setattr(kind, name, failing)
            with pytest.raises(OSError, match="No space left"):
                predict(Bright(), store, out, PATCHES)
        assert not list(out.rglob("*.tmp"))
        assert left[0] <= 0
        assert tree_of(predict(Bright(), store, out, PATCHES)) == whole


@pytest.mark.parametrize(
    "files",
    [
        ("val.partial/image/c/0/0/0/0",),
        ("val~journal.partial/run.json", "val.partial/image/c/0/0/0/0"),
        ("val~journal.partial/run.json",),
        ("val.partial/zarr.json",),
        ("val.partial/mine",),
    ],
    ids=", ".join,
)
def test_an_unfinished_conversion_is_left_unchanged(store, tmp_path, files):
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}}))
    before = tree_of(tmp_path)
    for overwrite in (False, True):
        with pytest.raises(StoreError, match="found an unfinished conversion"):
            predict(Bright(), store, tmp_path, PATCHES, overwrite=overwrite)
        assert tree_of(tmp_path) == before
    assert list(before) == sorted(files)


def test_a_run_that_begins_while_another_one_ends_leaves_it_alone(
    store, whole, tmp_path, monkeypatch
):
    """Between opening the folder and locking it, the other run renames it."""
    done = predict(Bright(), store, tmp_path, PATCHES)
    unfinished = done.with_name("val.partial")
    for overwrite in (False, True):
        shutil.rmtree(unfinished, ignore_errors=True)
        done.rename(unfinished)
        flock = fcntl.flock

        def late(*arguments, flock=flock):
            if not done.exists():
                unfinished.rename(done)
            flock(*arguments)

        with monkeypatch.context() as patched:
            patched.setattr(folder_lock.fcntl, "flock", late)
            if overwrite:
                predict(Bright(), store, tmp_path, PATCHES, overwrite=True)
            else:
                with pytest.raises(StoreError, match="predictions already"):
                    predict(Bright(), store, tmp_path, PATCHES)
        assert tree_of(done) == whole
        assert sorted(each.name for each in tmp_path.iterdir()) == ["val", "zarr.json"]


def test_a_dataset_that_another_run_finishes_meanwhile_is_checked_again(store, tmp_path):
    class Meanwhile(Bright):
        def predict_on_batch(self, x):
            zarr.open_group(str(tmp_path), mode="a").attrs["zarrfeed"] = {
                "format": 1, "classes": ["other"], "ignore": None,
            }  # fmt: skip
            return super().predict_on_batch(x)

    with pytest.raises(StoreError, match="needed a dataset with the classes"):
        predict(Meanwhile(), store, tmp_path, PATCHES)
    assert not (tmp_path / "val").exists()


def test_a_kill_while_an_unfinished_run_is_removed_leaves_no_settings(
    store, whole, tmp_path, monkeypatch
):
    for removed in range(4):
        out = tmp_path / str(removed)
        with pytest.raises(RuntimeError, match="stopped"):
            predict(Bright(12), store, out, PATCHES)
        left, rmtree = [removed], shutil.rmtree

        def killed(*arguments, left=left, rmtree=rmtree):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            rmtree(*arguments)

        def settings_last(folder, iterdir=Path.iterdir):
            return iter(sorted(iterdir(folder), key=lambda each: (each.name == "zarr.json", each)))

        with monkeypatch.context() as patched:
            patched.setattr(prediction_split.shutil, "rmtree", killed)
            patched.setattr(Path, "iterdir", settings_last)  # the order of a file system
            with pytest.raises(KeyboardInterrupt):
                predict(Bright(), store, out, PATCHES, window="constant", overwrite=True)
        assert tree_of(predict(Bright(), store, out, PATCHES)) == whole


@pytest.mark.parametrize("number", [0, 1])
def test_nan_of_the_model_is_an_error_that_names_the_case(store, tmp_path, number):
    last = np.asarray(open_case(store, "c"))[-16:, -16:]

    class Fails(Bright):
        name = "unet"

        def predict_on_batch(self, x):
            found = super().predict_on_batch(x)
            found[(x == last).all(axis=(1, 2, 3)), 3, 4, number] = np.nan
            return found

    with pytest.raises(ValueError, match=r"got NaN from the model unet for case 'c'"):
        predict(Fails(), store, tmp_path, PATCHES, batch_size=7)


def test_nan_in_the_copies_that_fill_up_a_batch_does_not_matter(store, whole, tmp_path):
    class Copies(Bright):
        def predict_on_batch(self, x):
            found = super().predict_on_batch(x)
            if len(np.unique(x[-4:], axis=0)) == 1:
                found[-3:] = np.nan
            return found

    found = predict(Copies(), store, tmp_path, PATCHES, batch_size=7)
    for name, values in whole.items():
        if name.startswith("prediction/c"):
            assert (found / name).read_bytes() == values


def test_a_run_that_goes_on_has_batches_of_the_same_shape(store, tmp_path):
    stops, goes_on = Bright(1), Bright()
    with pytest.raises(RuntimeError, match="stopped"):
        predict(stops, store, tmp_path, PATCHES, batch_size=64)
    predict(goes_on, store, tmp_path, PATCHES, batch_size=64)
    assert set(stops.shapes + goes_on.shapes) == {(64, 16, 16, 1)}
    assert len(goes_on.shapes) == 1  # of the last 40 of 80 patches


def test_claims_of_many_samples_are_refused_before_they_take_memory(tmp_path):
    group = zarr.open_group(str(tmp_path / "s.zarr"), mode="w")
    for name, shape in {"image": (1 << 40, 8, 8, 1), "mask": (1 << 40, 8, 8)}.items():
        group.create_array(name, shape=shape, chunks=(1, *shape[1:]), dtype="uint8")
    tracemalloc.start()
    with pytest.raises(StoreError, match=r"1,099,511,627,776 samples would take"):
        predict(Bright(), tmp_path / "s.zarr", tmp_path / "o", GridPatches((8, 8)))
    with pytest.raises(StoreError, match=r"1,099,511,627,776 keys would take"):
        evaluate(tmp_path / "s.zarr", tmp_path / "s.zarr")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 128 << 20  # of the buffer for metadata


def test_the_memory_that_is_asked_for_is_that_which_is_used(tmp_path, monkeypatch):
    """Of a case whose tiles are much higher than the patches."""
    image = np.random.default_rng(0).integers(0, 255, (96, 64, 64, 1), np.uint8)
    cases = {"a": {"image": image}, "b": {"image": image}}
    path = write_cases(tmp_path / "s.zarr" / "val", cases, (96, 64, 64))
    asked = []
    monkeypatch.setattr(
        case_predictions, "require_memory", lambda _, nbytes, __: asked.append(nbytes)
    )

    class Traced(Bright):
        peak = 0

        def predict_on_batch(self, x):
            if not self.peak:
                tracemalloc.reset_peak()  # opening reads metadata into large buffers
            self.peak = tracemalloc.get_traced_memory()[1]
            return super().predict_on_batch(x)

    model = Traced()
    tracemalloc.start()
    predict(
        model, path, tmp_path / "o", GridPatches((2, 64, 64)), classes="probabilities",
        batch_size=1, workers=0,
    )  # fmt: skip
    tracemalloc.stop()
    [nbytes] = asked
    of_tiles = 2 * 96 * 64 * 64 * 2 * 4
    assert of_tiles < nbytes
    assert model.peak < nbytes + (2 << 20)  # patches, and what opening left


def stopped(store, out, stop_before=12, model=Bright, patches=PATCHES, **options):
    """Begin a run that stops when it has written some shards."""
    with pytest.raises(RuntimeError, match="stopped") as caught:
        predict(model(stop_before), store, out, patches, **options)
    assert "repeat to continue" in caught.value.__notes__[-1]


def write_samples(root, seed):
    images = np.random.default_rng(seed).integers(0, 255, (80, 16, 16, 1), np.uint8)
    return write_split(root / "val", {"image": images})


def write_images(root, seed):
    for n, key in enumerate("abcd"):
        image = random_case((40, 44), "uint8", 1, seed + n)["image"][..., 0]
        write_ome(root / "val" / f"{key}.zarr", image[None], "cyx", chunks=(1, 16, 16))
    return root / "val"


def convert_cases(root, seed):
    cases = [random_case((40, 44), "uint8", 1, seed + n) for n in range(4)]
    pairs = [(case["image"], case["mask"] % 2) for case in cases]
    convert(pairs, root, split="val", tile=(16, 16), classes=["a", "b"], workers=1)
    return root / "val"


@pytest.mark.parametrize("write", [write_store, write_samples, write_images, convert_cases])
def test_a_source_that_was_replaced_is_not_mixed_in(tmp_path, monkeypatch, write):
    monkeypatch.setattr("zarrfeed.store.predicted_cases.USUAL_EXTENT", {2: 16})
    root, out = tmp_path / "s.zarr", tmp_path / "o.zarr"
    stopped(write(root, 0), out)
    shutil.rmtree(root)
    path = write(root, 100)
    with pytest.raises(StoreError, match="begun with other settings: digest="):
        predict(Bright(), path, out, PATCHES)
    found = predict(Bright(), path, out, PATCHES, overwrite=True)
    assert tree_of(found) == tree_of(predict(Bright(), path, tmp_path / "w", PATCHES))


def test_a_source_that_is_the_same_goes_on(tmp_path):
    path = convert_cases(tmp_path / "s.zarr", 0)
    stopped(path, tmp_path / "o")
    shutil.rmtree(tmp_path / "s.zarr")
    convert_cases(tmp_path / "s.zarr", 0)
    predict(Bright(), path, tmp_path / "o", PATCHES)


def test_transforms_of_the_same_name_are_not_mixed(store, tmp_path):
    one, other = (lambda image, rng: image), (lambda image, rng: 255 - image)
    stopped(store, tmp_path / "o", transform=one)
    with pytest.raises(StoreError, match="begun with other settings: transform='<lambda>: "):
        predict(Bright(), store, tmp_path / "o", PATCHES, transform=other)
    again = predict(Bright(), store, tmp_path / "o", PATCHES, transform=one)
    assert tree_of(again) == tree_of(
        predict(Bright(), store, tmp_path / "w", PATCHES, transform=one)
    )


def test_a_transform_that_cannot_be_compared_is_not_gone_on_with(store, whole, tmp_path):
    lock = threading.Lock()

    def locked(image, rng):
        with lock:
            return image

    stopped(store, tmp_path, transform=locked, workers=0)
    with pytest.raises(StoreError, match=r"transform='locked: not known.*overwrite=True"):
        predict(Bright(), store, tmp_path, PATCHES, transform=locked, workers=0)
    done = predict(Bright(), store, tmp_path, PATCHES, transform=locked, workers=0, overwrite=True)
    others = {name for name, _ in tree_of(done).items() ^ whole.items()}
    assert others == {"zarr.json"}  # has the settings


def test_models_of_the_same_name_and_weights_are_not_mixed(store, tmp_path):
    class Inverted(Bright):
        name = "Bright"

        def predict_on_batch(self, x):
            return super().predict_on_batch(x)[..., ::-1]

    stopped(store, tmp_path)
    with pytest.raises(StoreError, match="begun with other settings: model='Bright: "):
        predict(Inverted(), store, tmp_path, PATCHES)


def test_a_run_whose_patches_are_filled_with_nan_goes_on(tmp_path):
    cases = {key: random_case((40, 44), "float32", 1, n) for n, key in enumerate("abcd")}
    path = write_cases(tmp_path / "s.zarr" / "val", cases, (16, 16))
    patches = GridPatches((16, 16), 0.5, fill=float("nan"))
    stopped(path, tmp_path / "o", patches=patches)
    predict(Bright(), path, tmp_path / "o", patches)
