"""Which images have several masks? Compared by all their pixels. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zarrfeed_tools.report.choice import Place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zarrfeed_tools.report.facts import Grouping
    from zarrfeed_tools.report.sample_view import View


@dataclass(frozen=True, slots=True)
class Relabelled:
    """Samples of one image with different masks.

    Attributes
    ----------
    places
        One sample for each of the masks.
    count
        Number of samples of the image that were looked at.
    """

    places: tuple[Place, ...]
    count: int


def relabelled_in(views: Mapping[Place, View]) -> list[Relabelled]:
    """Return the images that have several masks, among samples that were looked at.

    Parameters
    ----------
    views
        What was seen. Cases of which only a part was read are left out.
    """
    by_image: dict[bytes, list[Place]] = {}
    for place, view in views.items():
        if view.image_hash and view.mask_hash:
            by_image.setdefault(view.image_hash, []).append(place)
    found = []
    for places in by_image.values():
        first = {views[place].mask_hash: place for place in reversed(places)}
        if len(first) > 1:
            found.append(Relabelled(tuple(sorted(first.values())), len(places)))
    return found


def unconfirmed(candidates: Grouping | None, views: Mapping[Place, View]) -> int:
    """Count the groups of probably the same image whose pixels were not compared.

    Parameters
    ----------
    candidates
        Groups of samples with equal sums of pixels.
    views
        What was seen of the samples.
    """
    if candidates is None:
        return 0
    compared = 0
    for group in candidates.groups:
        seen = [views.get(Place(unit.split, unit.number)) for unit in group.units[:2]]
        compared += all(view is not None and view.image_hash for view in seen)
    return candidates.count - compared
