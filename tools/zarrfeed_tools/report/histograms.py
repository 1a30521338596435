"""How often do values, such as the sizes of cases, lie between edges? Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_BINS = 20
_LARGEST = 1e300  # differences of larger numbers overflow


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often values lie between edges.

    Attributes
    ----------
    edges
        b + 1 edges of b bins in ascending order; a value at an edge belongs to the bin above it,
        the last edge to the last bin.
    counts
        b numbers of values.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CaseSpread:
    """How sizes and spacings of the cases of a split are distributed.

    Their ranges and medians are in :class:`zarrfeed_tools.inspection.CaseFacts`.

    Attributes
    ----------
    sizes
        One histogram for each axis, (h, w) or (d, h, w), in pixels.
    spacings
        The same of spacings, without those that are unknown; None if all are.
    """

    sizes: tuple[Histogram, ...]
    spacings: tuple[Histogram, ...] | None


def histogram_of(values: NDArray[Any]) -> Histogram:
    """Count values in bins of equal width, at most 20, and no more than there are distinct values.

    Parameters
    ----------
    values
        (n,) numbers. Those that are not finite are left out.

    Examples
    --------
    >>> histogram_of(np.array([3, 4, 4, 5]))
    Histogram(edges=(3.0, 3.6666666666666665, 4.333333333333333, 5.0), counts=(1, 2, 1))
    >>> histogram_of(np.array([7.0, 7.0]))
    Histogram(edges=(7.0, 7.0), counts=(2,))
    """
    values = values.astype(np.float64)
    values = values[np.abs(values) < _LARGEST]
    if not len(values):
        return Histogram((), ())
    bins = min(_MOST_BINS, len(np.unique(values)))
    edges = np.linspace(values.min(), values.max(), bins + 1)
    places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, bins - 1)
    counts = np.bincount(places, minlength=bins)
    return Histogram(tuple(edges.tolist()), tuple(counts.tolist()))
