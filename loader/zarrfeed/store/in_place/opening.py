"""Open images and labels where they are, as a split of cases."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import StoreError, look_up
from zarrfeed.spelling import few
from zarrfeed.store.case_table import CaseTable
from zarrfeed.store.field_source import MemoryField, row_layout
from zarrfeed.store.in_place.nodes import Nodes, join
from zarrfeed.store.in_place.ome_cases import image_at, ome_cases
from zarrfeed.store.in_place.plain_cases import arrays_of, plain_case
from zarrfeed.store.in_place.reading import InPlaceField
from zarrfeed.store.local_split import only_store_errors
from zarrfeed.store.mirror.origin import Origin, naming_address
from zarrfeed.store.mirror.whole_arrays import FetchedField
from zarrfeed.store.names import encode_names, store_stems
from zarrfeed.store.schema import (
    ATTRIBUTES,
    CASE_AFFINE,
    CASE_FIRST_TILE,
    CASE_KEY,
    CASE_SIZE,
    CASE_SPACING,
    IMAGE,
    MASK,
)
from zarrfeed.store.split import Split
from zarrfeed.store.tile_arrays import USUAL_EXTENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed.store.in_place.case_fields import Case
    from zarrfeed.store.in_place.ome_cases import Wanted
    from zarrfeed.store.located import Located
    from zarrfeed.store.schema import JSON, ArrayLayout

_DEPTH = 3  # of folders: row, column and field of a plate
_MOST_NODES = 100_000


def open_in_place(located: Located, axes: int | None, fields: Wanted = None) -> Split | None:
    """Open images and labels that zarrfeed did not pack, as a split of cases.

    Parameters
    ----------
    located
        A Zarr array or group, version 2 or 3, an OME-Zarr image, or a folder of such. Arrays of an
        address are fetched whole when they are read first.
    axes
        Number of spatial axes of patches, 2 or 3; None for those of OME-Zarr images, which alone
        are opened then.
    fields
        Names of the fields, the image first: of OME-Zarr images ``image`` and labels (``mask`` is
        the only label), else paths of arrays in a group. None for the image and its mask, if there
        is one. "all" for all labels of OME-Zarr images.

    Returns
    -------
    Split or None
        None if there are no cases: it is for :func:`zarrfeed.open_split` to open it, or to say what
        is there. The rule is that of :mod:`zarrfeed.store.in_place`.

    Raises
    ------
    StoreError
        Cases have several labels and none is named, their arrays are of different sizes, or their
        metadata is damaged.
    """
    folder, url = located.folder, located.url
    with naming_address(folder, url or str(folder)), only_store_errors(folder):
        cases = _Search(Nodes(folder), axes, fields).cases() if folder.is_dir() else []
        if not cases:
            return None
        split = _split(folder, cases)
        return split if url is None else _fetched(split, Origin(url, located.remote, None))


def _fetched(split: Split, origin: Origin) -> Split:
    """Fetch the arrays of fields when they are read first."""
    sources = dict(split.sources)
    for name, source in sources.items():
        if isinstance(source, InPlaceField):
            folders = dict.fromkeys(case.array.folder for case in source.cases)
            arrays = tuple(folder.relative_to(split.path).as_posix() for folder in folders)
            sources[name] = FetchedField(source, split.path, origin, arrays)
    return replace(split, sources=sources, origin=origin)


def refuse_image(located: Located) -> None:
    """Raise an error if zarrfeed did not pack what is there, and it is an OME-Zarr image.

    Raises
    ------
    StoreError
        It is.
    """
    folder, url = located.folder, located.url
    with only_store_errors(folder):
        nodes = Nodes(folder)
        metadata = nodes.metadata("") if folder.is_dir() else None
        if metadata is None or _is_ours(nodes, "", metadata) or image_at(nodes, "") is None:
            return
    raise StoreError(
        f"{url or folder}: an OME-Zarr image is a case, and needs patches, such as patches="
        "RandomPatches((32, 128, 128)); to read one of its arrays as samples along axis 0, give "
        "fields='0'"
        f"{look_up('patch-axes')}"
    )


class _Search:
    def __init__(self, nodes: Nodes, axes: int | None, fields: Wanted) -> None:
        self._nodes = nodes
        self._axes = axes
        self._fields = fields
        self._seen = 0
        self._samples: list[str] = []

    def cases(self) -> list[Case]:
        """Return all cases, with keys that tell them apart."""
        found = list(self._find("", _DEPTH))
        if found and self._samples:
            raise StoreError(
                f"{self._nodes.path(self._samples[0])}: needed a case for patches of {self._axes} "
                "axes, as others beside it are, found samples: open each by itself"
            )
        places = list(dict.fromkeys(place for place, _ in found))
        stems = store_stems([place or self._nodes.folder.name for place in places])
        stem_of = dict(zip(places, stems, strict=True))
        return [replace(case, key=f"{stem_of[place]}{case.key}") for place, case in found]

    def _find(self, inside: str, depth: int) -> Iterator[tuple[str, Case]]:
        """Yield the place of each case, and the case, whose key follows the name of the place."""
        self._seen += 1
        if self._seen > _MOST_NODES:
            raise StoreError(
                f"{self._nodes.folder}: needed images in at most {_MOST_NODES:,} folders, found "
                "more: open those below it one by one"
            )
        nodes, axes, fields = self._nodes, self._axes, self._fields
        metadata = nodes.metadata(inside) or {}
        if (inside and not metadata) or _is_ours(nodes, inside, metadata):
            return
        if metadata.get("node_type") == "array":
            if not inside and axes is not None:
                yield inside, self._alone(axes)
            return
        scales = image_at(nodes, inside)
        if scales is not None:
            yield from ((inside, case) for case in ome_cases(nodes, inside, scales, axes, fields))
            return
        if axes is not None and fields != "all" and metadata:
            arrays = arrays_of(nodes, inside, fields)
            if arrays is not None:
                mask = nodes.array(join(inside, MASK)) if len(arrays) == 1 else None
                case = plain_case(arrays, "", axes, mask)
                if case is not None:
                    yield inside, case
                else:
                    self._samples.append(inside)
                return
        if depth:
            for child in nodes.children(inside):
                yield from self._find(child, depth - 1)

    def _alone(self, axes: int) -> Case:
        """Return the case that an array alone is."""
        array = self._nodes.array("")
        assert array
        names = list(self._fields or [IMAGE])
        case = plain_case({IMAGE: array}, "", axes) if names == [IMAGE] else None
        if case is None:
            raise StoreError(
                f"{array.folder}: needed the field {IMAGE!r} and an array of {axes} axes for "
                f"patches of {axes} axes, found {few(names)} and {array.layout.shape}: give the "
                "path of its group, and the names of image and mask as fields, which say which "
                "axis is that of channels"
            )
        return case


def _is_ours(nodes: Nodes, inside: str, metadata: JSON) -> bool:
    """Whether zarrfeed packed a group, or someone in the same way."""
    attributes = metadata.get("attributes") or {}
    return ATTRIBUTES in attributes or nodes.path(join(inside, CASE_KEY)).is_dir()


def _split(folder: Path, cases: Sequence[Case]) -> Split:
    """Put cases together to a split."""
    first = cases[0]
    for case in cases:
        _require_alike(folder, first, case)
    sizes = np.array([case.size for case in cases], np.int64)
    tile = _tile(first, sizes)
    table = CaseTable.of_sizes(sizes, tile)
    described = {name: MemoryField(values) for name, values in _described(cases, table).items()}
    layouts = {name: field.layout for name, field in described.items()}
    sources: dict[str, Any] = dict(described)
    for name in first.fields:
        layouts[name] = _layout(first, name, table)
        sources[name] = InPlaceField(table, tuple(case.fields[name] for case in cases))
    stamps = dict.fromkeys(sources)  # readers check those of the arrays that they read
    return Split(folder, layouts, {}, {}, {}, stamps, sources)


def _require_alike(folder: Path, first: Case, case: Case) -> None:
    axes = len(first.size)
    if list(first.fields) != list(case.fields) or len(case.size) != axes:
        raise StoreError(
            f"{folder}: needed the same fields of {axes} axes in every case, found "
            f"{few(first.fields):.500} in {first.key!r} and {few(case.fields):.500} of "
            f"{len(case.size)} axes in {case.key!r}: name those that all have, such as "
            f"fields=({IMAGE!r},)"
        )
    for name, field in case.fields.items():
        other = first.fields[name]
        if field.shape[:axes] != case.size:
            raise StoreError(
                f"{field.array.folder}: needed the size {case.size} of "
                f"{next(iter(case.fields))!r}, found {field.shape[:axes]}: labels must have the "
                "image's resolution"
            )
        here, there = field.array.layout.dtype, other.array.layout.dtype
        if (here, field.shape[axes:]) != (there, other.shape[axes:]):
            raise StoreError(
                f"{field.array.folder}: needed {there} and channels {other.shape[axes:]}, as case "
                f"{first.key!r} has in {name!r}, found {here} and {field.shape[axes:]}: open those "
                "of one kind by themselves"
            )


def _tile(first: Case, sizes: NDArray[np.int64]) -> tuple[int, ...]:
    """Return a size of tiles that is that of the chunks, or a multiple of them."""
    axes = len(first.size)
    chunk = next(iter(first.fields.values())).chunk[:axes]
    least = USUAL_EXTENT[axes]  # many small chunks are one tile
    return tuple(
        min(extent * max(1, least // extent), most)
        for extent, most in zip(chunk, sizes.max(axis=0).tolist(), strict=True)
    )


def _layout(first: Case, name: str, table: CaseTable) -> ArrayLayout:
    """Return the layout of the tiles of a field, which are nowhere stored as such."""
    field = first.fields[name]
    stored = field.array.layout
    shape = (table.tiles, *table.tile, *field.shape[len(table.tile) :])
    tiles = row_layout(shape, stored.dtype)
    return replace(
        tiles,
        compressor=stored.compressor,
        codec=stored.codec,
        foreign=stored.foreign,
        indirect=stored.indirect if stored.foreign else None,
    )


def _described(cases: Sequence[Case], table: CaseTable) -> dict[str, NDArray[Any]]:
    """Return the arrays that describe cases."""
    found: dict[str, NDArray[Any]] = {
        CASE_KEY: encode_names([case.key for case in cases]),
        CASE_SIZE: table.sizes,
        CASE_FIRST_TILE: table.first_tile,
    }
    axes = len(table.tile) + 1
    if any(case.affine for case in cases):
        unknown = np.full((axes, axes), np.nan)
        affines = np.array([case.affine or unknown for case in cases], np.float64)
        found[CASE_AFFINE] = affines
        found[CASE_SPACING] = np.sqrt((affines[:, :-1, :-1] ** 2).sum(axis=1))
    return found
