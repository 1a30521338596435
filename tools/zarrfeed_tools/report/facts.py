"""What does a report say? Plain data for the page, for JSON, and for checks.

Facts come from metadata and descriptive arrays alone; no image or mask is read. A *unit* is what a
report counts: a sample, or a case (an image or volume of any size) where samples are tiles of
cases. Lists of units and groups are cut, so that a report of any dataset is small; their counts are
not. A fact that a store cannot answer is None, and :attr:`SplitReport.unknown` says why.

The JSON of a report is these classes as objects, with the names of their attributes as keys, and
what was seen of some samples under ``sampled``, as :mod:`zarrfeed_tools.report.sampled_facts` says.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zarrfeed_tools.inspection import SplitFacts
    from zarrfeed_tools.report.class_rows import ClassTable
    from zarrfeed_tools.report.histograms import CaseSpread

MOST_UNITS = 100  # units that a finding lists
MOST_GROUPS = 200  # groups that a finding lists, the largest first
MOST_MEMBERS = 20  # units that a group lists
MOST_SKIPPED = 1000  # skipped inputs that a split lists


@dataclass(frozen=True, slots=True)
class Unit:
    """A sample or a case.

    Attributes
    ----------
    split
        Name of its split.
    number
        Row of the sample; of a case its number, from 0 in the order of the store.
    key
        Its name; ``sample N`` where the store has no names. It may contain anything.
    reason
        What was found, such as ``lesion on 41% of the image, median 2.1%``; empty if the kind of
        finding says it all.
    """

    split: str
    number: int
    key: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """Units of a split that are worth a look.

    Attributes
    ----------
    count
        How many there are.
    units
        The first :data:`MOST_UNITS` of them.
    """

    count: int
    units: tuple[Unit, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Units that belong together, of one split or of several.

    Attributes
    ----------
    count
        How many there are.
    splits
        How many of them each split has, by name, in the order of the splits.
    units
        The first :data:`MOST_MEMBERS` of them, of every split at least one.
    what
        What they share: a digest as 16 hexadecimal digits, a part of names, or a key.
    distance
        Largest Hamming distance of two hashes by which near duplicates were linked, 0 … 3 (the
        mean over tiles, for cases); None for other groups.
    """

    count: int
    splits: dict[str, int]
    units: tuple[Unit, ...]
    what: str
    distance: float | None = None


@dataclass(frozen=True, slots=True)
class Grouping:
    """Groups of units of one kind.

    Attributes
    ----------
    within, across
        Number of groups in one split alone, and of groups of several splits.
    surplus
        Number of units that could go: all but one of each group.
    groups
        The first :data:`MOST_GROUPS`: those across splits first, then the largest.
    note
        What the search left out, in a sentence; empty if nothing.
    """

    within: int
    across: int
    surplus: int
    groups: tuple[Group, ...]
    note: str = ""

    @property
    def count(self) -> int:
        """Number of groups."""
        return self.within + self.across


@dataclass(frozen=True, slots=True)
class Leakage:
    """Names by which units of several splits belong together.

    Attributes
    ----------
    same_keys
        The same key in several splits.
    same_prefixes
        Names with the same beginning in several splits, such as ``patient_07_slice_3`` and
        ``patient_07_slice_9``; see :mod:`zarrfeed_tools.report.subjects`.
    numbered
        Keys that several splits have only because each of them numbers its units from the start, as
        a sentence for every two splits. They are not counted above.
    """

    same_keys: Grouping
    same_prefixes: Grouping
    numbered: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Number of groups."""
        return self.same_keys.count + self.same_prefixes.count


@dataclass(frozen=True, slots=True)
class MaskFindings:
    """Masks that say little.

    Attributes
    ----------
    background
        Masks of class 0 alone, apart from ignored pixels. None are counted where there is one class
        only, and none of multi-hot masks, whose class 0 is a class like others.
    ignored
        Masks whose pixels are all ignored.
    no_class
        Multi-hot masks without a class on any pixel.
    one_class
        Masks with one other class on every pixel that is not ignored.
    """

    background: Finding
    ignored: Finding
    no_class: Finding
    one_class: Finding

    @property
    def empty(self) -> int:
        """Number of masks without anything to learn: those of the first three kinds."""
        return self.background.count + self.ignored.count + self.no_class.count


@dataclass(frozen=True, slots=True)
class Skipped:
    """An input that was skipped when the split was packed.

    Attributes
    ----------
    name
        The input.
    why
        The reason.
    """

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class SplitReport:
    """Facts about one split.

    Attributes
    ----------
    name
        Name of the split.
    facts
        What ``zarrfeed inspect`` shows: fields with dtypes, codecs, shards and bytes, classes,
        sizes and spacings of cases, settings.
    unit
        ``sample`` or ``case``.
    units
        Number of samples or cases.
    found
        Number of inputs when the split was packed; None if that is not recorded.
    skipped
        Inputs that were skipped then, the first :data:`MOST_SKIPPED` of `skipped_count`.
    skipped_count
        Their number.
    classes
        The class table; None if the store does not count pixels.
    masks
        Empty and one-class masks; None likewise.
    constant
        Units whose image has one value in each channel; None if the store has no sums of channels.
    not_finite
        Units with NaN or infinite values; None likewise.
    class_shares
        Units in which the share of a class is far outside, the farthest first; None without counts.
        See :mod:`zarrfeed_tools.report.outliers`.
    spread
        Distribution of sizes and spacings; None if samples are no tiles of cases.
    unknown
        Name of a check, of :data:`zarrfeed_tools.report.checks.CHECKS` → why the store cannot
        answer it.
    """

    name: str
    facts: SplitFacts
    unit: str
    units: int
    found: int | None = None
    skipped: tuple[Skipped, ...] = ()
    skipped_count: int = 0
    classes: ClassTable | None = None
    masks: MaskFindings | None = None
    constant: Finding | None = None
    not_finite: Finding | None = None
    class_shares: Finding | None = None
    spread: CaseSpread | None = None
    unknown: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """Facts about a dataset, or about one of its splits.

    Attributes
    ----------
    store
        Path of the dataset or split.
    version
        Version of zarrfeed that made the report.
    splits
        Its splits, sorted by name.
    duplicates
        Units with the same image, mask and other fields, by their digests; None if no split has
        digests.
    same_image
        Units with the same image but different masks or other fields, by the sums of their
        channels; None if no split has both sums and digests.
    near_duplicates
        Units whose images look alike, by a hash of 64 bits, and are no exact duplicates; None if
        no split has such hashes.
    leakage
        Names that several splits share; None if there is only one split, or no names.
    """

    store: str
    version: str
    splits: tuple[SplitReport, ...]
    duplicates: Grouping | None = None
    same_image: Grouping | None = None
    near_duplicates: Grouping | None = None
    leakage: Leakage | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the facts as objects that fit JSON; numbers that do not are null."""
        found = asdict(self)
        for split in found["splits"]:
            split["facts"]["packed"].pop("skipped", None)  # the split has them itself
        return finite(found)  # type: ignore[no-any-return]


def finite(value: Any) -> Any:
    """Replace NaN and infinite numbers, which a store may claim, and which JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
