"""Which cases is an OME-Zarr image, and which of its labels are their fields?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from zarrfeed.errors import StoreError
from zarrfeed.spelling import did_you_mean, few
from zarrfeed.store.in_place.case_fields import Case, CaseField
from zarrfeed.store.in_place.nodes import join
from zarrfeed.store.ome_metadata import multiscale_of, ome_of
from zarrfeed.store.ome_places import affine_of
from zarrfeed.store.schema import IMAGE, MASK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed.store.in_place.case_fields import StoredArray
    from zarrfeed.store.in_place.nodes import Nodes
    from zarrfeed.store.ome_metadata import Multiscale

# Fields that are asked for; None for the image and its only label, "all" for all labels.
Wanted: TypeAlias = "Sequence[str] | Literal['all'] | None"

_LABELS = "labels"
_MOST_TIMES = 100_000


def image_at(nodes: Nodes, inside: str) -> Multiscale | None:
    """Read the axes and resolutions of an OME-Zarr image; None where there is none."""
    return multiscale_of(ome_of(nodes.attributes(inside)), str(nodes.path(inside)))


def ome_cases(
    nodes: Nodes, inside: str, scales: Multiscale, axes: int | None, fields: Wanted
) -> list[Case]:
    """Return the cases of an image: one for each point in time, with keys such as ``/t003``.

    The key of one alone is empty.

    Parameters
    ----------
    nodes, inside
        Where the image is.
    scales
        What :func:`image_at` returns for it.
    axes
        Number of spatial axes, 2 or 3; None for those that the image has.
    fields
        The wanted fields.

    Raises
    ------
    StoreError
        It has other axes, lacks a label, or a label has another size.
    """
    image = _level(nodes, inside, scales)
    if axes is None:
        axes = 3 if _extent(scales, image, "z") > 1 else 2
    named = _labels(nodes, inside, fields)
    found: dict[str, tuple[str, StoredArray, Multiscale]] = {}
    for field, label in named.items():
        if label is None:
            found[field] = inside, image, scales
            continue
        there = join(inside, f"{_LABELS}/{label}")
        label_scales = image_at(nodes, there)
        if label_scales is None:
            raise StoreError(
                f"{nodes.path(there)}: needed a label with multiscales metadata, found none: "
                "correct it, or name other fields"
            )
        found[field] = there, _level(nodes, there, label_scales), label_scales
    times = _extent(scales, image, "t")
    if times > _MOST_TIMES:
        raise StoreError(
            f"{image.folder}: needed at most {_MOST_TIMES:,} points in time, found {times:,}"
        )
    cases = []
    for time in range(times):
        parts = {
            field: _part(array, described.axes, axes, time, times, is_label=label is not None)
            for (field, (_, array, described)), label in zip(
                found.items(), named.values(), strict=True
            )
        }
        size = next(iter(parts.values())).shape[:axes]
        digits = max(3, len(str(times - 1)))
        cases.append(
            Case(
                "" if times == 1 else f"/t{time:0{digits}}",
                parts,
                size,
                affine_of(scales.places[0]) if axes == 3 else None,
            )
        )
    return cases


def _labels(nodes: Nodes, inside: str, fields: Wanted) -> dict[str, str | None]:
    """Return which label each field is; None for the image."""
    there = _listed_labels(nodes, inside)
    image = str(nodes.path(inside))
    if fields == "all":
        named = {MASK: there[0]} if len(there) == 1 else {label: label for label in there}
        return {IMAGE: None, **named}
    if fields is None:
        if len(there) > 1:
            raise StoreError(
                f"{image}: needed one label, found {few(there):.500}: name those that you want, "
                f"such as fields=({IMAGE!r}, {there[0]!r:.99})"
            )
        return {IMAGE: None, **({MASK: there[0]} if there else {})}
    found: dict[str, str | None] = {}
    for field in fields:
        label = field.removeprefix(f"{_LABELS}/")
        if field == IMAGE:
            found[field] = None
        elif label in there:
            found[field] = label
        elif field == MASK and len(there) == 1:
            found[field] = there[0]
        else:
            hint = did_you_mean(label, there)
            raise StoreError(
                f"{image}: needed a label {label!r}, found {few(there) or 'none':.500}"
                f"{hint and f'; {hint:.200}'}"
            )
    return found


def _listed_labels(nodes: Nodes, inside: str) -> list[str]:
    group = join(inside, _LABELS)
    if not nodes.path(group).is_dir():
        return []
    listed = ome_of(nodes.attributes(group)).get(_LABELS)
    if isinstance(listed, list):
        return [str(name).strip("/") for name in listed]
    prefix = f"{group}/"
    return [child.removeprefix(prefix) for child in nodes.children(group) if image_at(nodes, child)]


def _level(nodes: Nodes, inside: str, scales: Multiscale) -> StoredArray:
    """Return the array of the finest resolution."""
    where = str(nodes.path(inside))
    if not scales.levels:
        raise StoreError(f"{where}: needed datasets in its multiscales metadata, found none")
    array = nodes.array(join(inside, scales.levels[0]))
    if array is None:
        raise StoreError(
            f"{where}: needed the array {scales.levels[0]!r:.200} of its metadata, found none there"
        )
    if len(array.layout.shape) != len(scales.axes):
        raise StoreError(
            f"{array.folder}: needed an array with the axes {scales.axes}, found "
            f"{array.layout.shape}"
        )
    return array


def _extent(scales: Multiscale, array: StoredArray, axis: str) -> int:
    return array.layout.shape[scales.axes.index(axis)] if axis in scales.axes else 1


def _part(
    array: StoredArray, letters: str, axes: int, time: int, times: int, *, is_label: bool
) -> CaseField:
    """Return the part of an array that is a field at a point in time."""
    extents = dict(zip(letters, array.layout.shape, strict=True))
    spatial = "zyx"[-axes:]
    picks = {}
    missing = [axis for axis in spatial if axis not in extents]
    if missing:
        raise StoreError(
            f"{array.folder}: needed the axes {spatial} for patches of {axes} axes, found "
            f"{letters}: use patches of 2 axes"
        )
    if axes == 2 and extents.get("z", 1) > 1:
        raise StoreError(
            f"{array.folder}: needed one plane for patches of 2 axes, found {extents['z']} along "
            "z: use patches of 3 axes; those of one plane are (1, height, width)"
        )
    if extents.get("t", 1) != times:
        raise StoreError(
            f"{array.folder}: needed {times:,} points in time, as the image has, found "
            f"{extents.get('t', 1):,}"
        )
    if is_label and extents.get("c", 1) > 1:
        raise StoreError(
            f"{array.folder}: needed a label of one channel, found {extents['c']}: write each "
            "channel as a label"
        )
    order = spatial if is_label else f"{spatial}c"
    picks = {
        place: time if axis == "t" else 0 for place, axis in enumerate(letters) if axis not in order
    }
    places = tuple(letters.index(axis) if axis in extents else None for axis in order)
    return CaseField(array, places, picks)
