"""Which classes do `shares` name, and where in a split are their pixels?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import StoreError, look_up
from zarrfeed.feed.class_ids import class_id
from zarrfeed.machine_memory import require_memory
from zarrfeed.order.class_pixels import ClassPixels
from zarrfeed.order.random_draws import RandomDraws
from zarrfeed.spelling import few
from zarrfeed.store.class_counts import class_count_blocks, counted_classes
from zarrfeed.store.descriptive_arrays import class_pixels
from zarrfeed.store.schema import CLASS_PIXELS, MASK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from zarrfeed.arrays import Ids
    from zarrfeed.order.patch_cases import PatchCases
    from zarrfeed.order.patches import RandomPatches
    from zarrfeed.store.split import Split


class AbsentClassesError(ValueError):
    """The cases have no pixel of some classes in `shares`.

    Attributes
    ----------
    names
        The classes, as the user named them.
    """

    def __init__(self, message: str, names: Sequence[str | int]) -> None:
        super().__init__(message)
        self.names = names


def share_targets(shares: Mapping[str | int, float], split: Split) -> dict[int, float]:
    """Return shares by id of the class.

    Raises
    ------
    StoreError
        The split does not count the pixels of its classes.
    ValueError
        A class is unknown, is the ignore id, or is named twice.
    """
    count = counted_classes(split)
    targets: dict[int, float] = {}
    for name, share in shares.items():
        label = class_id(name, split, count, argument="shares")
        if label == split.ignore:
            raise ValueError(f"shares names {name!r}, which is the ignore id and thus no class")
        if label in targets:
            raise ValueError(f"shares names class {name!r} twice, by name and by id")
        targets[label] = share
    return targets


def forced_draws(
    patches: RandomPatches, cases: PatchCases, rows: Ids, split: Split, tile: tuple[int, ...]
) -> RandomDraws:
    """Return the draws of random patches, of which shares must contain classes.

    Parameters
    ----------
    patches
        Random patches with shares.
    cases, rows
        What they are cut from, and the rows of its tiles.
    split
        The opened split.
    tile
        Size of a tile, or of a sample.

    Raises
    ------
    StoreError
        The split has no mask of these tiles, or `class_pixels` is missing or damaged.
    ValueError
        A class in `shares` is unknown, or (:class:`AbsentClassesError`) absent from the cases.
    """
    assert patches.shares is not None
    shape = _mask_shape(split)
    if shape[: len(tile)] != tile or len(shape) > len(tile) + split.multi_hot:
        raise StoreError(
            f"{split.address}/{MASK}: shares need a class id for each pixel of {tile}, found "
            f"{shape}"
        )
    labels = list(share_targets(patches.shares, split))
    pixels = ClassPixels(_counts(split, rows, labels, int(np.prod(tile, dtype=np.int64))))
    absent = [name for name, n in zip(patches.shares, pixels.totals, strict=True) if not n]
    if absent:
        counted = class_pixels(split, rows)
        present = np.flatnonzero([] if counted is None else counted).tolist()
        found = [split.classes[label] if split.classes else str(label) for label in present]
        raise AbsentClassesError(
            f"shares need classes that the chosen cases contain, got {few(map(repr, absent))}, of "
            f"which they have no pixel; they have {few(found) or 'none'}"
            f"{look_up('class-missing')}",
            absent,
        )
    return RandomDraws(patches, cases, labels, pixels)


def _mask_shape(split: Split) -> tuple[int, ...]:
    if split.instances:
        raise StoreError(
            f"{split.address}: shares need a mask of classes, found numbers of instances: pack "
            "class ids with --instances semantic or boundary"
        )
    described, mask = split.describing(CLASS_PIXELS), split.layouts.get(MASK)
    if described is None or mask is None or mask.shape[0] != described.shape[0]:
        raise StoreError(
            f"{split.address}: shares need {MASK!r} and {CLASS_PIXELS!r}, the pixels of each class "
            "in each sample, found none: `zarrfeed convert` counts them"
            f"{look_up('class-counts')}"
        )
    return mask.sample_shape


def _counts(split: Split, rows: Ids, labels: Sequence[int], most: int) -> NDArray[np.uint32]:
    """Read how many pixels of some classes each tile has."""
    if most > np.iinfo(np.uint32).max:
        raise StoreError(f"{split.address}/{MASK}: needed tiles of less than 2^32 pixels")
    require_memory(split.path, len(rows) * len(labels) * 4, f"the classes of {len(rows):,} tiles")
    counts = np.empty((len(labels), len(rows)), np.uint32)
    for part, pixels in class_count_blocks(split, rows):
        if pixels.max(initial=0) > most:
            raise StoreError(
                f"{split.address}/{CLASS_PIXELS}: needed counts of at most {most:,}, the pixels of "
                f"a tile, found {pixels.max():,}: restore it, or convert again"
            )
        counts[:, part] = pixels[:, labels].T
    return counts.T
