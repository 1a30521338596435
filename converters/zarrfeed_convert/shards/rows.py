"""Which sample of the source becomes which sample of the store?

Pure functions of plans and failures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import xxhash
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from zarrfeed_convert.geometry import Size

Numbers: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rows:
    """Samples in the order of the store.

    Attributes
    ----------
    item
        (n,) int64, index of the sample in the source.
    origin
        (n, 2 or 3) int64, origin of the part that is cut from it: (y, x), or (z, y, x) of a volume.
    size
        (n, 2 or 3) int64, size of the case that it is a tile of; None if samples are no tiles of
        cases.
    """

    item: Numbers
    origin: Numbers
    size: Numbers | None = None

    def __len__(self) -> int:
        """Count the samples."""
        return self.item.size

    def part(self, which: slice | Numbers) -> Rows:
        """Select some of the samples."""
        size = None if self.size is None else self.size[which]
        return Rows(self.item[which], self.origin[which], size)

    def own_sizes(self, tile: Size) -> Numbers | None:
        """Return the size of the part of every tile, (n, 2 or 3), that is not padded."""
        if self.size is None:
            return None
        own: Numbers = np.minimum(self.size - self.origin, np.array(tile))
        return own

    def fingerprint(self) -> str:
        """Return a digest of the rows."""
        digest = xxhash.xxh3_128()
        for values in (self.item, self.origin, *(() if self.size is None else (self.size,))):
            digest.update(np.ascontiguousarray(values, "<i8").tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Tiles:
    """The places of tiles in the images that they were cut from, in splits of earlier versions.

    Attributes
    ----------
    place
        (n, 3 or 4) int64: index of the image, and origin of the tile in it.
    names
        Keys of the M images.
    sizes
        (M, 2 or 3) int64, sizes of the images.
    """

    place: Numbers
    names: Sequence[str]
    sizes: Numbers

    def part(self, rows: Numbers) -> Tiles:
        """Select some of the tiles, and the images that they were cut from."""
        used, source = np.unique(self.place[rows, 0], return_inverse=True)
        place = np.column_stack([source, self.place[rows, 1:]])
        return Tiles(place, [self.names[image] for image in map(int, used)], self.sizes[used])


def without(rows: Rows, failed: Collection[int], *, ordered: bool) -> Rows:
    """Remove failed samples, moving as few of the others as possible.

    Parameters
    ----------
    rows
        Rows as planned.
    failed
        Indices of the source's samples that cannot be packed.
    ordered
        Whether to keep the order, so that all rows after a gap move up. Otherwise the last rows
        fill the gaps, and only the shards with gaps and the last shards change.

    Returns
    -------
    Rows
        They depend on which samples failed, not on when they did.
    """
    bad = np.isin(rows.item, np.fromiter(failed, np.int64, len(failed)))
    if ordered or not bad.any():
        return rows.part(np.flatnonzero(~bad)) if bad.any() else rows
    left = int((~bad).sum())
    order = np.arange(left)
    order[bad[:left]] = left + np.flatnonzero(~bad[left:])
    return rows.part(order)
