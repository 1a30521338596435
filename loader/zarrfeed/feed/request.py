"""What did the user ask for? Arguments are checked here, once, at the door.

Everything behind this module takes values that are known to be right.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zarrfeed.errors import StoreError
from zarrfeed.feed.slot import Spec
from zarrfeed.feed.workers.batch_maker import generator
from zarrfeed.feed.workers.transform_calls import apply
from zarrfeed.order.ranks import AUTO, Asked
from zarrfeed.order.schedule import Schedule
from zarrfeed.spelling import nearest

if TYPE_CHECKING:
    from zarrfeed.arrays import Ids
    from zarrfeed.feed.workers.batch_spec import Transform
    from zarrfeed.order.sample_order import Shuffle
    from zarrfeed.store.schema import ArrayLayout

Subset: TypeAlias = slice | ArrayLike | None
ClassWeight: TypeAlias = Mapping[int | str, float] | Mapping[int, float] | Sequence[float] | str

WEIGHT = "weight"


def whole(name: str, value: Any, *, at_least: int) -> int:
    """Check a whole number.

    Raises
    ------
    TypeError, ValueError
        It is no integer, or too small.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {value!r}") from None
    if number < at_least:
        raise ValueError(f"{name} must be at least {at_least}, not {number}")
    return number


def subset_ids(subset: Subset, samples: int) -> Ids:
    """Turn ids, a slice or a boolean mask into sample ids.

    Parameters
    ----------
    subset
        None for all samples; negative ids count from the end.
    samples
        Of the split.

    Returns
    -------
    range or (n,) int64
        A range, which takes no memory, where the ids are one.

    Raises
    ------
    ValueError
        An id is out of range or stands there twice, or a mask has another length.
    """
    if subset is None:
        return range(samples)
    if isinstance(subset, slice):
        return range(samples)[subset]
    given = np.asarray(subset)
    if given.ndim != 1:
        raise ValueError(f"subset must have one axis, not shape {given.shape}")
    if given.dtype == np.bool_:
        if given.size != samples:
            raise ValueError(f"subset is a mask of {given.size}, the split has {samples} samples")
        return np.flatnonzero(given)
    if given.size and not np.issubdtype(given.dtype, np.integer):
        raise TypeError(f"subset must be ids, a slice or a boolean mask, not {given.dtype}")
    ids = given.astype(np.int64)
    outside = (ids < -samples) | (ids >= samples)
    if outside.any():
        raise ValueError(f"subset holds id {ids[outside][0]}, the split has {samples} samples")
    ids = np.where(ids < 0, ids + samples, ids)
    unique, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"subset holds id {unique[counts > 1][0]} {counts.max()} times: an epoch visits every "
            "sample exactly once"
        )
    return ids


def asked_share(rank: Any, world_size: Any) -> Asked:
    """Check which rank, of how many, was asked for.

    Raises
    ------
    TypeError, ValueError
        One of them is out of range; the message names it.
    """
    return Asked(
        rank=None if rank in (AUTO, None) else whole("rank", rank, at_least=0),
        world_size=(
            None if world_size in (AUTO, None) else whole("world_size", world_size, at_least=1)
        ),
    )


def make_schedule(
    ids: Ids,
    *,
    batch_size: int,
    shuffle: Shuffle,
    chunk_rows: int,
    seed: int,
    drop_remainder: bool,
    pad_remainder: bool,
) -> Schedule:
    """Check the arguments that decide an epoch's order, for one process.

    Raises
    ------
    TypeError, ValueError
        One of them is out of range; the message names it.
    """
    batch_size = whole("batch_size", batch_size, at_least=1)
    if shuffle not in (True, False, "block"):
        raise ValueError(f"shuffle must be True, False or 'block', not {shuffle!r}")
    if drop_remainder and pad_remainder:
        raise ValueError(
            "drop_remainder leaves out the last batch, pad_remainder fills it: give one of them"
        )
    schedule = Schedule(
        ids=ids,
        batch_size=batch_size,
        shuffle=shuffle if shuffle == "block" else bool(shuffle),
        # A block is whole chunks, and at least a batch: smaller ones would save no reads.
        block=-(-batch_size // chunk_rows) * chunk_rows,
        seed=whole("seed", seed, at_least=0),
        drop_remainder=bool(drop_remainder),
        pad_remainder=bool(pad_remainder),
        rank=0,
        world_size=1,
    )
    return share_schedule(schedule, 0, 1)


def share_schedule(schedule: Schedule, rank: int, world_size: int) -> Schedule:
    """Take the share of one rank.

    Raises
    ------
    ValueError
        There is not a batch for every rank.
    """
    if (rank, world_size) != (schedule.rank, schedule.world_size):
        schedule = replace(schedule, rank=rank, world_size=world_size)
    if schedule.batches:
        return schedule
    samples, dropped = len(schedule.ids), schedule.drop_remainder
    remedy = "fewer ranks or pad_remainder=True" if samples else "samples"
    if dropped:
        remedy = "a smaller batch_size or drop_remainder=False"
    ranks = f" over {world_size} ranks" if world_size > 1 else ""
    raise ValueError(
        f"an epoch has no batch: {samples} samples{ranks} in batches of {schedule.batch_size}"
        + (" with drop_remainder" if dropped else "")
        + f"; needs {remedy}"
    )


def sample_specs(layouts: Mapping[str, ArrayLayout]) -> tuple[Spec, ...]:
    """Describe one sample of each field as it is stored."""
    return tuple(Spec(name, lay.sample_shape, lay.dtype) for name, lay in layouts.items())


def transformed_specs(
    specs: tuple[Spec, ...],
    sample: Sequence[NDArray[Any]],
    *,
    name: str,
    seed: int,
    transform: Transform | None,
    batch_transform: Transform | None,
) -> tuple[Spec, ...]:
    """Learn what the transforms make of a sample, by trying them on one.

    Parameters
    ----------
    specs
        The fields as stored.
    sample
        One (1, *shape) array per field; a transform may write to it.
    name
        Of the sample, for errors.

    Raises
    ------
    WorkerError
        A transform raised, or did not return one array per field.
    """
    fields = [spec.name for spec in specs]
    rng = generator(seed, 0, 0, stream=0)
    made = [made[None] for made in apply(transform, [a[0] for a in sample], rng, fields, name)]
    made = apply(batch_transform, made, generator(seed, 0, 0, stream=1), fields, name)
    for spec, array in zip(specs, made, strict=True):
        if array.shape[:1] != (1,):
            raise ValueError(
                f"batch_transform returned {spec.name} of shape {array.shape} for a batch of 1: it "
                "must keep the batch axis"
            )
    return tuple(Spec(s.name, a.shape[1:], a.dtype) for s, a in zip(specs, made, strict=True))


def with_weights(specs: tuple[Spec, ...]) -> tuple[Spec, ...]:
    """Add the weights by which padding is told from samples, where Keras looks for them.

    Metrics such as ``MeanIoU`` take a weight for every pixel alone, losses of other targets one
    that broadcasts; one of shape (b,) fits neither (tried on Keras 3 and tf_keras).

    Raises
    ------
    ValueError
        There are more arrays than Keras would take.

    Examples
    --------
    >>> image = Spec("image", (4, 4, 3), np.dtype("uint8"))
    >>> with_weights((image, Spec("mask", (4, 4), np.dtype("uint8"))))[2].shape
    (4, 4)
    >>> with_weights((image, Spec("depth", (4, 4, 1), np.dtype("float32"))))[2].shape
    (1, 1, 1)
    """
    if len(specs) > 3:
        raise ValueError(
            f"pad_remainder needs at most three arrays, of which the third weighs samples, got "
            f"{', '.join(spec.name for spec in specs)}: choose fields="
        )
    if len(specs) != 2:
        return specs
    inputs, target = specs
    shape = target.shape
    if target.dtype.kind == "f":
        shape = (1,) * len(shape)
    elif len(shape) >= max(3, len(inputs.shape)) and shape[-1] > 1:
        shape = shape[:-1]  # a channel for each class
    return (*specs, Spec(WEIGHT, shape, np.dtype(np.float32)))


def weight_table(
    class_weight: ClassWeight,
    mask: Spec,
    *,
    classes: Sequence[str],
    ignore: int | None,
    pixels: NDArray[np.int64] | None,
) -> NDArray[np.float32]:
    """Turn class weights into a table that a mask can index.

    Parameters
    ----------
    class_weight
        ``{class name or id: weight}`` (others weigh 1), one weight per class, or "balanced".
    mask
        The last field, whose values are class ids.
    classes
        Names by id; empty where nobody knows them, and then any id will do.
    ignore
        The id that counts as no class; it weighs 0 unless given.
    pixels
        (classes,) how many there are of each; None where nobody counted.

    Returns
    -------
    (256,) or (65536,) float32

    Raises
    ------
    StoreError
        The last field is no integer mask, or nobody counted pixels for "balanced".
    ValueError
        There is no such class, not one weight for each, or a weight below 0 or not finite.
    """
    if mask.dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)):
        raise StoreError(
            f"class_weight needs a uint8 or uint16 mask as the last field, not {mask.name!r} of "
            f"{mask.dtype}"
        )
    table = np.ones(np.iinfo(mask.dtype).max + 1, np.float32)
    if ignore is not None:
        table[ignore] = 0
        if pixels is not None and ignore < pixels.size:
            pixels = np.delete(pixels, ignore)
    if isinstance(class_weight, str):
        ids = [label for label in range(table.size) if label != ignore]
        for label, weight in zip(ids, _balanced(class_weight, pixels), strict=False):
            table[label] = weight
        return table
    for label, weight in _weights_by_id(class_weight, classes, table.size).items():
        table[label] = weight
    return table


def _balanced(class_weight: str, pixels: NDArray[np.int64] | None) -> list[float]:
    """Weigh classes as scikit-learn's compute_class_weight; one without pixels weighs nothing."""
    if class_weight != "balanced":
        raise ValueError(f"class_weight must be a dict, a list or 'balanced', not {class_weight!r}")
    if pixels is None:
        raise StoreError("class_weight='balanced' needs class_pixels, which this store lacks")
    balanced = pixels.sum() / (pixels.size * np.maximum(pixels, 1))
    weights: list[float] = np.where(pixels > 0, balanced, 0.0).tolist()
    return weights


def _weights_by_id(
    class_weight: Mapping[int | str, float] | Mapping[int, float] | Sequence[float],
    classes: Sequence[str],
    ids: int,
) -> dict[int, float]:
    if isinstance(class_weight, Mapping):
        return {
            _class_id(label, classes, ids): _weight(label, weight)
            for label, weight in class_weight.items()
        }
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


def _class_id(label: int | str, classes: Sequence[str], ids: int) -> int:
    if isinstance(label, str):
        if label not in classes:
            near = nearest(label, classes)
            hint = f": is {near!r} meant?" if near else ""
            raise ValueError(
                f"class_weight names class {label!r}; the store has "
                f"{', '.join(classes) or 'no class names'}{hint}"
            )
        return classes.index(label)
    if not 0 <= label < (len(classes) or ids):
        raise ValueError(
            f"class_weight names class {label}, the ids go from 0 to {(len(classes) or ids) - 1}"
        )
    return int(label)
