"""What did a copy find and transfer?"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from zarrfeed.errors import printable
from zarrfeed.spelling import few, plural
from zarrfeed_convert.planning.layout import text_of_bytes

if TYPE_CHECKING:
    from zarrfeed_convert.source import JSON

CopyStatus: TypeAlias = Literal["copied", "already there", "dry run"]


@dataclass(frozen=True, slots=True)
class CopiedSplit:
    """A split that was copied.

    Attributes
    ----------
    path
        Path or address of the copy.
    status
        ``copied``; ``already there`` if nothing was missing; ``dry run`` if nothing was written.
    files, nbytes
        Number of the split's files, and their size in bytes.
    sent_files, sent_nbytes
        Those that were transferred; of a dry run, those that would be.
    read_back
        Number of files that were read from the copy to compare their bytes.
    left_out
        Names of what was in the folder of the split and is no part of it, so that it was not
        copied.
    seconds
        Duration.
    """

    path: str
    status: CopyStatus
    files: int
    nbytes: int
    sent_files: int
    sent_nbytes: int
    read_back: int
    left_out: tuple[str, ...]
    seconds: float

    def __str__(self) -> str:
        """Return what the command prints."""
        return "\n".join(printable(line) for line in self.lines)

    @property
    def lines(self) -> tuple[str, ...]:
        """What was done, a sentence each."""
        every = f"{plural(self.files, 'file')}, {text_of_bytes(self.nbytes)}"
        sent = f"{plural(self.sent_files, 'file')}, {text_of_bytes(self.sent_nbytes)}"
        there = self.files - self.sent_files
        if self.status == "already there":
            lines = [f"{self.path} is already there ({every}): nothing was sent"]
        elif self.status == "dry run":
            lines = [f"Would copy {sent} to {self.path}; nothing was written"]
        else:
            lines = [f"Copied {sent} to {self.path} in {self.seconds:.1f} s"]
        if there and self.status != "already there":
            lines.append(f"  {plural(there, 'file')} of {every} had arrived before")
        if self.read_back:
            lines.append(f"  {plural(self.read_back, 'file')} read back: as recorded")
        if self.left_out:
            lines.append(f"  not copied, since no part of the split: {few(self.left_out, shown=5)}")
        return tuple(lines)


@dataclass(frozen=True, slots=True)
class CopyReport:
    """The outcome of :func:`zarrfeed_convert.copy`.

    ``print(report)`` shows what the command prints.

    Attributes
    ----------
    splits
        The copies, in the order in which they were made.
    """

    splits: tuple[CopiedSplit, ...]

    def __str__(self) -> str:
        """Return what the command prints."""
        return "\n".join(map(str, self.splits))

    def to_json(self) -> JSON:
        """Return the report as dictionaries and lists, for ``json.dumps``."""
        report: dict[str, Any] = dataclasses.asdict(self)
        return report
