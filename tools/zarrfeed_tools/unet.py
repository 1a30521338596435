"""A small U-Net, and its training on two sequences. Plain functions over Keras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
from keras import layers

if TYPE_CHECKING:
    from zarrfeed import ZarrSequence

_LEARNING_RATE = 3e-3  # of Adam, at the start; it falls to 0 along a cosine


def build_unet(
    shape: tuple[int, int, int], classes: int, *, filters: int = 16, depth: int = 3
) -> keras.Model:
    """Build a U-Net.

    Parameters
    ----------
    shape
        (height, width, channels) of the images. The model pads sides that cannot be halved `depth`
        times.
    classes
        Number of classes, which is the number of output channels.
    filters
        Number of filters in the first level. Each level has twice as many as the one above.
    depth
        Number of times that the resolution is halved.

    Returns
    -------
    keras.Model
        A model from (b, H, W, C) uint8 or float in 0 … 255 to (b, H, W, classes) float32 logits.

    References
    ----------
    Ronneberger, Fischer, Brox: U-Net, MICCAI 2015 (arXiv:1505.04597). This one has batch
    normalisation and "same" padding.
    """
    height, width, _ = shape
    multiple = 2**depth
    down, right = -height % multiple, -width % multiple
    inputs = keras.Input(shape)
    x = layers.Rescaling(1 / 255)(inputs)  # in the model, because uint8 batches are smaller
    x = layers.ZeroPadding2D(((0, down), (0, right)))(x)
    skips = []
    for level in range(depth):
        x = _double_convolution(x, filters * 2**level)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = _double_convolution(x, filters * multiple)
    for level in reversed(range(depth)):
        x = layers.UpSampling2D(interpolation="bilinear")(x)
        x = layers.Concatenate()([x, skips[level]])
        x = _double_convolution(x, filters * 2**level)
    x = layers.Cropping2D(((0, down), (0, right)))(x)
    return keras.Model(inputs, layers.Conv2D(classes, 1, dtype="float32")(x), name="unet")


def _double_convolution(x: Any, filters: int) -> Any:
    for _ in range(2):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)  # 0.99 needs more steps than a demo has
        x = layers.ReLU()(x)
    return x


@dataclass(frozen=True, slots=True)
class Training:
    """A trained model and its history.

    Attributes
    ----------
    model
        The trained U-Net.
    history
        Keras' history: ``loss``, ``val_loss``, ``val_iou``, one value per epoch.
    """

    model: keras.Model
    history: dict[str, list[float]]


def train_unet(
    train: ZarrSequence,
    validation: ZarrSequence,
    *,
    shape: tuple[int, int, int],
    classes: int,
    epochs: int,
    filters: int = 16,
    callbacks: list[keras.callbacks.Callback] | None = None,
    progress_bar: bool = True,
) -> Training:
    """Train a U-Net by a plain ``model.fit``, with Adam and a learning rate that falls to 0.

    Parameters
    ----------
    train, validation
        Sequences of (image, mask). Mask ids that `train` ignores count neither in the loss nor in
        the IoU.
    shape
        (height, width, channels) of an image.
    classes
        Number of classes.
    epochs
        Number of passes over `train`.
    filters
        Number of filters in the first level.
    callbacks
        Callbacks for ``fit``.
    progress_bar
        Whether Keras shows its progress bar.
    """
    model, ignore = build_unet(shape, classes, filters=filters), train.ignore
    rate: Any = keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, epochs * train.num_batches)
    model.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=ignore),
        metrics=[
            keras.metrics.MeanIoU(
                classes, name="iou", ignore_class=ignore, sparse_y_true=True, sparse_y_pred=False
            )
        ],
    )
    fitted: Any = model.fit(
        train,
        validation_data=validation,
        epochs=epochs,
        callbacks=callbacks,
        verbose="auto" if progress_bar else 0,  # pyright: ignore[reportArgumentType]
    )
    return Training(model, fitted.history)
