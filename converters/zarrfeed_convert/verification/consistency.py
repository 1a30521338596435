"""Are a split's attributes and descriptive arrays consistent?

Pure functions of an opened split and the arrays that describe its samples. They return problems.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.store.names import tile_name
from zarrfeed.store.schema import (
    CASE_AFFINE,
    CASE_FIRST_TILE,
    CASE_KEY,
    CASE_SIZE,
    CASE_SPACING,
    CHANNEL_SUMS,
    CLASS_PIXELS,
    DHASH,
    DIGEST,
    IMAGE,
    KEY,
    MASK,
    METADATA,
    SHARD_FILES,
    TILE,
    TILE_SIZE,
    TILE_SOURCE,
)
from zarrfeed_convert.geometry import GRID, Geometry, Size, size_text
from zarrfeed_convert.shards.samples import digest_method
from zarrfeed_convert.shards.statistics import spread_of
from zarrfeed_convert.source import recorded_fields
from zarrfeed_convert.verification.findings import Kind, Problem
from zarrfeed_convert.verification.former_tiles import FORMER_FIT, FormerTiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from zarrfeed import Split
    from zarrfeed_convert.shards.rows import Numbers
    from zarrfeed_convert.source import JSON

# Descriptive arrays with one row per sample.
PER_SAMPLE = (KEY, DIGEST, CLASS_PIXELS, CHANNEL_SUMS, DHASH, TILE)
PER_CASE = (CASE_KEY, CASE_SIZE, CASE_FIRST_TILE, CASE_SPACING, CASE_AFFINE)
TODO = "restore it, or convert again"
# Entry of ``packed`` if cases were repacked from samples, which have no affines.
FROM_SAMPLES = "from_samples"
_PRECISION = 1e-9


def field_names(split: Split) -> list[str]:
    """Return the names of the fields of a split."""
    return [field.name for field in recorded_fields(split.attributes["packed"])]


def has_classes(split: Split) -> bool:
    """Return whether a split has masks of classes, whose pixels are counted."""
    return MASK in field_names(split) and not split.instances


def geometry_of(split: Split, settings: JSON) -> Geometry:
    """Return the geometry by which a conversion with these settings changed every sample."""
    pad_value = settings.get("pad_value") or 0
    if is_of_cases(split):
        return Geometry(tile_of(split), GRID, pad_value)
    size, fit = tuple(settings.get("size") or tile_of(split)), settings.get("fit")
    if fit == FORMER_FIT:
        return FormerTiles(size, GRID, pad_value, settings.get("overlap", 0))
    return Geometry(size, fit, pad_value)


def is_of_cases(split: Split) -> bool:
    """Return whether the samples are tiles of cases."""
    settings = split.attributes["packed"]["settings"]
    said = "cases" in split.attributes or settings.get("tile") is not None
    return said or CASE_KEY in split.layouts


def tile_of(split: Split) -> Size:
    """Return the size of the tiles, or of whole samples."""
    return split.layouts[IMAGE].sample_shape[:-1]


def is_tiled(split: Split) -> bool:
    """Return whether the samples are tiles of images."""
    fit = split.attributes["packed"]["settings"].get("fit")
    return TILE in split.layouts or fit == FORMER_FIT


def repacked_of(split: Split) -> JSON:
    """Return the record of how a split was repacked from others; empty if it was converted."""
    repacked: JSON = split.attributes["packed"].get("repacked", {})
    return repacked


def was_of_samples(split: Split) -> bool:
    """Return whether a split of cases was repacked from splits of samples, at least in part."""
    return bool(split.attributes["packed"].get(FROM_SAMPLES))


def is_older(split: Split) -> bool:
    """Return whether a split was packed before zarrfeed recorded files, channel sums and tiles."""
    return "channels" not in split.attributes


def check_arrays(split: Split) -> list[Problem]:
    """Check that all arrays exist and have as many samples as the split records."""
    fields = field_names(split)
    names = (CASE_KEY, CASE_SIZE, CASE_FIRST_TILE) if is_of_cases(split) else (KEY,)
    needed = {*fields, *names, DIGEST, *((CLASS_PIXELS,) if has_classes(split) else ())}
    if not is_older(split):
        tiles = (TILE, TILE_SOURCE, TILE_SIZE) if is_tiled(split) else ()
        needed |= {CHANNEL_SUMS, SHARD_FILES, *tiles}
    problems = [
        about(split, "array", f"needed this array, found nothing; {TODO}", name)
        for name in sorted(needed - split.layouts.keys())
    ]
    said = split.attributes["samples"]
    lengths = {
        name: layout.shape[0]
        for name, layout in split.layouts.items()
        if name in (*fields, *PER_SAMPLE)
    }
    if set(lengths.values()) != {said}:
        what = f"needed arrays of {said} samples, as recorded, found {lengths}; {TODO}"
        problems.append(about(split, "metadata", what))
    count = split.attributes.get("cases")
    if CASE_KEY in split.layouts and count != split.layouts[CASE_KEY].shape[0]:
        found_count = split.layouts[CASE_KEY].shape[0]
        what = f"needed {found_count} cases, as {CASE_KEY} has, found {count}; {TODO}"
        problems.append(about(split, "metadata", what))
    grids = {field: split.layouts[field].shard_rows for field in fields if field in split.layouts}
    if len(set(grids.values())) > 1:
        what = f"needed shards of equally many samples in all fields, found {grids}; {TODO}"
        problems.append(about(split, "metadata", what))
    elif SHARD_FILES in split.layouts and grids:
        needed_shape = (-(-said // max(grids.values())), len(fields), 2)
        found_shape = split.layouts[SHARD_FILES].shape
        if found_shape != needed_shape:
            what = f"needed the shape {needed_shape}, found {found_shape}; {TODO}"
            problems.append(about(split, "metadata", what, SHARD_FILES))
    for of_what, together in (("images", (TILE_SOURCE, TILE_SIZE)), ("cases", PER_CASE)):
        found = {name: split.layouts[name].shape[0] for name in together if name in split.layouts}
        if len(set(found.values())) > 1:
            what = f"needed equally many {of_what} in all arrays, found {found}; {TODO}"
            problems.append(about(split, "metadata", what))
    return problems


def check_attributes(split: Split) -> list[Problem]:
    """Check fields, digest method and classes of a split."""
    problems = []
    fields = field_names(split)
    if split.attributes["fields"] != fields:
        what = f"needed the fields {fields}, found {split.attributes['fields']}; {TODO}"
        problems.append(about(split, "metadata", what))
    method = split.attributes["packed"]["digest"]
    wanted = digest_method(fields)
    if method != wanted:
        what = f"needed digests by {wanted!r}, found {method!r}; use the zarrfeed that packed it"
        problems.append(about(split, "metadata", what))
    if split.instances and MASK in fields and split.layouts[MASK].dtype != np.uint16:
        what = f"needed numbers of instances as uint16, found {split.layouts[MASK].dtype}; {TODO}"
        problems.append(about(split, "metadata", what, MASK))
    if not split.classes and has_classes(split):
        root = split.path.parent / METADATA
        what = f"{root}: needed the dataset's classes, found none; {TODO}"
        problems.append(Problem("metadata", what, files=(str(root),)))
    elif CLASS_PIXELS in split.layouts:
        counted = split.layouts[CLASS_PIXELS].shape[1:]
        if counted != (len(split.classes),):
            what = f"needed counts of the {len(split.classes)} classes, found {counted}; {TODO}"
            problems.append(about(split, "metadata", what, CLASS_PIXELS))
    if split.multi_hot and split.layouts[MASK].shape[-1] != len(split.classes):
        channels = split.layouts[MASK].shape[-1]
        what = f"needed masks of {len(split.classes)} channels, one a class, found {channels}"
        problems.append(about(split, "metadata", f"{what}; {TODO}", MASK))
    return problems


def check_keys(
    split: Split, stored: NDArray[np.uint8], keys: Sequence[str], *, array: str = KEY
) -> Iterator[Problem]:
    """Check that every sample or case has a name, and that no two have the same.

    Parameters
    ----------
    split, array
        The split, and the array of the names.
    stored
        (N, L) uint8 names: UTF-8, padded with zeros.
    keys
        The N names as text.
    """
    zero = stored == 0
    ragged = (zero[:, :-1] & ~zero[:, 1:]).any(axis=1) | zero.all(axis=1)
    for row in np.flatnonzero(ragged).tolist():
        what = f"needed a name of sample {row}, found {stored[row].tobytes()!r}; {TODO}"
        yield about(split, "keys", what, array)
    for key, times in Counter(keys).items():
        if times > 1:
            what = f"needed a different key for every sample, found {key!r} {times} times; {TODO}"
            yield about(split, "keys", what, array)


def check_channels(split: Split, sums: NDArray[np.float64], pixels: int) -> Iterator[Problem]:
    """Check that the recorded mean and std of the channels follow from the samples' sums.

    Parameters
    ----------
    split
        The split.
    sums
        (N, C, 2 or 3) sums of the samples.
    pixels
        Number of pixels of all samples, without padding of tiles of cases.
    """
    recorded = split.attributes["channels"]
    with np.errstate(over="ignore", invalid="ignore"):  # float images may hold anything
        needed = spread_of(sums.sum(axis=0), pixels)
    for what, values in zip(("mean", "std"), needed, strict=True):
        found = recorded[what]
        if not np.allclose(found, values, rtol=_PRECISION, atol=0, equal_nan=True):
            said = f"needed a {what} of {values.tolist()} by {CHANNEL_SUMS}, found {found}; {TODO}"
            yield about(split, "statistics", said)


def check_tiles(
    split: Split, tile: Numbers, size: Numbers, names: Sequence[str], keys: Sequence[str]
) -> Iterator[Problem]:
    """Check that tiles cover their images, and that their names say where they were cut.

    Parameters
    ----------
    split
        The split.
    tile
        (N, 3 or 4) image and origin of every sample, in pixels.
    size
        (M, 2 or 3) sizes of the images, in pixels.
    names
        Names of the M images.
    keys
        Names of the N samples.
    """
    origins: dict[int, set[Size]] = {}
    places: list[list[int]] = tile.tolist()
    for row, (image, *origin) in enumerate(places):
        known = 0 <= image < len(names)
        found = tile_name(names[image] if known else "?", origin)
        if keys[row] != found or not known:
            what = f"needed the tile {keys[row]!r}, found {found}; {TODO}"
            yield about(split, "tiles", what, TILE, key=keys[row])
        origins.setdefault(image, set()).add(tuple(origin))
    if repacked_of(split):  # its inputs may be tiled differently, and some tiles may be left out
        return
    geometry = geometry_of(split, split.attributes["packed"]["settings"])
    for image, extents in enumerate(map(tuple, size.tolist())):
        if not geometry.is_cut_into(extents, origins.get(image, set())):
            what = f"needed tiles that cover {names[image]!r} ({size_text(extents)}), found gaps"
            yield about(split, "tiles", f"{what} or other tiles; {TODO}", TILE)


def about(
    split: Split, kind: Kind, what: str, name: str = METADATA, *, key: str | None = None
) -> Problem:
    """Return a problem of one of a split's arrays, or of its metadata."""
    path = str(split.path / name)
    return Problem(kind, f"{path}: {what}", key, (path,))
