"""Do the arrays that describe the cases of a split agree with its tiles, and with each other?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.store.schema import CASE_AFFINE, CASE_FIRST_TILE, CASE_SIZE, CASE_SPACING
from zarrfeed.store.tile_arrays import count_tiles, first_tiles
from zarrfeed_convert.affines import spacings_of
from zarrfeed_convert.verification.consistency import TODO, about, tile_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from zarrfeed import Split
    from zarrfeed_convert.shards.cases import Cases
    from zarrfeed_convert.verification.findings import Problem

_PRECISION = 1e-9


def check_cases(split: Split, cases: Cases, rows: int) -> Iterator[Problem]:
    """Check that the tiles of the cases are the rows of the split.

    Parameters
    ----------
    split
        The split.
    cases
        The M cases.
    rows
        Number of rows of the split.
    """
    count, tile = len(cases.keys), tile_of(split)
    if cases.sizes.shape != (count, len(tile)) or len(cases.first_tile) != count:
        what = f"needed {count} sizes along {len(tile)} axes, found {cases.sizes.shape}; {TODO}"
        yield about(split, "tiles", what, CASE_SIZE)
        return
    try:
        counts = count_tiles(cases.sizes, tile)
    except ValueError as error:
        yield about(split, "tiles", f"{error}; {TODO}", CASE_SIZE)
        return
    wrong = np.flatnonzero(cases.first_tile != first_tiles(counts))
    for case in wrong[:1].tolist():
        what = (
            f"needed the first tile of {cases.keys[case]!r} after those of the cases before it, "
            f"found {cases.first_tile[case]}; {TODO}"
        )
        yield about(split, "tiles", what, CASE_FIRST_TILE)
    if int(counts.sum()) != rows:
        what = f"needed cases of {rows} tiles, found {int(counts.sum())}; {TODO}"
        yield about(split, "tiles", what, CASE_SIZE)
        return
    padded = rows * math.prod(tile) - cases.pixels
    said = split.attributes["packed"].get("coverage", {}).get("padded", padded)
    if said != padded:
        what = f"needed sizes that leave {said} padded pixels in tiles, found {padded}; {TODO}"
        yield about(split, "tiles", what, CASE_SIZE)


def check_affines(
    split: Split, cases: Cases, spacings: NDArray[np.float64] | None
) -> Iterator[Problem]:
    """Check that the spacings of the cases are the lengths of the columns of their affines.

    Parameters
    ----------
    split
        The split.
    cases
        The M cases.
    spacings
        (M, 2 or 3) spacings; None if they are not recorded.
    """
    affines, count, axes = cases.affines, len(cases.keys), len(tile_of(split))
    if (affines is None) != (spacings is None):
        what = f"needed {CASE_AFFINE} and {CASE_SPACING} together, found one of them; {TODO}"
        yield about(split, "metadata", what)
    if affines is None or spacings is None:
        return
    for name, values, shape in (
        (CASE_AFFINE, affines, (count, axes + 1, axes + 1)),
        (CASE_SPACING, spacings, (count, axes)),
    ):
        if values.shape != shape:
            what = f"needed the shape {shape}, found {values.shape}; {TODO}"
            yield about(split, "metadata", what, name)
            return
    with np.errstate(over="ignore", invalid="ignore"):
        needed = spacings_of(affines)
    if not np.allclose(spacings, needed, rtol=_PRECISION, atol=0, equal_nan=True):
        what = f"needed the lengths of the columns of {CASE_AFFINE}, found others; {TODO}"
        yield about(split, "metadata", what, CASE_SPACING)
