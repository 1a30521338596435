"""Arrays of a mirror that are fetched as a whole before they are read: small ones, and foreign."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from zarrfeed.store.field_reader import FieldReader
    from zarrfeed.store.field_source import FieldSource
    from zarrfeed.store.mirror.origin import Origin
    from zarrfeed.store.split import Split


def fetch_whole(split: Split, name: str) -> None:
    """Wait until all files of an array of a mirrored split are here, once per object.

    Raises
    ------
    ReadError, StoreError
        They cannot be fetched.
    """
    assert split.origin is not None
    done = f"whole {name}"  # key in `Split.computed`
    if done not in split.computed:
        with closing(split.origin.connect(split.path)) as fetching:
            fetching.whole(split.path, name)
        split.computed[done] = True


@dataclass(frozen=True, slots=True, eq=False)
class FetchedField:
    """A field whose arrays are fetched as a whole when it is opened.

    Attributes
    ----------
    field
        The field, read from the mirror.
    folder, origin
        The mirror's folder, and where it comes from.
    arrays
        The arrays of the field, relative to the folder.
    """

    field: FieldSource
    folder: Path
    origin: Origin
    arrays: tuple[str, ...]

    def open(self, *, open_files: int, cache_nbytes: int = 0) -> FieldReader:
        """Open a reader when all is here."""
        with closing(self.origin.connect(self.folder)) as fetching:
            for array in self.arrays:
                fetching.whole(self.folder, array)
        return self.field.open(open_files=open_files, cache_nbytes=cache_nbytes)
