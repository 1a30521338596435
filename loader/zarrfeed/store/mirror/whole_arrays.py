"""Arrays of a mirror that are fetched as a whole before they are read: small ones, and foreign."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
