"""Put the splits of several stores together to one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import MixError, StoreError, look_up, printable
from zarrfeed.spelling import few
from zarrfeed.store.field_source import row_layout
from zarrfeed.store.mixed.class_join import ClassTable, JoinedClasses, id_table, join_classes
from zarrfeed.store.mixed.differences import differing, table_of
from zarrfeed.store.mixed.mixed_field import FieldPart, Labels, MixedField
from zarrfeed.store.mixed.mixed_names import MixedNames
from zarrfeed.store.mixed.mixed_table import MixedTable, TablePart
from zarrfeed.store.schema import (
    CASE_FIRST_TILE,
    CASE_KEY,
    CASE_SIZE,
    CHANNEL_SUMS,
    CLASS_PIXELS,
    IMAGE,
    INSTANCES,
    KEY,
    MASK,
    ArrayLayout,
)
from zarrfeed.store.split import Split
from zarrfeed.user_warning import warn_user

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zarrfeed.store.field_source import FieldSource

_NONE, _IDS = "none", "class ids"


@dataclass(frozen=True, slots=True, eq=False)
class MixedSplit:
    """Several splits as one.

    Attributes
    ----------
    split
        All rows of all stores.
    stores
        Each store by itself, with the common classes.
    labels
        What each is called in messages.
    first_rows, first_cases
        Number of the first row and case of each in `split`.
    joined
        The common classes.
    """

    split: Split
    stores: tuple[Split, ...]
    labels: tuple[str, ...]
    first_rows: tuple[int, ...]
    first_cases: tuple[int, ...]
    joined: JoinedClasses

    def require(self, fields: Sequence[str]) -> None:
        """Check that all stores have some fields, with the same dtype and size.

        Raises
        ------
        StoreError
            They differ; the message has a table.

        Warns
        -----
        UserWarning
            Pixels of some classes are ignored, because they are no common classes.
        """
        facts = _facts(self.stores, fields)
        if found := differing(facts):
            raise MixError(
                f"{self.split.path}: needed the same in every store, found\n\n"
                f"{table_of(self.labels, found)}\n\n"
                "`zarrfeed repack` cuts cases into other tiles (--tile), `zarrfeed convert` packs "
                "other sizes, dtypes and fields; fields=… chooses what all have"
                f"{look_up('mixed-stores')}"
            )
        if MASK in fields and any(self.joined.unknown):
            self._warn_of_lost()

    def _warn_of_lost(self) -> None:
        joined = self.joined
        lost = [
            f"{', '.join(names)} of {label}"
            for names, label in zip(joined.unknown, self.labels, strict=True)
            if names
        ]
        chosen = ", chosen here" if joined.chose_ignore else ""
        warn_user(
            printable(
                f"{self.split.path}: pixels of these classes become the ignore id "
                f"({joined.table.ignore}{chosen}), because it has no class of their name: "
                f"{'; '.join(lost)}. Mix(…, classes=…) names the classes to keep"
                f"{look_up('mixed-classes')}"
            )
        )


def open_mixed(stores: Sequence[Split], classes: Sequence[str] | None) -> MixedSplit:
    """Put splits together.

    Parameters
    ----------
    stores
        Opened splits, at least one.
    classes
        Names of the common classes by id; None for those of the first store.

    Raises
    ------
    StoreError
        A split is empty.
    """
    labels = labels_of(
        [split.path if split.origin is None else Path(split.origin.url) for split in stores]
    )
    path = Path(f"Mix({', '.join(labels)})")
    rows = [_rows(split) for split in stores]
    names = _field_names(stores, rows)
    unfit = _unfit(path, stores, names)
    try:
        joined = _joined(stores, classes)
    except ValueError as error:  # matters to those alone who read masks
        joined = _unjoined([ClassTable(split.classes, split.ignore) for split in stores])
        unfit[MASK] = f"{path / MASK}: {error}"
        names = [name for name in names if name != MASK]
    parts = {name: _parts(stores, name, joined) for name in names}
    dataset = _dataset(stores, joined)
    views = tuple(
        _view(split, k, joined, dataset, parts.get(MASK)) for k, split in enumerate(stores)
    )
    of_cases = all(split.tile_size is not None for split in stores)
    first_rows = _starts(rows)
    cases = [_length(split, CASE_SIZE) for split in stores] if of_cases else rows
    sources: dict[str, Any] = {name: MixedField(parts[name], first_rows) for name in names}
    layouts = {name: _layout([part.layout for part in parts[name]], sum(rows)) for name in names}
    tables = _tables(views, labels, rows, cases if of_cases else None)
    sources |= tables
    layouts |= {name: table.layout for name, table in tables.items()}
    split = Split(
        path,
        layouts,
        _attributes(stores, cases if of_cases else None),
        dataset,
        unfit,
        dict.fromkeys(sources),  # readers check the stamps of what they read
        sources,
    )
    return MixedSplit(split, views, labels, first_rows, _starts(cases), joined)


def labels_of(paths: Sequence[Path]) -> tuple[str, ...]:
    """Return short names of splits: the last parts of their paths that tell them apart.

    Examples
    --------
    >>> labels_of([Path("/data/a.zarr/train"), Path("/data/b.zarr/train")])
    ('a.zarr/train', 'b.zarr/train')
    >>> labels_of([Path("/x/a.zarr/train"), Path("/y/a.zarr/train")])
    ('x/a.zarr/train', 'y/a.zarr/train')
    """
    most = max(len(path.parts) for path in paths)
    found: list[str] = []
    for count in range(2, most + 1):
        found = ["/".join(path.parts[-count:]) for path in paths]
        if len(set(found)) == len(paths):
            return tuple(found)
    return tuple(map(str, paths))


def _unfit(path: Path, stores: Sequence[Split], names: Sequence[str]) -> dict[str, str]:
    """Say of the other fields why they cannot be read."""
    return {
        name: f"{path / name}: needed it alike in every store: choose other fields"
        f"{look_up('mixed-stores')}"
        for split in stores
        for name in (*split.default_fields, *split.unfit)
        if name not in names
    }


def _rows(split: Split) -> int:
    """Return the number of samples or tiles of a store."""
    fields = [name for name in (IMAGE, *split.default_fields) if name in split.layouts]
    if not fields:
        raise StoreError(f"{split.path}: needed a field, found none that can be read")
    rows = split.layouts[fields[0]].shape[0]
    if not rows:
        raise StoreError(f"{split.path}: needed samples to mix, found none: leave the store out")
    return rows


def _starts(counts: Sequence[int]) -> tuple[int, ...]:
    starts: list[int] = (np.cumsum(counts) - counts).tolist()
    return tuple(starts)


def _length(split: Split, name: str) -> int:
    layout = split.describing(name)
    return layout.shape[0] if layout else 0


def _field_names(stores: Sequence[Split], rows: Sequence[int]) -> list[str]:
    """Return the fields that all stores have alike, in the order of the first store."""
    first, *others = (split.field_names for split in stores)
    common = [name for name in first if all(name in names for names in others)]
    facts = _facts(stores, common)
    return [
        name
        for name in common
        if len(set(facts[name])) == 1
        and all(s.layouts[name].shape[0] == n for s, n in zip(stores, rows, strict=True))
    ]


def _facts(stores: Sequence[Split], fields: Sequence[str]) -> dict[str, list[str]]:
    """Say what each store has of what must be equal."""
    found = {name: [_described(split, name) for split in stores] for name in fields}
    if len({split.tile_size for split in stores}) > 1:
        found["tiles"] = [
            "whole samples" if split.tile_size is None else f"tiles {split.tile_size}"
            for split in stores
        ]
    if MASK in fields:
        found["mask holds"] = [_mask_kind(split) for split in stores]
    return found


def _described(split: Split, name: str) -> str:
    layout = split.layouts.get(name)
    if layout is None:
        return _NONE
    role = split.attributes.get("packed", {}).get("roles", {}).get(name)
    said = "" if role is None or role == name else f" ({role})"
    return f"{layout.dtype} {layout.sample_shape}{said}"


def _mask_kind(split: Split) -> str:
    if MASK not in split.layouts:
        return _NONE
    if split.instances:
        return "numbers of instances"
    return "channels of classes" if split.multi_hot else _IDS


def _joined(stores: Sequence[Split], classes: Sequence[str] | None) -> JoinedClasses:
    """Join the classes of the masks.

    Raises
    ------
    ValueError
        They cannot be joined.
    """
    masks = [split.layouts[MASK].dtype for split in stores if MASK in split.layouts]
    tables = [ClassTable(split.classes, split.ignore) for split in stores]
    if len(masks) < len(stores):
        return _unjoined(tables)
    most = min((int(np.iinfo(dtype).max) for dtype in masks if dtype.kind in "iu"), default=255)
    joined = join_classes(tables, classes, most=most)
    kinds = {_mask_kind(split) for split in stores}
    if kinds - {_IDS} and any(ids is not None for ids in joined.ids):
        raise ValueError(
            f"needed the same classes in the same order, because masks hold "
            f"{' and '.join(sorted(kinds))}, found "
            + "; ".join(f"{few(table.names) or 'no names'}" for table in tables)
            + ": convert with the same classes, or mix masks of class ids"
            + look_up("mixed-classes")
        )
    return joined


def _unjoined(tables: Sequence[ClassTable]) -> JoinedClasses:
    """Return the classes of the first store, if masks are not read."""
    count = len(tables)
    return JoinedClasses(tables[0], (None,) * count, ((),) * count, chose_ignore=False)


def _dataset(stores: Sequence[Split], joined: JoinedClasses) -> dict[str, Any]:
    table = joined.table
    if not (table.names or table.ignore is not None or stores[0].dataset):
        return {}
    return {**stores[0].dataset, "classes": list(table.names), "ignore": table.ignore}


def _attributes(stores: Sequence[Split], cases: Sequence[int] | None) -> dict[str, Any]:
    """Return the attributes of the whole; empty if zarrfeed did not pack all stores."""
    if not all(split.packed for split in stores):
        return {}
    fields = dict.fromkeys(name for split in stores for name in split.default_fields)
    roles: dict[str, str] = {}
    for split in reversed(stores):
        roles |= split.attributes.get("packed", {}).get("roles", {})
    packed: dict[str, Any] = {"roles": roles} if roles else {}
    if any(split.instances for split in stores):
        packed[INSTANCES] = True
    of_cases = {} if cases is None else {"cases": sum(cases)}
    return {"format": 1, "fields": list(fields), "packed": packed, **of_cases}


def _parts(stores: Sequence[Split], name: str, joined: JoinedClasses) -> tuple[FieldPart, ...]:
    found = []
    for split, ids in zip(stores, joined.ids, strict=True):
        layout = split.layouts[name]
        labels = None
        if name == MASK and ids is not None and layout.dtype.kind in "iu":
            own, ignore = ClassTable(split.classes, split.ignore), joined.table.ignore
            labels = Labels(id_table(ids, own, ignore, layout.dtype), ignore)
        found.append(FieldPart(split, name, layout, labels))
    return tuple(found)


def _layout(layouts: Sequence[ArrayLayout], rows: int) -> ArrayLayout:
    """Return the layout of a field of all stores, which is nowhere stored as such."""
    shown = next((each for each in layouts if each.indirect is not None), layouts[0])
    whole = row_layout((rows, *shown.sample_shape), shown.dtype)
    return replace(
        whole,
        compressor=shown.compressor,
        codec=shown.codec,
        foreign=shown.foreign,
        indirect=shown.indirect,
    )


def _view(
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


def _tables(
    views: Sequence[Split],
    labels: tuple[str, ...],
    rows: Sequence[int],
    cases: Sequence[int] | None,
) -> dict[str, Any]:
    """Return what describes the samples or cases of all stores, as far as all have it."""
    found: dict[str, Any] = {}
    named = views if cases is None else [view for view in views if view.describing(CASE_KEY)]
    if cases is None or len(named) == len(views):
        named_rows = tuple(rows if cases is None else cases)
        name = KEY if cases is None else CASE_KEY
        found[name] = MixedNames(tuple(views), labels, named_rows, cases is not None)
    wanted: list[tuple[str, Any, Sequence[int]]] = [
        (CLASS_PIXELS, np.int64, rows),
        (CHANNEL_SUMS, np.float64, rows),
    ]
    if cases is not None:
        wanted += [(CASE_SIZE, np.int64, cases), (CASE_FIRST_TILE, np.int64, cases)]
    for name, dtype, counts in wanted:
        layouts = [view.describing(name) for view in views]
        if not all(layouts):
            continue
        stored = [layout for layout in layouts if layout is not None]
        if any(each.shape[0] != count for each, count in zip(stored, counts, strict=True)):
            continue
        added = _starts(rows if name == CASE_FIRST_TILE else [0] * len(views))
        extents = tuple(np.max([each.sample_shape for each in stored], axis=0).astype(int).tolist())
        parts = tuple(
            TablePart(view, name, each, None, more)
            for view, each, more in zip(views, stored, added, strict=True)
        )
        found[name] = MixedTable(parts, _starts(counts), extents, np.dtype(dtype))
    return found
