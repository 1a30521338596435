"""Train a U-Net on a packed dataset, measure the loader and draw predictions."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from zarrfeed import StoreError, ZarrSequence, list_splits, open_split
from zarrfeed.pictures.palette import Palette
from zarrfeed_tools.augment import flip
from zarrfeed_tools.pictures import side_by_side
from zarrfeed_tools.rates import Clock, measure_feed
from zarrfeed_tools.terminal import shown
from zarrfeed_tools.unet import train_unet

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

FIELDS = ("image", "mask")
_VALIDATION_NAMES = ("val", "valid", "validation", "test")


@dataclass(frozen=True, slots=True)
class Demonstration:
    """Result of a demonstration.

    Attributes
    ----------
    data
        Path of the dataset.
    train_samples, validation_samples
        Number of samples.
    validated_on
        The split for validation, or which samples of ``train`` were held out.
    epochs
        Number of passes over the training split.
    loss, val_loss, val_iou
        One value per epoch. IoU is the mean over classes.
    fed_batches_per_second
        Speed of the loader alone, without training.
    trained_batches_per_second
        Speed of training after the first epoch, without validation.
    picture
        Path of the PNG with predictions.
    """

    data: str
    train_samples: int
    validation_samples: int
    validated_on: str
    epochs: int
    loss: list[float]
    val_loss: list[float]
    val_iou: list[float]
    fed_batches_per_second: float
    trained_batches_per_second: float
    picture: str

    def to_json(self) -> dict[str, Any]:
        """Return a dict that fits JSON."""
        return asdict(self)


def demonstrate(
    data: Path,
    picture: Path,
    *,
    epochs: int,
    batch_size: int,
    filters: int,
    seed: int,
    show: Console,
    progress_bar: bool = True,
) -> Demonstration:
    """Train a U-Net on a dataset, and draw some of its predictions.

    Parameters
    ----------
    data
        A dataset with a split ``train`` and, if possible, ``val``. Without ``val``, every fifth
        training sample is held out.
    picture
        Path of the PNG to write.
    epochs, batch_size, filters, seed
        Parameters of the training.
    show
        Console for messages.
    progress_bar
        Whether Keras shows its progress bar.

    Raises
    ------
    StoreError
        The dataset has no split ``train``, its arrays cannot make a batch, its images are volumes,
        or its masks are multi-hot.
    """
    keras.utils.set_random_seed(seed)
    validated_on = _require_images(data)
    train, validation = open_sequences(data, batch_size=batch_size, seed=seed)
    with train, validation:
        fed = measure_feed(train)
        show.print(
            f"\nThe loader alone delivers {fed:,.0f} batches of {batch_size} a second.\n"
            f"Validation is on {shown(validated_on)}: {validation.samples:,} samples.\n",
            soft_wrap=True,
        )
        image, mask = validation[0]
        classes = train.classes or _classes_seen(train)
        clock = Clock()
        training = train_unet(
            train,
            validation,
            shape=image.shape[1:],
            classes=len(classes),
            epochs=epochs,
            filters=filters,
            callbacks=[clock.callback()],
            progress_bar=progress_bar,
        )
        first = slice(0, min(4, len(image)))
        logits = training.model.predict(image[first], verbose=0)
        sheet = side_by_side(
            image[first], mask[first], np.argmax(logits, axis=-1),
            validation.batch_keys(0)[first],
            palette=Palette.of(classes, train.ignore),
        )  # fmt: skip
        picture.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(picture)
        return Demonstration(
            data=str(data),
            train_samples=train.samples,
            validation_samples=validation.samples,
            validated_on=validated_on,
            epochs=epochs,
            loss=training.history["loss"],
            val_loss=training.history["val_loss"],
            val_iou=training.history["val_iou"],
            fed_batches_per_second=fed,
            trained_batches_per_second=clock.batches_per_second(),
            picture=str(picture),
        )


def _require_images(data: Path) -> str:
    """Check that a dataset has images of two axes, and say on what a model is validated."""
    held_out, split = require_splits(data), open_split(data / "train")
    image, tile = split.layouts.get("image"), split.tile_size
    if image is not None and len(image.shape) == 5:
        size, what = "×".join(map(str, image.shape[1:4])), "volumes" if tile is None else "tiles"
        again = "" if tile else "pack them by zarrfeed convert --tile auto and "
        command = shlex.join(["zarrfeed", "demo", "--volumes", "--data", str(data)])
        raise StoreError(
            f"{data}: demo trains on 2-D images, found {what} of {size}; {again}try {command}"
        )
    unit = "sample" if tile is None else "tile"
    return held_out or f"every fifth {unit} of train, held out because there is no split val"


def _classes_seen(train: ZarrSequence) -> tuple[str, ...]:
    """Return the ids of all classes in the masks as names."""
    return tuple(str(number) for number in range(max(int(mask.max()) for _, mask in train) + 1))


def open_sequences(data: Path, *, batch_size: int, seed: int) -> tuple[ZarrSequence, ZarrSequence]:
    """Open the training and the validation sequence of a dataset."""
    held_out = require_splits(data)
    train_ids = validation_ids = None
    if held_out is None:
        held_out = "train"
        ids = np.arange(ZarrSequence(data / "train", 1).samples)
        train_ids, validation_ids = ids[ids % 5 != 0], ids[ids % 5 == 0]
    train = ZarrSequence(
        data / "train", batch_size, fields=FIELDS, subset=train_ids, seed=seed, transform=flip,
        workers=2, use_multiprocessing=True,
    )  # fmt: skip
    validation = ZarrSequence(
        data / held_out, batch_size, fields=FIELDS, subset=validation_ids, shuffle=False,
        workers=2, use_multiprocessing=True,
    )  # fmt: skip
    return train, validation


def require_splits(data: Path) -> str | None:
    """Check that a dataset has a split ``train`` that the demonstration's models can learn.

    Returns
    -------
    str or None
        Name of the split for validation; None if there is none.

    Raises
    ------
    StoreError
        There is no split ``train``, or its masks are multi-hot.
    """
    splits = list_splits(data)
    if "train" not in splits:
        found = ", ".join(splits) or "no split"
        raise StoreError(f"{data}: needed a dataset with a split 'train', found {found}")
    if open_split(data / "train").multi_hot:
        raise StoreError(
            f"{data}: needed masks of class ids for the demonstration's model, found multi-hot "
            'masks; train on these with a sigmoid per class and loss="binary_crossentropy"'
        )
    return next((name for name in _VALIDATION_NAMES if name in splits), None)
