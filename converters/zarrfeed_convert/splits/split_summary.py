"""Which arrays and classes does a split have, and what do tables say of them?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from zarrfeed import SplitReader, class_pixels
from zarrfeed.store.schema import CASE_SIZE, IMAGE, MASK, METADATA
from zarrfeed_convert.planning.layout import text_of_bytes
from zarrfeed_convert.source import recorded_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from zarrfeed import Split

_SHOWN = 64  # classes
IGNORED = "(ignored)"


@dataclass(frozen=True, slots=True)
class FieldFacts:
    """One array of a split.

    Attributes
    ----------
    name
        ``image``, ``mask``, …
    shape
        Shape of the array, with the samples on axis 0.
    dtype, codec
        Dtype of its values, and codec of its chunks.
    chunk_rows, shard_rows
        Number of samples per chunk, and per file.
    decoded_bytes
        Size of the array in memory.
    stored_bytes
        Size of its shard files; None in a dry run.
    role
        ``image``, ``mask`` or ``target``; empty for arrays that describe samples, and in stores
        that zarrfeed did not pack.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    codec: str
    chunk_rows: int
    shard_rows: int
    decoded_bytes: int
    stored_bytes: int | None
    role: str = ""


@dataclass(frozen=True, slots=True)
class ClassFacts:
    """One class of a split's masks.

    Attributes
    ----------
    id, name
        Id in masks, and name. The ignored id comes last, with the name ``(ignored)``.
    pixels
        Number of its pixels in the split; None in a dry run.
    share
        `pixels` as a share of all pixels, 0 … 1; None if they are not counted. The shares of
        multi-hot masks need not add up to 1.
    """

    id: int
    name: str
    pixels: int | None
    share: float | None


def fields_of(split: Split, names: Sequence[str]) -> tuple[FieldFacts, ...]:
    """Return a summary of some arrays of a split.

    Parameters
    ----------
    split
        An opened split.
    names
        Names of the arrays.
    """
    layouts = [(name, split.layouts[name]) for name in names]
    fields = recorded_fields(split.attributes["packed"]) if "packed" in split.attributes else ()
    roles = {field.name: field.role for field in fields}
    return tuple(
        FieldFacts(
            name=name,
            role=roles.get(name, ""),
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
    """Return the classes of a split with their pixels; empty if the store does not count them."""
    if MASK not in split.layouts:
        return ()
    mask = split.layouts[MASK].shape
    counts = class_pixels(split, range(mask[0]))
    if counts is None or len(counts) != len(split.classes):
        return ()
    pixels, total = counts.tolist(), _pixels(split, mask[:-1] if split.multi_hot else mask)
    rows = list(enumerate(zip(split.classes, pixels, strict=True)))
    if split.ignore is not None and split.ignore >= len(split.classes):
        rows.append((split.ignore, (IGNORED, total - sum(pixels))))
    return tuple(
        ClassFacts(number, name, count, count / total if total else None)
        for number, (name, count) in rows
    )


def _pixels(split: Split, mask: Sequence[int]) -> int:
    """Return the number of pixels of a split's masks, without the padding of tiles of cases."""
    sizes = split.describing(CASE_SIZE)
    if sizes is None:
        return math.prod(mask)
    with SplitReader(split, [CASE_SIZE]) as reader:
        return int(reader.read(range(sizes.shape[0]))[CASE_SIZE].prod(axis=1).sum())


def _stored_bytes(folder: Path) -> int:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != METADATA)
    return sum(path.stat().st_size for path in files)


class Cells(NamedTuple):
    """The cells of a table.

    Attributes
    ----------
    texts, numbers
        Headers of the columns of text, and of the columns of numbers after them.
    rows
        The cells below all of these.
    """

    texts: tuple[str, ...]
    numbers: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def field_cells(fields: Iterable[FieldFacts]) -> Cells:
    """Return the cells of a table of fields, their roles, their layout and their size."""
    rows = [
        (
            field.name,
            field.role,
            "×".join(map(str, field.shape)),
            field.dtype,
            field.codec,
            str(field.chunk_rows),
            str(field.shard_rows),
            "" if field.stored_bytes is None else text_of_bytes(field.stored_bytes),
            text_of_bytes(field.decoded_bytes),
        )
        for field in fields
    ]
    numbers = ("chunk rows", "shard rows", "stored", "decoded")
    return Cells(("field", "role", "shape", "dtype", "codec"), numbers, rows)


def percentage(share: float) -> str:
    """Write a share as a percentage with two decimals, so that a little is not nothing.

    Examples
    --------
    >>> percentage(0.0), percentage(2e-6), percentage(0.4821)
    ('0.00%', '<0.01%', '48.21%')
    """
    written = f"{share:.2%}"
    return "<0.01%" if share > 0 and written == "0.00%" else written


def class_cells(classes: Iterable[ClassFacts], fields: Iterable[FieldFacts] = ()) -> Cells:
    """Return the cells of a table of the first classes, and their share of the pixels.

    They are called voxels if one of the fields is an image that is a volume.
    """
    volumes = any(field.name == IMAGE and len(field.shape) == 5 for field in fields)
    rows = [
        (
            one.name,
            str(one.id),
            "" if one.pixels is None else f"{one.pixels:,}",
            "" if one.share is None else percentage(one.share),
        )
        for one in classes
    ]
    if len(rows) > _SHOWN + 1:
        more = (f"… {len(rows) - _SHOWN:,} more; --json lists all", "", "", "")
        rows = [*rows[: _SHOWN - 1], more, rows[-1]]
    return Cells(("class",), ("id", "voxels" if volumes else "pixels", "share"), rows)
