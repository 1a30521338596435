"""Which samples are suspicious, and for which reason? The lists of a page. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zarrfeed.spelling import few, plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from zarrfeed_tools.report.choice import Place
    from zarrfeed_tools.report.facts import Finding, Report, SplitReport
    from zarrfeed_tools.report.sampled import Sampled

_MOST_ISLANDS = 12  # samples with islands that are shown


@dataclass(frozen=True, slots=True)
class Suspects:
    """Samples that are suspicious for one reason.

    Attributes
    ----------
    title, why
        A heading, and what it means.
    finding
        The samples, as far as they are known without pixels.
    places
        The samples that were seen, and what is odd about each.
    marks
        Where something is in the picture of a sample: (x, y) each, 0 … 1.
    anchor
        A name for links; empty for none.
    """

    title: str
    why: str
    finding: Finding | None = None
    places: tuple[tuple[Place, str], ...] = ()
    marks: Mapping[Place, Sequence[tuple[float, float]]] = field(default_factory=dict)
    anchor: str = ""


def suspects_of(report: Report, sampled: Sampled) -> list[Suspects]:
    """Return the lists of suspicious samples that are not empty."""
    found = [suspects for split in report.splits for suspects in _of_split(split)]
    unreadable = tuple((place, sampled.views[place].error) for place in sampled.unreadable)
    if unreadable or sampled.unread:
        why = "; ".join(f"{split}: {error}" for split, error in sampled.unread.items())
        found.insert(
            0,
            Suspects(
                "Cannot be read", why or "`zarrfeed verify` checks all.", places=unreadable,
                anchor="unreadable",
            ),
        )  # fmt: skip
    islands = sampled.with_islands
    if islands:
        found.append(
            Suspects(
                f"Tiny islands: {len(islands):,} of {len(sampled.views):,} masks",
                _about_islands(sampled),
                places=tuple(
                    (place, _told(found, sampled, place))
                    for place, found in islands[:_MOST_ISLANDS]
                ),
                marks={
                    place: sampled.views[place].marks(sampled.natural.get(place.split, ()))
                    for place, _ in islands[:_MOST_ISLANDS]
                },
                anchor="islands",
            )
        )
    return found


def _of_split(split: SplitReport) -> Iterator[Suspects]:
    kinds = [
        (split.not_finite, "NaN or infinite values", "One of them makes the loss NaN."),
        (split.constant, "images of one value", "A black frame, or a failed export."),
        (
            split.class_shares, "class shares far outside",
            "The share of a class differs from that of most others by far.",
        ),
    ]  # fmt: skip
    if split.masks is not None:
        kinds += [
            (split.masks.background, "masks of background alone", "Class 0 is on every pixel."),
            (split.masks.ignored, "masks of ignored pixels alone", "No pixel has a class."),
            (split.masks.no_class, "masks without a class", "No pixel has a class."),
            (
                split.masks.one_class, "masks of one class",
                "One class is on every pixel that is not ignored.",
            ),
        ]  # fmt: skip
    for finding, what, why in kinds:
        if finding is not None and finding.count:
            yield Suspects(f"{split.name}: {what} ({finding.count:,})", why, finding)


def _about_islands(sampled: Sampled) -> str:
    natural = sorted(
        {
            _class_name(sampled, split, class_id)
            for split, classes in sampled.natural.items()
            for class_id in classes
        }
    )
    told = (
        "Connected pixels of one class, at most 4 (8 voxels in a volume), corners included, among "
        "the masks that were looked at. Those with most islands come first; rings show where they "
        "are."
    )
    if natural:
        told += f" Left out are classes that mostly consist of islands: {few(natural, shown=12)}."
    return told


def _told(islands: dict[int, int], sampled: Sampled, place: Place) -> str:
    counts = sorted(islands.items(), key=lambda each: -each[1])
    named = [f"{count} of {_class_name(sampled, place.split, number)}" for number, count in counts]
    return f"{plural(sum(islands.values()), 'island')}: {few(named, shown=3)}"


def _class_name(sampled: Sampled, split: str, class_id: int) -> str:
    palette = sampled.palettes.get(split)
    names = palette.names if palette else ()
    return names[class_id] if class_id < len(names) else f"class {class_id}"
