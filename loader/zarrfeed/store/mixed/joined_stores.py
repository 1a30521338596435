"""Each store with the common classes: its masks have the common ids, its counts their columns."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import look_up
from zarrfeed.spelling import few
from zarrfeed.store.mixed.class_join import ClassTable, JoinedClasses, id_table, join_classes
from zarrfeed.store.mixed.mixed_field import FieldPart, Labels
from zarrfeed.store.mixed.mixed_table import MixedTable, TablePart
from zarrfeed.store.mixed.store_facts import IDS, mask_kind
from zarrfeed.store.schema import CLASS_PIXELS, MASK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zarrfeed.store.field_source import FieldSource
    from zarrfeed.store.split import Split


def joined_classes(stores: Sequence[Split], classes: Sequence[str] | None) -> JoinedClasses:
    """Join the classes of the masks.

    Raises
    ------
    ValueError
        They cannot be joined.
    """
    masks = [split.layouts[MASK].dtype for split in stores if MASK in split.layouts]
    tables = [ClassTable(split.classes, split.ignore) for split in stores]
    if len(masks) < len(stores):
        return unjoined(tables)
    most = min((int(np.iinfo(dtype).max) for dtype in masks if dtype.kind in "iu"), default=255)
    joined = join_classes(tables, classes, most=most)
    kinds = {mask_kind(split) for split in stores}
    if kinds - {IDS} and any(ids is not None for ids in joined.ids):
        raise ValueError(
            f"needed the same classes in the same order, because masks hold "
            f"{' and '.join(sorted(kinds))}, found "
            + "; ".join(f"{few(table.names) or 'no names'}" for table in tables)
            + ": convert with the same classes, or mix masks of class ids"
            + look_up("mixed-classes")
        )
    return joined


def unjoined(tables: Sequence[ClassTable]) -> JoinedClasses:
    """Return the classes of the first store, if masks are not read."""
    count = len(tables)
    return JoinedClasses(tables[0], (None,) * count, ((),) * count, chose_ignore=False)


def field_parts(stores: Sequence[Split], name: str, joined: JoinedClasses) -> tuple[FieldPart, ...]:
    """Return a field of each store, with the labels that its masks get."""
    found = []
    for split, ids in zip(stores, joined.ids, strict=True):
        layout = split.layouts[name]
        labels = None
        if name == MASK and ids is not None and layout.dtype.kind in "iu":
            own, ignore = ClassTable(split.classes, split.ignore), joined.table.ignore
            labels = Labels(id_table(ids, own, ignore, layout.dtype), ignore)
        found.append(FieldPart(split, name, layout, labels))
    return tuple(found)


def view_of(
    split: Split,
    number: int,
    joined: JoinedClasses,
    dataset: Mapping[str, Any],
    masks: Sequence[FieldPart] | None,
) -> Split:
    """Return a store with the common classes."""
    sources: dict[str, FieldSource] = dict(split.sources)
    layouts = dict(split.layouts)
    if masks is not None and masks[number].labels is not None:
        sources[MASK] = masks[number]
    counted = split.describing(CLASS_PIXELS)
    if counted is not None:
        columns = _columns(split, number, joined, counted.shape[1])
        if columns is None:
            del layouts[CLASS_PIXELS]
        elif joined.ids[number] is not None or len(joined.table.names) not in (0, counted.shape[1]):
            width = len(joined.table.names) or counted.shape[1]
            part = TablePart(split, CLASS_PIXELS, counted, columns)
            table = MixedTable((part,), (0,), (width,), np.dtype(np.int64))
            sources[CLASS_PIXELS], layouts[CLASS_PIXELS] = table, table.layout
    return replace(split, layouts=layouts, sources=sources, dataset=dataset)


def _columns(
    split: Split, number: int, joined: JoinedClasses, counted: int
) -> tuple[int, ...] | None:
    """Return the common class of each counted one; None if the counts do not fit the names."""
    if split.classes and counted != len(split.classes):
        return None
    names, ids = joined.table.names, joined.ids[number]
    if ids is None or not split.classes:
        return tuple(range(counted)) if not names or counted <= len(names) else None
    return tuple(label if 0 <= label < len(names) else -1 for label in ids[:-1])
