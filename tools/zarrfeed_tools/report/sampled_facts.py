"""What was seen of some samples, as objects that fit JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from zarrfeed_tools.report.distributions import PERCENTILES
from zarrfeed_tools.report.facts import finite

if TYPE_CHECKING:
    from zarrfeed_tools.report.choice import Place
    from zarrfeed_tools.report.sampled import Sampled


def sampled_facts(sampled: Sampled) -> dict[str, Any]:
    """Return what was seen of some samples, which a report has under ``sampled``.

    Parameters
    ----------
    sampled
        What was seen.

    Returns
    -------
    dict
        - ``samples``: how many were looked at.
        - ``intensities``: for each ``channel`` and ``split``, how many ``samples`` gave pixels, the
          0.5th, 50th and 99.5th of their ``percentiles``, and the ``shares`` of their pixels in
          bins of equal width over ``range``.
        - ``differences``: two ``splits`` whose intensities differ in a ``channel``, with their
          ``medians``, and the ``distance`` of their distributions, 0 … 1.
        - ``islands``: samples whose masks have tiny islands, and how many of each class, by id;
          null if SciPy, which finds them, is not installed.
        - ``relabelled``: images that several samples have with different masks, one sample for each
          mask.
        - ``unreadable``: samples that cannot be read, and why; ``unread``: splits.

        A sample is an object of ``split``, ``number`` and ``key``.
    """
    seen = sampled.intensities
    found = {
        "samples": len(sampled.views),
        "intensities": [
            {
                "split": each.split,
                "channel": each.channel,
                "samples": each.samples,
                "percentiles": dict(zip(map(str, PERCENTILES), each.percentiles, strict=True)),
                "range": seen.ranges[each.channel],
                "shares": each.shares.tolist(),
            }
            for each in seen.distributions
        ],
        "differences": [asdict(each) for each in seen.differences],
        "islands": None,
        "relabelled": [
            {"samples": [_unit(sampled, place) for place in each.places], "count": each.count}
            for each in sampled.relabelled
        ],
        "unreadable": [
            _unit(sampled, place) | {"why": sampled.views[place].error}
            for place in sampled.unreadable
        ],
        "unread": dict(sampled.unread),
    }
    if sampled.islands_searched:
        found["islands"] = [
            _unit(sampled, place) | {"classes": {str(number): n for number, n in islands.items()}}
            for place, islands in sampled.with_islands
        ]
    plain: dict[str, Any] = finite(found)
    return plain


def _unit(sampled: Sampled, place: Place) -> dict[str, Any]:
    return {"split": place.split, "number": place.number, "key": sampled.views[place].key}
