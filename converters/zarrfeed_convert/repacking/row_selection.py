"""Which stored samples or cases are repacked, and in which order?

Pure functions of names, tiles and the user's choice. They return indices of samples or, in splits
of cases, of cases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from zarrfeed.errors import SourceError, look_up
from zarrfeed.order.shuffle import permutation
from zarrfeed.spelling import few

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.repacking.stored_facts import Facts
    from zarrfeed_convert.shards.rows import Numbers, Tiles

StoredOrder: TypeAlias = Literal["shuffled", "source", "stored"]
ORDERS: tuple[StoredOrder, ...] = ("shuffled", "source", "stored")
Subset: TypeAlias = "slice | Sequence[int] | NDArray[np.integer | np.bool_] | None"


def chosen_rows(facts: Facts, *, subset: Subset, keys: Sequence[str] | None) -> Numbers:
    """Choose samples or cases by index or by name.

    Parameters
    ----------
    facts
        What is recorded about all samples or cases, in stored order.
    subset
        A slice, indices, or one boolean per sample or case.
    keys
        Names of samples or cases. The name of an image chooses all its overlapping tiles.

    Returns
    -------
    ndarray
        (n,) int64 indices, ascending.

    Raises
    ------
    SourceError
        Both `subset` and `keys` are given, nothing is chosen, or something that does not exist.
    """
    if subset is not None and keys is not None:
        raise SourceError("subset and keys: needed only one of them, found both; leave one out")
    one = facts.of_what.removesuffix("s")
    rows = _by_number(subset, len(facts), one) if keys is None else _by_name(keys, facts, one)
    if not rows.size:
        raise SourceError(
            f"needed at least one {one}, found that subset or keys choose none of {len(facts)}"
        )
    return rows


def _by_number(subset: Subset, count: int, one: str) -> Numbers:
    if subset is None:
        return np.arange(count)
    if isinstance(subset, slice):
        return np.sort(np.arange(count)[subset])
    given = np.asarray(subset)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "biu"):
        raise SourceError(
            f"subset: needed a slice, integers, or one boolean per {one}, found {given.dtype} of "
            f"shape {given.shape}"
        )
    if given.dtype == np.bool_:
        if given.size != count:
            raise SourceError(f"subset: needed {count} booleans, found {given.size}")
        return np.flatnonzero(given)
    outside = given[(given < -count) | (given >= count)]
    if outside.size:
        raise SourceError(f"subset: needed indices below {count}, found {outside[0]}")
    numbers = np.where(given < 0, given + count, given).astype(np.int64)
    return _each_once(numbers, one, lambda number: f"{one} {number}")


def _by_name(keys: Sequence[str], facts: Facts, one: str) -> Numbers:
    row_of = {key: row for row, key in enumerate(facts.keys)}
    tiles_of = _rows_of_images(facts.tiles)
    missing = [key for key in keys if key not in row_of and key not in tiles_of]
    if missing:
        raise SourceError(
            f"keys: needed names of the {len(facts)} {one}s, such as {facts.keys[0]!r}, found "
            f"{few(map(repr, missing))}"
            f"{look_up('unknown-key')}"
        )
    rows = [[row_of[key]] if key in row_of else tiles_of[key] for key in keys]
    numbers = np.array([row for some in rows for row in some], np.int64)
    return _each_once(numbers, one, lambda number: repr(facts.keys[number]))


def _rows_of_images(tiles: Tiles | None) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    if tiles is not None:
        for row, image in enumerate(map(int, tiles.place[:, 0])):
            rows.setdefault(tiles.names[image], []).append(row)
    return rows


def _each_once(numbers: Numbers, one: str, name: Callable[[int], str]) -> Numbers:
    unique, counts = np.unique(numbers, return_counts=True)
    if (counts > 1).any():
        twice = name(int(unique[counts > 1][0]))
        raise SourceError(f"needed every {one} at most once, found {twice} twice")
    return unique


def in_order(rows: Numbers, facts: Facts, *, order: StoredOrder, seed: int) -> Numbers:
    """Sort or shuffle chosen samples or cases for the new split.

    Parameters
    ----------
    rows
        (n,) indices of the chosen samples or cases, ascending.
    facts
        What is recorded about all of them.
    order
        ``stored``: as they are. ``source``: sorted by name; overlapping tiles by the name of their
        image, then by their location. ``shuffled``: sorted, then permuted as in a conversion.
        Unlike there, the overlapping tiles of an image are spread over the whole split, since no
        image must be decoded.
    seed
        Seed of the permutation.
    """
    if order == "stored":
        return rows
    ordered = np.array(sorted(rows.tolist(), key=_sort_key(facts)), np.int64)
    return ordered if order == "source" else ordered[permutation(rows.size, seed=seed, epoch=0)]


def _sort_key(facts: Facts) -> Callable[[int], tuple[str, int, int]]:
    tiles = facts.tiles
    if tiles is None:
        return lambda row: (facts.keys[row], 0, 0)
    names = [tiles.names[image] for image in map(int, tiles.place[:, 0])]
    corners: list[tuple[int, int]] = list(map(tuple, tiles.place[:, 1:].tolist()))
    return lambda row: (names[row], *corners[row])
