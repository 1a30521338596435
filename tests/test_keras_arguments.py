"""What Keras would drop without a word is refused, and our own argument is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

from stores import traced_pixels, write_split
from traced_model import traced_model
from zarrfeed import FeedMonitor, ResumeCallback, ZarrSequence

if TYPE_CHECKING:
    from pathlib import Path

Y = np.zeros((22, 8, 6))


@pytest.fixture(scope="module")
def model() -> Any:
    return traced_model(keras, [])


@pytest.mark.parametrize("method", ["fit", "evaluate"])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"y": Y}, r"`y` should not be passed.*fields="),
        ({"sample_weight": np.zeros(22)}, r"`sample_weight` should not be passed.*class_weight="),
    ],
    ids=["y", "sample_weight"],
)
def test_targets_and_weights_beside_a_sequence_are_refused(
    split: Path, model: Any, method: str, given: dict[str, Any], message: str
) -> None:
    with ZarrSequence(split, 4) as seq, pytest.raises(ValueError, match=message):
        getattr(model, method)(seq, verbose=0, **given)


@pytest.mark.parametrize("weights", [{1: 2.0}, {}])
def test_class_weights_belong_to_the_sequence(
    split: Path, model: Any, weights: dict[int, float]
) -> None:
    with (
        ZarrSequence(split, 4) as seq,
        pytest.raises(ValueError, match=r"`class_weight` should.*ZarrSequence\(class_weight="),
    ):
        model.fit(seq, verbose=0, class_weight=weights)


@pytest.mark.parametrize("extra", [(Y,), (None, np.zeros(22))], ids=["y", "sample_weight"])
def test_targets_beside_a_sequence_for_validation_are_refused(
    split: Path, model: Any, extra: tuple[Any, ...]
) -> None:
    with ZarrSequence(split, 4) as seq, pytest.raises(ValueError, match="should not be passed"):
        model.fit(seq, verbose=0, validation_data=(seq, *extra))


def test_a_share_of_a_sequence_for_validation_is_refused(split: Path, model: Any) -> None:
    with ZarrSequence(split, 4) as seq, pytest.raises(ValueError, match="validation_split"):
        model.fit(seq, verbose=0, validation_split=0.2)


def test_a_batch_size_that_does_not_apply_is_told(split: Path, model: Any) -> None:
    with ZarrSequence(split, 4) as seq:
        with pytest.warns(UserWarning, match=r"batch_size=8 does not apply.*batch_size=4") as told:
            assert len(model.predict(seq, batch_size=8, verbose=0)) == 22
        assert told[0].filename == __file__, "not a line of Keras"
        model.predict(seq, batch_size=4, verbose=0)


def test_inputs_alone_feed_predict_but_no_loss(split: Path) -> None:
    model = keras.Sequential([keras.Input((8, 6, 3)), keras.layers.Conv2D(22, 1)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with ZarrSequence(split, 11, fields="image") as seq:
        for method in (model.fit, model.evaluate):
            with pytest.raises(ValueError, match=r"hold image alone, which feeds predict; .*mask:"):
                method(seq, verbose=0)
        predictions = []

        class Predicts(keras.callbacks.Callback):  # type: ignore[misc]
            def on_epoch_end(self, *_: Any) -> None:
                predictions.append(self.model.predict(seq, verbose=0))

        with ZarrSequence(split, 11) as train:
            model.fit(train, verbose=0, callbacks=[Predicts()])
        assert len(predictions[0]) == 22


class Compresses(keras.Sequential):  # type: ignore[misc]
    def compute_loss(self, x: Any, y: Any, y_pred: Any, *_: Any, **__: Any) -> Any:
        assert y is None
        return keras.ops.mean((y_pred - keras.ops.cast(x, "float32")) ** 2)


class Steps(keras.Sequential):  # type: ignore[misc]
    def train_step(self, data: Any) -> Any:
        assert isinstance(data, tuple)
        return {"loss": keras.ops.mean(self(data[0]))}

    test_step = train_step


@pytest.mark.parametrize("kind", [Compresses, Steps])
@pytest.mark.parametrize("loss", [None, "mse"])
def test_inputs_alone_train_a_model_that_makes_its_own_loss(
    split: Path, kind: Any, loss: str | None
) -> None:
    itself = kind([keras.Input((8, 6, 3)), keras.layers.Conv2D(3, 1)])
    itself.compile("sgd", loss)
    with ZarrSequence(split, 11, fields="image") as seq:
        assert itself.fit(seq, verbose=0).history["loss"]
        assert np.isfinite(itself.evaluate(seq, verbose=0))


class Around(keras.utils.PyDataset):
    def __init__(self, sequence: ZarrSequence) -> None:
        super().__init__()
        self.sequence = sequence

    def __len__(self) -> int:
        return len(self.sequence)

    def __getitem__(self, index: int) -> Any:
        return self.sequence[index]


@pytest.mark.parametrize("around", [False, True])
def test_names_of_another_order_than_that_of_predictions_are_told(
    split: Path, model: Any, around: bool
) -> None:
    log: list[list[int]] = []
    with ZarrSequence(split, 4) as seq:
        data = Around(seq) if around else seq
        traced_model(keras, log).fit(data, verbose=0, shuffle=False)
        seq.batch_keys(0)  # of the coming epoch: nobody has lost anything
        model.predict(data, verbose=0)
        with pytest.warns(UserWarning, match=r"names .* epoch 2; predict went .* epoch 1,.*=False"):
            seq.batch_keys(0)
        seq.batch_keys(1)  # once is enough
        assert seq.batch_keys(0, epoch=0) == [f"sample {sample}" for sample in log[0]]


def test_names_in_the_order_of_predictions_are_not_told(split: Path, model: Any) -> None:
    with ZarrSequence(split, 4, shuffle=False) as seq:
        model.predict(seq, verbose=0)
        seq.batch_keys(0)
    with ZarrSequence(split, 4) as seq:
        model.predict(seq, verbose=0, steps=4)
        seq.batch_keys(0)
        model.predict(seq, verbose=0)
        seq.batch_keys(0, epoch=0)
        seq.set_epoch(0)
        seq.batch_keys(0)
        model.evaluate(seq, verbose=0)
        seq.batch_keys(0)


def test_what_is_not_ours_goes_the_way_of_keras(model: Any) -> None:
    image = np.zeros((4, 8, 6, 3), np.uint8)
    model.fit(image, np.zeros((4, 8, 6)), batch_size=2, sample_weight=image[..., 0], verbose=0)
    with pytest.raises(ValueError, match="as a generator"):
        model.fit((pair for pair in [(image, image)]), y=image, verbose=0)


@pytest.mark.parametrize("name", ["depth", "image2"])
def test_a_third_array_is_taken_as_weights_only_if_it_is_called_so(
    tmp_path: Path, model: Any, name: str
) -> None:
    pixels = traced_pixels(6)
    pixels |= {name: pixels["mask"].astype(np.float32), "pixel_weight": np.ones((6, 8, 6), "f4")}
    split = write_split(tmp_path / "s", pixels)
    with ZarrSequence(split, 4, fields=("image", "mask", name)) as seq:
        assert len(next(iter(seq))) == 3  # by hand they are what they are
        with pytest.raises(
            ValueError, match=rf"would take '{name}' as weights.*fields=\('image', 'm"
        ):
            model.fit(seq, verbose=0)
    with ZarrSequence(split, 4, fields=("image", "mask", "pixel_weight")) as seq:
        model.fit(seq, verbose=0)


@pytest.mark.parametrize("name", ["FeedMonitor", "ResumeCallback"])
def test_a_callback_beside_something_else_than_its_sequence_is_told(
    split: Path, tmp_path: Path, model: Any, name: str
) -> None:
    def callback(sequence: Any) -> Any:
        return (
            FeedMonitor(sequence) if name == "FeedMonitor" else ResumeCallback(sequence, tmp_path)
        )

    image = np.zeros((4, 8, 6, 3), np.uint8)
    with (
        ZarrSequence(split, 4) as seq,
        pytest.raises(RuntimeError, match=f"{name} follows a ZarrSequence, .* the sequence itself"),
    ):
        model.fit(image, image[..., 0], verbose=0, callbacks=[callback(seq)])
    with pytest.raises(TypeError, match=f"{name} needs the ZarrSequence .*, got a ndarray"):
        callback(image)


@pytest.mark.parametrize("used", ["never", "before", "for validation"])
@pytest.mark.parametrize("name", ["FeedMonitor", "ResumeCallback"])
def test_a_callback_beside_another_sequence_than_its_own_is_told(
    split: Path, tmp_path: Path, model: Any, name: str, used: str
) -> None:
    with ZarrSequence(split, 4) as seq, ZarrSequence(split, 2, shuffle=False) as other:
        callback = FeedMonitor(other) if name == "FeedMonitor" else ResumeCallback(other, tmp_path)
        if used != "never":
            model.evaluate(other, verbose=0)
        validation = other if used == "for validation" else None
        with pytest.raises(RuntimeError, match=rf"{name} follows a .* got ZarrSequence\(.*of 2;"):
            model.fit(seq, validation_data=validation, verbose=0, callbacks=[callback])


def test_a_callback_follows_its_sequence_from_one_fit_to_the_next(split: Path, model: Any) -> None:
    lines: list[str] = []
    with ZarrSequence(split, 4) as seq:
        monitor = FeedMonitor(seq, lines.append)
        for _ in range(2):
            model.fit(seq, validation_data=seq, epochs=2, verbose=0, callbacks=[monitor])
            model.fit(seq, steps_per_epoch=2, epochs=2, verbose=0, callbacks=[monitor])
    assert len(lines) == 8
