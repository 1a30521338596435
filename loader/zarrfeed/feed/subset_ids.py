"""Which samples or cases of a split does `subset` choose?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from zarrfeed.errors import look_up
from zarrfeed.spelling import did_you_mean, few, plural
from zarrfeed.store.case_reading import read_case_keys
from zarrfeed.store.descriptive_arrays import sample_names
from zarrfeed.store.schema import KEY

if TYPE_CHECKING:
    from zarrfeed.arrays import Ids
    from zarrfeed.store.split import Split

Subset: TypeAlias = slice | ArrayLike | None

_BLOCK = 1 << 14  # keys that are read at a time
# Keys among which a similar one is looked for: comparing with each takes 20 µs.
_MOST_COMPARED = 10_000


def chosen_ids(subset: Subset, split: Split, count: int, *, cases: bool) -> Ids:
    """Turn keys, ids, a slice or a boolean mask into ids.

    Parameters
    ----------
    subset
        What the user gave; see :func:`subset_ids`, and besides keys.
    split
        An opened split.
    count
        Number of its samples or cases.
    cases
        Whether it chooses cases.

    Returns
    -------
    range or (n,) int64
        At least one id.

    Raises
    ------
    TypeError, ValueError
        As :func:`subset_ids` says; or there is no such key, or nothing is chosen.
    """
    what = "case" if cases else "sample"
    given: Any = [subset] if isinstance(subset, str) else subset
    if given is not None and not isinstance(given, slice):
        given = np.asarray(given)
        if given.ndim == 1 and given.dtype.kind in "UTO":
            keys = given.tolist()
            if keys and all(isinstance(key, str) for key in keys):
                given = _ids_of_keys(keys, split, count, cases=cases)
    ids = subset_ids(given, count, f"{what}s")
    if not count:
        raise ValueError(
            f"an epoch has no batch: {split.address} has no {what}{look_up('empty-epoch')}"
        )
    if not len(ids):
        raise ValueError(
            f"subset chooses none of the {plural(count, what)}: choose at least one"
            f"{look_up('empty-epoch')}"
        )
    return ids


def _ids_of_keys(keys: list[str], split: Split, count: int, *, cases: bool) -> list[int]:
    """Look keys up; those of all samples are read once, block by block."""
    what = "case" if cases else "sample"
    if not cases and split.tile_size is None and split.describing(KEY) is None:
        raise ValueError(
            f"subset names samples, such as {keys[0]!r:.200}, but {split.address} stores no keys: "
            f"give ids from 0 to {count - 1:,}, a slice or a boolean mask"
            f"{look_up('unknown-key')}"
        )
    wanted, found, known = set(keys), dict[str, int](), list[str]()
    for start in range(0, count, _BLOCK):
        block = range(start, min(start + _BLOCK, count))
        names = read_case_keys(split, block) if cases else sample_names(split, block)
        known += names[: _MOST_COMPARED - len(known)]
        for number, name in zip(block, names, strict=True):
            if name in wanted and found.setdefault(name, number) != number:
                raise ValueError(
                    f"subset names {what} {name!r:.200}, but {found[name]} and {number} have this "
                    "key: give ids"
                )
    for key in keys:
        if key not in found:
            such = f"such as {few(map(repr, known), shown=3, counted=True)}"
            raise ValueError(
                f"subset names {what} {key!r:.200}, which is none of the {plural(count, what)} of "
                f"{split.address}: {did_you_mean(key, known, otherwise=such)}"
                f"{look_up('unknown-key')}"
            )
    return [found[key] for key in keys]


def subset_ids(subset: Subset, samples: int, what: str) -> Ids:
    """Turn ids, a slice or a boolean mask into sample ids.

    Parameters
    ----------
    subset
        Ids, a slice or a mask; None for all samples. Negative ids count from the end.
    samples
        Number of samples of the split.
    what
        What they are called in error messages.

    Returns
    -------
    range or (n,) int64
        A range, which takes no memory, for None and for a slice.

    Raises
    ------
    TypeError
        `subset` is neither integers nor booleans.
    ValueError
        An id is out of range or occurs twice, or a mask has another length.
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
            raise ValueError(
                f"subset is a mask of {given.size} values, but the split has {samples} {what}"
                f"{look_up('unknown-key')}"
            )
        return np.flatnonzero(given)
    if given.size and not np.issubdtype(given.dtype, np.integer):
        raise TypeError(f"subset must be ids, a slice or a boolean mask, not {given.dtype}")
    ids = given.astype(np.int64)
    outside = (ids < -samples) | (ids >= samples)
    if outside.any():
        raise ValueError(
            f"subset holds id {ids[outside][0]}, but the split has {samples} {what}"
            f"{look_up('unknown-key')}"
        )
    ids = np.where(ids < 0, ids + samples, ids)
    unique, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"subset holds id {unique[counts > 1][0]} {counts.max()} times: an epoch visits each "
            "exactly once"
        )
    return ids
