"""What did the user ask for, and what was decided before anything is written?"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from zarrfeed.errors import SourceError
from zarrfeed_convert.arguments import (
    require_choice,
    require_number,
    require_size,
    require_spacing,
    require_whole,
)
from zarrfeed_convert.geometry import FITS, GRID, Fit, Size
from zarrfeed_convert.orientation import require_codes
from zarrfeed_convert.planning.memory import need_of
from zarrfeed_convert.shards.codecs import CODEC_CHOICES, CodecChoice
from zarrfeed_convert.shards.rows import without

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from zarrfeed_convert.planning.layout import Decision
    from zarrfeed_convert.planning.memory import Need
    from zarrfeed_convert.shards.field_layout import FieldLayout
    from zarrfeed_convert.shards.rows import Rows
    from zarrfeed_convert.shards.samples import Recipe
    from zarrfeed_convert.source import JSON

Order: TypeAlias = Literal["shuffled", "source"]
Tile: TypeAlias = Size | Literal["auto"]
Spacing: TypeAlias = tuple[float, ...] | Literal["median"]
_LATER = ("pad_value", "tile", "orient", "spacing")
# Overlapping tiles, of earlier versions.
_NO_TILES = (
    "tiles are asked for by tile=(height, width), or --tile HxW, without size and fit; they do not "
    "overlap"
)
NO_OVERLAP = f"overlap: needed no such argument, found one; {_NO_TILES}"


@dataclass(frozen=True, slots=True)
class Storage:
    """The user's settings of how fields are stored; None to choose."""

    codec: CodecChoice
    chunk_samples: int | None
    shard_size: int | None

    def check(self) -> None:
        """Refuse values of another kind, or outside their range."""
        require_whole("chunk_samples", self.chunk_samples, least=1)
        require_whole("shard_size", self.shard_size, least=1)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings that, with the source and the classes, decide a split's bytes.

    The store records them.
    """

    size: Size | None
    fit: Fit | None
    codec: CodecChoice
    chunk_samples: int | None
    shard_size: int | None
    order: Order
    seed: int
    pad_value: float | None = None
    tile: Tile | None = None
    orient: str | None = None
    spacing: Spacing | None = None

    def check(self) -> None:
        """Refuse values of another kind, or outside their range.

        Raises
        ------
        SourceError
            There is one.
        """
        require_choice("codec", self.codec, CODEC_CHOICES)
        require_choice("order", self.order, ("shuffled", "source"))
        if str(self.fit) == "tile":  # of earlier versions
            raise SourceError(f"fit: needed one of {(None, *FITS)}, found 'tile'; {_NO_TILES}")
        require_choice("fit", self.fit, (None, *FITS))
        require_size("size", self.size)
        self._check_tile()
        if self.orient is not None:
            require_codes(self.orient)
        if self.spacing != "median":
            require_spacing(self.spacing)
        self.storage.check()
        require_whole("seed", self.seed, least=0)
        if self.pad_value is not None and self.fit != "pad" and self.tile is None:
            raise SourceError(
                f"pad_value: is of tiles and of the fit pad; found fit {self.fit or 'none'}"
            )
        require_number("pad_value", self.pad_value)

    def _check_tile(self) -> None:
        if self.tile is None:
            return
        if self.tile != "auto":
            require_size("tile", self.tile)
        if self.size is not None or self.fit is not None:
            raise SourceError(
                "tile: cases keep their sizes; found a size or a fit, too: leave these out"
            )
        if self.chunk_samples not in (None, 1):
            raise SourceError(
                f"chunk_samples: needed 1 tile per chunk, found {self.chunk_samples}; leave it out"
            )

    @property
    def storage(self) -> Storage:
        """The settings of how fields are stored."""
        return Storage(self.codec, self.chunk_samples, self.shard_size)

    def to_json(self) -> JSON:
        """Return the settings as the store records them."""
        former: JSON = {"size": None, "fit": None, "overlap": 0}  # in their order
        settings = former | asdict(self)
        if self.size is not None:
            settings["size"] = [*self.size]
        if self.pad_value is not None:
            settings["pad_value"] = float(self.pad_value)
        if self.tile not in (None, "auto"):
            settings["tile"] = [*self.tile]
        if self.spacing not in (None, "median"):
            settings["spacing"] = [*map(float, self.spacing)]
        # Omit unset options that were added later, so that older records still compare equal.
        unset = [name for name in _LATER if settings[name] is None]
        return {name: value for name, value in settings.items() if name not in unset}


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is decided before anything is written.

    Attributes
    ----------
    recipe
        How samples of the source become samples of the store.
    fields
        Layout of each field, in the order of the source's fields.
    rows
        All samples, provided that none fails; the tiles of a case follow each other.
    largest
        Bytes of the largest decoded sample of the source.
    decisions
        The choices made, with reasons.
    surveyed
        Id → its number of pixels in the masks of the source; None if they were not decoded.
    palette
        Class id → colour in the palettes of the masks; empty if they have none.
    notes
        Further decisions for the report, which the split does not record.
    ordered
        Whether samples keep their order if some of them fail.
    own_pixels
        Number of pixels of all cases, without the padding of their tiles; None if samples are no
        tiles, or if `surveyed` leaves it open.
    """

    recipe: Recipe
    fields: tuple[FieldLayout, ...]
    rows: Rows
    largest: int
    decisions: tuple[Decision, ...]
    surveyed: Mapping[int, int] | None
    palette: Mapping[int, int] = field(default_factory=dict)
    notes: tuple[Decision, ...] = ()
    ordered: bool = True
    own_pixels: int | None = None

    @property
    def shard_rows(self) -> int:
        """Samples per file."""
        return self.fields[0].shard_rows

    @property
    def of_cases(self) -> bool:
        """Whether samples of the store are tiles of cases."""
        return self.recipe.geometry.fit == GRID

    def tile_recorded(self) -> JSON:
        """Return the entry of a journal for how the tile was decided; empty if there is none."""
        about = next((each for each in self.decisions if each.what == "tile"), None)
        return {} if about is None else {"tile": asdict(about)}

    def need(self, source_nbytes: int) -> Need:
        """Compute the memory that a worker needs, given the bytes that the source keeps."""
        return need_of(self.largest, self.fields, source_nbytes)

    def rows_without(self, failed: Collection[int]) -> Rows:
        """Put the samples that have not failed in order."""
        return without(self.rows, failed, ordered=self.ordered)

    def parts(self, rows: Rows) -> list[Rows]:
        """Divide rows into shards."""
        step = self.shard_rows
        return [rows.part(slice(at, at + step)) for at in range(0, len(rows), step)]
