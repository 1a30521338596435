"""What did a conversion find, decide and write?"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from zarrfeed_convert.decisions import Decision
    from zarrfeed_convert.source import JSON


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
        Of all the split's pixels, 0 … 1; None in a dry run.
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
