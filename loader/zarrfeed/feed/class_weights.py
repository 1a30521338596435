"""Which weight does each pixel get from `class_weight`?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from zarrfeed.errors import StoreError, look_up
from zarrfeed.feed.class_ids import class_id
from zarrfeed.store.schema import MASK

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed.feed.slot import Spec
    from zarrfeed.store.split import Split

# dtypes of masks whose ids can index a table of weights.
WEIGHABLE = (np.dtype(np.uint8), np.dtype(np.uint16))
ClassWeight: TypeAlias = Mapping[int | str, float] | Mapping[int, float] | Sequence[float] | str


def require_ids(target: Spec, split: Split) -> None:
    """Refuse class weights for a mask whose pixels may have several classes or none.

    Raises
    ------
    StoreError
        The target is a multi-hot mask, or one of numbers of instances.
    """
    if split.instances and target.name == MASK:
        raise StoreError(
            f"class_weight weighs a pixel by its class; {target.name!r} of {split.address} holds "
            "numbers of instances: pack class ids with --instances semantic or boundary"
        )
    if not split.multi_hot or target.name != MASK:
        return
    if len(target.shape) == len(split.layouts[MASK].sample_shape):
        raise StoreError(
            f"class_weight weighs a pixel by its class; pixels of the multi-hot {target.name!r} of "
            f"{split.address} have several classes, or none: weigh the classes in the loss, or "
            "compute weights in a transform and name them in weights="
            f"{look_up('class-weight')}"
        )


def weight_table(
    class_weight: ClassWeight,
    mask: Spec,
    split: Split,
    pixels: NDArray[np.float64] | None,
) -> NDArray[np.float32]:
    """Turn class weights into a table that a mask can index.

    Parameters
    ----------
    class_weight
        ``{class name or id: weight}`` (others weigh 1), one weight per class, or "balanced".
    mask
        The target, whose values are class ids.
    split
        The opened split. If it has no names of classes, every id is valid. Its ignore id weighs 0
        unless `class_weight` names it.
    pixels
        (classes,) float64 number of pixels of each class; None if they were not counted.

    Returns
    -------
    (256,) or (65536,) float32
        The weight of every possible id of the mask.

    Raises
    ------
    StoreError
        The target is not a uint8 or uint16 mask, or the counts that "balanced" needs are missing.
    ValueError
        A class is unknown, weights are missing, or a weight is negative or not finite.
    """
    if mask.dtype not in WEIGHABLE:
        raise StoreError(
            f"class_weight needs a uint8 or uint16 mask as target, got {mask.name!r} of "
            f"{mask.dtype}: compute weights in a transform, and name them in weights="
            f"{look_up('class-weight')}"
        )
    table = np.ones(np.iinfo(mask.dtype).max + 1, np.float32)
    ignore = split.ignore
    if ignore is not None and ignore < table.size:  # a store may name one that no mask can hold
        table[ignore] = 0
        if pixels is not None and ignore < pixels.size:
            pixels = np.delete(pixels, ignore)
    if isinstance(class_weight, str):
        ids = [label for label in range(table.size) if label != ignore]
        for label, weight in zip(ids, _balanced(class_weight, pixels), strict=False):
            table[label] = weight
        return table
    for label, weight in _weights_by_id(class_weight, split, table.size).items():
        table[label] = weight
    return table


def _balanced(class_weight: str, pixels: NDArray[np.float64] | None) -> list[float]:
    """Weigh classes as scikit-learn's ``compute_class_weight``; a class without pixels weighs 0."""
    if class_weight != "balanced":
        raise ValueError(f"class_weight must be a dict, a list or 'balanced', not {class_weight!r}")
    if pixels is None:
        raise StoreError(
            "class_weight='balanced' needs class_pixels, which this store lacks: give one weight "
            "per class"
            f"{look_up('class-counts')}"
        )
    balanced = pixels.sum() / (pixels.size * np.maximum(pixels, 1))
    weights: list[float] = np.where(pixels > 0, balanced, 0.0).tolist()
    return weights


def _weights_by_id(
    class_weight: Mapping[int | str, float] | Mapping[int, float] | Sequence[float],
    split: Split,
    ids: int,
) -> dict[int, float]:
    if isinstance(class_weight, Mapping):
        return {
            class_id(label, split, ids, argument="class_weight"): _weight(label, weight)
            for label, weight in class_weight.items()
        }
    classes = split.classes
    weights = [_weight(label, weight) for label, weight in enumerate(class_weight)]
    if classes and len(weights) != len(classes):
        raise ValueError(
            f"class_weight needs one weight for each of the {len(classes)} classes, not "
            f"{len(weights)}: {', '.join(classes)}"
        )
    return dict(enumerate(weights))


def _weight(label: int | str, weight: Any) -> float:
    try:
        value = float(weight)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if isinstance(weight, str) or not 0 <= value < math.inf:
        raise ValueError(
            f"class_weight[{label!r}] must be a finite number of at least 0, not {weight!r}"
        )
    return value
