"""obstore alone: fetch ranges of the objects of a web server, and forget them or write them.

As a program, it reads the ranges from its standard input::

    python benchmarks/obstore_alone.py http://127.0.0.1:8000/store.zarr/train < ranges.json
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import obstore
from obstore.store import HTTPStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CONCURRENCY = 16  # requests at once, as zarrfeed's fetcher sends


class Range(NamedTuple):
    """Bytes of an object."""

    key: str
    start: int
    stop: int


def fetch(url: str, ranges: Sequence[Range], *, into: Path | None = None) -> int:
    """Fetch ranges by obstore alone, `CONCURRENCY` at once.

    Parameters
    ----------
    url
        Address of the split.
    ranges
        What to fetch.
    into
        Folder to write the objects to; None to forget the bytes.

    Returns
    -------
    int
        How many bytes came.
    """
    store = HTTPStore.from_url(url, client_options={"allow_http": True})
    return asyncio.run(_fetch(store, ranges, into))


async def _fetch(store: Any, ranges: Sequence[Range], into: Path | None) -> int:
    left = iter(ranges)

    async def some() -> int:
        nbytes = 0
        for each in left:
            asked = {"range": (each.start, each.stop)}
            found = await obstore.get_async(store, each.key, options=asked)
            # Parts of 1 MiB are the fastest way: larger buffers are new memory every time.
            stream = found.stream(min_chunk_size=1 << 20)
            if into is None:
                async for part in stream:
                    nbytes += len(part)
                continue
            path = into / each.key
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                async for part in stream:
                    nbytes += file.write(part)
        return nbytes

    return sum(await asyncio.gather(*(some() for _ in range(CONCURRENCY))))


def fetch_in_new_process(url: str, ranges: Sequence[Range]) -> int:
    """Fetch ranges, as :func:`fetch`, in a Python that is started for it."""
    command = [sys.executable, __file__, url]
    done = subprocess.run(
        command, input=json.dumps(ranges), capture_output=True, text=True, check=True
    )
    return int(done.stdout)


if __name__ == "__main__":
    print(fetch(sys.argv[1], [Range(*each) for each in json.load(sys.stdin)]), flush=True)
    os._exit(0)  # an interpreter that ends soon after a request of obstore may abort
