"""What do the splits to repack record about their samples, or about their cases?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from zarrfeed.errors import SourceError, look_up
from zarrfeed.store.names import decode_names
from zarrfeed.store.schema import (
    CHANNEL_SUMS,
    CLASS_PIXELS,
    DHASH,
    DIGEST,
    TILE,
    TILE_SIZE,
    TILE_SOURCE,
)
from zarrfeed_convert.shards.cases import Cases
from zarrfeed_convert.shards.rows import Tiles
from zarrfeed_convert.source import image_names
from zarrfeed_convert.verification.consistency import tile_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.geometry import Size
    from zarrfeed_convert.repacking.stored import StoredSplit
    from zarrfeed_convert.shards.rows import Numbers


@dataclass(frozen=True, slots=True)
class Facts:
    """What is recorded about n rows, samples or tiles of cases, in the same order.

    Attributes
    ----------
    keys
        Names of the samples or of the cases, without repetitions.
    size
        Size of the samples or of the tiles; empty if those of several splits differ.
    digest
        (n,) uint64.
    class_pixels
        (n, K) int64 pixels of each class.
    channel_sums
        (n, C, 3) float64; zeros for stores of an older zarrfeed, which do not have them.
    dhash
        (n,) uint64; None for stores of an older zarrfeed, which do not have them.
    tiles
        From where overlapping tiles were cut; None for other samples.
    cases
        The cases whose tiles the rows are; None for samples.
    """

    keys: Sequence[str]
    size: Size
    digest: NDArray[np.uint64]
    class_pixels: Numbers
    channel_sums: NDArray[np.float64]
    dhash: NDArray[np.uint64] | None
    tiles: Tiles | None
    cases: Cases | None = None

    def __len__(self) -> int:
        """Return the number of samples or cases."""
        return len(self.keys)

    @property
    def of_what(self) -> str:
        """What can be chosen: samples or cases."""
        return "samples" if self.cases is None else "cases"

    def rows_of(self, chosen: Numbers) -> Numbers:
        """Return the rows of some samples or cases, by index; the tiles of a case in order."""
        if self.cases is None:
            return chosen
        first = self.cases.first_tile
        counts = np.diff(first, append=len(self.digest))[chosen]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        rows: Numbers = np.repeat(first[chosen], counts) + within
        return rows

    def part(self, chosen: Numbers) -> Facts:
        """Return the part for some of the samples or cases, by index. All must have one size."""
        rows = self.rows_of(chosen)
        return Facts(
            [self.keys[number] for number in map(int, chosen)],
            self.size,
            self.digest[rows],
            self.class_pixels[rows],
            self.channel_sums[rows],
            None if self.dhash is None else self.dhash[rows],
            None if self.tiles is None else self.tiles.part(rows),
            None if self.cases is None else self.cases.part(chosen, self.size),
        )

    def as_cases(self) -> Facts:
        """Return the facts of samples that are whole images or volumes as those of cases."""
        if self.cases is not None:
            return self
        count = len(self.keys)
        sizes = np.tile(np.array(self.size, np.int64), (count, 1))
        return replace(self, cases=Cases(self.keys, sizes, np.arange(count), None))

    def fingerprint(self) -> str:
        """Return a digest of the names and contents of the samples or cases, in this order."""
        digest = xxhash.xxh3_128("\0".join(self.keys).encode(errors="surrogateescape"))
        digest.update(np.ascontiguousarray(self.digest, "<u8").tobytes())
        if self.cases is not None:
            digest.update(np.ascontiguousarray(self.cases.sizes, "<i8").tobytes())
            if self.cases.affines is not None:
                digest.update(np.ascontiguousarray(self.cases.affines, "<f8").tobytes())
        return digest.hexdigest()


def facts_of(stored: StoredSplit) -> Facts:
    """Return what a split records about its samples or cases, with prefixed names."""
    arrays, count = stored.recorded.arrays, stored.recorded.samples
    layouts = stored.split.layouts
    channels = sum(layouts[name].sample_shape[-1] for name in image_names(stored.fields))
    tiles = None
    if TILE in arrays:
        names = [stored.prefix + name for name in decode_names(arrays[TILE_SOURCE])]
        tiles = Tiles(arrays[TILE].astype(np.int64), names, arrays[TILE_SIZE].astype(np.int64))
    sums = np.zeros((count, channels, 3))
    if CHANNEL_SUMS in arrays:
        found = arrays[CHANNEL_SUMS]
        # Older stores included values that are not finite in their sums.
        whole = np.isfinite(found).all(axis=(1, 2))
        sums[whole, :, : found.shape[2]] = found[whole]
    cases = stored.recorded.cases
    keys = stored.recorded.keys if cases is None else cases.keys
    keys = [stored.prefix + key for key in keys]
    return Facts(
        keys,
        tile_of(stored.split),
        arrays[DIGEST],
        # No column if there are no masks.
        arrays.get(CLASS_PIXELS, np.zeros((count, 0))).astype(np.int64),
        sums,
        arrays.get(DHASH),
        tiles,
        None if cases is None else replace(cases, keys=keys),
    )


def joined(splits: Sequence[StoredSplit], facts: Sequence[Facts]) -> Facts:
    """Concatenate what several splits record about their samples or cases.

    Parameters
    ----------
    splits, facts
        The splits, and what each of them records.

    Raises
    ------
    SourceError
        Two splits have a sample or case of the same name, or tiles of different images of the same
        name.
    """
    if len(facts) == 1:
        return facts[0]
    _require_disjoint(splits, facts)
    tiles = [part.tiles for part in facts if part.tiles is not None]
    keys = [key for part in facts for key in part.keys]
    hashes = [part.dhash for part in facts if part.dhash is not None]
    return Facts(
        keys,
        facts[0].size if len({part.size for part in facts}) == 1 else (),
        np.concatenate([part.digest for part in facts]),
        np.concatenate([part.class_pixels for part in facts]),
        np.concatenate([part.channel_sums for part in facts]),
        np.concatenate(hashes) if len(hashes) == len(facts) else None,
        _joined_tiles(tiles) if tiles else None,
        _joined_cases(keys, facts),
    )


def _require_disjoint(splits: Sequence[StoredSplit], facts: Sequence[Facts]) -> None:
    first: dict[str, StoredSplit] = {}
    for stored, part in zip(splits, facts, strict=True):
        twice = [key for key in part.keys if key in first]
        if twice:
            more = f" and {len(twice) - 1} more" if len(twice) > 1 else ""
            raise SourceError(
                f"{stored.name}: needed names of {part.of_what} that no other split has, found "
                f"{twice[0]!r}{more}, which {first[twice[0]].name} has, too; leave them out with "
                "--keys, or distinguish the splits with --prefix-keys"
                f"{look_up('same-name')}"
            )
        first.update(dict.fromkeys(part.keys, stored))


def _joined_cases(keys: Sequence[str], facts: Sequence[Facts]) -> Cases | None:
    """Concatenate cases; the affines of those that have none are NaN."""
    parts = [part.cases for part in facts if part.cases is not None]
    if not parts:
        return None
    axes = parts[0].sizes.shape[1] + 1
    starts = np.cumsum([0, *(len(part.digest) for part in facts)])
    affines = [
        np.full((len(part.keys), axes, axes), np.nan) if part.affines is None else part.affines
        for part in parts
    ]
    return Cases(
        keys,
        np.concatenate([part.sizes for part in parts]),
        np.concatenate(
            [start + part.first_tile for start, part in zip(starts.tolist(), parts, strict=False)]
        ),
        None if all(part.affines is None for part in parts) else np.concatenate(affines),
    )


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
