"""Open what a request names, a split or a mix of several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from zarrfeed.feed.draw_opening import open_draws, open_path
from zarrfeed.feed.mix_opening import open_mix
from zarrfeed.order.mix import Mix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed.feed.opened_draws import OpenedDraws
    from zarrfeed.feed.request import Request
    from zarrfeed.store.split import Split


class OpenedStore(Protocol):
    """What a request names, opened."""

    @property
    def split(self) -> Split:
        """The rows, fields and classes."""
        ...

    def draws(self, fields: Sequence[str]) -> OpenedDraws:
        """Determine what an epoch consists of, if these fields are read.

        Raises
        ------
        StoreError, ValueError
            The fields, the subset, the patches or the sampling do not fit the store.
        """
        ...


class _OneStore:
    def __init__(self, request: Request, split: Split) -> None:
        self._request = request
        self.split = split

    def draws(self, fields: Sequence[str]) -> OpenedDraws:
        request, layouts = self._request, self.split.select(fields)
        subset: Any = request.subset  # that of one split
        return open_draws(request.patches, request.sampling, self.split, layouts, subset)


def open_store(request: Request) -> OpenedStore:
    """Open the split or the mix of a request.

    Raises
    ------
    StoreError
        A split cannot be opened, or several cannot be mixed.
    """
    if isinstance(request.path, Mix):
        return open_mix(request, request.path)
    return _OneStore(request, open_path(request, request.path))
