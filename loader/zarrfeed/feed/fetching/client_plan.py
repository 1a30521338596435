"""What does one client read next, and is that known far enough ahead?"""

from __future__ import annotations

import asyncio
import logging
import pickle
from typing import TYPE_CHECKING

from zarrfeed.errors import StoreError, ZarrfeedError, look_up
from zarrfeed.feed.fetching.upcoming import OpenPart, Plan, Upcoming

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from zarrfeed.feed.fetching.cache_space import CacheSpace
    from zarrfeed.feed.fetching.downloads import Downloads

_LOG = logging.getLogger(__name__)

_WINDOW_SECONDS = 5.0  # to check that the limit is enough for all batches of an epoch


class ClientPlan:
    """The plan of one client. It is computed while the client reads.

    Parameters
    ----------
    name
        The client.
    downloads
        What is on its way.
    space
        The limit of the cache.
    """

    def __init__(self, name: Hashable, downloads: Downloads, space: CacheSpace) -> None:
        self._name = name
        self._downloads = downloads
        self._space = space
        self._upcoming: Upcoming | None = None
        self._content = b""
        self._extending: asyncio.Task[None] | None = None

    async def follow(
        self, content: bytes, epoch: int, batch: int, parts_of: Callable[[Plan], list[OpenPart]]
    ) -> None:
        """Follow a plan from a batch on, the one of before or another.

        Parameters
        ----------
        content
            The pickled plan.
        epoch, batch
            What comes next.
        parts_of
            Finds the mirrors of a plan.

        Raises
        ------
        StoreError
            The cache's limit cannot hold the batches that are under way together.
        ReadError
            What is needed to plan cannot be read.
        """
        upcoming = self._upcoming
        number = None
        if upcoming is not None and content == self._content:
            number = upcoming.number_of(epoch, batch)
        if (
            upcoming is not None
            and number is not None
            and upcoming.uses.position <= number <= upcoming.uses.known
        ):
            self._downloads.advance(self._name, number)
            self._go_on(upcoming)
            return
        plan = pickle.loads(content)
        if not isinstance(plan, Plan):
            raise TypeError("needed a plan")
        self._stop()
        self._upcoming = Upcoming(
            plan, parts_of(plan), epoch, batch, self._downloads.plan.nbytes.size
        )
        self._content = content
        await self._begin(self._upcoming)

    def advance(self, epoch: int, batch: int) -> None:
        """Note which batch comes next, if it is later than the one noted before."""
        upcoming = self._upcoming
        number = None if upcoming is None else upcoming.number_of(epoch, batch)
        if upcoming is not None and number is not None and number > upcoming.uses.position:
            self._space.moved(self._name)
            self._downloads.advance(self._name, number)
            self._go_on(upcoming)

    def forget(self) -> None:
        """End: the client has gone."""
        self._stop()
        self._downloads.plan.remove_reader(self._name)

    async def _begin(self, upcoming: Upcoming) -> None:
        downloads = self._downloads
        downloads.plan.remove_reader(self._name)
        downloads.plan.add_reader(self._name, upcoming.uses)
        downloads.begin(await upcoming.extend())
        if self._space.limit is not None:  # which the user gave; a full disk may hold less
            await self._require_window(upcoming, self._space.limit)
        downloads.pump()
        self._go_on(upcoming)

    async def _require_window(self, upcoming: Upcoming, limit: int) -> None:
        """Check the windows of the first epoch, or of what is known of it after some seconds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _WINDOW_SECONDS
        while True:
            needed = await asyncio.to_thread(upcoming.widest, self._downloads.plan.nbytes)
            if needed > limit:
                raise StoreError(
                    f"cache_limit: needed {needed:,} bytes for the {upcoming.plan.window} batches "
                    f"that are read together, got {limit:,}: raise cache_limit to at least "
                    f"'{-(-needed >> 20)}MiB', or lower the number of workers or batch_size"
                    f"{look_up('cache-limit')}"
                )
            if upcoming.uses.known >= upcoming.epoch_batches or loop.time() > deadline:
                return
            await upcoming.extend()

    def _go_on(self, upcoming: Upcoming) -> None:
        """Compute further batches, unless enough are known or are being computed."""
        if not upcoming.complete and (self._extending is None or self._extending.done()):
            extend = self._extend(upcoming)
            self._extending = asyncio.get_running_loop().create_task(extend)

    async def _extend(self, upcoming: Upcoming) -> None:
        try:
            await self._downloads.first_come()
            while not upcoming.complete:
                await upcoming.extend()
                self._downloads.pump()
        except ZarrfeedError as error:  # who reads what cannot be planned gets the error
            _LOG.warning("planning ends: %s", error)

    def _stop(self) -> None:
        if self._extending is not None:
            self._extending.cancel()
