"""Is one store at a path, packed or read where it is, or a dataset of several splits?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed.store.address import remote_url
from zarrfeed.store.in_place.opening import open_in_place
from zarrfeed.store.located import locate
from zarrfeed.store.split_opening import open_located, splits_below

if TYPE_CHECKING:
    import os

    from zarrfeed.store.in_place.ome_cases import Wanted
    from zarrfeed.store.mirror.origin import Remote
    from zarrfeed.store.split import Split


def open_or_list(
    path: str | os.PathLike[str], axes: int | None, fields: Wanted, remote: Remote
) -> Split | list[str]:
    """Open the only split at a path; of a dataset, return the names of its splits instead.

    Parameters
    ----------
    path
        A split, a dataset, or images that are read where they are; or the address of one.
    axes, fields
        As for :func:`zarrfeed.store.in_place.opening.open_in_place`.
    remote
        How an address is read.

    Raises
    ------
    StoreError
        It is none of these.
    """
    # Splits of a remote dataset are looked for first: all else lists its objects.
    is_local = remote_url(path) is None
    if not is_local and (names := splits_below(path, remote)):
        return list(names)
    located = locate(path, remote)
    split = open_in_place(located, axes, fields)
    if split is not None:
        return split
    if is_local and (names := splits_below(path, remote)):
        return list(names)
    return open_located(located)
