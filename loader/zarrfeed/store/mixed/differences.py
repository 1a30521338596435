"""In what do stores differ that are to be mixed? The table that the error shows. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed.errors import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_GAP = "  "


def differing(facts: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """Return the facts that are not the same for all stores.

    Parameters
    ----------
    facts
        What each store has, by what it is.

    Examples
    --------
    >>> differing({"image": ["uint8 (8, 8)", "uint8 (8, 8)"], "mask": ["uint8 (8, 8)", "none"]})
    {'mask': ['uint8 (8, 8)', 'none']}
    """
    return {name: values for name, values in facts.items() if len(set(values)) > 1}


def table_of(names: Sequence[str], facts: Mapping[str, Sequence[str]]) -> str:
    """Return a table: a line for each store, a column for each fact.

    Examples
    --------
    >>> print(table_of(["a", "bb"], {"image": ["uint8", "int16"]}))
        image
    a   uint8
    bb  int16
    """
    rows = [
        ["", *facts],
        *([name, *(v[k] for v in facts.values())] for k, name in enumerate(names)),
    ]
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )
