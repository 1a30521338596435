"""The Dice coefficient and the intersection over union of each case and class."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.spelling import plural

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed.store.schema import JSON


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """How well predictions agree with the true masks; get one from :func:`zarrfeed.evaluate`.

    With TP true positive, FP false positive and FN false negative pixels of a class [1]_::

        Dice = 2 TP / (2 TP + FP + FN)        IoU = TP / (TP + FP + FN)

    A class that a case has neither in the truth nor in the prediction has no score there: it is NaN
    and left out of all means, as in nnU-Net. A class of the truth that is not predicted at all, or
    the reverse, scores 0.

    Attributes
    ----------
    keys
        Names of the M cases.
    classes
        Names of the K classes, without the ignored and the excluded ones.
    ids
        Their ids; of multi-hot masks, their channels.
    counts
        (M, K, 3) int64: true positives, false positives and false negatives, in pixels.
    unpredicted, unknown
        Names of the cases that were left out: those without a prediction, and those of the
        predictions that the store does not have.

    References
    ----------
    .. [1] A. A. Taha and A. Hanbury, "Metrics for evaluating 3D medical image segmentation:
       analysis, selection, and tool", BMC Medical Imaging 15:29, 2015.

    Examples
    --------
    >>> counts = np.array([[[8, 1, 1], [3, 2, 0]], [[9, 0, 1], [0, 0, 0]]])
    >>> found = Evaluation(("a", "b"), ("organ", "tumour"), (0, 1), counts)
    >>> found.dice.round(3).tolist()
    [[0.889, 0.75], [0.947, nan]]
    >>> found.class_dice.round(3).tolist(), found.class_cases.tolist()
    ([0.918, 0.75], [2, 1])
    >>> print(found)
    Dice 0.834, IoU 0.725: means over 2 classes and 2 cases
    """

    keys: tuple[str, ...]
    classes: tuple[str, ...]
    ids: tuple[int, ...]
    counts: NDArray[np.int64]
    unpredicted: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def dice(self) -> NDArray[np.float64]:
        """Dice coefficient of each case and class, (M, K) float64."""
        return _dice(self.counts)

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each case and class, (M, K) float64."""
        return _iou(self.counts)

    @property
    def case_dice(self) -> NDArray[np.float64]:
        """Mean Dice of each case over its classes, (M,) float64."""
        return _mean(self.dice, axis=1)

    @property
    def case_iou(self) -> NDArray[np.float64]:
        """Mean IoU of each case over its classes, (M,) float64."""
        return _mean(self.iou, axis=1)

    @property
    def class_dice(self) -> NDArray[np.float64]:
        """Mean Dice of each class over cases, (K,) float64."""
        return _mean(self.dice, axis=0)

    @property
    def class_iou(self) -> NDArray[np.float64]:
        """Mean IoU of each class over cases, (K,) float64."""
        return _mean(self.iou, axis=0)

    @property
    def class_cases(self) -> NDArray[np.int64]:
        """Number of cases that have a score of each class, (K,) int64."""
        return np.asarray(self.counts.any(axis=2).sum(axis=0), np.int64)

    @property
    def pooled_dice(self) -> NDArray[np.float64]:
        """Dice of each class over the pixels of all cases together, (K,) float64."""
        return _dice(self.counts.sum(axis=0))

    @property
    def pooled_iou(self) -> NDArray[np.float64]:
        """IoU of each class over the pixels of all cases together, (K,) float64."""
        return _iou(self.counts.sum(axis=0))

    @property
    def mean_dice(self) -> float:
        """Mean of :attr:`class_dice` over classes."""
        return float(_mean(self.class_dice, axis=0))

    @property
    def mean_iou(self) -> float:
        """Mean of :attr:`class_iou` over classes."""
        return float(_mean(self.class_iou, axis=0))

    def to_json(self) -> JSON:
        """Return a dict that fits JSON; scores that are NaN become None."""
        return {
            "dice": _number(self.mean_dice),
            "iou": _number(self.mean_iou),
            "pooled_dice": _number(_mean(self.pooled_dice, axis=0)),
            "pooled_iou": _number(_mean(self.pooled_iou, axis=0)),
            "classes": [
                {"name": name, "id": number, **scores}
                for name, number, scores in zip(
                    self.classes,
                    self.ids,
                    _rows(
                        cases=self.class_cases,
                        dice=self.class_dice,
                        iou=self.class_iou,
                        pooled_dice=self.pooled_dice,
                        pooled_iou=self.pooled_iou,
                        **_named_counts(self.counts.sum(axis=0)),
                    ),
                    strict=True,
                )
            ],
            "cases": [
                {"key": key, **scores, "classes": dict(zip(self.classes, classes, strict=True))}
                for key, scores, classes in zip(
                    self.keys,
                    _rows(dice=self.case_dice, iou=self.case_iou),
                    (
                        _rows(dice=dice, iou=iou, **_named_counts(counts))
                        for dice, iou, counts in zip(self.dice, self.iou, self.counts, strict=True)
                    ),
                    strict=True,
                )
            ],
            "unpredicted": list(self.unpredicted),
            "unknown": list(self.unknown),
        }

    def __str__(self) -> str:
        classes = "1 class" if len(self.classes) == 1 else f"{len(self.classes):,} classes"
        return (
            f"Dice {self.mean_dice:.3f}, IoU {self.mean_iou:.3f}: means over {classes} and "
            f"{plural(len(self.keys), 'case')}"
        )


def _dice(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    shared, wrong, missed = np.moveaxis(counts, -1, 0)
    return _ratio(2 * shared, 2 * shared + wrong + missed)


def _iou(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return _ratio(counts[..., 0], counts.sum(axis=-1))


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """Divide; NaN where both are 0."""
    ratio: NDArray[np.float64] = np.full(part.shape, np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def _mean(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Average what is not NaN; unlike ``nanmean``, without a warning where nothing is left."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    mean: NDArray[np.float64] = np.full(np.shape(count), np.nan)
    np.divide(values.sum(axis=axis, where=known), count, out=mean, where=count > 0)
    return mean


def _named_counts(counts: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    names = ("true_positives", "false_positives", "false_negatives")
    return dict(zip(names, counts.T, strict=True))


def _rows(**columns: NDArray[Any]) -> list[dict[str, Any]]:
    """Turn columns into a list of rows."""
    return [
        {name: _number(value) for name, value in zip(columns, row, strict=True)}
        for row in zip(*columns.values(), strict=True)
    ]


def _number(value: Any) -> int | float | None:
    number: int | float = value.item() if isinstance(value, np.generic | np.ndarray) else value
    return None if math.isnan(number) else number
