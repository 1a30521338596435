"""What do the splits to repack record about their samples?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from zarrfeed.errors import SourceError
from zarrfeed.store.schema import (
    CHANNEL_SUMS,
    CLASS_PIXELS,
    DIGEST,
    TILE,
    TILE_SIZE,
    TILE_SOURCE,
)
from zarrfeed_convert.shards.rows import Tiles
from zarrfeed_convert.source import image_names
from zarrfeed_convert.verification.recorded import texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.repacking.stored import StoredSplit
    from zarrfeed_convert.shards.rows import Numbers


@dataclass(frozen=True, slots=True)
class Facts:
    """What is recorded about n samples, in the same order.

    Attributes
    ----------
    keys
        Names of the samples, without repetitions.
    digest
        (n,) uint64.
    class_pixels
        (n, K) int64 pixels of each class.
    channel_sums
        (n, C, 3) float64; zeros for stores of an older zarrfeed, which do not have them.
    tiles
        From where tiles were cut; None for whole images.
    """

    keys: Sequence[str]
    digest: NDArray[np.uint64]
    class_pixels: Numbers
    channel_sums: NDArray[np.float64]
    tiles: Tiles | None

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.keys)

    def part(self, rows: Numbers) -> Facts:
        """Return the part for some of the samples, by index."""
        return Facts(
            [self.keys[row] for row in map(int, rows)],
            self.digest[rows],
            self.class_pixels[rows],
            self.channel_sums[rows],
            None if self.tiles is None else self.tiles.part(rows),
        )

    def fingerprint(self) -> str:
        """Return a digest of the names and contents of the samples, in this order."""
        digest = xxhash.xxh3_128("\0".join(self.keys).encode(errors="surrogateescape"))
        digest.update(np.ascontiguousarray(self.digest, "<u8").tobytes())
        return digest.hexdigest()


def facts_of(stored: StoredSplit) -> Facts:
    """Return what a split records about its samples, with prefixed names."""
    arrays, count = stored.recorded.arrays, stored.recorded.samples
    layouts = stored.split.layouts
    channels = sum(layouts[name].sample_shape[-1] for name in image_names(stored.fields))
    tiles = None
    if TILE in arrays:
        names = [stored.prefix + name for name in texts(arrays[TILE_SOURCE])]
        tiles = Tiles(arrays[TILE].astype(np.int64), names, arrays[TILE_SIZE].astype(np.int64))
    sums = np.zeros((count, channels, 3))
    if CHANNEL_SUMS in arrays:
        found = arrays[CHANNEL_SUMS]
        # Older stores included values that are not finite in their sums.
        whole = np.isfinite(found).all(axis=(1, 2))
        sums[whole, :, : found.shape[2]] = found[whole]
    return Facts(
        [stored.prefix + key for key in stored.recorded.keys],
        arrays[DIGEST],
        # No column if there are no masks.
        arrays.get(CLASS_PIXELS, np.zeros((count, 0))).astype(np.int64),
        sums,
        tiles,
    )


def joined(splits: Sequence[StoredSplit], facts: Sequence[Facts]) -> Facts:
    """Concatenate what several splits record about their samples.

    Parameters
    ----------
    splits, facts
        The splits, and what each of them records.

    Raises
    ------
    SourceError
        Two splits have a sample of the same name, or tiles of different images of the same name.
    """
    if len(facts) == 1:
        return facts[0]
    _require_disjoint(splits, facts)
    tiles = [part.tiles for part in facts if part.tiles is not None]
    return Facts(
        [key for part in facts for key in part.keys],
        np.concatenate([part.digest for part in facts]),
        np.concatenate([part.class_pixels for part in facts]),
        np.concatenate([part.channel_sums for part in facts]),
        _joined_tiles(tiles) if tiles else None,
    )


def _require_disjoint(splits: Sequence[StoredSplit], facts: Sequence[Facts]) -> None:
    first: dict[str, StoredSplit] = {}
    for stored, part in zip(splits, facts, strict=True):
        twice = [key for key in part.keys if key in first]
        if twice:
            more = f" and {len(twice) - 1} more" if len(twice) > 1 else ""
            raise SourceError(
                f"{stored.name}: needed names of samples that no other split has, found "
                f"{twice[0]!r}{more}, which {first[twice[0]].name} has, too; leave them out with "
                "--keys, or distinguish the splits with --prefix-keys"
            )
        first.update(dict.fromkeys(part.keys, stored))


def _joined_tiles(parts: Sequence[Tiles]) -> Tiles:
    """Concatenate tiles. Images of the same name in several splits are the same image."""
    number: dict[str, int] = {}
    sizes: list[list[int]] = []
    places = []
    for part in parts:
        new = np.empty(len(part.names), np.int64)
        for old, (name, size) in enumerate(zip(part.names, part.sizes.tolist(), strict=True)):
            if number.setdefault(name, len(sizes)) == len(sizes):
                sizes.append(size)
            if sizes[number[name]] != size:
                raise SourceError(
                    f"{name}: needed tiles of the same image, found tiles of images of "
                    f"{_text(sizes[number[name]])} and {_text(size)}; distinguish the splits with "
                    "--prefix-keys"
                )
            new[old] = number[name]
        places.append(np.column_stack([new[part.place[:, 0]], part.place[:, 1:]]))
    return Tiles(np.concatenate(places), list(number), np.array(sizes, np.int64))


def _text(size: list[int]) -> str:
    return "x".join(map(str, size))
