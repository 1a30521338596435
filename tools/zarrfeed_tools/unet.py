"""A small U-Net for images and volumes, and its training on two sequences of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
from keras import layers

if TYPE_CHECKING:
    from zarrfeed import ZarrSequence
    from zarrfeed_tools.intensities import Intensities

_LEARNING_RATE = 3e-3  # of Adam, at the start; it falls to 0 along a cosine


def build_unet(
    shape: tuple[int, ...],
    classes: int,
    *,
    filters: int = 16,
    depth: int = 3,
    intensities: Intensities | None = None,
) -> keras.Model:
    """Build a U-Net.

    Parameters
    ----------
    shape
        (height, width, channels) of images, or (depth, height, width, channels) of volumes. The
        model pads sides that cannot be halved `depth` times.
    classes
        Number of classes, which is the number of output channels.
    filters
        Number of filters in the first level. Each level has twice as many as the one above.
    depth
        Number of times that the resolution is halved.
    intensities
        The values of each channel that the model tells apart; None for 0 to 255.

    Returns
    -------
    keras.Model
        A model from numbers (b, H, W, C) or (b, D, H, W, C) to float32 logits (b, H, W, classes) or
        (b, D, H, W, classes).

    References
    ----------
    Ronneberger, Fischer, Brox: U-Net, MICCAI 2015 (arXiv:1505.04597). This one has batch
    normalisation and "same" padding.
    """
    axes, multiple = len(shape) - 1, 2**depth
    padding = tuple((0, -extent % multiple) for extent in shape[:-1])
    inputs = keras.Input(shape)
    # Before the scale: TensorFlow with oneDNN fuses padding of volumes into a convolution wrongly.
    x = _layer("ZeroPadding", axes)(padding)(inputs)
    # In the model, because batches of the stored dtype are smaller.
    x = layers.Rescaling(1 / 255)(x) if intensities is None else _scale(x, intensities)
    skips = []
    for level in range(depth):
        x = _double_convolution(x, filters * 2**level, axes)
        skips.append(x)
        x = _layer("MaxPooling", axes)()(x)
    x = _double_convolution(x, filters * multiple, axes)
    smooth = {"interpolation": "bilinear"} if axes == 2 else {}  # which Keras has for images alone
    for level in reversed(range(depth)):
        x = _layer("UpSampling", axes)(**smooth)(x)
        x = layers.Concatenate()([x, skips[level]])
        x = _double_convolution(x, filters * 2**level, axes)
    x = _layer("Cropping", axes)(padding)(x)
    logits = _layer("Conv", axes)(classes, 1, dtype="float32")(x)
    return keras.Model(inputs, logits, name="unet")


def _layer(name: str, axes: int) -> Any:
    """Return the class of a layer for images (2 axes) or volumes (3)."""
    return getattr(layers, f"{name}{axes}D")


def _scale(x: Any, intensities: Intensities) -> Any:
    """Map the lowest intensity of each channel to 0 and the highest to 1, and clip the others."""
    low, high = intensities
    x = layers.Normalization(mean=low, variance=(high - low) ** 2)(x)
    return layers.ReLU(max_value=1)(x)


def _double_convolution(x: Any, filters: int, axes: int) -> Any:
    for _ in range(2):
        x = _layer("Conv", axes)(filters, 3, padding="same", use_bias=False)(x)
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
