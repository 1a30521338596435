"""A loss for classes that are rare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from collections.abc import Callable

ops: Any = keras.ops  # whose annotations do not fit tensors


def dice_and_crossentropy(classes: int, *, ignore: int | None = None) -> Callable[[Any, Any], Any]:
    """Return the sum of soft Dice loss and cross-entropy, as nnU-Net trains with.

    Cross-entropy alone is small if a model misses a lesion of a few hundred voxels; Dice counts a
    class by its own size.

    Parameters
    ----------
    classes
        Number of classes.
    ignore
        Mask id of pixels that do not count.

    Returns
    -------
    function
        From masks (b, …) of class ids and logits (b, …, classes) to a scalar. Dice is the mean over
        classes, each over all pixels of the batch.
    """
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=ignore)

    def loss(true: Any, logits: Any) -> Any:
        true = ops.cast(true, "int32")
        counted = ops.ones_like(true) if ignore is None else ops.cast(true != ignore, "int32")
        weights = ops.cast(counted, logits.dtype)[..., None]
        labels = ops.one_hot(true * counted, classes, dtype=logits.dtype) * weights
        predicted = ops.softmax(logits) * weights
        pixels = tuple(range(len(labels.shape) - 1))
        both = ops.sum(labels * predicted, pixels)
        size = ops.sum(labels, pixels) + ops.sum(predicted, pixels)
        dice = (2 * both + 1) / (size + 1)  # 1 where a class is neither there nor predicted
        return 1 - ops.mean(dice) + crossentropy(true, logits)

    return loss
