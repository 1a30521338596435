"""Which tiles are cases cut into, and why?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zarrfeed_convert.geometry import size_text
from zarrfeed_convert.planning.layout import Decision
from zarrfeed_convert.planning.tile_size import about_padded, auto_tile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zarrfeed_convert.geometry import Size
    from zarrfeed_convert.planning.plan import Tile


@dataclass(frozen=True, slots=True)
class KnownTiles:
    """Tiles that ``auto`` takes instead of choosing one.

    Attributes
    ----------
    others
        Tile of each of the dataset's other splits of cases, by its name. The first that has as many
        axes is taken, because one model reads all splits.
    begun
        What an unfinished run decided, which is resumed even if other splits were packed since;
        None if there is none.
    """

    others: Mapping[str, Size] = field(default_factory=dict)
    begun: Decision | None = None

    def decide(self, asked: Tile, sizes: Sequence[Size]) -> tuple[Size, Decision]:
        """Decide the size of tiles.

        Parameters
        ----------
        asked
            What the user asked for.
        sizes
            Sizes of the cases, all with as many axes. There may be none if `asked` is a size.

        Examples
        --------
        >>> tile, decision = KnownTiles({"train": (64, 64)}).decide("auto", [(60, 100)])
        >>> tile, decision.reason
        ((64, 64), 'that of train, of the same dataset: 27% of the stored pixels are padding')
        """
        if asked != "auto":
            return asked, _decision(asked, "asked for", sizes)
        if self.begun is not None:
            return tuple(map(int, self.begun.value.split("x"))), self.begun
        axes = {len(size) for size in sizes}
        for name, tile in self.others.items():
            if {len(tile)} == axes:
                return tile, _decision(tile, f"that of {name}, of the same dataset", sizes)
        tile = auto_tile(sizes)
        return tile, _decision(tile, "pads least", sizes)


def _decision(tile: Size, why: str, sizes: Sequence[Size]) -> Decision:
    reason = f"{why}: {about_padded(sizes, tile)}" if sizes else why
    return Decision("tile", size_text(tile), reason)
