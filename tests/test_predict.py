"""``zarrfeed.predict``: cases of any size, patch by patch, into a store that survives kills."""

from __future__ import annotations

import fcntl
import itertools
import os
import tracemalloc

import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

from case_stores import random_case, stored_names, write_cases
from killed import killed_until_done
from ome_images import write_ome
from stores import write_split
from zarrfeed import (
    FrontEnd,
    GridPatches,
    StoreError,
    ZarrfeedError,
    list_splits,
    open_case,
    open_cases,
    open_split,
    predict,
    read_samples,
)
from zarrfeed.order.window import blending_window
from zarrfeed.store import shard_writer
from zarrfeed_tools.cli import app

SIZES = {
    "images": {"a": (30, 17), "b/c": (5, 9), "d": (64, 40)},
    "volumes": {"v": (9, 13, 6), "w": (3, 3, 3)},
}
TILES = {"images": (8, 16), "volumes": (4, 4, 4)}
PATCHES = {"images": (12, 12), "volumes": (6, 5, 8)}


class Scores:
    """A model whose scores depend on where a pixel is in its patch, so that blending shows."""

    def __init__(self, channels: int = 3) -> None:
        self.channels = channels
        self.shapes: list[tuple[int, ...]] = []

    def get_config(self):
        return {}  # so that the shapes do not make another model of it

    def get_weights(self):
        return []

    def predict_on_batch(self, x):
        self.shapes.append(x.shape)
        place = np.indices(x.shape[1:-1]).sum(axis=0) / np.sum(x.shape[1:-1])
        first = x[..., 0] / np.float32(255)
        scores = [np.sin(k + (k + 1) * (first + place)) for k in range(self.channels)]
        return np.stack(scores, -1).astype(np.float32) / 2 + 0.5


def in_memory(model, image, patches, window):
    """Blend the predictions of a whole case in float64."""
    size, extent = image.shape[:-1], patches.size
    before = [max(span - whole, 0) // 2 for whole, span in zip(size, extent, strict=True)]
    after = [
        max(span - whole, 0) - first
        for whole, span, first in zip(size, extent, before, strict=True)
    ]
    padded = np.pad(image, [*zip(before, after, strict=True), (0, 0)])
    starts = []
    for whole, span, step in zip(padded.shape, extent, patches.step, strict=False):
        starts.append([min(at, whole - span) for at in range(0, whole - span + step, step)])
    weight = blending_window(extent, window)[..., None].astype(float)
    sums, weights = 0.0, np.zeros((*padded.shape[:-1], 1))
    for origin in itertools.product(*starts):
        box = tuple(slice(at, at + n) for at, n in zip(origin, extent, strict=True))
        scores = model.predict_on_batch(padded[box][None])[0]
        sums = np.zeros((*padded.shape[:-1], scores.shape[-1])) if weights.max() == 0 else sums
        sums[box] += scores * weight
        weights[box] += weight
    inner = tuple(slice(n, n + whole) for n, whole in zip(before, size, strict=True))
    return (sums / weights)[inner]


@pytest.fixture(scope="session", params=SIZES)
def store(request, tmp_path_factory):
    """A dataset of images or volumes, its tiles, and its patches."""
    kind = request.param
    sizes = SIZES[kind]
    cases = {k: random_case(s, "uint8", 2, n) for n, (k, s) in enumerate(sizes.items())}
    root = tmp_path_factory.mktemp("predict") / f"{kind}.zarr"
    axes = len(TILES[kind])
    write_cases(
        root / "val", cases, TILES[kind],
        attributes={"format": 1, "fields": ["image", "mask"], "cases": len(cases)},
        spacing=np.ones((len(cases), axes)),
        affine=np.stack([np.eye(axes + 1)] * len(cases)),
    )  # fmt: skip
    zarr.open_group(str(root), mode="a").attrs["zarrfeed"] = {
        "format": 1, "classes": ["none", "one", "two"], "ignore": 255,
    }  # fmt: skip
    return root / "val", cases, PATCHES[kind]


@pytest.mark.parametrize("overlap", [0, 0.25, 0.5])
@pytest.mark.parametrize("window", ["gaussian", "constant"])
def test_predictions_are_those_in_memory(store, tmp_path, window, overlap):
    path, cases, extent = store
    patches = GridPatches(extent, overlap)
    model = Scores()
    probabilities = predict(
        model, path, tmp_path / "p.zarr", patches, window=window, classes="probabilities"
    )
    ids = predict(model, path, tmp_path / "i.zarr", patches, window=window, workers=0)
    assert set(model.shapes) == {(4, *extent, 2)}  # the last batch, too
    assert ids == tmp_path / "i.zarr" / "val"
    for key, case in cases.items():
        needed = in_memory(Scores(), case["image"], patches, window)
        found = open_case(probabilities, key, "probabilities")
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, needed, rtol=1e-5)
        scores = np.sort(needed, axis=-1)
        clear = scores[..., -1] - scores[..., -2] > 1e-5
        best = open_case(ids, key, "prediction")
        assert (np.asarray(best) == needed.argmax(-1))[clear].all()
        assert clear.mean() > 0.99
        assert best.dtype == np.uint8
        assert best.spacing == (1,) * len(extent)
        assert (best.affine == np.eye(len(extent) + 1)).all()


def test_predictions_do_not_depend_on_batches_and_workers(store, tmp_path):
    path, _, extent = store
    patches = GridPatches(extent, 0.5)
    stored = [
        read_samples(open_split(predict(Scores(), path, tmp_path / f"{n}", patches, **of)),
                     "prediction", range(3))
        for n, of in enumerate(
            [
                {"batch_size": 1, "workers": 0},
                {"batch_size": 1000},
                {"batch_size": 3, "workers": 2, "use_multiprocessing": True},
            ]
        )
    ]  # fmt: skip
    assert all((each == stored[0]).all() for each in stored)


def test_samples_are_predicted_at_their_rows(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (7, 20, 15, 2), np.uint8)
    keys = [f"k{n}" for n in range(7)]
    arrays = {"image": images, "key": stored_names(keys)}
    path = write_split(tmp_path / "s.zarr" / "test", arrays)
    patches = GridPatches((8, 8), 0.5)
    done = predict(Scores(), path, tmp_path / "o.zarr", patches, classes="probabilities")
    split = open_split(done)
    assert split.layouts["probabilities"].shape == (7, 20, 15, 3)
    found = read_samples(split, "probabilities", range(7))
    for image, each in zip(images, found, strict=True):
        np.testing.assert_allclose(each, in_memory(Scores(), image, patches, "gaussian"), rtol=1e-5)
    assert (read_samples(split, "key", range(7)) == stored_names(keys)).all()
    with FrontEnd(done, 7, fields="probabilities", shuffle=False, workers=0) as sequence:
        assert (sequence[0] == found).all()
        assert sequence.batch_keys(0) == keys


def test_images_are_predicted_where_they_are(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (70, 90, 40), np.uint8)
    path = write_ome(tmp_path / "cell.ome.zarr", image, "zyx", chunks=(70, 90, 40))
    patches = GridPatches((32, 40, 40), 0.5)

    class First:
        def predict_on_batch(self, x):
            return Scores().predict_on_batch(x.reshape(*x.shape[:4], -1))

    done = predict(First(), path, tmp_path / "o.zarr", patches, classes="probabilities")
    assert open_cases(done).tile_size == (64, 64, 40)
    [found] = open_cases(done)
    needed = in_memory(Scores(), image[..., None], patches, "gaussian")
    np.testing.assert_allclose(open_case(done, found, "probabilities"), needed, rtol=1e-5)


@pytest.mark.parametrize("trailing", [True, False])
def test_one_score_is_the_probability_of_class_1(tmp_path, trailing):
    images = np.random.default_rng(0).integers(0, 255, (2, 9, 9, 1), np.uint8)
    path = write_split(tmp_path / "s.zarr" / "test", {"image": images})

    class Bright:
        def predict_on_batch(self, x):
            scores = x.astype(np.float32) / 255
            return scores if trailing else scores[..., 0]

    done = predict(Bright(), path, tmp_path / "o.zarr", GridPatches((4, 4), 0.5))
    found = read_samples(open_split(done), "prediction", range(2))
    assert (found == (images[..., 0] > 127)).all()


def test_ids_of_many_classes_have_16_bits(tmp_path):
    path = write_split(tmp_path / "s.zarr" / "test", {"image": np.zeros((1, 4, 4, 1), np.uint8)})

    class Last:
        def predict_on_batch(self, x):
            scores = np.zeros((*x.shape[:-1], 300), np.float32)
            scores[..., 299] = 1
            return scores

    done = predict(Last(), path, tmp_path / "o.zarr", GridPatches((4, 4)))
    found = read_samples(open_split(done), "prediction", [0])
    assert found.dtype == np.uint16
    assert (found == 299).all()


def test_transforms_and_named_inputs_reach_the_model(tmp_path):
    images = np.full((3, 8, 8, 1), 10, np.uint8)
    path = write_split(tmp_path / "s.zarr" / "test", {"image": images, "depth": images * 2})

    class Named:
        def predict_on_batch(self, x):
            return (x["d"] - x["i"]).astype(np.float32)

    def scaled(image, depth, rng):
        return image, depth / np.float32(10)

    done = predict(
        Named(), path, tmp_path / "o.zarr", GridPatches((5, 5)), classes="probabilities",
        inputs={"i": "image", "d": "depth"}, transform=scaled, batch_size=5,
    )  # fmt: skip
    np.testing.assert_allclose(
        read_samples(open_split(done), "probabilities", range(3)), -8, rtol=1e-6
    )


_SETUP = """
import numpy as np
from zarrfeed import GridPatches, predict
from zarrfeed.store import shard_writer
shard_writer.SHARD_NBYTES = 600
class Scores:
    def predict_on_batch(self, x):
        return (x / np.float32(255) > 0.3).astype(np.float32)
"""
_WORK = "predict(Scores(), sys.argv[1], sys.argv[2], GridPatches((12, 12), 0.5), workers=0)"


def test_a_killed_run_goes_on_and_keeps_its_shards(tmp_path):
    cases = {k: random_case(s, "uint8", 2, n) for n, (k, s) in enumerate(SIZES["images"].items())}
    path = write_cases(tmp_path / "s.zarr" / "val", cases, TILES["images"])
    out, kept = tmp_path / "o.zarr", {}
    shards = out / "val.partial" / "prediction" / "c"
    kills = 0
    for _ in killed_until_done(_SETUP, _WORK, [str(path), str(out)], itertools.count(3, 3)):
        kills += 1
        now = {file: file.stat().st_ino for file in shards.rglob("*") if file.name == "0"}
        assert kept.items() <= now.items(), "a shard was written again"
        kept = now
        assert list_splits(out) == () if (out / "zarr.json").exists() else True
    assert kills > 5
    assert len(kept) > 2
    whole = predict(
        _Thresholds(), path, tmp_path / "whole.zarr", GridPatches((12, 12), 0.5), workers=0
    )
    assert list_splits(out) == ("val",)
    for key in cases:
        found, needed = (np.asarray(open_case(p, key, "prediction")) for p in (out / "val", whole))
        assert (found == needed).all()
        assert found.any()


class _Thresholds:
    def predict_on_batch(self, x):
        return (x / np.float32(255) > 0.3).astype(np.float32)


class _Stops(Scores):
    """Fails at its fourth batch."""

    def predict_on_batch(self, x):
        if len(self.shapes) == 3:
            raise RuntimeError("stopped")
        return super().predict_on_batch(x)


@pytest.fixture
def begun(store, tmp_path, monkeypatch):
    """A run that has written a shard, and was stopped."""
    path, _, extent = store
    monkeypatch.setattr(shard_writer, "SHARD_NBYTES", 256)
    with pytest.raises(RuntimeError, match="stopped") as caught:
        predict(_Stops(), path, tmp_path / "o.zarr", GridPatches(extent), batch_size=2)
    assert "repeat" in caught.value.__notes__[-1]
    return path, tmp_path / "o.zarr", extent


def test_other_settings_do_not_go_on(begun):
    path, out, extent = begun
    for of, patches, named in (
        ({"window": "constant"}, GridPatches(extent), "window='gaussian' (now 'constant')"),
        ({}, GridPatches(extent, 0.5), "patches="),
    ):
        with pytest.raises(StoreError, match="begun with other settings") as caught:
            predict(_Stops(), path, out, patches, batch_size=2, **of)
        assert named in str(caught.value)
    many = _Stops(300)  # K is known when it predicts
    with (
        pytest.raises(StoreError, match="begun by another run"),
        pytest.warns(UserWarning, match="predicts 300 classes"),
    ):
        predict(many, path, out, GridPatches(extent))
    predict(Scores(), path, out, GridPatches(extent), window="constant", overwrite=True)


def test_two_runs_do_not_write_to_the_same_place(begun):
    path, out, extent = begun
    descriptor = os.open(out / "val.partial", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(StoreError, match="another run is writing"):
        predict(Scores(), path, out, GridPatches(extent))
    os.close(descriptor)


def test_other_weights_do_not_go_on(store, tmp_path, monkeypatch):
    path, _, extent = store
    monkeypatch.setattr(shard_writer, "SHARD_NBYTES", 256)

    class Trained(_Stops):
        weights = np.arange(3.0)

        def get_weights(self):
            return [self.weights]

    with pytest.raises(RuntimeError, match="stopped"):
        predict(Trained(), path, tmp_path / "o.zarr", GridPatches(extent), batch_size=2)
    Trained.weights = np.arange(3.0) + 1
    with pytest.raises(StoreError, match="weights="):
        predict(Trained(), path, tmp_path / "o.zarr", GridPatches(extent), batch_size=2)


def test_predictions_are_replaced_if_asked_for_and_nothing_else_is(store, tmp_path):
    path, cases, extent = store
    out = tmp_path / "o.zarr"
    first = predict(Scores(), path, out, GridPatches(extent))
    with pytest.raises(StoreError, match="predictions already"):
        predict(Scores(), path, out, GridPatches(extent))
    with pytest.warns(UserWarning, match="predicts 1 value per pixel, for 2 classes, .* has 3"):
        predict(Scores(1), path, out, GridPatches(extent), overwrite=True)
    assert sorted(each.name for each in out.iterdir()) == ["val", "zarr.json"]
    assert set(np.unique(open_case(first, next(iter(cases)), "prediction"))) <= {0, 1}
    with pytest.raises(StoreError, match="not a split of predictions"):
        predict(Scores(), path, path.parent, GridPatches(extent), overwrite=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(StoreError, match="needed a new folder"):
        predict(Scores(), path, tmp_path / "mine", GridPatches(extent))
    zarr.open_group(str(out), mode="a").attrs["zarrfeed"] = {"format": 1, "classes": ["x"]}
    with pytest.raises(StoreError, match="classes"):
        predict(Scores(), path, out, GridPatches(extent), overwrite=True)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (lambda x: x[:, 1:, ..., :1] / 2, "as large as its input"),
        (lambda x: x[..., None] / 2, "as large as its input"),
        (lambda x: x, "floats, got uint8"),
        (lambda x: [x / 2, x / 2], "one output"),
        (lambda x: x[..., :0] / 2, "at least one class"),
    ],
)
def test_what_does_not_fit_the_patches_is_refused(store, tmp_path, outputs, message):
    path, _, extent = store

    class Wrong:
        def predict_on_batch(self, x):
            return outputs(x)

    with pytest.raises(ValueError, match=message):
        predict(Wrong(), path, tmp_path / "o.zarr", GridPatches(extent))
    # Nothing was written, so that another model may go on.
    predict(Scores(), path, tmp_path / "o.zarr", GridPatches(extent))


def test_arguments_are_checked(store, tmp_path):
    path, _, extent = store
    for message, of in {
        "window must be": {"window": "hann"},
        "classes must be": {"classes": "ids"},
        "batch_size must be": {"batch_size": 0},
    }.items():
        with pytest.raises(ValueError, match=message):
            predict(Scores(), path, tmp_path / "o.zarr", GridPatches(extent), **of)
    with pytest.raises(TypeError, match="GridPatches"):
        predict(Scores(), path, tmp_path / "o.zarr", extent)
    with pytest.raises(StoreError, match="axes"):
        predict(Scores(), path, tmp_path / "o.zarr", GridPatches((*extent, 4)[-5 + len(extent) :]))
    assert not (tmp_path / "o.zarr").exists()


def test_another_number_of_classes_is_told(store, tmp_path):
    path, _, extent = store
    with pytest.warns(UserWarning, match="predicts 5 classes"):
        predict(Scores(5), path, tmp_path / "o.zarr", GridPatches(extent))


class Measures(Scores):
    """Measures the memory between its first call and its last one."""

    def predict_on_batch(self, x):
        if not self.shapes:
            tracemalloc.reset_peak()  # opening reads metadata into large buffers
        self.peak = tracemalloc.get_traced_memory()[1]
        return super().predict_on_batch(x)


def test_memory_does_not_grow_with_the_height(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_writer, "SHARD_NBYTES", 1 << 18)
    peaks = []
    for height in (1024, 8192):
        image = np.zeros((height, 256, 1), np.uint8)
        path = write_cases(tmp_path / f"{height}.zarr" / "s", {"a": {"image": image}}, (64, 64))
        model = Measures(2)
        tracemalloc.start()
        predict(model, path, tmp_path / f"o{height}", GridPatches((64, 128), 0.5), workers=0)
        tracemalloc.stop()
        peaks.append(model.peak)
    assert peaks[1] < 1.2 * peaks[0]


@pytest.mark.parametrize("axes", [2, 3])
def test_predictions_are_those_of_monai(axes, tmp_path):
    torch = pytest.importorskip("torch")
    utils = pytest.importorskip("monai.inferers.utils")
    torch.manual_seed(0)
    convolution = (torch.nn.Conv2d if axes == 2 else torch.nn.Conv3d)(2, 3, 3, padding=1)

    @torch.no_grad()
    def convolved(x):
        return torch.softmax(convolution(x), dim=1)

    class Convolution:
        def predict_on_batch(self, x):
            return np.moveaxis(convolved(torch.from_numpy(np.moveaxis(x, -1, 1))).numpy(), 1, -1)

    sizes = {"large": (61, 45, 22)[:axes], "small": (20, 50, 3)[:axes]}
    extent = (24, 32, 9)[:axes]
    cases = {k: random_case(s, "float32", 2, n) for n, (k, s) in enumerate(sizes.items())}
    path = write_cases(tmp_path / "s.zarr" / "val", cases, (16, 16, 16)[:axes])
    for overlap, window in itertools.product((0, 0.25, 0.5), ("gaussian", "constant")):
        out = tmp_path / f"{overlap}{window}.zarr"
        found = predict(
            Convolution(), path, out, GridPatches(extent, overlap), window=window,
            classes="probabilities", workers=0,
        )  # fmt: skip
        for key, case in cases.items():
            image = torch.from_numpy(np.moveaxis(case["image"], -1, 0)[None])
            needed = utils.sliding_window_inference(
                image, extent, 4, convolved, overlap=overlap, mode=window
            )
            ours = np.moveaxis(np.asarray(open_case(found, key, "probabilities")), -1, 0)
            np.testing.assert_allclose(ours, needed[0].numpy(), rtol=1e-5)


keras_saves = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def invoke(*arguments):
    return CliRunner().invoke(app, ["predict", *map(str, arguments)], env={"COLUMNS": "200"})


@keras_saves
def test_the_command_predicts_with_a_keras_model(store, tmp_path):
    import keras

    path, cases, extent = store
    keras.utils.set_random_seed(0)
    layer = keras.layers.Conv2D if len(extent) == 2 else keras.layers.Conv3D
    model = keras.Sequential(
        [
            keras.Input((*extent, 2)),
            keras.layers.Rescaling(1 / 255),
            layer(3, 3, padding="same", activation="softmax"),
        ]
    )
    model.save(tmp_path / "m.keras")
    done = invoke(path.parent, tmp_path / "m.keras", tmp_path / "o.zarr")
    assert done.exit_code == 0, done.output
    assert str(tmp_path / "o.zarr" / "val") in done.stdout.replace("\n", "")
    assert f"Patches of {'x'.join(map(str, extent))}, the size of the model's input" in done.stdout
    key = next(iter(cases))
    needed = in_memory(model, cases[key]["image"], GridPatches(extent, 0.5), "gaussian")
    found = np.asarray(open_case(tmp_path / "o.zarr" / "val", key, "prediction"))
    scores = np.sort(needed, axis=-1)
    clear = scores[..., -1] - scores[..., -2] > 1e-4
    assert (found == needed.argmax(-1))[clear].all()
    assert list(open_cases(tmp_path / "o.zarr" / "val")) == list(cases)
    inspected = CliRunner().invoke(app, ["inspect", str(tmp_path / "o.zarr")])
    assert "prediction" in inspected.output
    again = invoke(path, tmp_path / "m.keras", tmp_path / "o.zarr")
    assert isinstance(again.exception, StoreError)
    assert "--overwrite" in str(again.exception)


@keras_saves
def test_the_command_says_what_is_wrong(store, tmp_path):
    import keras

    path, _, extent = store
    (tmp_path / "m.keras").write_bytes(b"no model")
    broken = invoke(path, tmp_path / "m.keras", tmp_path / "o.zarr", "--size", "8x8")
    assert "cannot load this model" in str(broken.exception)
    pooling = keras.layers.AveragePooling2D if len(extent) == 2 else keras.layers.AveragePooling3D
    keras.Sequential([keras.Input((*(None for _ in extent), 2)), pooling(2)]).save(
        tmp_path / "half.keras"
    )
    layer = keras.layers.Conv2D if len(extent) == 2 else keras.layers.Conv3D
    keras.Sequential([keras.Input((*extent, 3)), layer(3, 1)]).save(tmp_path / "rgb.keras")
    coloured = invoke(path, tmp_path / "rgb.keras", tmp_path / "o.zarr")
    assert "shape" in str(coloured.exception)
    assert {"\n", "\x1b"}.isdisjoint(str(coloured.exception))
    assert coloured.exception.__notes__ == [
        f"patches of 'image' have shape (4, {str(extent)[1:-1]}, 2)"
    ]
    arguments = (path, tmp_path / "half.keras", tmp_path / "o.zarr")
    unsized = invoke(*arguments)
    assert unsized.exit_code == 2
    assert "needed the size of a patch" in unsized.output
    smaller = invoke(*arguments, "--size", "x".join(map(str, extent)))
    assert isinstance(smaller.exception, ZarrfeedError)
    assert "as large as its input" in str(smaller.exception)


def test_one_of_several_splits_must_be_named(tmp_path):
    for split in ("train", "val"):
        write_split(tmp_path / "s.zarr" / split, {"image": np.zeros((1, 4, 4, 1), np.uint8)})
    zarr.open_group(str(tmp_path / "s.zarr"), mode="a")
    with pytest.raises(StoreError, match="found train, val: name one"):
        predict(Scores(), tmp_path / "s.zarr", tmp_path / "o.zarr", GridPatches((4, 4)))
