"""What does a repacked split record about its origin?

A split made from one other split records the source of that split, so that it can still be compared
with its originals. A split made from several records all their sources, with paths and settings.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from zarrfeed import __version__
from zarrfeed.errors import SourceError, look_up
from zarrfeed.store.schema import FORMAT_VERSION
from zarrfeed_convert.mask_kinds import instances_recorded
from zarrfeed_convert.planning.palettes import (
    Palette,
    palette_of,
    palette_text,
    require_same_palettes,
)
from zarrfeed_convert.repacking.stored_crs import crs_of
from zarrfeed_convert.shards.samples import digest_method
from zarrfeed_convert.source import roles_recorded
from zarrfeed_convert.splits.destination import classes_text, ignore_text
from zarrfeed_convert.splits.existing_split import (
    differences,
    differences_text,
    require_replaceable,
)
from zarrfeed_convert.verification.consistency import FROM_SAMPLES, was_of_samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.labels import Labels
    from zarrfeed_convert.planning.plan import Plan
    from zarrfeed_convert.repacking.repack_settings import RepackSettings
    from zarrfeed_convert.repacking.row_selection import Subset
    from zarrfeed_convert.repacking.stored import StoredSplit
    from zarrfeed_convert.repacking.stored_facts import Facts
    from zarrfeed_convert.shards.cases import Cases
    from zarrfeed_convert.shards.rows import Numbers
    from zarrfeed_convert.source import JSON
    from zarrfeed_convert.splits.destination import Destination

REPACKED = "repacked"  # entry of ``packed`` that describes the input splits


def asked_of(
    splits: Sequence[StoredSplit],
    facts: Sequence[Facts],
    settings: RepackSettings,
    *,
    subset: Subset,
    keys: Sequence[str] | None,
) -> JSON:
    """Return the arguments of a repacking that decide the new split's bytes, as JSON.

    Parameters
    ----------
    splits, facts
        The input splits, and what they record about their samples or cases.
    settings
        Settings of the repacking.
    subset, keys
        Samples or cases to choose; see :func:`zarrfeed_convert.repack`.
    """
    return {
        "splits": [stored.name for stored in splits],
        "samples": [len(part) for part in facts],
        "contents": [part.fingerprint() for part in facts],
        "prefix_keys": any(stored.prefix for stored in splits),
        "prefixes": [stored.whole_prefix for stored in splits],
        "subset": _subset(subset),
        "keys": None if keys is None else _counted("\0".join(sorted(keys)), len(keys)),
        **settings.to_json(),
    }


def require_same_repacked(
    destination: Destination, there: JSON, asked: JSON, labels: Labels
) -> None:
    """Check that a split is what this run would write.

    Parameters
    ----------
    destination, there
        The split, and its ``attributes.zarrfeed``.
    asked, labels
        Arguments of this run (see :func:`asked_of`), and the classes.

    Raises
    ------
    SourceError
        The split was packed with other arguments. The message lists the differences.
    """
    require_replaceable(destination, there)
    before = there["packed"].get(REPACKED)
    replace = "use --overwrite to replace it, or choose another name for the split"
    if before is None:
        raise SourceError(
            f"{destination.folder}: exists already, packed from "
            f"{there['source'].get('kind')}, not from {', '.join(asked['splits'])}; {replace}"
            f"{look_up('split-exists')}"
        )
    known = {} if destination.labels is None else labels_of(destination.labels)
    differ = differences(before | known, asked | labels_of(labels))
    if differ:
        raise SourceError(
            f"{destination.folder}: exists already, packed otherwise "
            f"({differences_text(differ)}); {replace}"
            f"{look_up('split-exists')}"
        )


def is_repeated(there: JSON, asked: JSON) -> bool:
    """Return whether a split that has replaced its own input was packed with the same arguments.

    A repeated command must not be applied to its own result, for example leave out every other
    sample a second time. Samples and their order are not compared, since the first run changed
    them.

    Parameters
    ----------
    there
        The split's ``attributes.zarrfeed``.
    asked
        Arguments of this run; see :func:`asked_of`.
    """
    before = there.get("packed", {}).get(REPACKED)
    own = ("samples", "contents", "prefixes")
    return before is not None and all(
        before.get(name) == value for name, value in asked.items() if name not in own
    )


def labels_of(labels: Labels) -> JSON:
    """Return classes and ignored id as entries to compare."""
    return {"classes": classes_text(labels.classes), "ignore": ignore_text(labels.ignore)}


def source_of_splits(splits: Sequence[StoredSplit]) -> JSON:
    """Return the description of the sources of splits, as a repacked split records it."""
    if len(splits) == 1:
        return dict(splits[0].split.attributes.get("source", {}))
    return {
        "kind": "merged",
        "inputs": [
            {
                "path": stored.name,
                "samples": stored.recorded.samples,
                "prefix": stored.whole_prefix,
                "binary": _packed(stored).get("binary"),
                "settings": _packed(stored).get("settings", {}),
                "source": stored.split.attributes.get("source", {}),
            }
            for stored in splits
        ],
    }


def description_of(
    splits: Sequence[StoredSplit],
    plan: Plan,
    cases: Cases | None,
    settings: RepackSettings,
    asked: JSON,
    *,
    chosen: Numbers,
    everything: bool,
) -> JSON:
    """Return a repacked split's ``attributes.zarrfeed``, without its ``channels``.

    Parameters
    ----------
    splits
        The input splits.
    plan, cases
        Plan of the repacking, and the cases whose tiles the samples are; None for others.
    settings, asked
        Settings and arguments of the repacking.
    chosen, everything
        Indices of the chosen samples or cases, in the new order, and whether these are all.
    """
    packed = [_packed(stored) for stored in splits]
    coverage = [before.get("coverage") for before in packed]
    described: JSON = {
        "format": FORMAT_VERSION,
        "fields": [layout.name for layout in plan.fields],
        "samples": len(plan.rows),
        "source": source_of_splits(splits),
        "packed": {
            "zarrfeed": __version__,
            "found": sum(before.get("found", 0) for before in packed),
            "skipped": [skipped for before in packed for skipped in before.get("skipped", ())],
            "settings": _settings(packed, settings, of_cases=cases is not None),
            "binary": _same([before.get("binary") for before in packed]),
            "chunk_rows": plan.fields[0].chunk_rows,
            "shard_rows": plan.shard_rows,
            "codecs": {layout.name: layout.codec for layout in plan.fields},
            "decisions": [asdict(decision) for decision in plan.decisions],
            "digest": digest_method(layout.name for layout in plan.fields),
            **roles_recorded(splits[0].fields),
            **instances_recorded(plan.recipe.labels, splits[0].fields),
            REPACKED: asked,
        },
    }
    palette = require_same_palettes(palettes_of(splits))
    if palette:
        described["packed"]["palette"] = palette_text(palette)
    if cases is not None:
        stored = len(plan.rows) * math.prod(plan.recipe.geometry.size)
        described["cases"] = len(cases.keys)
        described |= crs_of(splits, chosen)
        if any(one.kind != "cases" or was_of_samples(one.split) for one in splits):
            described["packed"][FROM_SAMPLES] = True
        described["packed"]["coverage"] = {
            "lost": 0,
            "repeated": 0,
            "padded": stored - cases.pixels,
        }
    elif everything and all(coverage):
        described["packed"]["coverage"] = _added(coverage)
    return described


def _settings(packed: Sequence[JSON], settings: RepackSettings, *, of_cases: bool) -> JSON:
    """Return the settings of a conversion that would pack the same, if all splits share them."""
    before: list[JSON] = [part.get("settings", {}) for part in packed]
    common = {
        name: value
        for name, value in before[0].items()
        if all(name in other and other[name] == value for other in before)
    }
    asked = settings.to_json()
    if settings.order == "stored":
        del asked["order"], asked["seed"]
    if settings.codec == "keep":
        del asked["codec"]
    if of_cases:  # which may have been whole samples before
        common |= {"size": None, "chunk_samples": None}
    return common | {name: value for name, value in asked.items() if value is not None}


def palettes_of(splits: Sequence[StoredSplit]) -> dict[str, Palette]:
    """Return the palette colours that the masks of each split use, by split."""
    return {stored.name: palette_of(stored.split.attributes) for stored in splits}


def _packed(stored: StoredSplit) -> JSON:
    packed: JSON = stored.split.attributes["packed"]
    return packed


def _same(values: Sequence[Any]) -> Any:
    """Return the common value, or None if values differ."""
    return values[0] if all(value == values[0] for value in values) else None


def _added(parts: Sequence[Any]) -> JSON:
    return {what: sum(part[what] for part in parts) for what in parts[0]}


def _subset(subset: Subset) -> str | None:
    if subset is None:
        return None
    if isinstance(subset, slice):
        parts = (subset.start, subset.stop, subset.step)
        return ":".join("" if part is None else str(part) for part in parts)
    numbers = np.asarray(subset)
    return _counted(",".join(map(str, numbers.tolist())), numbers.size)


def _counted(text: str, count: int) -> str:
    """Return the length and digest of a list, in place of the list."""
    digest = xxhash.xxh3_64(text.encode(errors="surrogateescape")).hexdigest()
    return f"{count} (xxh3_64 {digest})"
