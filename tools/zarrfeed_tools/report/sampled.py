"""What do a few hundred samples look like, and which of them are suspicious?

Everything here comes from pixels; what is known without them is in
:mod:`zarrfeed_tools.report.facts`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zarrfeed import ReadError, StoreError
from zarrfeed_tools.remote_options import RemoteOptions
from zarrfeed_tools.report.choice import Choice, Place, choose
from zarrfeed_tools.report.distributions import Intensities, describe_intensities
from zarrfeed_tools.report.islands import can_find_islands, natural_classes
from zarrfeed_tools.report.relabelled import Relabelled, relabelled_in
from zarrfeed_tools.report.richest import richest_samples
from zarrfeed_tools.report.sample_reading import SampleReader
from zarrfeed_tools.report.sample_view import View, view_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed.pictures.palette import Palette
    from zarrfeed_convert import OnProgress
    from zarrfeed_tools.report.facts import Report, Unit
    from zarrfeed_tools.report.islands import Islands

MOST_SAMPLES = 300
_MOST_NBYTES = 8 << 30  # that are decoded, so that large samples are fewer
_FEWEST_SAMPLES = 12
_STEP = "Look at samples"


@dataclass(frozen=True, slots=True)
class Sampled:
    """What was seen of some samples of a dataset.

    Attributes
    ----------
    choice
        Which samples were looked at, and why.
    views
        What was seen of each.
    intensities
        Distributions of the values of images, from the samples that lie evenly over the splits.
    natural
        Classes most of whose components are islands, by split, so that their islands are no slips.
    islands_searched
        Whether islands were looked for; not without SciPy.
    palettes
        The colours of the masks of each split that has masks, by its name.
    relabelled
        Images with several masks.
    unread
        Why the images of a split cannot be read, by its name.
    """

    choice: Choice
    views: Mapping[Place, View]
    intensities: Intensities
    natural: Mapping[str, frozenset[int]]
    islands_searched: bool
    palettes: Mapping[str, Palette] = field(default_factory=dict)
    relabelled: tuple[Relabelled, ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)

    @property
    def unreadable(self) -> list[Place]:
        """The samples that could not be read."""
        return [place for place, view in self.views.items() if view.error]

    @property
    def with_islands(self) -> list[tuple[Place, dict[int, int]]]:
        """The samples that have islands and their number by class, those with most first."""
        found = [(place, islands) for place in self.views if (islands := self.islands_of(place))]
        return sorted(found, key=lambda each: -sum(each[1].values()))

    def islands_of(self, place: Place) -> dict[int, int]:
        """Return the number of islands of a sample, by class, natural ones left out."""
        natural = self.natural.get(place.split, frozenset())
        return {
            found.class_id: found.islands
            for found in self.views[place].islands
            if found.islands and found.class_id not in natural
        }


def look_at_samples(
    facts: Report, path: Path, progress: OnProgress, *, remote: RemoteOptions | None = None
) -> Sampled:
    """Look at some samples of a dataset, 300 at most.

    Parameters
    ----------
    facts
        What is known without pixels. The samples that it names are looked at, too.
    path
        The dataset, or one of its splits.
    progress
        Called with a name of the step, the number of samples done, and their total.
    remote
        How an address is read.

    Raises
    ------
    StoreError
        A descriptive array is damaged. Samples that cannot be read are no error, but a finding.
    """
    splits = {each.path.name: each for each in (remote or RemoteOptions()).splits(path)}
    readers: dict[str, SampleReader] = {}
    unread: dict[str, str] = {}
    for name, split in splits.items():
        try:
            readers[name] = SampleReader(split)
        except (StoreError, ReadError) as error:
            unread[name] = str(error)
    counts = {each.name: each.units for each in facts.splits if each.name in readers}
    choice = choose(
        counts,
        richest_samples([splits[name] for name in counts]),
        [place for place in named_places(facts) if place.split in counts],
        most_samples(readers[name] for name in counts),
    )
    views: dict[Place, View] = {}
    for done, place in enumerate(choice.all):
        progress(_STEP, done, len(choice.all))
        views[place] = _look(readers[place.split], place.number)
    progress(_STEP, len(choice.all), len(choice.all))
    for reader in readers.values():
        reader.close()
    return Sampled(
        choice,
        views,
        describe_intensities(
            _pixels(choice, views, counts),
            channels=min((view.channels for view in views.values() if not view.error), default=0),
        ),
        {name: frozenset(natural_classes(_islands(views, name))) for name in counts},
        can_find_islands(),
        {name: readers[name].palette for name in counts if readers[name].mask},
        tuple(relabelled_in(views)),
        unread,
    )


def named_places(facts: Report) -> list[Place]:
    """Return the samples that a report names, in turn from each of its lists.

    Of groups, the first two members are named.
    """
    groupings = (facts.near_duplicates, facts.same_image, facts.duplicates)
    findings = [
        finding
        for split in facts.splits
        for finding in (split.class_shares, split.constant, split.not_finite)
    ]
    lists: list[list[Unit]] = [
        *(
            [unit for group in grouping.groups for unit in group.units[:2]]
            for grouping in groupings
            if grouping is not None
        ),
        *(list(finding.units) for finding in findings if finding is not None),
    ]
    turns = itertools.zip_longest(*lists)
    return [Place(unit.split, unit.number) for turn in turns for unit in turn if unit is not None]


def most_samples(readers: Iterable[SampleReader]) -> int:
    """Return how many samples to look at: fewer than 300 where samples are large."""
    largest = max((reader.row_nbytes for reader in readers), default=1)
    return min(MOST_SAMPLES, max(_FEWEST_SAMPLES, _MOST_NBYTES // max(1, largest)))


def _look(reader: SampleReader, number: int) -> View:
    key = f"sample {number}"
    try:
        key = reader.key(number)
        return view_of(key, reader.read(number), reader.palette, reader.classes)
    except (StoreError, ReadError) as error:
        return View(key, error=str(error))


def _pixels(
    choice: Choice, views: Mapping[Place, View], splits: Iterable[str]
) -> dict[str, list[NDArray[Any]]]:
    """Return pixels of the samples that stand for their split."""
    found: dict[str, list[NDArray[Any]]] = {split: [] for split in splits}
    for place in choice.spread:
        pixels = views[place].pixels
        if pixels is not None:
            found[place.split].append(pixels)
    return found


def _islands(views: Mapping[Place, View], split: str) -> list[tuple[Islands, ...]]:
    return [view.islands for place, view in views.items() if place.split == split]
