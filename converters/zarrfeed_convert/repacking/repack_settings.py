"""Which settings decide how a repacked split is laid out?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from zarrfeed.errors import SourceError
from zarrfeed_convert.arguments import require_choice, require_size, require_whole
from zarrfeed_convert.planning.plan import Storage, Tile
from zarrfeed_convert.repacking.row_selection import ORDERS, StoredOrder
from zarrfeed_convert.shards.codecs import CODEC_CHOICES, CodecChoice

if TYPE_CHECKING:
    from zarrfeed_convert.source import JSON

RepackCodec: TypeAlias = CodecChoice | Literal["keep"]
_CHOICES: tuple[RepackCodec, ...] = ("keep", *CODEC_CHOICES)


@dataclass(frozen=True, slots=True)
class RepackSettings:
    """Settings that decide a repacked split's bytes, together with its samples or cases.

    The store records them. See :func:`zarrfeed_convert.repack` for their meaning.
    """

    codec: RepackCodec
    chunk_samples: int | None
    shard_size: int | None
    order: StoredOrder
    seed: int
    tile: Tile | None = None

    def check(self) -> None:
        """Check that all values are in their range.

        Raises
        ------
        SourceError
            One is not.
        """
        require_choice("order", self.order, ORDERS)
        require_choice("codec", self.codec, _CHOICES)
        self.storage.check()
        require_whole("seed", self.seed, least=0)
        if self.tile is not None:
            if self.tile != "auto":
                require_size("tile", self.tile)
            self.require_single_tiles()

    def require_single_tiles(self) -> None:
        """Refuse chunks of several tiles, for splits of cases."""
        if self.chunk_samples not in (None, 1):
            raise SourceError(
                f"chunk_samples: needed 1 tile of a case per chunk, found {self.chunk_samples}; "
                "leave it out"
            )

    @property
    def storage(self) -> Storage:
        """How to store fields that do not keep their codec and layout."""
        codec: CodecChoice = "auto" if self.codec == "keep" else self.codec
        return Storage(codec, self.chunk_samples, self.shard_size)

    def to_json(self) -> JSON:
        """Return the settings as the store records them."""
        settings = asdict(self)
        if self.tile is None:  # runs and splits of before tiles of cases are then the same
            del settings["tile"]
        elif self.tile != "auto":
            settings["tile"] = [*self.tile]
        return settings
