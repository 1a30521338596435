"""What describes the samples or cases of all stores: names, counts, sums, sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.store.mixed.mixed_names import MixedNames
from zarrfeed.store.mixed.mixed_table import MixedTable, TablePart, starts
from zarrfeed.store.schema import (
    CASE_FIRST_TILE,
    CASE_KEY,
    CASE_SIZE,
    CHANNEL_SUMS,
    CLASS_PIXELS,
    KEY,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed.store.split import Split


def described_rows(
    views: Sequence[Split],
    labels: tuple[str, ...],
    rows: Sequence[int],
    cases: Sequence[int] | None,
) -> dict[str, Any]:
    """Return what describes the samples or cases of all stores, as far as all have it.

    Parameters
    ----------
    views, labels
        The stores with the common classes, and what each is called.
    rows, cases
        Number of rows and of cases of each; `cases` is None for samples.
    """
    found: dict[str, Any] = {}
    named = views if cases is None else [view for view in views if view.describing(CASE_KEY)]
    if cases is None or len(named) == len(views):
        named_rows = tuple(rows if cases is None else cases)
        name = KEY if cases is None else CASE_KEY
        found[name] = MixedNames(tuple(views), labels, named_rows, cases is not None)
    wanted: list[tuple[str, Any, Sequence[int]]] = [
        (CLASS_PIXELS, np.int64, rows),
        (CHANNEL_SUMS, np.float64, rows),
    ]
    if cases is not None:
        wanted += [(CASE_SIZE, np.int64, cases), (CASE_FIRST_TILE, np.int64, cases)]
    for name, dtype, counts in wanted:
        layouts = [view.describing(name) for view in views]
        if not all(layouts):
            continue
        stored = [layout for layout in layouts if layout is not None]
        if any(each.shape[0] != count for each, count in zip(stored, counts, strict=True)):
            continue
        added = starts(rows if name == CASE_FIRST_TILE else [0] * len(views))
        extents = tuple(np.max([each.sample_shape for each in stored], axis=0).astype(int).tolist())
        parts = tuple(
            TablePart(view, name, each, None, more)
            for view, each, more in zip(views, stored, added, strict=True)
        )
        found[name] = MixedTable(parts, starts(counts), extents, np.dtype(dtype))
    return found
