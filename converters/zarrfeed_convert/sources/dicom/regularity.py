"""Are slices a regular stack, and if not, what is wrong with them?

Pure. Each check takes the slices that are left, and returns those of the nearest volume and what it
found. Positions are compared along the normal of the slices:

    position     0    2.5    5    5    10        two slices at 5 mm, none at 7.5 mm
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from zarrfeed.spelling import few
from zarrfeed_convert.affines import APART
from zarrfeed_convert.sources.dicom.slices import in_order, normal_of, same_grid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.sources.dicom.slices import Plane, Slice

_EVEN = 0.1  # of the distance of slices: how far one may be from its place in a regular stack
_SAME = 0.01  # of a pixel: closer slices are at the same position, however thin slices are
_FARTHEST = 1e9  # mm
_MOST_MISSING = 1000  # in one place
_MOST_KINDS = 16  # that slices of one series are compared with; further ones are in no group


@dataclass(frozen=True, slots=True)
class Irregular:
    """Why slices are no regular stack, and what becomes of them if they are packed anyway.

    Attributes
    ----------
    subject
        What it is about.
    needed, found, advice
        The parts of an error.
    outcome
        What becomes of the slices.
    """

    subject: str
    needed: str
    found: str
    advice: str
    outcome: str


Looked: TypeAlias = "tuple[Sequence[Slice], Irregular | None]"


def _localizers(slices: Sequence[Slice]) -> Looked:
    scouts = [one for one in slices if one.localizer]
    if not scouts:
        return slices, None
    alone = len(scouts) == len(slices)
    return slices if alone else [one for one in slices if not one.localizer], Irregular(
        "localizers",
        "slices of a volume",
        f"{len(scouts)} of {len(slices)} images to be localizers (scouts), such as "
        f"{scouts[0].name}",
        "take them out",
        "they are stacked all the same" if alone else "they are left out",
    )


def _unplaced(slices: Sequence[Slice]) -> Looked:
    unknown = [one for one in slices if not is_placed(one)]
    if not unknown:
        return slices, None
    alone = len(unknown) == len(slices)
    return slices if alone else [one for one in slices if is_placed(one)], Irregular(
        "unknown position",
        "ImagePositionPatient, ImageOrientationPatient and PixelSpacing of every slice",
        f"not all of them in {len(unknown)} of {len(slices)}, such as {unknown[0].name}",
        "restore them, or take the files out",
        "slices are in the order of their numbers, and spacing is unknown"
        if alone
        else "those without are left out",
    )


def _unlike(slices: Sequence[Slice]) -> Looked:
    """Keep the most slices that can be stacked."""
    groups: list[list[Slice]] = []
    for one in slices:
        like = (group for group in groups if _difference(group[0], one) is None)
        group = next(like, None)
        if group is not None:
            group.append(one)
        elif len(groups) < _MOST_KINDS:
            groups.append([one])
    kept = max(groups, key=len)
    in_stack = in_order(kept)
    if len(groups) == 1:
        return in_stack, None
    other = next(group[0] for group in groups if group is not kept)
    what, values = _difference(kept[0], other) or ("", ("", ""))
    return in_stack, Irregular(
        "unlike slices",
        f"slices of one {what}",
        f"{values[0]} in {kept[0].name}, but {values[1]} in {other.name}",
        "split the series into one for each volume",
        f"of {len(slices)} slices, {len(kept)} like {kept[0].name} are kept",
    )


def _mixed(slices: Sequence[Slice]) -> Looked:
    first = slices[0]
    other = next((one for one in slices if _kind(one) != _kind(first)), None)
    if other is None:
        return slices, None
    return slices, Irregular(
        "unlike numbers",
        "numbers of one kind in every slice",
        f"{first.stored} in {first.name}, but {other.stored} in {other.name}",
        "convert them to one dtype, or split the series",
        "they become one dtype that holds all values",
    )


def _doubled(slices: Sequence[Slice]) -> Looked:
    """Keep the first slice at each position."""
    places = _positions(slices)
    least = _SAME * _pixel(slices[0])
    gaps = np.diff(places)
    steps = gaps[gaps > least]
    least = max(least, _EVEN * float(np.median(steps)) if len(steps) else 0.0)
    kept, pairs, at = [slices[0]], [], places[0]
    for one, place in zip(slices[1:], places[1:], strict=True):
        if place - at <= least:
            pairs.append((kept[-1], one))
        else:
            kept.append(one)
            at = place
    if not pairs:
        return slices, None
    one, other = pairs[0]
    return kept, Irregular(
        "slices at the same position",
        "one slice at each position",
        f"{one.name} and {other.name} at {_shown(origin_of(one))} ({len(pairs)} of "
        f"{len(slices)} slices)",
        "take one of each out; give each time, echo or kernel a series of its own",
        "the first at each position is kept",
    )


def _tilted(slices: Sequence[Slice]) -> Looked:
    first = slices[0]
    normal = normal_of(placed_plane(first))
    moved = np.array([origin_of(one) - origin_of(first) for one in slices])
    along = moved @ normal
    beside = np.linalg.norm(moved - np.outer(along, normal), axis=1)
    worst = int(beside.argmax())
    most = APART * _pixel(first)
    if beside[worst] <= most:
        return slices, None
    on_line = np.outer(along / (along[-1] or 1.0), moved[-1])
    bent = bool(np.linalg.norm(moved - on_line, axis=1).max() > most)
    angle = np.degrees(np.arctan2(beside[worst], along[worst]))
    return slices, Irregular(
        "tilted series",
        f"slices along their normal, within {_number(most)} mm (a tenth of a pixel)",
        f"{slices[worst].name} {_number(beside[worst])} mm beside the normal through "
        f"{first.name}, {'not on one line' if bent else f'a gantry tilt of {angle:.1f}°'}",
        "resample the series" if bent else "correct the tilt (as dcm2niix does)",
        "voxels are stacked as they are, and the affine is sheared",
    )


def _uneven(slices: Sequence[Slice]) -> Looked:
    places = _positions(slices)
    gaps = np.diff(places)
    if len(slices) < 3:
        return slices, None
    mean, step = float(gaps.mean()), float(np.median(gaps))
    apart = np.abs(places - places[0] - mean * np.arange(len(places)))
    if apart.max() <= _EVEN * mean:
        return slices, None
    at = int(np.abs(gaps - step).argmax())
    one, other = slices[at], slices[at + 1]
    missing = [place for each in range(len(gaps)) for place in _missing(slices, each, step)]
    said = f"; missing at {few(map(_shown, missing), shown=3, joint=', ')}" if missing else ""
    return slices, Irregular(
        "missing slices",
        f"slices at even distances, {_number(step)} mm within a tenth",
        f"{_number(gaps[at])} mm between {one.name} and {other.name}{said}",
        "restore missing slices, or resample the series",
        f"the distance is taken to be the mean, {_number(mean)} mm",
    )


def _missing(slices: Sequence[Slice], number: int, step: float) -> list[NDArray[np.float64]]:
    """Return the positions between two slices that lie a whole number of steps apart."""
    one, other = origin_of(slices[number]), origin_of(slices[number + 1])
    steps = float(np.linalg.norm(other - one)) / step
    whole = min(round(steps), _MOST_MISSING)
    if abs(steps - whole) > _EVEN * whole:
        return []
    return [one + (other - one) * place / whole for place in range(1, whole)]


def _difference(one: Slice, other: Slice) -> tuple[str, tuple[str, str]] | None:
    """Return in what two slices differ that must not, and the values of both."""
    if one.size != other.size:
        return "size", (f"{one.size[0]}x{one.size[1]}", f"{other.size[0]}x{other.size[1]}")
    if one.channels != other.channels:
        return "number of channels", (str(one.channels), str(other.channels))
    if not (is_placed(one) and is_placed(other)):
        return None
    planes = [placed_plane(each)[:, :2] for each in (one, other)]
    spacings = [np.linalg.norm(plane, axis=0) for plane in planes]
    if (np.abs(spacings[0] - spacings[1]) * one.size).max() > APART * _pixel(one):
        return "PixelSpacing", (_shown(spacings[0]), _shown(spacings[1]))
    unmoved = placed_plane(other).copy()
    unmoved[:, 2] = origin_of(one)
    if not same_grid(placed_plane(one), unmoved, one.size):
        turns = [plane / spacing for plane, spacing in zip(planes, spacings, strict=True)]
        shown = [_shown(np.concatenate([turn[:, 1], turn[:, 0]])) for turn in turns]
        return "ImageOrientationPatient", (shown[0], shown[1])
    return None


def is_placed(one: Slice) -> bool:
    """Return whether a slice has a plane with an area, at a position that can be."""
    plane = one.plane
    return (
        plane is not None
        and bool((np.abs(plane) < _FARTHEST).all())
        and bool(np.linalg.norm(np.cross(plane[:, 1], plane[:, 0])) > 0)
    )


def placed_plane(one: Slice) -> Plane:
    """Return the plane of a slice that has one."""
    assert one.plane is not None
    return one.plane


def origin_of(one: Slice) -> NDArray[np.float64]:
    """Return the centre of a slice's first pixel, LPS, in mm."""
    return placed_plane(one)[:, 2]


def _pixel(one: Slice) -> float:
    return float(np.linalg.norm(placed_plane(one)[:, :2], axis=0).min())


def _positions(slices: Sequence[Slice]) -> NDArray[np.float64]:
    """Return the positions of slices along the normal of the first, in mm."""
    origins = np.array([origin_of(one) for one in slices])
    return np.asarray(origins @ normal_of(placed_plane(slices[0])))


def _kind(one: Slice) -> str:
    return np.dtype(one.stored).kind


def _number(value: float) -> str:
    return f"{value:.4g}"


def _shown(values: NDArray[np.float64]) -> str:
    return "\\".join(f"{value + 0.0:.6g}" for value in np.round(values, 9))  # never -0


# In this order: each relies on what those before have left.
BEFORE_PLACES: tuple[Callable[[Sequence[Slice]], Looked], ...] = (
    _localizers,
    _unplaced,
    _unlike,
    _mixed,
)
OF_PLACES = (_doubled, _tilted, _uneven)
