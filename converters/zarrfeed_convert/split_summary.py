"""What does a split hold? Facts as plain data, read from the store itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zarrfeed import Split, class_pixels
from zarrfeed.store.schema import MASK, METADATA

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

IGNORED = "(ignored)"


@dataclass(frozen=True, slots=True)
class FieldFacts:
    """One array of a split.

    Attributes
    ----------
    name
        ``image``, ``mask``, …
    shape
        With the samples on axis 0.
    dtype, codec
        Of its numbers, and of its chunks.
    chunk_rows, shard_rows
        Samples per chunk and per file.
    decoded_bytes
        What the array is in memory.
    stored_bytes
        What its data files are; None in a dry run.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    codec: str
    chunk_rows: int
    shard_rows: int
    decoded_bytes: int
    stored_bytes: int | None


@dataclass(frozen=True, slots=True)
class ClassFacts:
    """One class of a split's masks.

    Attributes
    ----------
    id, name
        In masks, and for people; the ignored id comes last, as ``(ignored)``.
    pixels
        That the split has of it; None in a dry run.
    share
        Of all the split's pixels, 0 … 1; None where nobody counted. Of multi-hot masks, shares need
        not add up to 1.
    """

    id: int
    name: str
    pixels: int | None
    share: float | None


def fields_of(split: Split, names: Sequence[str]) -> tuple[FieldFacts, ...]:
    """Describe arrays of a split.

    Parameters
    ----------
    split
        An opened split.
    names
        Of the arrays.
    """
    layouts = [(name, split.layouts[name]) for name in names]
    return tuple(
        FieldFacts(
            name=name,
            shape=layout.shape,
            dtype=str(layout.dtype),
            codec=layout.codec,
            chunk_rows=layout.chunk_rows,
            shard_rows=layout.shard_rows,
            decoded_bytes=math.prod(layout.shape) * layout.dtype.itemsize,
            stored_bytes=_stored_bytes(split.path / name),
        )
        for name, layout in layouts
    )


def classes_of(split: Split) -> tuple[ClassFacts, ...]:
    """Count the classes of a split; empty where the store does not."""
    if MASK not in split.layouts:
        return ()
    mask = split.layouts[MASK].shape
    counts = class_pixels(split, range(mask[0]))
    if counts is None or len(counts) != len(split.classes):
        return ()
    pixels, total = counts.tolist(), math.prod(mask[:-1] if split.multi_hot else mask)
    rows = list(enumerate(zip(split.classes, pixels, strict=True)))
    if split.ignore is not None and split.ignore >= len(split.classes):
        rows.append((split.ignore, (IGNORED, total - sum(pixels))))
    return tuple(
        ClassFacts(number, name, count, count / total if total else None)
        for number, (name, count) in rows
    )


def _stored_bytes(folder: Path) -> int:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != METADATA)
    return sum(path.stat().st_size for path in files)
