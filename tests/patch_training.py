"""Training on patches of volumes, and the same computed by NumPy from the whole volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed import GridPatches, RandomPatches, ZarrSequence, open_cases

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIZE = (4, 6, 5)
SCALE, RATE, EPOCHS = 1e-3, 0.2, 2
RANDOM = RandomPatches(SIZE, per_epoch=10, shares={2: 0.5}, flips=True)
GRID = GridPatches(SIZE, overlap=0.5)
WORKERS: dict[str, dict[str, Any]] = {
    "inline": {"workers": 0},
    "processes": {"workers": 1, "use_multiprocessing": True},
}


def patches_of(path: Path, sequence: ZarrSequence, epoch: int) -> list[list[NDArray[Any]]]:
    """Cut the batches of an epoch out of the whole volumes."""
    cases = open_cases(path)
    fields = ("image", "mask")
    whole = {(key, name): np.asarray(cases.open(key, name)) for key in cases for name in fields}
    batches = []
    for number in range(len(sequence)):
        batch: list[list[NDArray[Any]]] = [[], []]
        for place in sequence.batch_places(number, epoch=epoch):
            box = tuple(slice(at, at + n) for at, n in zip(place.origin, SIZE, strict=True))
            flipped = [axis for axis in range(3) if place.flips[axis]]
            for rows, name in zip(batch, fields, strict=True):
                rows.append(np.flip(whole[place.key, name][box], flipped))
        batches.append([np.stack(rows) for rows in batch])
    return batches


class Regression:
    """Logistic regression of the class of each voxel, by NumPy."""

    def __init__(self, kernel: NDArray[Any], bias: NDArray[Any]) -> None:
        self.kernel, self.bias = kernel.astype(np.float64), bias.astype(np.float64)

    def logits(self, image: NDArray[Any]) -> NDArray[Any]:
        return image * SCALE @ self.kernel[0, 0, 0] + self.bias

    def probabilities(self, image: NDArray[Any]) -> NDArray[Any]:
        logits = self.logits(image)
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)

    def loss(self, image: NDArray[Any], mask: NDArray[Any]) -> float:
        chosen = np.take_along_axis(self.probabilities(image), mask[..., None].astype(int), -1)
        return float(-np.log(chosen).mean())

    def step(self, image: NDArray[Any], mask: NDArray[Any]) -> None:
        slope = (self.probabilities(image) - np.eye(3)[mask]).reshape(-1, 3) / mask.size
        self.kernel[0, 0, 0] -= RATE * (image.reshape(-1, 1) * SCALE).T @ slope
        self.bias -= RATE * slope.sum(axis=0)


def compare(keras: Any, path: Path) -> dict[str, float]:
    """Return how far `fit`, `evaluate` and `predict` are from the same by NumPy, at most."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((*SIZE, 1), dtype="int16"),
            keras.layers.Rescaling(SCALE),
            keras.layers.Conv3D(3, 1),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(RATE), loss=loss)
    start = [np.asarray(weights) for weights in model.get_weights()]
    with ZarrSequence(path, 4, patches=RANDOM, seed=1, workers=0) as sequence:
        epochs = [patches_of(path, sequence, epoch) for epoch in range(EPOCHS)]
    with ZarrSequence(path, 3, patches=GRID, shuffle=False, workers=0) as sequence:
        grid = patches_of(path, sequence, 0)
    images, masks = (np.concatenate(arrays) for arrays in zip(*grid, strict=True))
    right = Regression(*start)
    for batch in (batch for batches in epochs for batch in batches):
        right.step(*batch)
    found: dict[str, float] = {"moved": float(np.abs(right.kernel - start[0]).max())}
    for name, workers in WORKERS.items():
        model.set_weights(start)
        with ZarrSequence(path, 4, patches=RANDOM, seed=1, **workers) as train:
            model.fit(train, epochs=EPOCHS, verbose=0)
        kernel, bias = model.get_weights()
        found[f"{name}: fit"] = float(
            max(np.abs(kernel - right.kernel).max(), np.abs(bias - right.bias).max())
        )
        with ZarrSequence(path, 3, patches=GRID, shuffle=False, **workers) as test:
            predicted = model.predict(test, verbose=0)
            difference = predicted - right.logits(images)
            found[f"{name}: predict"] = float(np.abs(difference).max())
    with ZarrSequence(path, 3, patches=GRID, pad_remainder=True, workers=1) as test:
        evaluated = model.evaluate(test, verbose=0) * 3 * len(test) / test.samples
    found["evaluate"] = abs(evaluated - right.loss(images, masks))
    return found
