"""How good is a model on whole images or volumes, epoch by epoch?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras

from zarrfeed import evaluate, predict

if TYPE_CHECKING:
    from pathlib import Path

    from zarrfeed import Evaluation, GridPatches, Split

_MOST = 6  # validations, however many epochs


@dataclass(frozen=True, slots=True)
class Score:
    """How good is the model after an epoch?

    Attributes
    ----------
    epoch
        Number of epochs trained.
    loss
        Mean loss of the epoch's patches.
    dice
        Class → mean Dice over whole cases, without classes that no case has.
    """

    epoch: int
    loss: float
    dice: dict[str, float]


class CaseValidation(keras.callbacks.Callback):  # type: ignore[misc]
    """Predicts and evaluates whole cases after some epochs, the last one included.

    Keras shows Dice of each class beside the loss, and keeps it in its history.

    Parameters
    ----------
    split
        Cases with masks.
    out
        Dataset of the predictions, which is replaced each time.
    patches
        Patches that cover the cases.
    epochs
        Number of epochs that are trained.

    Attributes
    ----------
    scores
        One for each validation.
    predictions
        The split of the last predictions.
    last
        Scores of all cases in the last validation.
    """

    last: Evaluation

    def __init__(self, split: Split, out: Path, patches: GridPatches, *, epochs: int) -> None:
        super().__init__()
        self.scores: list[Score] = []
        self.predictions = out / split.path.name
        self._split = split
        self._out = out
        self._patches = patches
        self._epochs = epochs
        self._background = [name for name in split.classes[:1] if name.lower() == "background"]

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Predict and evaluate, if it is time to."""
        logs = {} if logs is None else logs
        if (self._epochs - epoch - 1) % math.ceil(self._epochs / _MOST):
            return
        model: Any = self.model
        predict(model, self._split.path, self._out, self._patches, overwrite=True)
        self.last = evaluate(self._split.path, self.predictions, exclude=self._background)
        pairs = zip(self.last.classes, self.last.class_dice.tolist(), strict=True)
        dice = {name: value for name, value in pairs if not math.isnan(value)}
        self.scores.append(Score(epoch + 1, logs.get("loss", math.nan), dice))
        logs.update({f"dice_{name}": value for name, value in dice.items()})
