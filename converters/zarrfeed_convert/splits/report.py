"""What did a conversion find, decide and write?"""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from zarrfeed import open_split
from zarrfeed.errors import printable, without_topic
from zarrfeed.spelling import plural
from zarrfeed_convert.planning.layout import Decision
from zarrfeed_convert.source import PAIR
from zarrfeed_convert.splits.split_summary import (
    IGNORED,
    Cells,
    ClassFacts,
    FieldFacts,
    class_cells,
    classes_of,
    field_cells,
    fields_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zarrfeed_convert.failures import Failures
    from zarrfeed_convert.planning.plan import Plan
    from zarrfeed_convert.source import JSON, Source
    from zarrfeed_convert.splits.destination import Destination

_SHOWN = 10  # skipped samples
# Decisions whose value matters, too.
_REMARKS = (
    *("names", "folders", "hidden files", ".npy files", "JPEG targets"),
    *("repeated files", "same position", "geometry", "other splits"),
    *("regions", "unlisted files", "not finite", "no orientation"),
)
# Decisions that may surprise a user who set no option.
_NOTABLE = ("masks", "mask dtype", "no data", "padding", *_REMARKS)
_NOTABLE_REASON = re.compile("255 means 1|--mask-map")


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of :func:`zarrfeed_convert.convert` or :func:`zarrfeed_convert.repack`.

    ``print(report)`` shows what the command prints.

    Attributes
    ----------
    status
        ``packed``; ``already packed`` if the split existed and was not changed; ``dry run`` if
        nothing was written.
    path
        Folder of the split.
    found
        Number of samples or cases of the source, including inputs that make none.
    skipped
        (name, reason) of those that were left out. The others, ``found - len(skipped)``, were
        packed.
    packed
        Number of samples in the split, which are the tiles of a split of cases.
    fields
        Arrays that feed a model.
    classes
        Names and pixel shares of the classes.
    decisions
        What was decided, and why. The split does not record the number of workers, which is last,
        and how images are padded or differ from those of other splits.
    seconds
        Duration.
    repacked
        Whether the samples came from packed splits.
    cases
        Number of cases in the split; None if its samples are no tiles of cases.
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
    repacked: bool = False
    cases: int | None = None

    def __str__(self) -> str:
        """Return what the command prints: the headline, tables, and what may surprise."""
        lines = [self.headline, *self.skipped_lines]
        for cells in self.tables:
            lines += ["", *_table(cells)]
        lines += ["", *self.remarks] if self.remarks else []
        return "\n".join(printable(line) for line in lines)

    @property
    def headline(self) -> str:
        """What was done, in a sentence."""
        if self.status == "already packed":
            return f"{self.path} is already packed: nothing was changed"
        as_tiles = f"as {plural(self.packed, 'tile')} "
        if self.repacked:
            count, noun = self.packed, "sample"
            if self.cases is not None:
                count, noun = self.cases, "case"
            some = "" if count == self.found else f"{count:,} of "
            what = f"{some}{plural(self.found, noun)} {'' if self.cases is None else as_tiles}into"
            verbs = ("Repacked", "Would repack")
        elif self.cases is not None:
            what = f"{plural(self.cases, 'case')} {as_tiles}into"
            verbs = ("Packed", "Would pack")
        else:
            names = [field.name for field in self.fields]
            noun = "pair" if names == [field.name for field in PAIR] else "image"
            left = self.found - len(self.skipped)
            what = f"{plural(left, noun)} into {plural(self.packed, 'sample')} of"
            verbs = ("Packed", "Would pack")
        if self.status == "dry run":
            return f"{verbs[1]} {what} {self.path}; nothing was written"
        return f"{verbs[0]} {what} {self.path} in {self.seconds:.1f} s"

    @property
    def tables(self) -> tuple[Cells, ...]:
        """The tables of fields and classes, and of decisions of a dry run; none if not new."""
        if self.status == "already packed":
            return ()
        tables = [field_cells(self.fields), class_cells(self.classes, self.fields)]
        if self.status == "dry run":
            rows = [(each.what, each.value, each.reason) for each in self.decisions]
            tables.append(Cells(("decision", "value", "because"), (), rows))
        return tuple(cells for cells in tables if cells.rows)

    @property
    def skipped_lines(self) -> tuple[str, ...]:
        """The first samples that were left out, a line each; none if nothing is new."""
        if not self.skipped or self.status == "already packed":
            return ()
        lines = [f"skipped {len(self.skipped)} of {self.found}:"]
        for name, why in self.skipped[:_SHOWN]:
            lines.append(f"  {why if why.startswith(name) else f'{name}: {why}'}")
        if len(self.skipped) > _SHOWN:
            lines.append(f"  and {len(self.skipped) - _SHOWN} more, which the split records")
        return tuple(lines)

    @property
    def remarks(self) -> tuple[str, ...]:
        """The decisions of a new split that may surprise, a line each."""
        if self.status != "packed":
            return ()
        return tuple(
            f"{each.what}: {f'{each.value}: ' if each.what in _REMARKS else ''}{each.reason}"
            for each in self.decisions
            if each.what in _NOTABLE
            or (each.what == "classes" and _NOTABLE_REASON.search(each.reason))
        )

    def to_json(self) -> JSON:
        """Return the report as dictionaries and lists, for ``json.dumps``."""
        report: dict[str, Any] = dataclasses.asdict(self)
        report["path"] = str(self.path)
        return report


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
    roles = {field.name: field.role for field in samples.fields}
    fields = tuple(
        FieldFacts(
            name=layout.name,
            role=roles[layout.name],
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
        skipped=tuple(
            (name, without_topic(why))
            for name, why in (*left_out, *((one.name, one.why) for one in failures.found))
        ),
        packed=len(plan.rows),
        fields=fields,
        classes=_planned_classes(plan),
        decisions=(*plan.decisions, *notes),
        seconds=0.0,
        cases=np.unique(plan.rows.item).size if plan.of_cases else None,
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
        cases=there.get("cases"),
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
        total = plan.own_pixels or len(plan.rows) * math.prod(plan.recipe.geometry.size)
    return tuple(
        ClassFacts(place, name, None, surveyed.get(place, 0) / total)
        for place, name in names.items()
    )


def _table(cells: Cells) -> list[str]:
    """Write a table without its empty columns: texts to the left, numbers to the right."""
    header = (*cells.texts, *cells.numbers)
    kept = [place for place in range(len(header)) if any(row[place] for row in cells.rows)]
    written = [[printable(row[place]) for place in kept] for row in (header, *cells.rows)]
    widths = [max(map(len, column)) for column in zip(*written, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < len(cells.texts) else cell.rjust(width)
            for place, cell, width in zip(kept, row, widths, strict=True)
        ).rstrip()
        for row in written
    ]
