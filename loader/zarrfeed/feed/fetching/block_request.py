"""Ask for neighbouring blocks of a file, and write each as it arrives.

They go through memory a megabyte at a time.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zarrfeed.errors import ReadError, look_up
from zarrfeed.store.mirror.file_table import BLOCK_NBYTES
from zarrfeed.store.objects.errors import ObjectError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from zarrfeed.feed.fetching.mirror import Mirror

_PAUSES = (1.0, 2.0, 4.0)  # seconds before a server that is overloaded is asked again


@dataclass(slots=True, eq=False)
class BlockRequest:
    """Blocks of a file, from `reached` on; those before are there."""

    mirror: Mirror
    file: int
    reached: int
    stop: int

    @property
    def left(self) -> range:
        """The blocks that are not there."""
        return range(self.reached, self.stop)

    async def fetch(
        self, arrived: Callable[[range], None], counters: Counter[str], *, limited: bool
    ) -> None:
        """Download what is left, and wait for a server that is overloaded.

        Parameters
        ----------
        arrived
            Gets the blocks that have been written.
        counters
            Counts requests and bytes.
        limited
            Whether the file may never be whole, so that nothing verifies it.

        Raises
        ------
        ReadError
            They cannot be had, or the object is not the one that was packed.
        OSError
            They cannot be written.
        """
        for pause in _PAUSES:
            try:
                return await self._fetch(arrived, counters, limited=limited)
            except ObjectError as error:
                if error.kind != "throttled":
                    raise
            await asyncio.sleep(pause)
        return await self._fetch(arrived, counters, limited=limited)

    async def _fetch(
        self, arrived: Callable[[range], None], counters: Counter[str], *, limited: bool
    ) -> None:
        mirror, file = self.mirror, self.file
        files = mirror.files
        assert files is not None
        first = files.blocks_of(file).start
        at, total = (self.reached - first) * BLOCK_NBYTES, int(files.nbytes[file])
        end = min((self.stop - first) * BLOCK_NBYTES, total)
        key = mirror.key_of(file)
        counters["requests"] += 1
        async for known, part in mirror.store.parts(key, at, end):
            if known.nbytes != total:
                raise ReadError(
                    f"{mirror.url}/{key}: needed {total:,} bytes, as the split says, found "
                    f"{known.nbytes:,}: the object was replaced; open the split again"
                    f"{look_up('replaced-split')}"
                )
            if limited:
                mirror.notice_tag(file, known.etag)
            mirror.write(file, at, part)
            at += len(part)
            counters["bytes"] += len(part)
            now = self.stop if at == end else first + at // BLOCK_NBYTES
            if now > self.reached:
                new = range(self.reached, now)
                self.reached = now
                arrived(new)
