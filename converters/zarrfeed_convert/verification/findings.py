"""What did a verification check, and which problems did it find?"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

    from zarrfeed_convert.source import JSON

Kind: TypeAlias = Literal[
    "metadata",  # metadata that cannot be read, or arrays that are not consistent
    "array",  # a descriptive array that is missing or damaged
    "keys",  # names of samples
    "tiles",  # locations of tiles
    "file-missing",
    "file-damaged",
    "file-extra",
    "sample-damaged",  # its chunk cannot be decoded
    "sample-changed",  # its pixels have another digest
    "statistics",  # pixel counts of classes, or channel sums
    "source",  # originals that cannot be opened
    "original-changed",
    "original-missing",
    "original-new",
]


@dataclass(frozen=True, slots=True)
class Problem:
    """A difference from what was packed.

    Attributes
    ----------
    kind
        Kind of the problem.
    what
        The message: what was needed, what was found, what to do.
    key
        Name of the sample; None if the problem does not concern a single sample.
    files
        Paths in the store, or names of originals, that are damaged; all candidates if it is not
        clear which.
    """

    kind: Kind
    what: str
    key: str | None = None
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SplitVerification:
    """The outcome for one split.

    Attributes
    ----------
    path
        Folder of the split, or its address.
    samples
        Number of samples.
    decoded
        Number of samples whose digest was recomputed from the store.
    files
        Number of shard files that were compared with their digest.
    nbytes
        Size of all shard files, in bytes.
    originals
        Number of samples that were compared with their originals; None without originals.
    notes
        What was not verified, and why.
    problems
        All differences from what was packed.
    cases
        Number of cases whose tiles are the samples; None for other samples.
    """

    path: Path | str
    samples: int
    decoded: int
    files: int
    nbytes: int
    originals: int | None
    notes: tuple[str, ...]
    problems: tuple[Problem, ...]
    cases: int | None = None

    @property
    def counts(self) -> dict[Kind, int]:
        """Number of problems of each kind."""
        return dict(Counter(problem.kind for problem in self.problems))

    @property
    def bad(self) -> tuple[str, ...]:
        """Names of the samples that are damaged or changed in the store, without repetitions."""
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
        The splits, sorted by name.
    notes
        What was not verified, such as unfinished splits.
    seconds
        Duration.
    """

    splits: tuple[SplitVerification, ...]
    notes: tuple[str, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Problems of all splits."""
        return tuple(problem for split in self.splits for problem in split.problems)

    def to_json(self) -> JSON:
        """Return the outcome as dictionaries and lists, for ``json.dumps``."""
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
