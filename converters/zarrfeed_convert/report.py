"""What did a conversion find, decide and write?"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from zarrfeed import open_split, read_samples
from zarrfeed.schema import CLASS_PIXELS, MASK, METADATA
from zarrfeed_convert.decisions import Decision

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from zarrfeed_convert.labels import Labels
    from zarrfeed_convert.packing import Numbers
    from zarrfeed_convert.plan import Plan
    from zarrfeed_convert.source import JSON
    from zarrfeed_convert.target import Target


@dataclass(frozen=True, slots=True)
class FieldReport:
    """One array of a split.

    Attributes
    ----------
    name
        ``image`` or ``mask``.
    shape
        With the samples on axis 0.
    dtype, codec
        Of its numbers, and of its chunks.
    chunk_rows, shard_rows
        Samples per chunk and per file.
    decoded_bytes
        What the array is in memory.
    stored_bytes
        What its files are; None in a dry run.
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
class ClassReport:
    """One class of a dataset.

    Attributes
    ----------
    id, name
        In masks, and for people; the ignored id comes last, as ``(ignored)``.
    pixels
        That this split has of it; None in a dry run.
    share
        Of all the split's pixels, 0 … 1. In a dry run, of those of the masks as they are, if all
        were looked at to find the classes; None if not.
    """

    id: int
    name: str
    pixels: int | None
    share: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of :func:`zarrfeed_convert.convert`.

    Attributes
    ----------
    status
        ``packed``; ``already packed`` where the split was there and nothing was changed;
        ``dry run`` where nothing was written.
    path
        The split.
    found
        Samples of the source.
    packed
        Samples of the split: more than `found` where images were cut into tiles.
    fields
        Its arrays that feed a model.
    classes
        Names and pixel shares.
    decisions
        What was chosen, and why.
    seconds
        How long it took.
    """

    status: Literal["packed", "already packed", "dry run"]
    path: Path
    found: int
    packed: int
    fields: tuple[FieldReport, ...]
    classes: tuple[ClassReport, ...]
    decisions: tuple[Decision, ...]
    seconds: float

    def to_json(self) -> JSON:
        """Give the report as plain dictionaries and lists, for ``json.dumps``."""
        report: dict[str, Any] = dataclasses.asdict(self)
        report["path"] = str(self.path)
        return report


def report_of_plan(plan: Plan, target: Target, found: int, class_pixels: Numbers | None) -> Report:
    """Report on what was decided, and on what was written.

    Parameters
    ----------
    plan, target
        What was decided, and where it goes.
    found
        Samples of the source.
    class_pixels
        (K,) pixels of each class; None where nothing was written.
    """
    written = class_pixels is not None
    fields = tuple(
        FieldReport(
            name=layout.name,
            shape=(len(plan.rows), *layout.sample_shape),
            dtype=str(layout.dtype),
            codec=layout.codec,
            chunk_rows=layout.chunk_rows,
            shard_rows=layout.shard_rows,
            decoded_bytes=len(plan.rows) * layout.sample_nbytes,
            stored_bytes=_stored(target.folder / layout.name) if written else None,
        )
        for layout in (plan.image, plan.mask)
    )
    labels = plan.recipe.labels
    total = len(plan.rows) * plan.mask.sample_nbytes // plan.mask.dtype.itemsize
    return Report(
        status="packed" if written else "dry run",
        path=target.folder,
        found=found,
        packed=len(plan.rows),
        fields=fields,
        classes=(
            _planned_classes(labels, plan.surveyed)
            if class_pixels is None
            else _class_reports(labels.classes, labels.ignore, class_pixels, total)
        ),
        decisions=plan.decisions,
        seconds=0.0,
    )


def report_of_split(target: Target, there: JSON) -> Report:
    """Report on a split that was packed before."""
    split = open_split(target.folder)
    fields = tuple(
        FieldReport(
            name=name,
            shape=layout.shape,
            dtype=str(layout.dtype),
            codec=layout.codec,
            chunk_rows=layout.chunk_rows,
            shard_rows=layout.shard_rows,
            decoded_bytes=math.prod(layout.shape) * layout.dtype.itemsize,
            stored_bytes=_stored(target.folder / name),
        )
        for name, layout in split.select(there["fields"]).items()
    )
    pixels = read_samples(split, CLASS_PIXELS, np.arange(there["samples"]))
    total = math.prod(split.layouts[MASK].shape)
    return Report(
        status="already packed",
        path=target.folder,
        found=there["packed"]["found"],
        packed=there["samples"],
        fields=fields,
        classes=_class_reports(
            split.classes, split.ignore, pixels.sum(axis=0, dtype=np.int64), total
        ),
        decisions=tuple(Decision(**decision) for decision in there["packed"]["decisions"]),
        seconds=0.0,
    )


def _planned_classes(labels: Labels, surveyed: Mapping[int, int] | None) -> tuple[ClassReport, ...]:
    names = dict(enumerate(labels.classes))
    if labels.ignore is not None:
        names.setdefault(labels.ignore, "(ignored)")
    if surveyed is None:
        return tuple(ClassReport(place, name, None, None) for place, name in names.items())
    total = sum(surveyed.values())
    return tuple(
        ClassReport(place, name, None, surveyed.get(place, 0) / total)
        for place, name in names.items()
    )


def _class_reports(
    classes: Sequence[str], ignore: int | None, pixels: Numbers, total: int
) -> tuple[ClassReport, ...]:
    rows = [
        ClassReport(place, name, count, count / total)
        for place, (name, count) in enumerate(zip(classes, pixels.tolist(), strict=True))
    ]
    if ignore is not None and ignore >= len(classes):
        rest = total - int(pixels.sum())
        rows.append(ClassReport(ignore, "(ignored)", rest, rest / total))
    return tuple(rows)


def _stored(folder: Path) -> int:
    """Count the bytes of an array's data files."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != METADATA)
    return sum(path.stat().st_size for path in files)
