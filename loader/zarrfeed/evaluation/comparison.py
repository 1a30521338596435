"""Compare stored predictions with the true masks of a split, case by case, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from zarrfeed.errors import StoreError
from zarrfeed.evaluation.case_boxes import CaseBoxes, box_size, spatial_axes
from zarrfeed.evaluation.overlap import add_overlaps, overlap_of_channels, overlap_of_ids
from zarrfeed.evaluation.pairing import (
    common_classes,
    open_both,
    predicted_field,
    require_cases,
    require_classes,
    require_classes_of,
    require_sizes,
)
from zarrfeed.evaluation.pixel_classes import Decode, decode_predictions, decode_truth
from zarrfeed.evaluation.scores import Evaluation
from zarrfeed.machine_memory import require_memory
from zarrfeed.spelling import few, named
from zarrfeed.store.mirror.origin import Remote
from zarrfeed.store.schema import MASK
from zarrfeed.store.tile_grid import TileGrid

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed.store.mirror.origin import StorageOptions
    from zarrfeed.store.split import Split
    from zarrfeed.store.tile_grid import Box

_BOX_NBYTES = 16 << 20  # of truth and prediction together, unless a tile is larger
# Called with the name of the step, the number of cases done, and the number of all.
OnCase: TypeAlias = Callable[[str, int, int], None]
T = TypeVar("T")


@named
def evaluate(
    store: Split | str | os.PathLike[str],
    predictions: Split | str | os.PathLike[str],
    *,
    field: str | None = None,
    truth: str = MASK,
    exclude: Iterable[str] = (),
    allow_missing: bool = False,
    progress: OnCase | None = None,
    cache: str | os.PathLike[str] | None = None,
    cache_limit: int | str | None = None,
    storage_options: StorageOptions | None = None,
) -> Evaluation:
    """Compute the Dice coefficient and the IoU of stored predictions, by case and class.

    Cases, or samples, are compared by their keys; their order and their tiles may differ. They are
    read box by box: memory does not grow with their size.

    Parameters
    ----------
    store
        The split with the true masks, such as ``ct.zarr/val``; or an OME-Zarr image with labels,
        or a Zarr group with an image and its mask, or a folder of such.
    predictions
        A dataset with a split of the same name, as :func:`zarrfeed.predict` writes it; or a split,
        or OME-Zarr images: any that has ids of classes or probabilities, such as a folder of
        predicted masks packed by ``zarrfeed convert``.
    field
        The field of the predictions. By default ``prediction``, ``probabilities`` or ``mask``,
        whichever there is first. It holds ids of classes; or probabilities, floats with a last axis
        of K channels, of which the largest counts; or a single channel of them, above 0.5 for the
        second of two classes. For multi-hot masks it holds channels of 0 and 1, or of
        probabilities, of which each above 0.5 counts.
    truth
        The field of the true masks.
    exclude
        Names of classes to leave out of scores and means, such as the background.
    allow_missing
        Whether to leave out cases that only one of the two has, instead of raising an error.
    progress
        Called after each case with the name of the step, the number of cases done, and that of all.
    cache, cache_limit, storage_options
        How addresses are read, as for :class:`zarrfeed.ZarrSequence`: both of `store` and
        `predictions` may be one.

    Returns
    -------
    Evaluation
        Counts, scores and means. Pixels whose true id is the ignored one are left out.

    Raises
    ------
    StoreError
        Cases are missing or differ in size, classes differ, predictions have ids that are no class,
        or are of another kind than the masks.
    ReadError
        A file is missing or damaged.
    ValueError
        `exclude` names what is no class.

    Examples
    --------
    >>> import zarrfeed
    >>> found = zarrfeed.evaluate("ct.zarr/val", "predictions.zarr")  # doctest: +SKIP
    >>> print(found)  # doctest: +SKIP
    Dice 0.871, IoU 0.784: means over 3 classes and 12 cases
    >>> dict(zip(found.classes, found.class_dice.round(2).tolist()))  # doctest: +SKIP
    {'background': 0.99, 'liver': 0.94, 'tumour': 0.68}
    """
    remote = Remote.of(cache, cache_limit, storage_options)
    true_split, predicted_split = open_both(store, predictions, truth, remote)
    require_classes_of(true_split, truth)
    require_classes_of(predicted_split, predicted_field(predicted_split, field))
    names = common_classes(true_split, predicted_split)
    excluded = frozenset([exclude] if isinstance(exclude, str) else exclude)
    if names:  # else they are known at the end
        require_classes(excluded, names)
    axes = spatial_axes(true_split, truth, predicted_split)
    with (
        closing(CaseBoxes(true_split, truth, axes)) as true,
        closing(
            CaseBoxes(predicted_split, predicted_field(predicted_split, field), axes)
        ) as predicted,
    ):
        unpredicted, unknown = require_cases(true, predicted, allow_missing=allow_missing)
        keys = [key for key in true.numbers if key in predicted.numbers]
        require_sizes(true, predicted, keys)
        require_memory(true_split.path, len(keys) * len(names) * 24, "the counts of pixels")
        comparison = _Comparison(true, predicted, names)
        counts = []
        for done, key in enumerate(keys, 1):
            counts.append(comparison.overlap_of(key))
            if progress is not None:
                progress("evaluating", done, len(keys))
    stacked = _stacked(counts, len(names))
    names = names or tuple(map(str, range(stacked.shape[1])))
    require_classes(excluded, names)
    kept = tuple(
        number
        for number, name in enumerate(names)
        if name not in excluded and (comparison.multi_hot or number != true_split.ignore)
    )
    classes = tuple(names[number] for number in kept)
    return Evaluation(tuple(keys), classes, kept, stacked[:, kept], unpredicted, unknown)


def _stacked(counts: Sequence[NDArray[np.int64]], classes: int) -> NDArray[np.int64]:
    """Stack the counts of cases; without names, up to the last class that one of them has."""
    if not classes:
        classes = max(int(np.flatnonzero(one.any(axis=1)).max(initial=-1)) + 1 for one in counts)
    stacked = np.zeros((len(counts), classes, 3), np.int64)
    for case, one in zip(stacked, counts, strict=True):
        case[: len(one)] = one[:classes]
    return stacked


class _Comparison:
    """How the boxes of a true and a predicted field are compared."""

    def __init__(self, true: CaseBoxes, predicted: CaseBoxes, names: Sequence[str]) -> None:
        self._true, self._predicted, self._names = true, predicted, names
        self.multi_hot = true.split.multi_hot and true.field == MASK
        if self.multi_hot and true.channels != (len(names),):
            raise StoreError(
                f"{true.split.address}/{true.field}: needed a channel for each of {len(names)} "
                f"classes, found {true.channels[0]}: restore the attributes, or convert again"
            )
        self._decode_truth = _named_errors(
            true, lambda: decode_truth(true.dtype, true.channels, multi_hot=self.multi_hot)
        )
        self._decode = _named_errors(
            predicted,
            lambda: decode_predictions(
                predicted.dtype,
                predicted.channels,
                classes=len(names) or None,
                multi_hot=self.multi_hot,
            ),
        )
        self._most = _BOX_NBYTES // (true.pixel_nbytes + predicted.pixel_nbytes)

    def overlap_of(self, key: str) -> NDArray[np.int64]:
        """Count the pixels of a case, (n, 3) int64."""
        true, predicted = self._true, self._predicted
        size = tuple(true.sizes[true.numbers[key]].tolist())
        boxes = TileGrid(size, box_size(size, (true.tile, predicted.tile), self._most))
        total = np.zeros((len(self._names), 3), np.int64)
        for number in range(boxes.tiles):
            box = boxes.window(number)
            masks = (
                _decoded(true, key, box, self._decode_truth),
                _decoded(predicted, key, box, self._decode),
            )
            total = add_overlaps(total, self._overlap(*masks))
        if self._names:
            self._require_classes(total[len(self._names) :], key)
        return total

    def _overlap(self, true: NDArray[Any], predicted: NDArray[Any]) -> NDArray[np.int64]:
        if self.multi_hot:
            return overlap_of_channels(true, predicted)
        return overlap_of_ids(
            true, predicted, classes=len(self._names), ignore=self._true.split.ignore
        )

    def _require_classes(self, beyond: NDArray[np.int64], key: str) -> None:
        """Refuse ids above those of the classes, except the id that the predictions ignore."""
        classes = len(self._names)
        ignored = self._predicted.split.ignore
        of_truth = beyond[:, 0] + beyond[:, 2]
        of_predictions = beyond[:, 1].copy()
        if ignored is not None and ignored >= classes:
            of_predictions[ignored - classes : ignored - classes + 1] = 0
        for boxes, pixels in ((self._true, of_truth), (self._predicted, of_predictions)):
            ids = np.flatnonzero(pixels)
            if ids.size:
                raise StoreError(
                    f"{boxes.split.address}/{boxes.field}: needed ids of the {classes} classes, 0 "
                    f"… {classes - 1}, found {few(map(str, (ids + classes).tolist()), shown=5)} at "
                    f"{pixels.sum():,} pixels of {key!r}: store the ids of the classes "
                    f"{few(self._names, shown=5)}"
                )


def _decoded(boxes: CaseBoxes, key: str, box: Box, decode: Decode) -> NDArray[Any]:
    values = boxes.read(key, box)
    return _named_errors(boxes, lambda: decode(values), f" (in {key!r})")


def _named_errors(boxes: CaseBoxes, function: Callable[[], T], where: str = "") -> T:
    """Call a function, and name the field where it raises a ``ValueError``."""
    try:
        return function()
    except ValueError as error:
        raise StoreError(f"{boxes.split.address}/{boxes.field}: {error}{where}") from error
