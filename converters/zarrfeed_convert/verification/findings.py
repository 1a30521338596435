"""What did a verification look at, and what did it find?"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

    from zarrfeed_convert.source import JSON

# A description that cannot be read, or arrays that do not fit together; an array that describes
# samples; the samples' names; the places of tiles; files of shards; samples whose chunk cannot be
# decoded, or whose pixels are others; counts and sums of pixels; the source as a whole; originals.
Kind: TypeAlias = Literal[
    "metadata",
    "array",
    "keys",
    "tiles",
    "file-missing",
    "file-damaged",
    "file-extra",
    "sample-damaged",
    "sample-changed",
    "statistics",
    "source",
    "original-changed",
    "original-missing",
    "original-new",
]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it was packed.

    Attributes
    ----------
    kind
        What it is about.
    what
        A sentence that names it: what was needed, what was found, what to do.
    key
        The sample's; None where it is about no single sample.
    files
        Paths of the store, or names of originals, that are to blame; those that may be, where it
        cannot be told which.
    """

    kind: Kind
    what: str
    key: str | None = None
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SplitVerification:
    """One split, verified.

    Attributes
    ----------
    path
        Of the split.
    samples
        That it has.
    decoded
        Those whose digest was recomputed from the store.
    files
        Of shards, that were compared with what was written, byte for byte.
    nbytes
        Of all its shards' files.
    originals
        Samples that were made again from their originals; None where nobody asked for it.
    notes
        What could not be verified, and why.
    problems
        Everything that is not as it was packed.
    """

    path: Path
    samples: int
    decoded: int
    files: int
    nbytes: int
    originals: int | None
    notes: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def counts(self) -> dict[Kind, int]:
        """How many problems there are of each kind."""
        return dict(Counter(problem.kind for problem in self.problems))

    @property
    def bad(self) -> tuple[str, ...]:
        """The keys of samples that are not in the store as they were packed, each once."""
        return tuple(
            dict.fromkeys(
                problem.key
                for problem in self.problems
                if problem.key is not None and problem.kind.startswith("sample")
            )
        )


@dataclass(frozen=True, slots=True)
class Verification:
    """The outcome of :func:`zarrfeed_convert.verify`.

    Attributes
    ----------
    splits
        In the order of their names.
    notes
        What of the dataset was not verified.
    seconds
        How long it took.
    """

    splits: tuple[SplitVerification, ...]
    notes: tuple[str, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether everything that was looked at is as it was packed."""
        return not self.problems

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Those of all splits."""
        return tuple(problem for split in self.splits for problem in split.problems)

    def to_json(self) -> JSON:
        """Give the outcome as plain dictionaries and lists, for ``json.dumps``."""
        return {
            "ok": self.ok,
            "seconds": self.seconds,
            "notes": list(self.notes),
            "splits": [_json_of(split) for split in self.splits],
        }


def _json_of(split: SplitVerification) -> JSON:
    described: dict[str, Any] = dataclasses.asdict(split)
    problems = described.pop("problems")
    described["path"] = str(split.path)
    return described | {"counts": split.counts, "bad": list(split.bad), "problems": problems}
