"""Which sample of the source is which sample of the store?

Pure: plans and failures in, rows out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import xxhash
from numpy.typing import NDArray

from zarrfeed.order.sample_order import permutation
from zarrfeed_convert.geometry import origin_text

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

Numbers: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rows:
    """Samples in the order of the store.

    Attributes
    ----------
    item
        (n,) which of the source's samples.
    window
        (n, 2 or 3) the origin of what is cut from it: (y, x), or (z, y, x) of a volume.
    """

    item: Numbers
    window: Numbers

    def __len__(self) -> int:
        """Count the samples."""
        return self.item.size

    def part(self, which: slice | Numbers) -> Rows:
        """Take some of the samples."""
        return Rows(self.item[which], self.window[which])

    def fingerprint(self) -> str:
        """Tell these rows from others."""
        digest = xxhash.xxh3_128()
        for values in (self.item, self.window):
            digest.update(np.ascontiguousarray(values, "<i8").tobytes())
        return digest.hexdigest()

    def keys(self, names: Sequence[str], *, tiled: bool) -> list[str]:
        """Name the rows by their samples: ``KEY``, or ``KEY#y,x`` of a tile.

        Parameters
        ----------
        names
            Of the source's samples.
        tiled
            Whether a sample may have several rows.
        """
        if not tiled:
            return [names[int(item)] for item in self.item]
        return [
            f"{names[int(item)]}#{origin_text(window)}"
            for item, window in zip(self.item, self.window.tolist(), strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Tiles:
    """Where samples were cut.

    Attributes
    ----------
    place
        (n, 3 or 4): which image, and the tile's origin in it.
    names
        Of the images.
    sizes
        (M, 2 or 3) their sizes.
    """

    place: Numbers
    names: Sequence[str]
    sizes: Numbers

    def part(self, rows: Numbers) -> Tiles:
        """Take some of the samples, and only the images that they were cut from."""
        used, source = np.unique(self.place[rows, 0], return_inverse=True)
        place = np.column_stack([source, self.place[rows, 1:]])
        return Tiles(place, [self.names[image] for image in map(int, used)], self.sizes[used])


def mixed(rows: Rows, *, block: int, seed: int) -> Rows:
    """Shuffle rows among their neighbours: those of each block, and of the rest, for themselves.

    Where tiles of one image are neighbours, they are scattered, but stay in one block or two: to
    write a block, each image is decoded once. Rows of full blocks do not depend on how many follow.

    Parameters
    ----------
    rows
        In any order.
    block
        Rows that are shuffled together, at least 1.
    seed
        Non-negative.
    """
    # Not epoch 0: by that, the images were put in order.
    order = permutation(len(rows), seed=seed, epoch=1)
    return rows.part(order[np.argsort(order // block, kind="stable")])


def without(rows: Rows, failed: Collection[int], *, ordered: bool) -> Rows:
    """Leave samples out, moving as few of the others as can be.

    Parameters
    ----------
    rows
        As they were planned.
    failed
        Samples of the source that cannot be packed.
    ordered
        Keep the order: what follows a gap moves up. Else the last rows fill the gaps, so that only
        the shards that had gaps, and the last ones, hold other samples than before.

    Returns
    -------
    Rows
        They depend on what failed alone, not on when it was found.
    """
    bad = np.isin(rows.item, np.fromiter(failed, np.int64, len(failed)))
    if ordered or not bad.any():
        return rows.part(np.flatnonzero(~bad)) if bad.any() else rows
    left = int((~bad).sum())
    order = np.arange(left)
    order[bad[:left]] = left + np.flatnonzero(~bad[left:])
    return rows.part(order)
