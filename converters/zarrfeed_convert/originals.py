"""Which original was each sample of a split, and which originals are in no split?

Pure, but for opening the source.
"""

from __future__ import annotations

import glob
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed.schema import TILE, TILE_SOURCE
from zarrfeed_convert.consistency import TODO, geometry_of, is_tiled
from zarrfeed_convert.findings import Problem
from zarrfeed_convert.formats import source_of
from zarrfeed_convert.labels import Labels
from zarrfeed_convert.recorded import Recorded, texts
from zarrfeed_convert.rows import Rows
from zarrfeed_convert.samples import Recipe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zarrfeed import Split
    from zarrfeed_convert.rows import Numbers
    from zarrfeed_convert.source import JSON, Source


@dataclass(frozen=True, slots=True)
class Matched:
    """Samples that have an original, sorted by it.

    Attributes
    ----------
    place
        (n,) which of the split's samples.
    rows
        Their originals.
    """

    place: Numbers
    rows: Rows


def open_originals(split: Split, moved: Mapping[str, Any]) -> Source:
    """Open the source that a split was packed from.

    Parameters
    ----------
    split
        Whose.
    moved
        Arguments of the format that are no longer as they were, such as ``images``.

    Raises
    ------
    SourceError
        It is not there any more, or cannot be opened by what the split says of it.
    """
    described: JSON = split.attributes["source"]
    try:
        return source_of({**described, **moved})
    except SourceError as error:
        raise SourceError(
            f"{split.path}: its originals cannot be opened: {error}; if they have moved, say where "
            "with --images and --masks"
        ) from error


def recipe_of(split: Split) -> Recipe:
    """Find out what was done to every sample."""
    packed: JSON = split.attributes["packed"]
    binary = packed.get("binary")
    if binary is None:  # older splits say it in words alone
        binary = any("255 means 1" in decision["reason"] for decision in packed["decisions"])
    return Recipe(geometry_of(split), Labels(split.classes, split.ignore, binary))


def match(recorded: Recorded, source: Source) -> tuple[Matched, list[Problem]]:
    """Find every sample's original, by its key.

    Returns
    -------
    matched
        The samples that have one.
    problems
        Originals that are no longer there.
    """
    names, windows = _originals_of(recorded)
    number = {key: item for item, key in enumerate(source.keys)}
    items = np.array([number.get(name, -1) for name in names], np.int64)
    missing = dict.fromkeys(name for name in names if name not in number)
    place = np.argsort(items, kind="stable")
    place = place[items[place] >= 0]
    problems = [
        Problem(
            "original-missing",
            f"{name}: needed the original of this key, found none in the source; {TODO}",
            name,
        )
        for name in missing
    ]
    return Matched(place, Rows(items[place], windows[place])), problems


def find_new(
    split: Split, source: Source, used: Numbers, moved: Mapping[str, Any]
) -> list[Problem]:
    """Find inputs that are neither in the split, nor among those that it says were skipped.

    Parameters
    ----------
    split, source
        What was packed, and what is there now.
    used
        The source's samples that are in the split.
    moved
        As in :func:`open_originals`: names that were skipped began otherwise then.
    """
    described: JSON = split.attributes.get("source", {})
    before = [str(described.get(what, "")) for what in ("images", "masks")]
    now = [str(moved.get(what, described.get(what, ""))) for what in ("images", "masks")]
    skipped = {
        name
        for entry in split.attributes["packed"].get("skipped", ())
        for name in _names_below(entry["name"], before)
    }

    def is_new(*names: str) -> bool:
        return not any(below in skipped for name in names for below in _names_below(name, now))

    problems = []
    packed = set(used.tolist())
    for item, key in enumerate(source.keys):
        if item in packed:
            continue
        names = source.names(item)
        if is_new(*names):
            what = f"{names[0]}: needed originals that were packed or skipped, found a new one"
            problems.append(Problem("original-new", f"{what}; convert again", key, names))
    left_out: Sequence[tuple[str, str]] = getattr(source, "left_out", ())
    for name, why in left_out:
        if is_new(name):
            what = f"{name}: {why}, which was not so when the split was packed; {TODO}"
            problems.append(Problem("original-new", what, None, (name,)))
    return problems


def _names_below(name: str, places: Sequence[str]) -> list[str]:
    """Give a name as it is, and what is left of it below a place that may have moved.

    Examples
    --------
    >>> _names_below("a/b/x.png", ["a/b"])
    ['a/b/x.png', '/x.png']
    >>> _names_below("a/b/x.png", ["a/*/x*.png"])
    ['a/b/x.png', '/b/x.png']
    """
    fixed = [
        place[: min(place.find(magic) for magic in "*?[" if magic in place)].rpartition("/")[0]
        if glob.has_magic(place)
        else place
        for place in places
    ]
    return [
        name,
        *(name.removeprefix(start) for start in fixed if start and name.startswith(start)),
    ]


def _originals_of(recorded: Recorded) -> tuple[Sequence[str], Numbers]:
    """Name the original of every sample, and the (y, x) of what was cut from it."""
    if not is_tiled(recorded.split):
        return recorded.keys, np.zeros((recorded.samples, 2), np.int64)
    if {TILE, TILE_SOURCE} <= recorded.arrays.keys():
        tile, images = recorded.arrays[TILE], texts(recorded.arrays[TILE_SOURCE])
        return [images[image] for image in tile[:, 0].tolist()], tile[:, 1:].astype(np.int64)
    parts = [key.rpartition("#") for key in recorded.keys]
    windows = [[int(extent) for extent in place.split(",")] for _, _, place in parts]
    return [name for name, _, _ in parts], np.array(windows, np.int64)
