"""How does a conversion pack its samples, once everything is decided?"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from zarrfeed import __version__
from zarrfeed.errors import without_topic
from zarrfeed.store.schema import FORMAT_VERSION
from zarrfeed_convert.copying.original_addresses import with_addresses
from zarrfeed_convert.mask_kinds import instances_recorded
from zarrfeed_convert.planning.layout import Decision
from zarrfeed_convert.planning.palettes import palette_text
from zarrfeed_convert.regridded import RegriddedSource
from zarrfeed_convert.shards.cases import Cases, affines_of, crs_recorded
from zarrfeed_convert.shards.packing import Shard, ShardTask, pack_shard
from zarrfeed_convert.shards.samples import digest_method
from zarrfeed_convert.source import roles_recorded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zarrfeed_convert.executors.executor import Task
    from zarrfeed_convert.failures import Failures
    from zarrfeed_convert.header import Header
    from zarrfeed_convert.planning.plan import Plan, Settings
    from zarrfeed_convert.planning.survey_tasks import Measured
    from zarrfeed_convert.shards.rows import Rows
    from zarrfeed_convert.shards.shard_record import ShardRecord
    from zarrfeed_convert.source import JSON, Source


@dataclass(frozen=True)
class ConversionPlan:
    """A :class:`~zarrfeed_convert.splits.split_plan.SplitPlan` of the samples of a source.

    Attributes
    ----------
    samples, settings
        The source, and the settings of the conversion.
    plan
        Layouts, rows and decisions.
    measured
        Headers of the source's samples.
    failures
        Samples that cannot be packed.
    """

    samples: Source
    settings: Settings
    plan: Plan
    measured: Measured
    failures: Failures

    @property
    def step(self) -> str:
        """Name of the step for progress reports."""
        return "packing"

    @property
    def task(self) -> Task[Any, None]:
        """The task that packs a shard."""
        return pack_shard

    @property
    def decided(self) -> JSON:
        """Decisions that a run must share to resume another one, as JSON."""
        before = self.samples.affines_digest if isinstance(self.samples, RegriddedSource) else ""
        keys = xxhash.xxh3_128("\0".join(self.samples.keys).encode(errors="surrogateescape"))
        return {
            "labels": self.plan.recipe.labels.to_json(),
            "layouts": [f"{layout}" for layout in self.plan.fields],
            "digest of the names of samples": keys.hexdigest(),
            "digest of the order of samples": self.plan.rows.fingerprint(),
            **self.plan.tile_recorded(),
            **({"digest of the affines of originals": before} if before else {}),
        }

    def task_of(self, shard: Shard) -> ShardTask:
        """Return the item of :attr:`task` for a shard."""
        return ShardTask(shard, self.plan.recipe)

    def names(self, rows: Rows) -> tuple[list[str], Cases | None]:
        """Return the names of the samples or, for tiles, their cases."""
        if rows.size is not None:
            return [], self._cases(rows)
        return [self.samples.keys[item] for item in map(int, rows.item)], None

    @cached_property
    def _headers(self) -> Mapping[int, Header]:
        return dict(zip(self.measured.items, self.measured.headers, strict=True))

    def _cases(self, rows: Rows) -> Cases:
        """Return the cases of rows, in their order."""
        first = np.flatnonzero(np.diff(rows.item, prepend=-1))
        items = rows.item[first].tolist()
        headers = [self._headers[item] for item in items]
        keys = [self.samples.keys[item] for item in map(int, items)]
        sizes = np.array([header.size for header in headers], np.int64)
        return Cases(keys, sizes, first, affines_of([header.affine for header in headers]))

    def describe(self, rows: Rows, records: Sequence[ShardRecord], channels: JSON) -> JSON:
        """Return the split's ``attributes.zarrfeed``."""
        plan, layouts = self.plan, self.plan.fields
        left_out = list(self.samples.left_out)
        skipped = [(failed.name, failed.why) for failed in self.failures.found]
        packed = {
            "zarrfeed": __version__,
            "found": len(self.samples.keys) + len(left_out),
            "skipped": [
                {"name": name, "why": without_topic(why)} for name, why in [*left_out, *skipped]
            ],
            "settings": self.settings.to_json(),
            "binary": plan.recipe.labels.binary,
            "chunk_rows": layouts[0].chunk_rows,
            "shard_rows": plan.shard_rows,
            "codecs": {layout.name: layout.codec for layout in layouts},
            "coverage": self._coverage(rows),
            "decisions": [asdict(each) for each in (*plan.decisions, *_about_channels(channels))],
            "digest": digest_method(layout.name for layout in layouts),
            **roles_recorded(self.samples.fields),
            **instances_recorded(plan.recipe.labels, self.samples.fields),
        }
        palette = self._used_palette(records)
        described = {
            "format": FORMAT_VERSION,
            "fields": [layout.name for layout in layouts],
            "samples": len(rows),
            "source": self.samples.describe(),
            "packed": packed | ({"palette": palette} if palette else {}),
            "channels": channels,
            **({} if rows.size is None else {"cases": np.unique(rows.item).size}),
            **self._crs(rows),
        }
        return with_addresses(described)

    def _crs(self, rows: Rows) -> JSON:
        """Return the coordinate reference systems of cases; see :func:`crs_recorded`."""
        if rows.size is None:
            return {}
        first = np.flatnonzero(np.diff(rows.item, prepend=-1))
        return crs_recorded([self._headers[item].crs for item in rows.item[first].tolist()])

    def _used_palette(self, records: Sequence[ShardRecord]) -> dict[str, str]:
        """Return the palette colours that masks use, to compare with those of other splits."""
        pixels = sum(record.class_pixels.sum(axis=0) for record in records)
        binary, ids = self.plan.recipe.labels.binary, np.flatnonzero(pixels).tolist()
        indices = [255 if binary and number == 1 else number for number in ids]
        shown = self.plan.palette
        return palette_text({index: shown[index] for index in indices if index in shown})

    def _coverage(self, rows: Rows) -> JSON:
        """Count pixels of the source that are lost, and stored ones that are padded."""
        # Tiles of earlier versions shared pixels, which were stored repeatedly.
        total = {"lost": 0, "repeated": 0, "padded": 0}
        sizes = Counter(self._headers[item].size for item in np.unique(rows.item).tolist())
        for size, count in sizes.items():
            coverage = self.plan.recipe.geometry.coverage(size)
            for what, pixels in asdict(coverage).items():
                total[what] += count * pixels
        return total


def _about_channels(channels: JSON) -> tuple[Decision, ...]:
    left_out = sum(channels.get("not_finite", ()))
    if not left_out:
        return ()
    said = "NaN or infinite: packed as they are, but left out of the channels' mean and std"
    return (Decision("not finite", f"{left_out:,.0f} values", said),)
