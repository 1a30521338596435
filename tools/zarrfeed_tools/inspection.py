"""What does a dataset hold? Facts as plain data, for people and for machines."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed import Split, list_splits, open_split, read_samples
from zarrfeed.schema import CLASS_PIXELS, MASK, METADATA

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class FieldFacts:
    """One array.

    Attributes
    ----------
    name, shape, dtype, codec
        As stored.
    chunk_rows, shard_rows
        Samples per chunk and per file.
    stored_bytes, decoded_bytes
        On disk (data files alone) and in memory.
    indirect
        Why the direct reader cannot read it; None where it can.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    codec: str
    chunk_rows: int
    shard_rows: int
    stored_bytes: int
    decoded_bytes: int
    indirect: str | None


@dataclass(frozen=True, slots=True)
class ClassFacts:
    """One class of a split's masks.

    Attributes
    ----------
    id, name
        As in the masks; the ignored id comes last, as ``(ignored)``.
    pixels
        Over all samples.
    share
        Of all the split's pixels, 0 … 1.
    """

    id: int
    name: str
    pixels: int
    share: float


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
    fields = tuple(
        FieldFacts(
            name=name,
            shape=layout.shape,
            dtype=str(layout.dtype),
            codec=layout.codec,
            chunk_rows=layout.chunk_rows,
            shard_rows=layout.shard_rows,
            stored_bytes=_stored_bytes(split.path / name),
            decoded_bytes=math.prod(layout.shape) * layout.dtype.itemsize,
            indirect=layout.indirect,
        )
        for name, layout in split.layouts.items()
    )
    lengths = {field.shape[0] for field in fields}
    return SplitFacts(
        path=str(split.path),
        samples=lengths.pop() if len(lengths) == 1 else None,
        fields=fields,
        classes=_classes(split),
        ignore=split.ignore,
        packed=dict(split.attributes.get("packed", {})),
    )


def _stored_bytes(folder: Path) -> int:
    files = (file for file in folder.rglob("*") if file.is_file() and file.name != METADATA)
    return sum(file.stat().st_size for file in files)


def _classes(split: Split) -> tuple[ClassFacts, ...]:
    if not {CLASS_PIXELS, MASK} <= split.layouts.keys():
        return ()
    ids = np.arange(split.layouts[CLASS_PIXELS].shape[0])
    pixels = read_samples(split, CLASS_PIXELS, ids).sum(axis=0, dtype=np.int64).tolist()
    total = math.prod(split.layouts[MASK].shape)
    rows = list(enumerate(zip(split.classes, pixels, strict=True)))
    if split.ignore is not None and split.ignore >= len(split.classes):
        rows.append((split.ignore, ("(ignored)", total - sum(pixels))))
    return tuple(ClassFacts(number, name, count, count / total) for number, (name, count) in rows)
