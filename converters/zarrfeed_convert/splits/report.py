"""What does a split contain, and what did a conversion find, decide and write?"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from zarrfeed import class_pixels, open_split
from zarrfeed.store.schema import MASK, METADATA
from zarrfeed_convert.planning.layout import Decision

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zarrfeed import Split
    from zarrfeed_convert.failures import Failures
    from zarrfeed_convert.planning.plan import Plan
    from zarrfeed_convert.source import JSON, Source
    from zarrfeed_convert.splits.destination import Destination

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


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of :func:`zarrfeed_convert.convert`.

    Attributes
    ----------
    status
        ``packed``; ``already packed`` if the split existed and was not changed; ``dry run`` if
        nothing was written.
    path
        Folder of the split.
    found
        Number of samples of the source, including inputs that make no sample.
    skipped
        (name, reason) of those that were left out. The others, ``found - len(skipped)``, were
        packed.
    packed
        Number of samples in the split. It is larger than ``found - len(skipped)`` if images were
        cut into tiles.
    fields
        Arrays that feed a model.
    classes
        Names and pixel shares of the classes.
    decisions
        What was decided, and why. The split does not record the number of workers, which is last,
        and how images are padded or differ from those of other splits.
    seconds
        Duration.
    """

    status: Literal["packed", "already packed", "dry run"]
    path: Path
    found: int
    skipped: tuple[tuple[str, str], ...]
    packed: int
    fields: tuple[FieldFacts, ...]
    classes: tuple[ClassFacts, ...]
    decisions: tuple[Decision, ...]
    seconds: float

    def to_json(self) -> JSON:
        """Return the report as dictionaries and lists, for ``json.dumps``."""
        report: dict[str, Any] = dataclasses.asdict(self)
        report["path"] = str(self.path)
        return report


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
    """Return the classes of a split with their pixels; empty if the store does not count them."""
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


def report_of_plan(
    plan: Plan,
    destination: Destination,
    samples: Source,
    failures: Failures,
    notes: Sequence[Decision],
) -> Report:
    """Return the report of a dry run.

    Parameters
    ----------
    plan, destination
        What was decided, and where it would be written.
    samples, failures
        The source, and its samples that are known to fail.
    notes
        Decisions that the split does not record.
    """
    left_out = tuple(samples.left_out)
    fields = tuple(
        FieldFacts(
            name=layout.name,
            shape=(len(plan.rows), *layout.sample_shape),
            dtype=str(layout.dtype),
            codec=layout.codec,
            chunk_rows=layout.chunk_rows,
            shard_rows=layout.shard_rows,
            decoded_bytes=len(plan.rows) * layout.sample_nbytes,
            stored_bytes=None,
        )
        for layout in plan.fields
    )
    return Report(
        status="dry run",
        path=destination.folder,
        found=len(samples.keys) + len(left_out),
        skipped=(*left_out, *((failed.name, failed.why) for failed in failures.found)),
        packed=len(plan.rows),
        fields=fields,
        classes=_planned_classes(plan),
        decisions=(*plan.decisions, *notes),
        seconds=0.0,
    )


def report_of_split(
    destination: Destination, there: JSON, *, status: Literal["packed", "already packed"]
) -> Report:
    """Return the report on an existing split, read from the store.

    Parameters
    ----------
    destination
        The split.
    there
        Its ``attributes.zarrfeed``.
    status
        Whether it was packed by this run or before.
    """
    split = open_split(destination.folder)
    return Report(
        status=status,
        path=destination.folder,
        found=there["packed"]["found"],
        skipped=tuple(
            (skipped["name"], skipped["why"]) for skipped in there["packed"].get("skipped", ())
        ),
        packed=there["samples"],
        fields=fields_of(split, there["fields"]),
        classes=classes_of(split),
        decisions=tuple(Decision(**decision) for decision in there["packed"]["decisions"]),
        seconds=0.0,
    )


def _planned_classes(plan: Plan) -> tuple[ClassFacts, ...]:
    labels, surveyed = plan.recipe.labels, plan.surveyed
    names = dict(enumerate(labels.classes))
    if labels.ignore is not None:
        names.setdefault(labels.ignore, IGNORED)
    if surveyed is None:
        return tuple(ClassFacts(place, name, None, None) for place, name in names.items())
    total = sum(surveyed.values())
    if labels.multi_hot:  # pixels count in several classes, or in none
        total = len(plan.rows) * math.prod(plan.recipe.geometry.size)
    return tuple(
        ClassFacts(place, name, None, surveyed.get(place, 0) / total)
        for place, name in names.items()
    )
