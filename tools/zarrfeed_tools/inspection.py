"""What does a dataset hold? Facts as plain data, for people and for machines."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from zarrfeed import Split, list_splits, open_split
from zarrfeed_convert import ClassFacts, FieldFacts, classes_of, fields_of

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """One split.

    Attributes
    ----------
    path
        Of its group.
    samples
        How many; None where its arrays differ.
    fields
        Its arrays.
    indirect
        Why the direct reader cannot read an array, for those that it cannot.
    classes
        Empty where the store does not count them.
    ignore
        The mask id that belongs to no class, or None.
    packed
        How it was packed, as recorded; empty for a store that zarrfeed did not write.
    """

    path: str
    samples: int | None
    fields: tuple[FieldFacts, ...]
    indirect: dict[str, str]
    classes: tuple[ClassFacts, ...]
    ignore: int | None
    packed: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)


def inspect_store(path: Path) -> list[SplitFacts]:
    """Look at every split of a dataset, or at one split.

    Parameters
    ----------
    path
        A dataset like ``camvid.zarr``, or one of its splits.

    Raises
    ------
    StoreError
        It is neither.
    """
    splits = list_splits(path)
    return [
        inspect_split(open_split(each)) for each in ([path / name for name in splits] or [path])
    ]


def inspect_split(split: Split) -> SplitFacts:
    """Look at one opened split; of its data, only the class counts are read."""
    fields = fields_of(split, list(split.layouts))
    lengths = {
        split.layouts[name].shape[0] if name in split.layouts else None
        for name in split.default_fields
    }
    return SplitFacts(
        path=str(split.path),
        samples=lengths.pop() if len(lengths) == 1 else None,
        fields=fields,
        indirect={
            name: layout.indirect
            for name, layout in split.layouts.items()
            if layout.indirect is not None
        },
        classes=classes_of(split),
        ignore=split.ignore,
        packed=dict(split.attributes.get("packed", {})),
    )
