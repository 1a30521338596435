"""What does a split on disk hold?

Opening reads a handful of ``zarr.json`` files and nothing else: no shard is touched and
zarr-python is not imported, so that a store of any size opens in milliseconds.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from zarrfeed.address import local_path
from zarrfeed.errors import StoreError
from zarrfeed.schema import (
    ATTRIBUTES,
    DESCRIPTIVE,
    FORMAT_VERSION,
    IMAGE,
    JSON,
    MASK,
    METADATA,
    PARTIAL,
    ArrayLayout,
    parse_array,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Split:
    """An opened split: its arrays as they are laid out, nothing read yet.

    Attributes
    ----------
    path
        Of the Zarr group.
    layouts
        Every array of the group that can be read, by name.
    attributes
        The split's ``attributes.zarrfeed``; empty for a group that zarrfeed did not write.
    dataset
        The dataset's ``attributes.zarrfeed`` (classes, ignore id); empty likewise.
    """

    path: Path
    layouts: Mapping[str, ArrayLayout]
    attributes: JSON
    dataset: JSON

    @property
    def packed(self) -> bool:
        """Whether `zarrfeed convert` wrote it: then every shard has a file, even one of zeros."""
        return bool(self.attributes)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by id; empty where the store does not say."""
        return tuple(self.dataset.get("classes", ()))

    @property
    def ignore(self) -> int | None:
        """The mask id that counts as no class."""
        ignore = self.dataset.get("ignore")
        return None if ignore is None else int(ignore)

    @property
    def default_fields(self) -> tuple[str, ...]:
        """The fields of a batch when nobody names them."""
        if "fields" in self.attributes:
            return tuple(self.attributes["fields"])
        names = tuple(sorted(self.layouts.keys() - DESCRIPTIVE))
        return (IMAGE, MASK) if {IMAGE, MASK} <= set(names) else names

    def select(self, fields: Sequence[str]) -> dict[str, ArrayLayout]:
        """Choose arrays that can be read together.

        Parameters
        ----------
        fields
            Array names, in batch order.

        Raises
        ------
        StoreError
            One is missing, or they do not have the same number of samples.
        """
        if not fields:
            raise StoreError(
                f"{self.path}: needed at least one field, found arrays {self._names()}"
            )
        missing = [field for field in fields if field not in self.layouts]
        if missing:
            raise StoreError(f"{self.path}: no field {missing[0]!r}; it holds {self._names()}")
        chosen = {field: self.layouts[field] for field in fields}
        lengths = {field: layout.shape[0] for field, layout in chosen.items()}
        if len(set(lengths.values())) > 1:
            raise StoreError(f"{self.path}: fields differ in their number of samples: {lengths}")
        return chosen

    def _names(self) -> str:
        return ", ".join(sorted(self.layouts)) or "none"


def open_split(path: str | os.PathLike[str]) -> Split:
    """Open one split of a dataset, or any Zarr v3 group of arrays aligned on axis 0.

    Parameters
    ----------
    path
        A local folder, such as ``camvid.zarr/train``.

    Raises
    ------
    StoreError
        There is no finished Zarr v3 group of arrays; the message says what there is instead.
    """
    folder = local_path(path)
    if folder.name.endswith(PARTIAL):
        raise StoreError(f"{folder}: an unfinished conversion; run `zarrfeed convert` again")
    metadata = _group(folder)
    children = list(_children(folder))
    layouts = {
        child.name: parse_array(found, name=str(child))
        for child, found in children
        if found.get("node_type") == "array"
    }
    if not layouts:
        splits = [child.name for child, found in children if found.get("node_type") == "group"]
        hint = f"name one of its splits, such as {folder / splits[0]}" if splits else "it is empty"
        raise StoreError(f"{folder}: needed a group of arrays, found none: {hint}")
    attributes = _attributes(metadata, folder)
    return Split(
        path=folder,
        layouts=layouts,
        attributes=attributes,
        dataset=_attributes(read_metadata(folder.parent) or {}, folder.parent)
        if attributes
        else {},
    )


def list_splits(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Name the finished splits of a dataset, sorted.

    Raises
    ------
    StoreError
        It is not a Zarr v3 group.
    """
    folder = local_path(path)
    _group(folder)
    return tuple(
        sorted(
            child.name
            for child, found in _children(folder)
            if found.get("node_type") == "group" and not child.name.endswith(PARTIAL)
        )
    )


def read_metadata(folder: Path) -> JSON | None:
    """Read a folder's ``zarr.json``; None where there is none."""
    try:
        text = (folder / METADATA).read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return cast("dict[str, Any]", json.loads(text))
    except ValueError as error:
        raise StoreError(f"{folder / METADATA} is damaged: {error}") from error


def _group(folder: Path) -> JSON:
    metadata = read_metadata(folder)
    if metadata is None:
        raise StoreError(f"{folder}: {_what_is_there(folder)}")
    if metadata.get("zarr_format") != 3 or metadata.get("node_type") != "group":
        kind = metadata.get("node_type")
        raise StoreError(f"{folder}: needed a Zarr v3 group, found node_type={kind!r}")
    return metadata


def _what_is_there(folder: Path) -> str:
    """Say why there is no group, and what could be meant."""
    if (folder / ".zgroup").exists():
        return "a Zarr v2 store; zarrfeed reads v3: convert the originals again"
    unfinished = folder.with_name(folder.name + PARTIAL)
    if unfinished.exists():
        return "its conversion is not finished: the same `zarrfeed convert` goes on with it"
    if folder.exists() and any(child.name.endswith(PARTIAL) for child in folder.iterdir()):
        return "no split is finished yet: the same `zarrfeed convert` goes on with it"
    if folder.exists():
        return f"needed a Zarr v3 group, found no {METADATA}; `zarrfeed convert` packs folders"
    parent = read_metadata(folder.parent) or {}
    if parent.get("node_type") == "group":
        splits = ", ".join(list_splits(folder.parent)) or "no split"
        return f"no such split; {folder.parent} has {splits}"
    if folder.parent.is_dir():
        near = difflib.get_close_matches(folder.name, [p.name for p in folder.parent.iterdir()], 1)
        if near:
            return f"no such store; is {folder.parent / near[0]} meant?"
    return "no such store; `zarrfeed convert` packs one"


def _children(folder: Path) -> list[tuple[Path, JSON]]:
    found = ((child, read_metadata(child)) for child in sorted(folder.iterdir()) if child.is_dir())
    return [(child, metadata) for child, metadata in found if metadata is not None]


def _attributes(metadata: JSON, folder: Path) -> JSON:
    attributes: JSON = metadata.get("attributes", {}).get(ATTRIBUTES, {})
    version = attributes.get("format", FORMAT_VERSION)
    if version > FORMAT_VERSION:
        raise StoreError(
            f"{folder}: written in format {version}, this zarrfeed reads up to {FORMAT_VERSION}: "
            "upgrade zarrfeed"
        )
    return attributes
