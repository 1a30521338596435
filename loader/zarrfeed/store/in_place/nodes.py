"""Groups and arrays inside one folder, none of which may lead out of it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from zarrfeed.errors import StoreError, look_up
from zarrfeed.store.array_metadata import parse_array
from zarrfeed.store.chunk_claims import require_chunks
from zarrfeed.store.files import stamp_of
from zarrfeed.store.in_place.case_fields import StoredArray
from zarrfeed.store.node_metadata import read_metadata
from zarrfeed.store.schema import JSON, PARTIAL

if TYPE_CHECKING:
    from pathlib import Path

_DIGITS = re.compile(r"(\d+)")


class Nodes:
    """The nodes of a folder, by their paths inside it, such as ``labels/cells/0``; "" is itself.

    Parameters
    ----------
    folder
        An absolute path.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._within = os.path.realpath(folder)

    def path(self, inside: str) -> Path:
        """Return the path of a node, which may not exist.

        Raises
        ------
        StoreError
            It is not inside the folder.
        """
        parts = inside.split("/") if inside else []
        path = self.folder.joinpath(*parts)
        wrong = any(part in ("", ".", "..") or "\0" in part for part in parts)
        if wrong or not _is_within(os.path.realpath(path), self._within):
            raise StoreError(
                f"{self.folder}: needed paths of arrays inside this folder, found {inside!r:.200}, "
                "which is not followed: copy the store with `cp -rL`, or correct its metadata"
                f"{look_up('links')}"
            )
        return path

    def metadata(self, inside: str) -> JSON | None:
        """Read the metadata of a node, as ``zarr.json`` has it; None where there is no node."""
        return read_metadata(self.path(inside))

    def attributes(self, inside: str) -> JSON:
        """Read the attributes of a node; empty where there is none."""
        found = (self.metadata(inside) or {}).get("attributes")
        return found if isinstance(found, dict) else {}

    def children(self, inside: str) -> list[str]:
        """List the folders in a folder; numbers in their names count as numbers."""
        with os.scandir(self.path(inside)) as entries:
            names = [entry.name for entry in entries if entry.is_dir()]
        names = [name for name in names if name[0] != "." and not name.endswith(PARTIAL)]
        return [join(inside, name) for name in sorted(names, key=_natural)]

    def array(self, inside: str) -> StoredArray | None:
        """Read what an array says, and check it; None where there is no array.

        Raises
        ------
        StoreError
            It is damaged, of a dtype that cannot be read, empty, or its chunks are too large.
        """
        path = self.path(inside)
        # Taken before the metadata is read, so that a replacement after that has another stamp.
        stamp = stamp_of(path)
        found = read_metadata(path)
        if found is None or found.get("node_type") != "array":
            return None
        layout = parse_array(found, name=str(path))
        if not all(layout.shape):
            raise StoreError(f"{path}: needed an image, found an empty array {layout.shape}")
        require_chunks(path, layout)
        return StoredArray(path, layout, self._within, stamp)


def join(inside: str, name: str) -> str:
    """Return the path of a node below another."""
    return f"{inside}/{name}" if inside else name


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort 2 before 10."""
    return [
        (int(part), "") if number % 2 else (0, part)
        for number, part in enumerate(_DIGITS.split(name))
    ]
