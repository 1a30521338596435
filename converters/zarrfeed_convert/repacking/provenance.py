"""What does a repacked split record of its origin?

A split made of one other keeps naming the source of that one, so that it can still be compared with
its originals. A split made of several names all their sources, with their paths and settings.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from zarrfeed import __version__
from zarrfeed.errors import SourceError
from zarrfeed.store.schema import FORMAT_VERSION
from zarrfeed_convert.planning.palettes import (
    Palette,
    palette_of,
    palette_text,
    require_same_palettes,
)
from zarrfeed_convert.shards.samples import digest_method
from zarrfeed_convert.source import roles_recorded
from zarrfeed_convert.splits.destination import classes_text, ignore_text
from zarrfeed_convert.splits.existing_split import differences, require_replaceable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.labels import Labels
    from zarrfeed_convert.planning.plan import Plan
    from zarrfeed_convert.repacking.repack_plan import RepackSettings
    from zarrfeed_convert.repacking.row_selection import Subset
    from zarrfeed_convert.repacking.stored import StoredSplit
    from zarrfeed_convert.repacking.stored_facts import Facts
    from zarrfeed_convert.source import JSON
    from zarrfeed_convert.splits.destination import Destination

REPACKED = "repacked"  # the entry of ``packed`` that tells of the splits


def asked_of(
    splits: Sequence[StoredSplit],
    facts: Sequence[Facts],
    settings: RepackSettings,
    *,
    subset: Subset,
    keys: Sequence[str] | None,
) -> JSON:
    """Gather what decides a split's bytes, as far as it was asked for."""
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
    """Accept a split that is what this run would write.

    Parameters
    ----------
    destination, there
        The split, and what it says of itself.
    asked, labels
        What would be repacked, how, and the classes.

    Raises
    ------
    SourceError
        It was packed otherwise: the message says what differs.
    """
    require_replaceable(destination, there)
    before = there["packed"].get(REPACKED)
    replace = "use --overwrite to replace it, or choose another name for the split"
    if before is None:
        raise SourceError(
            f"{destination.folder}: exists already, packed from "
            f"{there['source'].get('kind')}, not from {', '.join(asked['splits'])}; {replace}"
        )
    known = {} if destination.labels is None else labels_of(destination.labels)
    differ = differences(before | known, asked | labels_of(labels))
    if differ:
        raise SourceError(
            f"{destination.folder}: exists already, packed otherwise "
            f"({'; '.join(differ)}); {replace}"
        )


def is_repeated(there: JSON, asked: JSON) -> bool:
    """Tell whether a split that has replaced its own input was asked for in the same way.

    Its samples, or their order, then differ from what the first run found; but repeating a command
    does not mean doing the same again, such as leaving out every other sample once more.

    Parameters
    ----------
    there
        What the split says of itself.
    asked
        What a run is asked for.
    """
    before = there.get("packed", {}).get(REPACKED)
    own = ("samples", "contents", "prefixes")
    return before is not None and all(
        before.get(name) == value for name, value in asked.items() if name not in own
    )


def labels_of(labels: Labels) -> JSON:
    """Return the classes as they are recorded."""
    return {"classes": classes_text(labels.classes), "ignore": ignore_text(labels.ignore)}


def source_of_splits(splits: Sequence[StoredSplit]) -> JSON:
    """Describe where the samples of splits come from."""
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
    splits: Sequence[StoredSplit], plan: Plan, settings: RepackSettings, asked: JSON
) -> JSON:
    """Compose a repacked split's ``attributes.zarrfeed``, but for its channels."""
    packed = [_packed(stored) for stored in splits]
    everything = len(plan.rows) == sum(stored.recorded.samples for stored in splits)
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
            "settings": _settings(packed, settings),
            "binary": _same([before.get("binary") for before in packed]),
            "chunk_rows": plan.fields[0].chunk_rows,
            "shard_rows": plan.shard_rows,
            "codecs": {layout.name: layout.codec for layout in plan.fields},
            "decisions": [asdict(decision) for decision in plan.decisions],
            "digest": digest_method(layout.name for layout in plan.fields),
            **roles_recorded(splits[0].fields),
            REPACKED: asked,
        },
    }
    palette = require_same_palettes(palettes_of(splits))
    if palette:
        described["packed"]["palette"] = palette_text(palette)
    if everything and all(coverage):
        described["packed"]["coverage"] = _added(coverage)
    return described


def _settings(packed: Sequence[JSON], settings: RepackSettings) -> JSON:
    """Return the settings of a conversion that would pack the same, as far as splits agree."""
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
    return common | {name: value for name, value in asked.items() if value is not None}


def palettes_of(splits: Sequence[StoredSplit]) -> dict[str, Palette]:
    """Return what palettes showed where masks used them, by split."""
    return {stored.name: palette_of(stored.split.attributes) for stored in splits}


def _packed(stored: StoredSplit) -> JSON:
    packed: JSON = stored.split.attributes["packed"]
    return packed


def _same(values: Sequence[Any]) -> Any:
    """Return the value that all have in common, or None."""
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
    """Shorten a long list to its length and digest."""
    digest = xxhash.xxh3_64(text.encode(errors="surrogateescape")).hexdigest()
    return f"{count} (xxh3_64 {digest})"
