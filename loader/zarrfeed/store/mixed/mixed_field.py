"""Read the rows of a field of several stores, each into its own row of the batch.

Stores whose arrays can be mapped and have equal samples, chunks and codecs are read together, as
one array. Others are read one by one. Ids of masks become the common ones where they are read.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zarrfeed.store.field_opening import open_field, read_mapped, reserve_shards
from zarrfeed.store.field_reader import FieldReader
from zarrfeed.store.files import require_same
from zarrfeed.store.mapped_reader import MappedReader
from zarrfeed.store.mixed.class_join import Relabelling
from zarrfeed.store.mixed.mixed_files import MixedShardFiles, RowsOfAll, StoredField
from zarrfeed.store.read_plan import ReadPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from numpy.typing import NDArray

    from zarrfeed.store.box_plan import BoxPlan
    from zarrfeed.store.schema import ArrayLayout
    from zarrfeed.store.split import Split


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """The common ids of a store's classes; see :func:`zarrfeed.store.mixed.class_join.id_table`.

    Attributes
    ----------
    table
        Common id of each id.
    ignore
        What becomes of ids beyond the table; None leaves them.
    """

    table: NDArray[Any]
    ignore: int | None


@dataclass(frozen=True, slots=True, eq=False)
class FieldPart:
    """A field of one store of several. It is a source of fields by itself, too.

    Attributes
    ----------
    split, name, layout
        The array.
    labels
        Common ids of its classes; None if they are the common ones.
    """

    split: Split
    name: str
    layout: ArrayLayout
    labels: Labels | None

    def open(self, *, open_files: int, cache_nbytes: int = 0) -> FieldReader:
        """Open a reader of this part alone."""
        alone = MixedField((self,), (0,))
        return alone.open(open_files=open_files, cache_nbytes=cache_nbytes)

    @property
    def kind(self) -> tuple[Any, ...] | None:
        """What parts have in common that are read together; None for one that is read alone."""
        layout = self.layout
        split = self.split
        if self.name in split.sources or split.origin is not None or layout.indirect is not None:
            return None
        return (
            layout.sample_shape, layout.dtype, layout.chunk_rows, layout.compressor,
            layout.checksum, layout.fill, layout.order, layout.swapped,
        )  # fmt: skip

    @property
    def stored(self) -> StoredField:
        """The array as files."""
        split = self.split
        stamp = split.stamps.get(self.name)
        return StoredField(split.path / self.name, self.layout, stamp, split.packed)


@dataclass(frozen=True, slots=True, eq=False)
class MixedField:
    """A field of several stores.

    Attributes
    ----------
    parts
        The field of each store.
    first
        The first row of each store.
    """

    parts: tuple[FieldPart, ...]
    first: tuple[int, ...]

    def open(self, *, open_files: int, cache_nbytes: int = 0) -> FieldReader:
        """Open a reader of all parts."""
        return MixedReader(self, open_files=open_files, cache_nbytes=cache_nbytes)


class _Group(NamedTuple):
    """Stores that are read together.

    Attributes
    ----------
    reader
        Reads their rows.
    rows
        Turns numbers of stores and ids of samples in them into these rows.
    key
        What is equal for fields whose rows are equal.
    """

    reader: FieldReader
    rows: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64]]
    key: Hashable


class MixedReader(FieldReader):
    """Reads a field of several stores.

    Parameters
    ----------
    field
        The field.
    open_files, cache_nbytes
        As for :func:`zarrfeed.store.field_opening.open_field`.
    """

    def __init__(self, field: MixedField, *, open_files: int, cache_nbytes: int) -> None:
        self._parts = field.parts
        self._first = list(field.first)
        self._firsts = np.array(field.first, np.int64)
        self._relabelling = [
            None if part.labels is None else Relabelling(part.labels.table, part.labels.ignore)
            for part in field.parts
        ]
        together: dict[Any, list[int]] = {}
        for number, part in enumerate(field.parts):
            together.setdefault(part.kind or number, []).append(number)
        self._groups: list[_Group] = []
        self._group_of = np.empty(len(field.parts), np.int64)
        self._number_in = np.empty(len(field.parts), np.int64)
        for at, numbers in enumerate(together.values()):
            self._group_of[numbers] = at
            self._number_in[numbers] = np.arange(len(numbers))
            share = {
                "open_files": max(1, open_files * len(numbers) // len(field.parts)),
                "cache_nbytes": cache_nbytes // len(together),
            }
            self._groups.append(_open([field.parts[number] for number in numbers], **share))
        # Mapped readers check stamps whenever they map a file. The others open files at any time.
        self._stamps = [
            (part.split.path / part.name, part.split.stamps.get(part.name))
            for number, part in enumerate(field.parts)
            if not isinstance(self._groups[self._group_of[number]].reader, MappedReader)
        ]

    @property
    def decode_seconds(self) -> float:  # type: ignore[override]
        """Seconds spent in codecs so far."""
        return sum(group.reader.decode_seconds for group in self._groups)

    def read_into(self, plan: ReadPlan, out: NDArray[Any]) -> None:
        """Read the samples of a batch; see :meth:`FieldReader.read_into`."""
        store = self._stores(plan.ids)
        for reader, part in self._plans(plan, store):
            self._read(reader.read_into, part, out)
        if any(self._relabelling):
            rows = range(store.size) if plan.land is None else plan.land.tolist()
            for row, number in zip(rows, store.tolist(), strict=True):
                if (relabelling := self._relabelling[number]) is not None:
                    relabelling.apply(out[row])

    def read_box_into(self, plan: BoxPlan, out: NDArray[Any]) -> None:
        """Read a box of a case; see :meth:`FieldReader.read_box_into`."""
        if not plan.rows:
            return
        number = bisect_right(self._first, plan.rows[0]) - 1
        group = self._groups[self._group_of[number]]
        ids = np.array(plan.rows, np.int64) - self._first[number]
        rows = group.rows(np.full_like(ids, self._number_in[number]), ids)
        self._read(group.reader.read_box_into, plan.moved(rows.tolist()), out)
        if (relabelling := self._relabelling[number]) is not None:
            relabelling.apply(out)

    def prefetch(self, plan: ReadPlan) -> None:
        """Ask the kernel to load what `plan` needs; see :meth:`FieldReader.prefetch`."""
        for reader, part in self._plans(plan, self._stores(plan.ids)):
            reader.prefetch(part)

    def close(self) -> None:
        """Close the files."""
        for group in self._groups:
            group.reader.close()

    def _stores(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(self._firsts, ids, side="right") - 1

    def _plans(
        self, plan: ReadPlan, store: NDArray[np.int64]
    ) -> list[tuple[FieldReader, ReadPlan]]:
        """Divide a plan among the groups."""
        if len(self._groups) == 1:
            [group] = self._groups
            whole = plan.derived(group.key, lambda: self._whole(plan, store, group))
            return [(group.reader, whole)]
        ids, number = plan.ids - self._firsts[store], self._number_in[store]
        groups = self._group_of[store]
        found = []
        for at in np.flatnonzero(np.bincount(groups)).tolist():
            group, here = self._groups[at], np.flatnonzero(groups == at)
            land = here if plan.land is None else plan.land[here]
            found.append((group.reader, ReadPlan(group.rows(number[here], ids[here]), land)))
        return found

    def _whole(self, plan: ReadPlan, store: NDArray[np.int64], group: _Group) -> ReadPlan:
        ids, number = plan.ids - self._firsts[store], self._number_in[store]
        return ReadPlan(group.rows(number, ids), plan.land)

    def _read(
        self, read: Callable[[Any, NDArray[Any]], None], plan: Any, out: NDArray[Any]
    ) -> None:
        try:
            read(plan, out)
        finally:  # if a split was replaced, that explains any other error
            for folder, stamp in self._stamps:
                require_same(folder, stamp)


def _open(parts: Sequence[FieldPart], *, open_files: int, cache_nbytes: int) -> _Group:
    first = parts[0]
    if first.kind is None:  # alone
        reader = open_field(
            first.split, first.name, first.layout, open_files=open_files, cache_nbytes=cache_nbytes
        )
        return _Group(reader, lambda _, ids: ids, None)
    rows = RowsOfAll([part.layout for part in parts])
    files = MixedShardFiles(
        [part.stored for part in parts],
        rows,
        open_files=open_files,
        mapped_shards=reserve_shards(rows.layout, open_files),
    )
    return _Group(read_mapped(files, cache_nbytes=cache_nbytes), rows.of, rows.key)
