"""Several inputs, targets and weights: what batches hold, and what is refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

from kinds import KINDS, Kind
from scripts import backends, output_on
from stores import write_split
from structured_arrays import ARRAYS
from transforms import add_edges, edges, heavier_edges, only_edges, with_edges
from zarrfeed import FrontEnd, StoreError, WorkerError, ZarrSequence

if TYPE_CHECKING:
    from fork_server import ForkServers

CLIENT = Path(__file__).with_name("structured_client.py")
INPUTS = {"rgb": "image", "elevation": "depth"}
TARGETS = {"seg": "mask", "height": "depth"}


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_split(tmp_path_factory.mktemp("structured") / "train", ARRAYS)


class TestBatches:
    @pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
    def test_every_kind_of_worker_gives_the_same_structure(self, store: Path, kind: Kind) -> None:
        with FrontEnd(
            store, 4, seed=3, inputs=INPUTS, targets=TARGETS, weights={"seg": "border"}, **kind
        ) as seq:
            seen = []
            for x, y, w in seq:
                ids = y["seg"][:, 0, 0].astype(int)
                assert np.array_equal(x["rgb"], ARRAYS["image"][ids])
                assert np.array_equal(x["elevation"], ARRAYS["depth"][ids])
                assert y["height"] is x["elevation"]  # one field, one array
                assert np.array_equal(w["seg"], ARRAYS["border"][ids])
                assert w["height"].shape == (len(ids), 1, 1, 1)
                assert w["height"].all()
                seen += ids.tolist()
            assert sorted(seen) == list(range(22))
            assert seq.fields == ("image", "depth", "mask", "border", "weight of height")

    def test_items_and_pickles_are_structured_alike(self, store: Path) -> None:
        with FrontEnd(store, 4, inputs=("image", "depth"), targets=["mask", "depth"]) as seq:
            (image, depth), (mask, same) = seq[2]
            ids = mask[:, 0, 0].astype(int)
            assert np.array_equal(image, ARRAYS["image"][ids])
            assert same is depth
            copy = pickle.loads(pickle.dumps(seq))
            assert np.array_equal(copy[2][1][0], mask)

    def test_a_batch_is_a_view_of_its_slot(self, store: Path) -> None:
        with FrontEnd(store, 4, inputs=INPUTS, targets="mask", workers=1) as seq:
            x, y = next(iter(seq))
            feeder = seq._stream._feeder
            assert feeder is not None
            memory = feeder._arena._memory
            for array in (*x.values(), y):
                assert np.shares_memory(array, memory)
                assert array.ctypes.data % 64 == 0

    def test_inputs_alone_are_for_predict(self, store: Path) -> None:
        with FrontEnd(store, 22, inputs=INPUTS, shuffle=False) as seq:
            [(x,)] = list(seq)
            assert x.keys() == INPUTS.keys()
        with FrontEnd(store, 22, inputs="image", pad_remainder=True) as seq:
            [(image,)] = list(seq)
            assert image.shape == (22, 8, 6, 3)

    def test_order_and_state_do_not_depend_on_the_structure(self, store: Path) -> None:
        with FrontEnd(store, 4) as pairs, FrontEnd(store, 4, inputs=INPUTS, targets="mask") as seq:
            for (_, mask), (_, same) in zip(pairs, seq, strict=True):
                assert np.array_equal(mask, same)
            seq.load_state_dict(pairs.state_dict())
            assert seq.batch_keys(0) == pairs.batch_keys(0)


class TestTransforms:
    @pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
    def test_arrays_that_it_makes_are_used_by_name(self, store: Path, kind: Kind) -> None:
        with FrontEnd(
            store, 4, inputs=INPUTS, targets="mask", weights="edge", transform=with_edges, **kind
        ) as seq:
            for x, y, w in seq:
                assert np.array_equal(w, edges(y))
                assert np.array_equal(x["elevation"], ARRAYS["depth"][y[:, 0, 0]])

    def test_fields_are_what_it_takes_beside_the_batch(self, store: Path) -> None:
        with FrontEnd(
            store, 22, fields=("image", "mask"), inputs="image", targets="edge", shuffle=False,
            transform=only_edges,
        ) as seq:  # fmt: skip
            [(image, edge)] = list(seq)
            assert np.array_equal(image, ARRAYS["image"])
            assert np.array_equal(edge, edges(ARRAYS["mask"]))

    def test_a_batch_transform_takes_what_the_transform_made(self, store: Path) -> None:
        with FrontEnd(
            store, 22, inputs="image", targets="mask", weights="edge", shuffle=False,
            transform=add_edges, batch_transform=heavier_edges,
        ) as seq:  # fmt: skip
            [(_, mask, edge)] = list(seq)
            assert np.array_equal(mask, ARRAYS["mask"])
            assert np.array_equal(edge, edges(mask) + 1)

    @pytest.mark.parametrize(
        ("arguments", "error", "said"),
        [
            (
                {"fields": ("image", "mask"), "transform": add_edges}, ValueError,
                "add_edges returned 'edge', which is not part of a batch: name it in .*weights=",
            ),
            (
                {"inputs": "image", "targets": "mask", "weights": "eddge", "transform": add_edges},
                WorkerError,
                "add_edges must return 'eddge', .* it returned image, mask, edge on sample 0; the "
                "split has no array 'eddge', so that a transform must return it",
            ),
            (
                {"inputs": "imagee", "targets": "mask", "transform": add_edges}, WorkerError,
                r"cannot be called as add_edges\(mask, rng\).*the split has no array 'imagee'",
            ),
            (
                {"inputs": "imagee", "targets": "mask"}, StoreError,
                "needed a field 'imagee', found border, depth, image, mask; did you mean 'image'",
            ),
            (
                {"inputs": "image", "targets": "mask", "weights": "bordr", "transform": add_edges},
                WorkerError, "no array 'bordr', so that .* return it; did you mean 'border'",
            ),
        ],
    )  # fmt: skip
    def test_a_name_that_is_nowhere_is_told(
        self, store: Path, arguments: dict[str, Any], error: type[Exception], said: str
    ) -> None:
        with pytest.raises(error, match=said):
            FrontEnd(store, 4, **arguments)


class TestWeights:
    def test_padding_weighs_nothing_in_any_target(self, store: Path) -> None:
        with FrontEnd(
            store, 8, inputs=INPUTS, targets=TARGETS, weights={"height": "border"},
            pad_remainder=True, shuffle=False,
        ) as seq:  # fmt: skip
            *_, (x, y, w) = seq
            assert len(x["rgb"]) == len(y["seg"]) == 8  # 22 = 8 + 8 + 6
            assert w["seg"][:6].all()
            assert np.array_equal(w["height"][:6], ARRAYS["border"][16:])
            assert not w["seg"][6:].any()
            assert not w["height"][6:].any()
            assert w["seg"].shape == (8, 8, 6)
            items = seq[2][2]
            assert all(np.array_equal(items[key], w[key]) for key in w)

    def test_one_array_may_weigh_all_targets(self, store: Path) -> None:
        with FrontEnd(
            store, 8, inputs="image", targets=("mask", "depth"), weights="border",
            pad_remainder=True, shuffle=False,
        ) as seq:  # fmt: skip
            *_, (_, y, w) = seq
            assert len(y) == 2
            assert np.array_equal(w[:6], ARRAYS["border"][16:])
            assert not w[6:].any()

    @pytest.mark.parametrize(
        ("targets", "mask", "other"),
        [("mask", None, None), (("depth", "mask"), 1, 0), ({"h": "depth", "m": "mask"}, "m", "h")],
    )
    def test_classes_weigh_the_one_mask(
        self, store: Path, targets: Any, mask: Any, other: Any
    ) -> None:
        with FrontEnd(
            store, 22, inputs=("mask", "image"), targets=targets, class_weight={3: 0.5},
            shuffle=False,
        ) as seq:  # fmt: skip
            [(_, _, w)] = list(seq)
        expected = np.where(ARRAYS["mask"] == 3, np.float32(0.5), 1)
        assert np.array_equal(w if mask is None else w[mask], expected)
        assert other is None or w[other].shape == (22, 1, 1, 1)

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (
                {"targets": ("mask", "image")},
                r"exactly one uint8 or uint16 mask .* got mask \(uint8\), image \(uint8\): compute",
            ),
            ({"targets": "mask", "weights": "border"}, "and weights='border' both weigh"),
            ({}, "class_weight weighs targets, got targets=None"),
        ],
    )
    def test_classes_that_might_weigh_anything_are_refused(
        self, store: Path, arguments: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(ValueError, match=said):
            FrontEnd(store, 4, inputs="image", class_weight={3: 0.5}, **arguments)

    @pytest.mark.parametrize(
        ("targets", "weights"),
        [
            (("depth", "mask"), (None, "border")),
            ({"height": "depth", "seg": "mask"}, {"height": None, "seg": "border"}),
        ],
    )
    def test_none_stands_for_a_target_that_weighs_1(
        self, store: Path, targets: Any, weights: Any
    ) -> None:
        with FrontEnd(store, 4, inputs="image", targets=targets, weights=weights) as seq:
            _, y, w = seq[0]
            first, second = w.values() if isinstance(w, dict) else w
            mask = y["seg"] if isinstance(y, dict) else y[1]
            assert first.shape == (4, 1, 1, 1)
            assert first.all()
            assert np.array_equal(second, ARRAYS["border"][mask[:, 0, 0]])

    @pytest.mark.parametrize(
        ("weights", "error", "said"),
        [
            ((None, None), ValueError, "weights must name at least one field"),
            (("border",), ValueError, "2 targets, got 1: 'border'; None stands for no weights"),
        ],
    )
    def test_weights_of_nothing_are_refused(
        self, store: Path, weights: Any, error: type[Exception], said: str
    ) -> None:
        with pytest.raises(error, match=said):
            FrontEnd(store, 4, inputs="image", targets=("depth", "mask"), weights=weights)

    def test_an_array_called_weight_is_not_mixed_up_with_ours(self, tmp_path: Path) -> None:
        named = {"image": ARRAYS["image"], "weight": ARRAYS["mask"]}
        path = write_split(tmp_path / "s", named)
        with FrontEnd(path, 22, fields=("image", "weight"), class_weight={3: 2.0}) as seq:
            [(_, mask, weight)] = list(seq)
            assert np.array_equal(weight, np.where(mask == 3, np.float32(2), 1))


@pytest.mark.parametrize("name", ["targets", "weights"])
def test_targets_without_inputs_are_refused(store: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}='mask' needs inputs, got None"):
        FrontEnd(store, 4, **{name: "mask"})


class TestTensorFlow:
    def test_the_spec_is_nested_and_known_without_reading(self, store: Path) -> None:
        import tensorflow as tf

        with ZarrSequence(
            store, 11, inputs=INPUTS, targets=("mask", "depth"), drop_remainder=True
        ) as seq:
            for dataset in (seq.get_tf_dataset(), seq.to_tf_dataset()):
                assert dataset.element_spec == (
                    {
                        "rgb": tf.TensorSpec((11, 8, 6, 3), tf.uint8),
                        "elevation": tf.TensorSpec((11, 8, 6, 1), tf.float32),
                    },
                    (
                        tf.TensorSpec((11, 8, 6), tf.uint8),
                        tf.TensorSpec((11, 8, 6, 1), tf.float32),
                    ),
                )
            assert seq._stream._feeder is None

    def test_tensors_are_the_batch_without_a_copy(self, store: Path) -> None:
        with ZarrSequence(store, 4, inputs=INPUTS, targets="mask", workers=1) as seq:
            x, y = next(iter(seq.get_tf_dataset()))
            assert np.array_equal(x["rgb"].numpy(), ARRAYS["image"][y.numpy()[:, 0, 0]])
            feeder = seq._stream._feeder
            assert feeder is not None
            start = feeder._arena._memory.ctypes.data
            for tensor in (*x.values(), y):
                address = np.asarray(memoryview(tensor)).ctypes.data
                assert start <= address < start + feeder._arena._memory.nbytes


def test_a_third_part_needs_no_telling_name(store: Path) -> None:
    """It is called weights where it is named; a third field must say so itself."""
    model = keras.Sequential([keras.Input((8, 6, 3)), keras.layers.Conv2D(22, 1)])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with ZarrSequence(store, 11, inputs="image", targets="mask", weights="border") as seq:
        model.fit(seq, verbose=0)
        with pytest.raises(ValueError, match=r"`sample_weight` should not .*weights=…"):
            model.fit(seq, sample_weight=np.ones(22), verbose=0)
    with (
        ZarrSequence(store, 11, fields=("image", "mask", "border")) as seq,
        pytest.raises(ValueError, match=r"would take 'border' as weights.*inputs=, targets= and"),
    ):
        model.fit(seq, verbose=0)


@pytest.fixture(scope="module", params=backends("tensorflow", soak=("jax", "torch", "tf_keras")))
def seen(
    request: pytest.FixtureRequest, store: Path, imported: ForkServers | None
) -> dict[str, Any]:
    """What a user on one backend saw; one process for each."""
    output = output_on(request.param, CLIENT, store, servers=imported)
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


@pytest.mark.parametrize("workers", ["inline", "threads", "processes"])
class TestEveryBackend:
    """Two named inputs, two named outputs, weights of one of them."""

    def test_a_models_steps_get_what_is_in_the_store(
        self, seen: dict[str, Any], store: Path, workers: str
    ) -> None:
        with FrontEnd(store, 4, seed=1, workers=0) as seq:
            right = [mask[:, 0, 0].tolist() for _ in range(2) for _, mask in seq]
        assert seen[f"{workers}: fit"] == right
        assert seen[f"{workers}: fit, transform"] == right[:6]

    def test_losses_are_those_of_the_arrays_themselves(
        self, seen: dict[str, Any], workers: str
    ) -> None:
        assert seen[f"{workers}: evaluate"]

    def test_predictions_are_those_of_the_arrays_themselves(
        self, seen: dict[str, Any], workers: str
    ) -> None:
        assert seen[f"{workers}: predict"]


def test_padding_does_not_change_weighted_sums(seen: dict[str, Any]) -> None:
    assert seen["padded"] == [24, True]
