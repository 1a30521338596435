"""Datasets of masks and of predictions that tests compare, and their scores by plain NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from case_stores import stored_names, write_cases
from stores import write_split

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

NAMES = ("background", "liver", "tumour", "spleen", "gut")


def write_dataset(
    root: Path,
    arrays: dict[str, NDArray[Any]],
    *,
    field: str = "mask",
    tile: tuple[int, ...] | None = None,
    split: str = "val",
    **labels: Any,
) -> Path:
    """Write a dataset with one split of one field.

    Parameters
    ----------
    root
        Folder of the dataset.
    arrays
        Key → values; of one shape if the split is one of samples.
    field
        Name of the field.
    tile
        Size of the tiles of a split of cases; None for one of samples.
    split
        Name of the split.
    labels
        ``classes`` and ``ignore`` of the dataset.
    """
    zarr.open_group(str(root), mode="a").attrs["zarrfeed"] = {"format": 1, **labels}
    own = {"fields": [field]}
    with zarr.config.set({"array.write_empty_chunks": True}):  # as the packer does
        if tile is not None:
            cases = {key: {field: values} for key, values in arrays.items()}
            write_cases(root / split, cases, tile, attributes=own)
            return root
        write_split(root / split, {field: np.stack(list(arrays.values()))})
        group = zarr.open_group(str(root / split))
        group.attrs["zarrfeed"] = own
        group.create_array("key", data=stored_names(arrays))
    return root


def plain_scores(
    truth: NDArray[Any], predicted: NDArray[Any], classes: int, ignore: int | None = None
) -> tuple[list[float], list[float]]:
    """Return Dice, 2 |A ∩ B| / (|A| + |B|), and IoU, |A ∩ B| / |A ∪ B|, of whole masks of ids."""
    valid = np.ones(truth.shape, bool) if ignore is None else truth != ignore
    dice, iou = [], []
    for number in range(classes):
        one, other = (truth == number) & valid, (predicted == number) & valid
        both, either = int((one & other).sum()), int((one | other).sum())
        dice.append(2 * both / (int(one.sum()) + int(other.sum())) if either else np.nan)
        iou.append(both / either if either else np.nan)
    return dice, iou


def mistaken(truth: NDArray[Any], classes: int, seed: int, share: float = 0.3) -> NDArray[Any]:
    """Return ids of classes that are those of the truth, but for a share of the pixels."""
    rng = np.random.default_rng(seed)
    others = rng.integers(0, classes, truth.shape, truth.dtype)
    wrong = (rng.random(truth.shape) < share) | (truth >= classes)
    return np.where(wrong, others, truth)


def probabilities_of(ids: NDArray[Any], classes: int, seed: int) -> NDArray[np.float32]:
    """Return random probabilities of which those of the ids are the largest."""
    scores = np.random.default_rng(seed).random((*ids.shape, classes), np.float32)
    np.put_along_axis(scores, ids[..., None].astype(np.int64), 2, axis=-1)
    return (scores / scores.sum(axis=-1, keepdims=True)).astype(np.float32)
