"""Is the content of a split that of before? A digest of what says so, not of the content itself."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.store.in_place.reading import InPlaceField
from zarrfeed.store.mirror.whole_arrays import FetchedField
from zarrfeed.store.reader import read_samples
from zarrfeed.store.schema import CASE_KEY, CASE_SIZE, KEY, SHARD_FILES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zarrfeed.store.split import Split


def content_digest(split: Split, fields: Sequence[str]) -> str:
    """Return a digest of the keys and sizes of a split, and of the content of some fields.

    Of a packed split, the digests of its shards stand for the content, as they were when it was
    packed. Of others, these are the names, sizes and times of change of all files of the fields: a
    copy then counts as something else.

    Parameters
    ----------
    split
        An opened split.
    fields
        Names of fields.

    Raises
    ------
    StoreError
        The arrays that describe the split cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name in (KEY, CASE_KEY, CASE_SIZE, SHARD_FILES):
        layout = split.describing(name)
        if layout is not None:
            values = np.ascontiguousarray(read_samples(split, name, range(layout.shape[0])))
            digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
            digest.update(values.view(np.uint8).data)
    for name in fields:
        digest.update(f"{name} {split.layouts[name]}".encode())
        if split.describing(SHARD_FILES) is None:
            for line in _files(split, name):
                digest.update(os.fsencode(line))
    return digest.hexdigest()


def _files(split: Split, field: str) -> Iterator[str]:
    """Yield the name, size and time of change of every file of a field, in order."""
    source = split.sources.get(field)
    if isinstance(source, FetchedField):
        source = source.field
    folders = [split.path / field]
    if isinstance(source, InPlaceField):
        folders = list(dict.fromkeys(case.array.folder for case in source.cases))
    for folder in folders:
        for parent, below, names in os.walk(folder):
            below.sort()
            for path in (Path(parent, name) for name in sorted(names)):
                found = path.lstat()
                yield f"{path}\0{found.st_size} {found.st_mtime_ns}\0"
