"""Of which image and which class is a mask file, by its name? Pure functions of names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

LAYOUTS = ("folders", "suffixes", "files")
_SEPARATOR = re.compile(r"[_\-. ]+")


class Place(NamedTuple):
    """The image and the class of a mask file."""

    image: str
    label: str


def places_of(
    images: Collection[str], masks: Mapping[str, str], layout: str = "auto"
) -> dict[str, Place]:
    """Find the image and the class of every mask file that has them.

    Parameters
    ----------
    images
        Names of images.
    masks
        Path → path below the folder of masks, without extension.
    layout
        ``folders`` for ``car/img1``, ``suffixes`` for ``img1_car``, ``files`` for ``img1/car``;
        ``auto`` finds out.

    Returns
    -------
    dict
        Path → place.

    Raises
    ------
    SourceError
        No layout fits, or several do.

    Examples
    --------
    >>> places_of(["img1"], {"m/img1_left_lung.png": "img1_left_lung"})
    {'m/img1_left_lung.png': Place(image='img1', label='left_lung')}
    """
    known = frozenset(images)
    names = LAYOUTS if layout == "auto" else (layout,)
    found = {name: _places(_RULES[name], known, masks) for name in names}
    most = max(len(places) for places in found.values())
    best = [name for name in names if len(found[name]) == most]
    if 2 * most < min(len(masks), len(known)) or not most:
        raise SourceError(
            f"masks: needed a file for each class, named like CLASS/IMAGE.png, IMAGE_CLASS.png or "
            f"IMAGE/CLASS.png, found {few(sorted(masks.values()))}, and images like "
            f"{few(sorted(known))}; rename them, or check --images and --masks"
        )
    if len(best) > 1:
        read = " or ".join(
            f"{name}: {found[name][first].label!r}" for name in best for first in [min(found[name])]
        )
        raise SourceError(
            f"masks: needed names that say the class in one way, found several ({read}, …); choose "
            f"one by -o layout={best[0]}"
        )
    return found[best[0]]


def _places(
    rule: Callable[[str, frozenset[str]], Place | None],
    images: frozenset[str],
    masks: Mapping[str, str],
) -> dict[str, Place]:
    placed = ((path, rule(stem, images)) for path, stem in masks.items())
    return {path: place for path, place in placed if place is not None}


def _of_folder(stem: str, images: frozenset[str]) -> Place | None:
    label, _, image = stem.partition("/")
    return Place(image, label) if image in images else None


def _of_file(stem: str, images: frozenset[str]) -> Place | None:
    image, _, label = stem.rpartition("/")
    return Place(image, label) if image in images else None


def _of_suffix(stem: str, images: frozenset[str]) -> Place | None:
    folder = stem.rfind("/") + 1
    for cut in reversed([*_SEPARATOR.finditer(stem, folder)]):
        image, label = stem[: cut.start()], stem[cut.end() :]
        if image in images and label:
            return Place(image, label)
    return None


_RULES = {"folders": _of_folder, "suffixes": _of_suffix, "files": _of_file}
