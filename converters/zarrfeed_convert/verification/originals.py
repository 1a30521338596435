"""Which original does each sample of a split have, and which originals are not in the split?

A split that was repacked from several splits has the originals of all of them.
"""

from __future__ import annotations

import glob
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import ReadError, SourceError
from zarrfeed.store.address import remote_url
from zarrfeed.store.names import decode_names
from zarrfeed.store.schema import IMAGE, TILE, TILE_SOURCE
from zarrfeed_convert.copying.originals import fetch_originals
from zarrfeed_convert.extra_fields import moved_fields, parse_fields
from zarrfeed_convert.formats import FORMATS, factory_of, source_of
from zarrfeed_convert.labels import Labels
from zarrfeed_convert.regridded import RegriddedSource
from zarrfeed_convert.shards.rows import Rows
from zarrfeed_convert.shards.samples import Recipe
from zarrfeed_convert.source import recorded_fields
from zarrfeed_convert.verification.consistency import (
    TODO,
    geometry_of,
    is_tiled,
    repacked_of,
)
from zarrfeed_convert.verification.findings import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from zarrfeed import Split
    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.shards.rows import Numbers
    from zarrfeed_convert.source import JSON, Source
    from zarrfeed_convert.verification.recorded import Recorded


@dataclass(frozen=True, slots=True)
class Access:
    """How originals are opened.

    Attributes
    ----------
    limits
        Limits of what they may claim; see :class:`zarrfeed_convert.Limits`.
    storage_options
        Options of the object store that they are in, which may be secrets.
    """

    limits: Limits | None = None
    storage_options: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class OriginPart:
    """The samples of a split that were converted from one source.

    Attributes
    ----------
    prefix
        Prefix of their names, which the source does not know.
    description
        Description of the source; see :meth:`Source.describe`.
    settings
        Settings of the conversion.
    binary
        Whether 255 in masks became 1.
    """

    prefix: str
    description: JSON
    settings: JSON
    binary: bool


@dataclass(frozen=True, slots=True)
class Matched:
    """Samples that have an original, sorted by original.

    Attributes
    ----------
    place
        (n,) indices of the samples in the split.
    rows
        Their originals, as n rows of the source.
    """

    place: Numbers
    rows: Rows


def parts_of(split: Split) -> list[OriginPart]:
    """Return the parts of a split, one per source."""
    packed: JSON = split.attributes["packed"]
    binary = packed.get("binary")
    if binary is None:  # older splits record it only in the text of a decision
        binary = any("255 means 1" in decision["reason"] for decision in packed["decisions"])
    prefixes = repacked_of(split).get("prefixes", ())
    prefix = prefixes[0] if len(prefixes) == 1 else ""
    source = split.attributes.get("source", {})
    return list(_flat(OriginPart(prefix, source, packed["settings"], binary)))


def _flat(part: OriginPart) -> Iterator[OriginPart]:
    if part.description.get("kind") != "merged":
        yield part
        return
    for one in part.description["inputs"]:
        prefix = part.prefix + one["prefix"]
        yield from _flat(OriginPart(prefix, one["source"], one["settings"], bool(one["binary"])))


def open_originals(
    split: Split, part: OriginPart, moved: Mapping[str, Any], limits: Limits | None
) -> Source:
    """Open the source of a part.

    Parameters
    ----------
    split, part
        The split, and the part of it.
    moved
        Arguments of the format that have changed, such as ``images``.
    limits
        Limits of what the originals may claim; see :class:`zarrfeed_convert.Limits`.

    Raises
    ------
    SourceError
        The source no longer exists, or cannot be opened by its recorded description.
    """
    try:
        return source_of(_description(part, moved), limits=limits)
    except SourceError as error:
        known = part.description.get("kind") in FORMATS
        flags = "--images, --masks and --field" if part.description.get("fields") else ""
        flags = flags or "--images and --masks"
        todo = f"; if they have moved, give their new place with {flags}" if known else ""
        raise SourceError(f"{split.path}: its originals cannot be opened: {error}{todo}") from error


def fetched(
    split: Split, part: OriginPart, moved: Mapping[str, Any], access: Access
) -> Mapping[str, Any]:
    """Bring originals that have an address into the cache.

    Returns
    -------
    Mapping
        `moved`, with their places in the cache.

    Raises
    ------
    SourceError
        They cannot be read.
    """
    kind, description = str(part.description.get("kind")), _description(part, moved)
    if kind not in FORMATS or getattr(factory_of(kind), "takes_urls", False):
        return moved

    def brought(place: str) -> str:
        return fetch_originals(place, storage_options=access.storage_options)

    found = dict(moved)
    try:
        for name, value in description.items():
            if isinstance(value, str) and remote_url(value) is not None:
                found[name] = brought(value)
        extras = parse_fields(description.get("fields"))
        if any(remote_url(extra.place) for extra in extras):
            found["fields"] = {
                extra.field.name: f"{extra.field.role}:{brought(extra.place)}" for extra in extras
            }
    except (ReadError, SourceError) as error:
        raise SourceError(f"{split.path}: its originals cannot be fetched: {error}") from error
    return found


def as_packed(originals: Source, part: OriginPart, limits: Limits | None) -> Source:
    """Return the originals of a part, turned and resampled as when they were packed.

    Raises
    ------
    SourceError
        The part records an orientation or a spacing that is none.
    """
    orient, spacing = part.settings.get("orient"), part.settings.get("spacing")
    if orient is None and spacing is None:
        return originals
    return RegriddedSource(originals, orient=orient, spacing=spacing, limits=limits)


def _description(part: OriginPart, moved: Mapping[str, Any]) -> JSON:
    """Return the description of a part's source, with its changed arguments."""
    description = {**part.description, **moved}
    if "fields" in moved:
        before = part.description.get("fields")
        description["fields"] = moved_fields(before, moved["fields"])
    return description


def _places(description: JSON) -> list[str]:
    """Return the places of a source's files."""
    extras = [extra.place for extra in parse_fields(description.get("fields"))]
    return [*(str(description.get(what, "")) for what in ("images", "masks")), *extras]


def recipe_of(split: Split, part: OriginPart) -> Recipe:
    """Return the geometry and labels that were applied to every sample of a part.

    Older versions packed images of most dtypes as float32. What is float32 in the store may be of
    another dtype in the source.
    """
    labels = Labels(
        split.classes, split.ignore, part.binary, split.multi_hot, instances=split.instances
    )
    floats = frozenset(
        field.name
        for field in recorded_fields(split.attributes["packed"])
        if field.role == "image" and split.layouts[field.name].dtype == np.float32
    )
    return Recipe(geometry_of(split, part.settings), labels, floats)


def match(recorded: Recorded, part: OriginPart, source: Source, free: NDArray[np.bool_]) -> Matched:
    """Find the originals of samples by their names.

    Parameters
    ----------
    recorded
        What the split records.
    part, source
        The part, and its opened source.
    free
        (N,) bool, True for samples without an original so far. Those that are found become False.
    """
    names, origins = _originals_of(recorded)
    number = {part.prefix + key: item for item, key in enumerate(source.keys)}
    items = np.array([number.get(name, -1) for name in names], np.int64)
    items[~free] = -1
    free[items >= 0] = False
    place = np.argsort(items, kind="stable")
    place = place[items[place] >= 0]
    rows = Rows(items[place], origins[place])
    if recorded.rows is not None:
        rows = replace(recorded.rows.part(place), item=rows.item)
    return Matched(place, rows)


def missing_originals(recorded: Recorded, free: NDArray[np.bool_]) -> list[Problem]:
    """Return a problem for each sample whose original was not found."""
    names, _ = _originals_of(recorded)
    missing = dict.fromkeys(names[row] for row in np.flatnonzero(free).tolist())
    return [
        Problem(
            "original-missing",
            f"{name}: needed the original of this sample, found none in the source; {TODO}",
            name,
        )
        for name in missing
    ]


def new_originals(
    split: Split, part: OriginPart, source: Source, used: Numbers, moved: Mapping[str, Any]
) -> Iterator[Problem]:
    """Yield a problem for each input that is neither in the split nor recorded as skipped.

    Parameters
    ----------
    split, part
        The split, and the part of it.
    source, used
        The opened source, and the indices of its samples that are in the split.
    moved
        As in :func:`open_originals`. The recorded names of skipped inputs have the old place.
    """
    before, now = _places(part.description), _places(_description(part, moved))
    skipped = {
        name
        for entry in split.attributes["packed"].get("skipped", ())
        for name in _names_below(entry["name"], before)
    }

    def is_new(*names: str) -> bool:
        return not any(below in skipped for name in names for below in _names_below(name, now))

    packed = set(used.tolist())
    for item, key in enumerate(source.keys):
        names = source.names(item)
        if item not in packed and is_new(*names):
            what = f"{names[0]}: needed only inputs that were packed or skipped, found a new one"
            yield Problem("original-new", f"{what}; convert again", key, names)
    for name, why in source.left_out:
        if is_new(name):
            reason = why.partition("; ")[0]  # without the advice for conversions
            what = f"{name}: {reason}, unlike when the split was packed; {TODO}"
            yield Problem("original-new", what, None, (name,))


def _names_below(name: str, places: Sequence[str]) -> list[str]:
    """Return a name, and the part of it below each of the places that it starts with.

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
    """Return the name of every sample's original, and the (N, 2 or 3) origin of its tile in it."""
    if recorded.cases is not None and recorded.rows is not None:
        rows = recorded.rows
        return [recorded.cases.keys[case] for case in map(int, rows.item)], rows.origin
    if not is_tiled(recorded.split):
        axes = len(recorded.split.layouts[IMAGE].sample_shape) - 1
        return recorded.keys, np.zeros((recorded.samples, axes), np.int64)
    if {TILE, TILE_SOURCE} <= recorded.arrays.keys():
        tile, images = recorded.arrays[TILE], decode_names(recorded.arrays[TILE_SOURCE])
        return [images[image] for image in tile[:, 0].tolist()], tile[:, 1:].astype(np.int64)
    parts = [key.rpartition("#") for key in recorded.keys]
    origins = [[int(extent) for extent in place.split(",")] for _, _, place in parts]
    return [name for name, _, _ in parts], np.array(origins, np.int64)
