"""Which id do the classes of several stores have together? Classes are the same if their names are.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import look_up
from zarrfeed.spelling import did_you_mean, few

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# The usual id of pixels without a class.
_USUAL_IGNORE = 255
_LISTED = 1 << 16  # ids that a table lists; larger ones can only be ignored
_BLOCK = 1 << 16  # pixels whose ids are replaced at a time, because NumPy's indices take 8 bytes


@dataclass(frozen=True, slots=True)
class ClassTable:
    """The classes of a store.

    Attributes
    ----------
    names
        Names by id; empty if the store has none.
    ignore
        The id that is no class; None if there is none.
    """

    names: tuple[str, ...] = ()
    ignore: int | None = None


@dataclass(frozen=True, slots=True)
class JoinedClasses:
    """The classes of all stores.

    Attributes
    ----------
    table
        Their common names and ignore id.
    ids
        For each store the common id of each of its classes, and after them that of its ignore id.
        None if its ids are the common ones already.
    unknown
        For each store the names that are no common classes, whose pixels are ignored.
    chose_ignore
        Whether the ignore id was chosen here, because no store has one.
    there
        The names that some store has.
    """

    table: ClassTable
    ids: tuple[tuple[int, ...] | None, ...]
    unknown: tuple[tuple[str, ...], ...]
    chose_ignore: bool
    there: tuple[str, ...] = ()


def join_classes(
    stores: Sequence[ClassTable], given: Sequence[str] | None, *, most: int = _USUAL_IGNORE
) -> JoinedClasses:
    """Join the classes of stores by name.

    Parameters
    ----------
    stores
        The classes of each store.
    given
        The common names by id; None for those of the first store.
    most
        The largest id that masks can hold.

    Raises
    ------
    ValueError
        Some stores have names and others have none, a store has none of the common names, or masks
        cannot hold an ignore id.

    Examples
    --------
    >>> first, second = ClassTable(("road", "car")), ClassTable(("car", "cow", "road"), 9)
    >>> joined = join_classes([first, second], None)
    >>> joined.table, joined.ids
    (ClassTable(names=('road', 'car'), ignore=9), (None, (1, 9, 0, 9)))
    >>> joined.unknown
    ((), ('cow',))
    """
    if not all(store.names for store in stores) and any(store.names for store in stores):
        unnamed = [number for number, store in enumerate(stores, start=1) if not store.names]
        raise ValueError(
            f"classes are joined by name, but stores number {few(map(str, unnamed))} of the Mix "
            "have no class names: give `zarrfeed convert` their names, or mix stores without names"
            f"{look_up('mixed-classes')}"
        )
    names = tuple(stores[0].names if given is None else given)
    number = {name: label for label, name in enumerate(names)}
    known = [{*store.names} - {_void(store)} for store in stores]
    for at, (store, mine) in enumerate(zip(stores, known, strict=True), start=1):
        if mine and not mine & {*names}:
            hints = (did_you_mean(name, store.names) for name in names)
            hint = next(filter(None, hints), "give Mix(…, classes=…) the names of the classes")
            if any(all(name.isdigit() for name in some) for some in (names, store.names)):
                hint = (
                    "nobody named those that are numbers: give `zarrfeed convert` their --classes"
                )
            raise ValueError(
                f"classes are joined by name, but store number {at} of the Mix has none of its "
                f"classes: the Mix has {few(names)}, the store {few(store.names)}; {hint}"
                f"{look_up('mixed-classes')}"
            )
    unknown = tuple(
        tuple(name for name in store.names if name in mine and name not in number)
        for store, mine in zip(stores, known, strict=True)
    )
    needs = any(unknown) or any(store.ignore is not None for store in stores)
    ignore = _ignore(stores, names, most) if needs else None
    ids = tuple(_ids(store, number, ignore, len(names)) for store in stores)
    chosen = needs and all(store.ignore is None for store in stores)
    there = tuple(dict.fromkeys(name for store in stores for name in store.names))
    return JoinedClasses(ClassTable(names, ignore), ids, unknown, chosen, there)


def _void(store: ClassTable) -> str | None:
    """Return the name of the ignore id, if it has one."""
    at = store.ignore
    return store.names[at] if at is not None and at < len(store.names) else None


def _ignore(stores: Sequence[ClassTable], names: Sequence[str], most: int) -> int:
    """Return the ignore id: that of the first store that has one, unless it is a class here."""
    for store in stores:
        void = _void(store)
        if void in names:
            return names.index(void)
        if store.ignore is not None and len(names) <= store.ignore <= most:
            return store.ignore
    for free in (_USUAL_IGNORE, most):
        if len(names) <= free <= most:
            return free
    raise ValueError(
        f"pixels without a common class need an ignore id, but {len(names)} classes take all ids "
        f"up to {most} that the masks can hold: give fewer names in Mix(…, classes=…)"
        f"{look_up('mixed-classes')}"
    )


def _ids(
    store: ClassTable, number: dict[str, int], ignore: int | None, count: int
) -> tuple[int, ...] | None:
    """Return the common id of each class of a store, and of its ignore id."""
    lost = -1 if ignore is None else ignore
    if store.names:
        own = [
            lost if at == store.ignore else number.get(n, lost) for at, n in enumerate(store.names)
        ]
        same = own == list(range(len(own)))
    else:
        own, same = list(range(count)), True
    if same and store.ignore in (None, ignore):
        return None
    return (*own, lost)


def id_table(
    ids: Sequence[int], own: ClassTable, ignore: int | None, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Return the common id of every id that a mask may hold.

    Parameters
    ----------
    ids
        See :attr:`JoinedClasses.ids`.
    own
        The classes of the store.
    ignore
        The common ignore id.
    dtype
        Data type of the mask.

    Returns
    -------
    (n,) array of `dtype`
        For masks of 8 and 16 bits, n is the number of their values. Ids that are no class become
        `ignore`, or stay as they are without one.
    """
    limits = np.iinfo(dtype)
    size = min(int(limits.max) + 1, _LISTED)
    table = np.arange(size, dtype=np.int64)
    if ignore is not None and own.names:
        table[:] = ignore
    for label, common in enumerate(ids[:-1]):
        if label < size:
            table[label] = common
    if own.ignore is not None and own.ignore < size:
        table[own.ignore] = ids[-1]
    return table.astype(dtype)


class Relabelling:
    """Replaces the ids of masks by common ones.

    Parameters
    ----------
    table
        See :func:`id_table`.
    ignore
        What becomes of ids beyond the table; None leaves them.

    Examples
    --------
    >>> mask = np.array([[0, 1], [1, 2]], np.uint8)
    >>> Relabelling(np.array([1, 0, 9] + 253 * [9], np.uint8), 9).apply(mask)
    >>> mask.tolist()
    [[1, 0], [0, 9]]
    """

    def __init__(self, table: NDArray[Any], ignore: int | None) -> None:
        self._table = table
        self._ignore = ignore
        # Two ids of 8 bits at a time take half as long: 32 instead of 62 µs for 256×256.
        self._pairs = table[:0]
        if table.dtype == np.uint8:
            two = np.arange(1 << 16).astype(np.uint16).view(np.uint8).reshape(-1, 2)
            self._pairs = table[two].view(np.uint16).reshape(-1)

    def apply(self, mask: NDArray[Any]) -> None:
        """Replace the ids of any array of integers, in place."""
        if mask.dtype.kind != "u" or mask.dtype.itemsize > 2:
            listed = (mask >= 0) & (mask < self._table.size)
            found = self._table[np.where(listed, mask, 0)]
            beyond = mask if self._ignore is None else np.asarray(self._ignore, mask.dtype)
            mask[...] = np.where(listed, found, beyond)
        elif not mask.flags.c_contiguous:
            mask[...] = np.take(self._table, mask, mode="clip")
        elif self._pairs.size and mask.size % 2 == 0 and mask.ctypes.data % 2 == 0:
            _take(self._pairs, mask.reshape(-1).view(np.uint16))
        else:
            _take(self._table, mask.reshape(-1))


def _take(table: NDArray[Any], ids: NDArray[Any]) -> None:
    for start in range(0, ids.size, _BLOCK):
        part = ids[start : start + _BLOCK]
        np.take(table, part, out=part, mode="clip")  # NumPy has copied the indices before
