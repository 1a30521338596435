"""Which tiles does ``auto`` take over, from other splits or from a run that is resumed?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed_convert.geometry import size_text
from zarrfeed_convert.planning.layout import Decision
from zarrfeed_convert.planning.tile_choice import KnownTiles
from zarrfeed_convert.splits.journal import begun_decisions

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from zarrfeed_convert.geometry import Size
    from zarrfeed_convert.source import JSON
    from zarrfeed_convert.splits.destination import Destination


def known_tiles(
    destination: Destination, asked: JSON, *, inputs: Collection[Path] = ()
) -> KnownTiles:
    """Return the tiles that ``auto`` takes instead of choosing one.

    Parameters
    ----------
    destination, asked
        Where the split is written, and the arguments of this run that decide its bytes.
    inputs
        Splits that are repacked, whose tiles do not count.
    """
    others = {
        name: tile
        for name in destination.others
        if not any((destination.out / name).samefile(each) for each in inputs)
        and (tile := destination.tile_of(name)) is not None
    }
    return KnownTiles(others, Decision.from_json(begun_decisions(destination, asked).get("tile")))


def about_other_tiles(destination: Destination, tile: Size) -> tuple[Decision, ...]:
    """Tell of a split whose cases are cut into other tiles.

    Parameters
    ----------
    destination, tile
        Where this split of cases is written, and the size of its tiles.
    """
    for name in destination.others:
        there = destination.tile_of(name)
        # Other numbers of axes are told of with those of the fields.
        if there is not None and len(there) == len(tile) and there != tile:
            reason = (
                f"{size_text(tile)}, but {name} has {size_text(there)}: a model that reads whole "
                f"tiles may need one size; use --tile {size_text(there)}"
            )
            return (Decision("other splits", "tile differs", reason),)
    return ()
