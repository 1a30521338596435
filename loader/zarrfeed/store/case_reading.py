"""What do the descriptive arrays of a split of cases say, and do they agree?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import StoreError
from zarrfeed.machine_memory import require_memory
from zarrfeed.store.case_table import CaseTable
from zarrfeed.store.names import decode_names
from zarrfeed.store.reader import SplitReader, read_samples
from zarrfeed.store.schema import CASE_FIRST_TILE, CASE_KEY, CASE_SIZE
from zarrfeed.store.tile_arrays import count_tiles, first_tiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed.arrays import Ids
    from zarrfeed.store.split import Split

_BLOCK = 1 << 16  # cases that are read and checked at a time

_TABLE = "case table"  # key in `Split.computed`


def read_case_table(split: Split) -> CaseTable:
    """Read the sizes and the first tiles of the cases of a split, and check them, once.

    Parameters
    ----------
    split
        An opened split.

    Raises
    ------
    StoreError
        It is not a split of cases, an array is missing or damaged, or the arrays contradict each
        other.
    """
    table = split.computed.get(_TABLE)
    if table is None:
        table = split.computed[_TABLE] = _read_case_table(split)
    return table


def _read_case_table(split: Split) -> CaseTable:
    tile = split.tile_size
    if tile is None:
        raise StoreError(
            f"{split.address}: needed a split of cases, found one of samples: read it by "
            "SplitReader or ZarrSequence, or convert its source with --tile"
        )
    described = {name: split.describing(name) for name in (CASE_KEY, CASE_SIZE, CASE_FIRST_TILE)}
    lengths = {name: layout.shape[0] if layout else None for name, layout in described.items()}
    tiles = split.tiles
    cases = lengths[CASE_SIZE]
    if cases is None or len(set(lengths.values())) > 1 or not 0 < cases <= tiles:
        found = ", ".join(
            f"{name} {'missing or damaged' if length is None else f'of {length:,}'}"
            for name, length in lengths.items()
        )
        raise StoreError(
            f"{split.address}: needed keys, sizes and first tiles of as many cases, at most one "
            f"for each of {tiles:,} tiles, found {found}: restore them, or convert again"
        )
    require_memory(split.path, cases * 8 * (len(tile) + 1), f"the sizes of {cases:,} cases")
    sizes = np.empty((cases, len(tile)), np.int64)
    first_tile = np.empty(cases, np.int64)
    end = 0
    with SplitReader(split, [CASE_SIZE, CASE_FIRST_TILE]) as reader:
        # Block by block, so that a wrong claim is found before it takes memory.
        for start in range(0, cases, _BLOCK):
            here = slice(start, min(start + _BLOCK, cases))
            read = reader.read(range(here.start, here.stop))
            sizes[here], first_tile[here] = read[CASE_SIZE], read[CASE_FIRST_TILE]
            end = _checked(split, sizes[here], first_tile[here], tile, start, end)
    if end != tiles:
        raise StoreError(
            f"{split.address}/{CASE_SIZE}: needed cases of {tiles:,} tiles together, found "
            f"{end:,}: restore it, or convert again"
        )
    return CaseTable(tile, sizes, first_tile)


def _checked(
    split: Split,
    sizes: NDArray[np.int64],
    first_tile: NDArray[np.int64],
    tile: tuple[int, ...],
    case: int,
    end: int,
) -> int:
    """Check some cases, of which `case` is the first, whose tiles begin at row `end`."""
    try:
        counts = count_tiles(sizes, tile)
    except ValueError as error:
        raise StoreError(
            f"{split.address}/{CASE_SIZE}: {error} (counted from {case}): restore it, or convert "
            "again"
        ) from error
    needed = first_tiles(counts, end)
    ends = needed + counts
    wrong = np.flatnonzero(first_tile != needed)
    if wrong.size:
        at = int(wrong[0])
        raise StoreError(
            f"{split.address}/{CASE_FIRST_TILE}: needed {needed[at]} for case {case + at}, "
            f"the number of tiles before it, found {first_tile[at]}: restore it, or convert again"
        )
    if ends[-1] > split.tiles:
        raise StoreError(
            f"{split.address}/{CASE_SIZE}: needed cases of {split.tiles:,} tiles together, found "
            f"{ends[-1]:,} up to case {case + len(sizes) - 1}: restore it, or convert again"
        )
    return int(ends[-1])


def read_case_keys(split: Split, cases: Ids) -> list[str]:
    """Read the keys of some cases.

    Parameters
    ----------
    split
        A split of cases whose table has been read.
    cases
        (n,) int64 numbers of cases, or a ``range``.
    """
    return decode_names(read_samples(split, CASE_KEY, cases))
