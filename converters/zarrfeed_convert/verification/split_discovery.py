"""Which splits does a dataset have, and which of their files do not belong to them?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed import open_split
from zarrfeed.errors import StoreError
from zarrfeed.store.node_metadata import read_metadata
from zarrfeed.store.schema import ATTRIBUTES, METADATA, PARTIAL
from zarrfeed_convert.verification.consistency import field_names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from zarrfeed import Split
    from zarrfeed.store.schema import JSON


def find_splits(path: Path) -> tuple[list[Path], list[str]]:
    """Find the splits of a dataset, including those whose metadata are lost or damaged.

    Parameters
    ----------
    path
        A dataset, or one of its splits.

    Returns
    -------
    splits
        Folders of the splits, sorted by name.
    notes
        A note for each unfinished split.

    Raises
    ------
    StoreError
        `path` is neither a dataset nor a split. The message says what was found.
    """
    if not path.is_dir() or path.name.endswith(PARTIAL):
        open_split(path)  # raises the error
    if _is_split(path):
        return [path], []
    below = sorted(child for child in path.iterdir() if child.is_dir())
    notes = [
        f"{child}: an unfinished split, which was not verified; `zarrfeed convert` resumes it"
        for child in below
        if child.name.endswith(PARTIAL) and "~" not in child.name
    ]
    splits = [child for child in below if not child.name.endswith(PARTIAL) and _is_split(child)]
    if not splits:
        open_split(path)  # raises the error
    return splits, notes


def extra_files(split: Split, expected: Collection[Path]) -> Iterator[Path]:
    """Yield the files in the folders of a split's fields that are neither shards nor metadata.

    Parameters
    ----------
    split
        The opened split.
    expected
        Files of its shards.
    """
    for field in field_names(split):
        for folder, _, names in os.walk(split.path / field):
            for name in sorted(names):
                file = Path(folder, name)
                if file not in expected and file != split.path / field / METADATA:
                    yield file


def _is_split(folder: Path) -> bool:
    """Return whether a folder is a split. If its metadata are lost, one that has arrays is."""
    metadata = _metadata(folder) or {}
    attributes = metadata.get("attributes")
    said = attributes.get(ATTRIBUTES) if isinstance(attributes, dict) else None
    if isinstance(said, dict) and ("classes" in said or "fields" in said):
        return "fields" in said
    below = (_metadata(child) for child in folder.iterdir() if child.is_dir())
    return any(found is not None and found.get("node_type") == "array" for found in below)


def _metadata(folder: Path) -> JSON | None:
    """Read the metadata of a node; None if they are missing or damaged."""
    try:
        return read_metadata(folder)
    except StoreError:
        return None
