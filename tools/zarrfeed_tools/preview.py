"""What is shown of a store or a sequence?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed import CoverPatches, FrontEnd, GridPatches, RandomPatches, StoreError, class_pixels
from zarrfeed.fronts.sequence_views import sequence_views, shows_volumes
from zarrfeed.pictures.palette import Palette
from zarrfeed.spelling import did_you_mean, plural, share_text
from zarrfeed.store.tile_grid import TileGrid
from zarrfeed.views.chosen import condition_of, fulfilling, numbers_of_keys, spread
from zarrfeed.views.drawn_arrays import Drawing
from zarrfeed.views.stored_views import StoredViews, open_shown, palette_of
from zarrfeed_tools.sheet import Section, Shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed import Split
    from zarrfeed.views.drawn_arrays import View
    from zarrfeed_tools.remote_options import RemoteOptions
    from zarrfeed_tools.sheet import Boxes, Legend

_IMAGES, _VOLUMES = 16, 4  # shown by default; volumes and large images take more room each
_SLICES = 12
_LARGER = 2  # cases are shown so many times as large as samples
_MOST_NAMED = 40  # classes in a legend; of more, those that are seen
_MOST_BOXES, _MOST_TILES = 1000, 10_000
_MOST_SHARES = 3


@dataclass(frozen=True, slots=True)
class Selection:
    """What is shown, and how.

    Attributes
    ----------
    splits
        Names of the splits; none for all.
    where
        A condition on the classes; empty for none.
    keys
        Keys of the samples or cases; none for a choice by the others.
    count
        Number of samples or cases of each split; None for 16 images or 4 volumes or cases.
    seed
        Of a random choice; None to spread them evenly.
    most
        Largest extent of a picture in pixels.
    patches
        Patches whose boxes are drawn; None for none.
    """

    splits: Sequence[str] = ()
    where: str = ""
    keys: Sequence[str] = ()
    count: int | None = None
    seed: int | None = None
    most: int = 320
    patches: RandomPatches | CoverPatches | GridPatches | None = None


def store_sections(store: Path, selection: Selection, remote: RemoteOptions) -> list[Section]:
    """Draw samples or cases of the splits of a store, which may have an address.

    Raises
    ------
    StoreError
        The store, or what is asked for, is not there, or nothing fulfils the condition.
    ConditionError
        The condition is misspelt.
    """
    splits = _chosen_splits(open_shown(store, **remote.opening), selection.splits, store)
    named: Sequence[Sequence[int] | None] = [None] * len(splits)
    if selection.keys:
        named = numbers_of_keys(splits, selection.keys)
    sections = [_section(*each, selection, remote) for each in zip(splits, named, strict=True)]
    found = [section for section in sections if section is not None]
    if not found:
        raise StoreError(
            f"{store}: needed samples with {selection.where!r}, found none: ask for less, or see "
            "the classes by `zarrfeed inspect`"
            if selection.where
            else f"{store}: needed samples, found none"
        )
    return found


def _chosen_splits(splits: list[Split], names: Sequence[str], store: Path) -> list[Split]:
    if not names:
        return splits
    by_name = {split.path.name: split for split in splits}
    for name in names:
        if name not in by_name:
            has = f"it has {', '.join(by_name)}"
            raise StoreError(
                f"{store}: needed a split {name!r}: {did_you_mean(name, by_name, otherwise=has)}"
            )
    return [by_name[name] for name in dict.fromkeys(names)]


def _section(
    split: Split, named: Sequence[int] | None, selection: Selection, remote: RemoteOptions
) -> Section | None:
    """Draw samples or cases of a split, by their numbers or by the condition; None if none fits."""
    palette = palette_of(split)
    drawing = Drawing(palette, most=selection.most, slices=_SLICES)
    among: Sequence[int] | NDArray[np.int64]
    condition = condition_of(selection.where, split) if selection.where else None
    if condition is not None:
        drawing = replace(drawing, looked_for=condition.present or None)
    views = StoredViews(split, drawing)
    total, unit = len(views), "sample" if views.cases is None else "case"
    among, told = range(total), ""
    if condition is not None:
        among = fulfilling(split, condition)
        told = f"{plural(len(among), unit)} with {selection.where}, "
    if named is not None:
        fit = set(among) if condition else range(total)
        numbers = [number for number in named if number in fit]
    else:
        default = _IMAGES if views.cases is None and not views.volumes else _VOLUMES
        numbers = spread(among, selection.count or default, selection.seed)
    if not numbers:
        return None
    if views.cases is not None and not views.volumes:
        views = StoredViews(split, replace(drawing, most=selection.most * _LARGER))
    shown = [
        _with_boxes(view, number, split, views, selection, remote)
        for number, view in zip(numbers, views.draw(numbers), strict=True)
    ]
    subtitle = f"{len(numbers):,} of {told}{'of ' if told else ''}{plural(total, unit)}"
    return Section(_name(split), subtitle, shown, _legend(palette, shown))


def _name(split: Split) -> str:
    """Name a split, with its dataset.

    Of other groups, the last folder says enough.
    """
    parent, _, name = split.address.rstrip("/").rpartition("/")
    return f"{parent.rpartition('/')[2]}/{name}" if split.packed else name


def _with_boxes(
    view: View,
    number: int,
    split: Split,
    views: StoredViews,
    selection: Selection,
    remote: RemoteOptions,
) -> Shown:
    tiles: Boxes = ()
    notes = _class_shares(view, number, split, views)
    if views.cases is not None:
        grid = TileGrid(view.size, views.cases.tile_size)
        notes.append(f"{plural(grid.tiles, 'tile')} of {_extents(grid.tile)}")
        if len(grid.tile) == 2 and grid.tiles <= _MOST_TILES:
            origins = (grid.origin(tile) for tile in range(grid.tiles))
            tiles = [_box(origin, grid.tile, view.size) for origin in origins]
    patches: Boxes = ()
    if selection.patches is not None:
        size = selection.patches.size
        if len(size) != len(view.size):
            raise StoreError(
                f"{split.address}: needed patches of {len(view.size)} axes, found "
                f"{_extents(size)}: give --patches {'x'.join(['64'] * len(view.size))}"
            )
        try:
            sequence = FrontEnd(
                split.address, _MOST_BOXES, subset=[number], patches=selection.patches,
                shuffle=False, seed=selection.seed or 0, workers=0, **remote.opening,
            )  # fmt: skip
        except ValueError as error:
            raise StoreError(f"{split.address}: can't cut --patches: {error}") from error
        places = sequence.batch_places(0)
        patches = [_box(place.origin, size, view.size) for place in places]
        total = sequence.samples
        first = "" if total <= len(places) else f"{len(places):,} of "
        kind = type(selection.patches).__name__
        notes.append(f"{first}{total:,} {kind} of {_extents(size)} in an epoch")
    return Shown(view, tiles, patches, "; ".join(notes))


def _class_shares(view: View, number: int, split: Split, views: StoredViews) -> list[str]:
    """Write the shares of a sample's classes, the largest first; nothing without counts."""
    palette, counted = views.drawing.palette, class_pixels(split, views.rows(number))
    if counted is None or not palette.names:
        return []
    order = np.argsort(-counted, kind="stable").tolist()
    kept = [id_ for id_ in order if counted[id_] and id_ != palette.background][:_MOST_SHARES]
    pixels = math.prod(view.size)
    told = (f"{palette.names[id_]} {share_text(int(counted[id_]) / pixels)}" for id_ in kept)
    return [", ".join(told) or "empty"]


def _box(
    origin: Iterable[int], size: Sequence[int], within: Sequence[int]
) -> list[tuple[int, int]]:
    """Return the part of a box that is inside of a case."""
    return [
        (max(0, begin), min(begin + extent, end))
        for begin, extent, end in zip(origin, size, within, strict=True)
    ]


def _extents(size: Sequence[int]) -> str:
    return " × ".join(map(str, size))


def sequence_section(sequence: FrontEnd, name: str, selection: Selection) -> Section:
    """Draw what a sequence hands out first.

    Parameters
    ----------
    sequence
        Any sequence.
    name
        What the user calls it.
    selection
        How many samples or patches, and how large; the rest does not count.
    """
    palette = Palette.of(sequence.classes, sequence.ignore)
    count = selection.count or (_VOLUMES if shows_volumes(sequence) else _IMAGES)
    drawing = Drawing(palette, most=selection.most, slices=_SLICES)
    views = sequence_views(sequence, count, drawing)
    batches = math.ceil(len(views) / sequence.batch_size)
    of = "batch 0" if batches == 1 else f"batches 0 … {batches - 1}"
    subtitle = f"{len(views):,} rows of {of} of epoch {sequence.epoch}: {sequence!r}"
    shown = [Shown(view) for view in views]
    return Section(name, subtitle, shown, _legend(palette, shown))


def _legend(palette: Palette, shown: Sequence[Shown]) -> Legend:
    """Name the classes, or those that are seen if they are many or have no names."""
    if 0 < len(palette.names) <= _MOST_NAMED:
        return palette.legend()
    seen = sorted({id_ for each in shown for id_ in each.view.ids} - {palette.background})
    named = palette.legend(seen[:_MOST_NAMED])
    more = len(seen) - len(named)
    return [*named, (f"and {more} more", (255, 255, 255))] if more > 0 else named
