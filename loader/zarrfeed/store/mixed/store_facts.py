"""What does each store have of what must be the same in all?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed.store.schema import MASK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed.store.split import Split

_NONE, IDS = "none", "class ids"


def common_fields(stores: Sequence[Split], rows: Sequence[int]) -> list[str]:
    """Return the fields that all stores have alike, in the order of the first store."""
    first, *others = (split.field_names for split in stores)
    common = [name for name in first if all(name in names for names in others)]
    facts = facts_of(stores, common)
    return [
        name
        for name in common
        if len(set(facts[name])) == 1
        and all(s.layouts[name].shape[0] == n for s, n in zip(stores, rows, strict=True))
    ]


def facts_of(stores: Sequence[Split], fields: Sequence[str]) -> dict[str, list[str]]:
    """Say what each store has of what must be equal."""
    found = {name: [_described(split, name) for split in stores] for name in fields}
    if len({split.tile_size for split in stores}) > 1:
        found["tiles"] = [
            "whole samples" if split.tile_size is None else f"tiles {split.tile_size}"
            for split in stores
        ]
    if MASK in fields:
        found["mask holds"] = [mask_kind(split) for split in stores]
    return found


def mask_kind(split: Split) -> str:
    """Say what the values of the masks are."""
    if MASK not in split.layouts:
        return _NONE
    if split.instances:
        return "numbers of instances"
    return "channels of classes" if split.multi_hot else IDS


def _described(split: Split, name: str) -> str:
    layout = split.layouts.get(name)
    if layout is None:
        return _NONE
    role = split.attributes.get("packed", {}).get("roles", {}).get(name)
    said = "" if role is None or role == name else f" ({role})"
    return f"{layout.dtype} {layout.sample_shape}{said}"
