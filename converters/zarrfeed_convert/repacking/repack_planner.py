"""What is made of packed splits: which samples, in which order, copied or cut anew?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from zarrfeed import __version__
from zarrfeed_convert.failures import Failures, split_errors
from zarrfeed_convert.repacking.provenance import (
    description_of,
    is_repeated,
    labels_of,
    require_same_repacked,
    source_of_splits,
)
from zarrfeed_convert.repacking.repack_plan import RepackPlan, plan_copies
from zarrfeed_convert.repacking.retile_plan import RetilePlan, decide_tile, plan_tiles
from zarrfeed_convert.repacking.row_selection import in_order
from zarrfeed_convert.repacking.stored_cases import StoredCases
from zarrfeed_convert.repacking.stored_facts import joined
from zarrfeed_convert.repacking.stored_source import StoredSamples
from zarrfeed_convert.splits.existing_split import require_replaceable
from zarrfeed_convert.splits.other_tiles import known_tiles
from zarrfeed_convert.splits.spaces import about_merged_spaces

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zarrfeed_convert.executors.executor import Executor
    from zarrfeed_convert.geometry import Size
    from zarrfeed_convert.planning.layout import Decision
    from zarrfeed_convert.planning.plan import Plan
    from zarrfeed_convert.repacking.repack_settings import RepackSettings
    from zarrfeed_convert.repacking.stored import StoredSplit
    from zarrfeed_convert.repacking.stored_facts import Facts
    from zarrfeed_convert.shards.rows import Numbers
    from zarrfeed_convert.source import JSON
    from zarrfeed_convert.splits.destination import Destination


@dataclass(eq=False)
class RepackPlanner:
    """A :class:`~zarrfeed_convert.splits.split_plan.SplitPlanner` of the samples of splits.

    Attributes
    ----------
    splits, parts
        The input splits, and what each of them records about its samples or cases.
    settings
        Settings of the repacking.
    asked_of_split
        Its arguments that decide the split's bytes, as JSON.
    choose
        Function of all facts that returns the indices of the chosen samples or cases.
    destination, overwrite
        The new split, and whether it may replace an existing one.
    """

    splits: tuple[StoredSplit, ...]
    parts: Sequence[Facts]
    settings: RepackSettings
    asked_of_split: JSON
    choose: Callable[[Facts], Numbers]
    destination: Destination
    overwrite: bool

    failures = Failures("stop", can_skip=False)

    @property
    def asked(self) -> JSON:
        """Arguments that decide the split's bytes, as JSON."""
        labels = labels_of(self.splits[0].labels)
        return {"zarrfeed": __version__, **self.asked_of_split, **labels}

    @property
    def said(self) -> str:
        """The paths or addresses of the splits, for errors."""
        return ", ".join(stored.name for stored in self.splits)

    @cached_property
    def facts(self) -> Facts:
        """What the splits record about their samples or cases."""
        with split_errors(self.said):
            return joined(self.splits, self.parts)

    @cached_property
    def chosen(self) -> Numbers:
        """Indices of the chosen samples or cases, in the new order."""
        order, seed = self.settings.order, self.settings.seed
        return in_order(self.choose(self.facts), self.facts, order=order, seed=seed)

    @cached_property
    def asked_tile(self) -> tuple[Size, Decision] | None:
        """The tile that was asked for, and how it was decided; None to keep samples or tiles."""
        return self._decide_tile()

    @property
    def tile(self) -> tuple[Size, Decision] | None:
        """Size of the tiles into which cases are cut anew; None to copy samples or tiles."""
        asked = self.asked_tile
        return None if asked is None or asked[0] == self.facts.size else asked

    def _decide_tile(self) -> tuple[Size, Decision] | None:
        with split_errors(self.said):
            inputs = [stored.split.path for stored in self.splits]
            known = known_tiles(self.destination, self.asked, inputs=inputs)
            return decide_tile(self.settings, self.splits, self.facts, self.chosen, known)

    @property
    def samples(self) -> StoredSamples | StoredCases:
        """The samples, tiles or cases of the splits, as a source."""
        return self._samples

    @cached_property
    def _samples(self) -> StoredSamples | StoredCases:
        splits = [stored.split for stored in self.splits]
        with split_errors(self.said):
            samples = StoredSamples(splits, self.facts.keys, source_of_splits(self.splits))
            return samples if self.tile is None else StoredCases(samples, self.facts)

    def accepts(self, there: JSON) -> bool:
        """Return whether an existing split is what would be packed; False to replace it."""
        replaced = any(
            stored.split.path.samefile(self.destination.folder) for stored in self.splits
        )
        if replaced and is_repeated(there, self.asked_of_split):
            return True
        if self.overwrite:
            require_replaceable(self.destination, there)
        else:
            require_same_repacked(
                self.destination, there, self.asked_of_split, self.splits[0].labels
            )
        return not self.overwrite

    def require_packable(self) -> None:
        """Check that what is chosen exists, and that it can be cut into the tiles asked for."""
        self._decide_tile()  # not kept: what a stopped run decided may be discarded until then

    def decide(self, executor: Executor) -> RepackPlan | RetilePlan:
        """Decide the layout of the new split."""
        splits, settings, facts, chosen = self.splits, self.settings, self.facts, self.chosen
        describe = partial(
            description_of, splits, chosen=chosen, everything=chosen.size == len(facts)
        )
        with split_errors(self.said):
            if self.tile is None:
                about_tile = None if self.asked_tile is None else self.asked_tile[1]
                plan = plan_copies(executor, splits, settings, facts, chosen, about_tile)
                plan = self._with_remarks(plan)
                part = facts.part(chosen)
                rows = None if part.cases is None else part.cases.rows(part.size)
                own_size = None if rows is None else rows.own_sizes(part.size)
                description = describe(plan, part.cases, settings, self.asked_of_split)
                return RepackPlan(plan, part, description, own_size)
            plan, cases = plan_tiles(executor, splits, settings, facts, chosen, self.tile)
            plan = self._with_remarks(plan)
            return RetilePlan(plan, cases, describe(plan, cases, settings, self.asked_of_split))

    def _with_remarks(self, plan: Plan) -> Plan:
        recorded = {
            stored.name: stored.split.attributes["packed"].get("settings", {})
            for stored in self.splits
            if stored.split.attributes.get("source", {}).get("kind") != "merged"
        }
        return replace(plan, decisions=(*plan.decisions, *about_merged_spaces(recorded)))
