"""Put the splits of several stores together to one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import StoreError, look_up
from zarrfeed.store.field_source import row_layout
from zarrfeed.store.mixed.class_join import ClassTable
from zarrfeed.store.mixed.described_rows import described_rows
from zarrfeed.store.mixed.joined_stores import field_parts, joined_classes, unjoined, view_of
from zarrfeed.store.mixed.mixed_field import MixedField
from zarrfeed.store.mixed.mixed_split import MixedSplit
from zarrfeed.store.mixed.mixed_table import starts
from zarrfeed.store.mixed.store_facts import common_fields
from zarrfeed.store.schema import CASE_SIZE, IMAGE, INSTANCES, MASK
from zarrfeed.store.split import Split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed.store.mixed.class_join import JoinedClasses
    from zarrfeed.store.schema import ArrayLayout


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
    labels = labels_of([Path(split.address) for split in stores])
    path = Path(f"Mix({', '.join(labels)})")
    rows = [_rows(split) for split in stores]
    names = common_fields(stores, rows)
    unfit = _unfit(path, stores, names)
    try:
        joined = joined_classes(stores, classes)
    except ValueError as error:  # matters to those alone who read masks
        joined = unjoined([ClassTable(split.classes, split.ignore) for split in stores])
        unfit[MASK] = f"{path / MASK}: {error}"
        names = [name for name in names if name != MASK]
    parts = {name: field_parts(stores, name, joined) for name in names}
    dataset = _dataset(stores, joined)
    views = tuple(
        view_of(split, k, joined, dataset, parts.get(MASK)) for k, split in enumerate(stores)
    )
    of_cases = all(split.tile_size is not None for split in stores)
    first_rows = starts(rows)
    cases = [_length(split, CASE_SIZE) for split in stores] if of_cases else rows
    sources: dict[str, Any] = {name: MixedField(parts[name], first_rows) for name in names}
    layouts = {name: _layout([part.layout for part in parts[name]], sum(rows)) for name in names}
    tables = described_rows(views, labels, rows, cases if of_cases else None)
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
    return MixedSplit(split, views, labels, first_rows, starts(cases), joined)


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


def _length(split: Split, name: str) -> int:
    layout = split.describing(name)
    return layout.shape[0] if layout else 0


def _dataset(stores: Sequence[Split], joined: JoinedClasses) -> dict[str, Any]:
    table = joined.table
    if not (table.names or table.ignore is not None or stores[0].dataset):
        return {}
    dropped = list(dict.fromkeys(name for names in joined.unknown for name in names))
    own = {"classes": list(table.names), "ignore": table.ignore, "dropped": dropped}
    return {**stores[0].dataset, **own}


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
