"""Where is a store: in a folder of this machine, or at an address that a folder mirrors?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zarrfeed.store.address import absolute_path, remote_url
from zarrfeed.store.mirror.mirrored_split import open_mirror

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from zarrfeed.store.mirror.origin import Remote


@dataclass(frozen=True, slots=True)
class Located:
    """A place to look for a store, which need not be one.

    Attributes
    ----------
    folder
        A folder of this machine; of an address, that of its mirror.
    url
        The address; None if it is a folder of this machine.
    remote
        How the address is read.
    """

    folder: Path
    url: str | None
    remote: Remote


def locate(path: str | os.PathLike[str], remote: Remote) -> Located:
    """Find the folder of a path; of an address, fetch the metadata into its mirror.

    Raises
    ------
    StoreError, ReadError
        There is nothing at the address, it cannot be read, or the cache cannot be used.
    """
    url = remote_url(path)
    if url is None:
        return Located(absolute_path(path), None, remote)
    return Located(open_mirror(url, remote), url, remote)
