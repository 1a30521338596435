"""What does a dataset contain? Plain data for tables and JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from zarrfeed import Split, list_splits, open_split
from zarrfeed_convert import ClassFacts, FieldFacts, classes_of, fields_of

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """Facts about one split.

    Attributes
    ----------
    path
        Path of the split.
    samples
        Number of samples; None if the arrays differ.
    fields
        The arrays.
    descriptive
        Names of those that describe samples, and feed no model.
    indirect
        Why arrays cannot be read directly from their files, by name.
    classes
        The classes and their pixels; empty if the store does not count them.
    ignore
        The mask id that counts as no class; None if there is none.
    packed
        The recorded settings of the conversion; empty for a store that zarrfeed did not write.
    """

    path: str
    samples: int | None
    fields: tuple[FieldFacts, ...]
    descriptive: tuple[str, ...]
    indirect: dict[str, str]
    classes: tuple[ClassFacts, ...]
    ignore: int | None
    packed: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return a dict that fits JSON."""
        return asdict(self)


def inspect_store(path: Path) -> list[SplitFacts]:
    """Collect facts about every split of a dataset, or about one split.

    Parameters
    ----------
    path
        A dataset, such as ``camvid.zarr``, or one of its splits.

    Raises
    ------
    StoreError
        `path` is neither.
    """
    splits = list_splits(path)
    return [
        inspect_split(open_split(each)) for each in ([path / name for name in splits] or [path])
    ]


def inspect_split(split: Split) -> SplitFacts:
    """Collect facts about one opened split. Only metadata and class counts are read."""
    fields = fields_of(split, list(split.layouts))
    lengths = {
        split.layouts[name].shape[0] if name in split.layouts else None
        for name in split.default_fields
    }
    return SplitFacts(
        path=str(split.path),
        samples=lengths.pop() if len(lengths) == 1 else None,
        fields=fields,
        descriptive=tuple(name for name in split.layouts if name not in split.field_names),
        indirect={
            name: layout.indirect
            for name, layout in split.layouts.items()
            if layout.indirect is not None
        },
        classes=classes_of(split),
        ignore=split.ignore,
        packed=dict(split.attributes.get("packed", {})),
    )
