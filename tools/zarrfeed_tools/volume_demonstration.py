"""Train a U-Net on patches of volumes, predict whole volumes, and draw slices of them."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from zarrfeed import (
    GridPatches,
    RandomPatches,
    StoreError,
    ZarrSequence,
    class_pixels,
    open_cases,
)
from zarrfeed_tools.case_validation import CaseValidation
from zarrfeed_tools.demonstration import FIELDS, require_splits
from zarrfeed_tools.evaluation_report import show_evaluation
from zarrfeed_tools.intensities import measure_intensities
from zarrfeed_tools.rates import Clock, measure_feed
from zarrfeed_tools.segmentation_loss import dice_and_crossentropy
from zarrfeed_tools.slices import draw_slices
from zarrfeed_tools.tables import table_of
from zarrfeed_tools.terminal import shown
from zarrfeed_tools.unet import build_unet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from zarrfeed import Cases, Split
    from zarrfeed_tools.case_validation import Score
    from zarrfeed_tools.intensities import Intensities

_LEARNING_RATE = 1e-2  # of Adam, at the start; it falls to 0 along a cosine
_DEPTH = 2  # of the U-Net
_PREDICTIONS = "predictions.zarr"
_OVERLAP = 0.5  # of the patches of predictions
_CASES = 10  # in the table of scores, the worst first


@dataclass(frozen=True, slots=True)
class VolumeDemonstration:
    """Result of a demonstration with volumes.

    Attributes
    ----------
    data
        Path of the dataset.
    train_cases, validation_cases
        Number of volumes.
    forced
        The class that a share of all patches contains.
    scores
        One for each epoch after which whole volumes were predicted.
    fed_patches_per_second
        Speed of the loader alone, without training.
    trained_patches_per_second
        Speed of training after the first epoch, without validation.
    model, predictions, picture
        Paths of the model, the predicted volumes and the PNG.
    """

    data: str
    train_cases: int
    validation_cases: int
    forced: str
    scores: list[Score]
    fed_patches_per_second: float
    trained_patches_per_second: float
    model: str
    predictions: str
    picture: str

    def to_json(self) -> dict[str, Any]:
        """Return a dict that fits JSON."""
        return asdict(self)


def demonstrate_volumes(
    data: Path,
    out: Path,
    *,
    epochs: int,
    batch_size: int,
    filters: int,
    patch: tuple[int, ...],
    per_epoch: int,
    share: float,
    seed: int,
    show: Console,
    progress_bar: bool = True,
) -> VolumeDemonstration:
    """Train a U-Net on patches, and predict and evaluate whole volumes every few epochs.

    Parameters
    ----------
    data
        A dataset with splits of cases ``train`` and ``val``, volumes of any size.
    out
        Folder of the model, the predictions and the picture.
    epochs, batch_size, filters, seed
        Parameters of the training.
    patch
        Size of a patch, (d, h, w).
    per_epoch
        Number of patches per epoch.
    share
        Share of patches that must contain the rarest class.
    show
        Console for messages.
    progress_bar
        Whether Keras shows its progress bar.

    Raises
    ------
    StoreError
        The dataset has no such splits, their masks have no classes, or they are multi-hot.
    """
    keras.utils.set_random_seed(seed)
    cases, held_out = _open_volumes(data)
    split = cases.split
    rarest, part = _rarest_class(split)
    patches = RandomPatches(
        patch, per_epoch=per_epoch, shares={rarest: share} if share else None, jitter=0.5,
        flips=True,
    )  # fmt: skip
    validation = CaseValidation(
        held_out.split,
        out / _PREDICTIONS,
        GridPatches(patch, overlap=_OVERLAP),
        epochs=epochs,
    )
    with ZarrSequence(
        split.path, batch_size, fields=FIELDS, patches=patches, seed=seed, workers=2,
        use_multiprocessing=True,
    ) as train:  # fmt: skip
        fed = measure_feed(train) * batch_size
        show.print(
            f"\n{share:.0%} of all patches must contain {shown(rarest)}, the class of {part:.2%} "
            f"of all voxels.\nThe loader alone delivers {fed:,.0f} patches of "
            f"{'×'.join(map(str, patch))} a second.\n",
            soft_wrap=True,
        )
        intensities = measure_intensities(train, ignore=train.ignore)
        shape = (*patch, split.layouts["image"].shape[-1])
        model = _compiled_unet(train, shape, intensities, epochs=epochs, filters=filters)
        clock = Clock()
        model.fit(
            train,
            epochs=epochs,
            callbacks=[clock.callback(), validation],
            verbose="auto" if progress_bar else 0,  # pyright: ignore[reportArgumentType]
        )
    model.save(out / "volumes.keras")
    sheet = draw_slices(held_out, validation.predictions, of_class=rarest, intensities=intensities)
    sheet.save(out / "volumes.png")
    _show_scores(validation.scores, show)
    truth = data / held_out.split.path.name
    command = shlex.join(["zarrfeed", "evaluate", str(truth), str(out / _PREDICTIONS)])
    show.print(f"[bold]Evaluate[/] the last predictions: {shown(command)}\n", soft_wrap=True)
    show_evaluation(validation.last, show, cases=_CASES)
    return VolumeDemonstration(
        data=str(data),
        train_cases=len(cases),
        validation_cases=len(held_out),
        forced=rarest,
        scores=validation.scores,
        fed_patches_per_second=fed,
        trained_patches_per_second=clock.batches_per_second() * batch_size,
        model=str(out / "volumes.keras"),
        predictions=str(validation.predictions),
        picture=str(out / "volumes.png"),
    )


def _compiled_unet(
    train: ZarrSequence,
    shape: tuple[int, ...],
    intensities: Intensities,
    *,
    epochs: int,
    filters: int,
) -> keras.Model:
    model = build_unet(
        shape,
        len(train.classes),
        filters=filters,
        depth=_DEPTH,
        intensities=intensities,
    )
    rate: Any = keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, epochs * train.num_batches)
    loss: Any = dice_and_crossentropy(len(train.classes), ignore=train.ignore)
    # Clipped, so that Dice of the few cases rises more evenly.
    model.compile(optimizer=keras.optimizers.Adam(rate, global_clipnorm=1.0), loss=loss)
    return model


def _show_scores(scores: Sequence[Score], show: Console) -> None:
    """Print loss and Dice by epoch."""
    names = dict.fromkeys(name for score in scores for name in score.dice)
    table = table_of("epoch", numbers=("loss", *(f"{shown(name)}\nDice" for name in names)))
    for score in scores:
        dice = (f"{score.dice[name]:.3f}" if name in score.dice else "–" for name in names)
        table.add_row(str(score.epoch), f"{score.loss:.3f}", *dice)
    show.print(table)


def _open_volumes(data: Path) -> tuple[Cases, Cases]:
    held_out = require_splits(data)
    if held_out is None:
        raise StoreError(
            f"{data}: needed a split 'val' of other volumes, found 'train' alone; pack them by "
            "zarrfeed convert --split val"
        )
    cases, others = open_cases(data / "train"), open_cases(data / held_out)
    if len(cases.tile_size) != 3:
        raise StoreError(
            f"{data}: needed volumes, found images in tiles {cases.tile_size}; leave out --volumes"
        )
    return cases, others


def _rarest_class(split: Split) -> tuple[str, float]:
    """Return the class with the fewest voxels, and its share of all voxels."""
    voxels = class_pixels(split, range(split.tiles))
    if voxels is None or not split.classes or not voxels.any():
        raise StoreError(
            f"{split.path}: needed counted classes, found none; pack it by zarrfeed convert"
        )
    found = np.flatnonzero(voxels)
    rarest = int(found[np.argmin(voxels[found])])
    return split.classes[rarest], voxels[rarest] / voxels.sum()
