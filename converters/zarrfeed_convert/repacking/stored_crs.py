"""Which coordinate reference system has each of the cases that are repacked?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed_convert.shards.cases import crs_recorded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.repacking.stored import StoredSplit
    from zarrfeed_convert.shards.rows import Numbers
    from zarrfeed_convert.source import JSON


def crs_of(splits: Sequence[StoredSplit], chosen: Numbers) -> JSON:
    """Return the entry of a split's attributes that records the systems of its cases.

    Parameters
    ----------
    splits
        The input splits.
    chosen
        Indices of the chosen cases, counted through all inputs, in the new order.
    """
    found = [wkt for stored in splits for wkt in _of_split(stored)]
    return crs_recorded([found[case] for case in chosen.tolist()])


def _of_split(stored: StoredSplit) -> list[str]:
    """Return the system of each case of a split, empty where it is unknown or damaged."""
    cases = stored.recorded.cases
    count = stored.recorded.samples if cases is None else len(cases.keys)
    said = stored.split.attributes.get("crs")
    if not isinstance(said, dict):
        return [""] * count
    wkt, number = said.get("wkt"), said.get("case", [0] * count)
    if (
        not isinstance(wkt, list)
        or not all(isinstance(text, str) for text in wkt)
        or not isinstance(number, list)
        or len(number) != count
        or not all(isinstance(one, int) and -1 <= one < len(wkt) for one in number)
    ):
        return [""] * count
    return [wkt[one] if one >= 0 else "" for one in number]
