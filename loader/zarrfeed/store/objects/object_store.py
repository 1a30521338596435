"""What is there in S3, Google Cloud Storage, Azure or on a web server, and what are its bytes?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import look_up
from zarrfeed.store.objects.errors import ObjectError, naming
from zarrfeed.store.objects.options import connected
from zarrfeed.store.objects.range_reading import RangeReading
from zarrfeed.store.objects.stored_object import Piece, StoredObject

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping


class ObjectStore:
    """Reads and lists the objects below an address. :func:`open_store` makes one.

    Methods may be called by any thread. A process that was forked must open stores of its own.

    Attributes
    ----------
    url
        The address, without a slash at its end.
    """

    def __init__(self, url: str, store: Any) -> None:
        self.url = url
        self._store = store

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def read(self, key: str) -> Piece:
        """Read a whole object. Missing ones raise ``FileNotFoundError``, as for files."""
        with naming(self._address(key)):
            found = self._store.get(key)
            return Piece(found.buffer(), StoredObject.of(key, found.meta))

    async def read_async(self, key: str) -> Piece:
        """Read a whole object, as :meth:`read`."""
        with naming(self._address(key)):
            found = await self._store.get_async(key)
            return Piece(await found.buffer_async(), StoredObject.of(key, found.meta))

    async def read_range(self, key: str, start: int, stop: int) -> Piece:
        """Read a range of an object, as :meth:`parts` does, into one piece of memory.

        Raises
        ------
        ObjectError
            The range could not be read, or the object ends before `stop`.
        """
        data, known = bytearray(), StoredObject(key, 0, None)
        async for known, part in self.parts(key, start, stop):  # noqa: B007
            data += part
        return Piece(data, known)

    async def parts(
        self,
        key: str,
        start: int,
        stop: int | None,
        *,
        etag: str | None = None,
        nbytes: int = 1 << 20,
    ) -> AsyncIterator[tuple[StoredObject, bytes]]:
        """Read a range of an object part by part. After a cut it goes on at the byte reached.

        Parameters
        ----------
        key
            Path of the object below the address.
        start, stop
            The first byte, and the one after the last; None for the end of the object.
        etag
            Tag that the object must have; None accepts any, but the same to the end.
        nbytes
            Least size of a part. Parts of a megabyte stay in the processor's cache: collecting a
            range of 16 MiB first takes twice as long (measured).

        Yields
        ------
        StoredObject, bytes
            The object, and its next bytes.

        Raises
        ------
        ObjectError
            The range could not be read, the object ends before `stop`, or was replaced.
        """
        reading = RangeReading(self._address(key), start, stop, etag)
        while asked := reading.left:
            try:
                with naming(self._address(key)):
                    found = await self._store.get_async(key, options=_options(*asked))
                    known = StoredObject.of(key, found.meta)
                    reading.answered(known, tuple(found.range))
                    async for part in _parts(found, nbytes):
                        reading.advance(len(part))
                        yield known, part
                    reading.ended()
                    return
            except ObjectError as error:
                pause = reading.pause_after(error)
                if pause is None:
                    raise
                nbytes = 1  # every part as it arrives, because a cut loses what is held back
            await asyncio.sleep(pause)

    def look(self, key: str) -> StoredObject:
        """Ask for the size of an object (HEAD); a missing one raises ``FileNotFoundError``."""
        with naming(self._address(key)):
            return StoredObject.of(key, self._store.head(key))

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """List the objects below a folder, in no particular order.

        Raises
        ------
        ObjectError
            The server refused, or it is a web server, which cannot list.
        """
        self._require_listing(prefix)
        with naming(self._address(prefix)):
            for found in self._store.list(prefix or None, chunk_size=1000):
                yield from (StoredObject.of(each["path"], each) for each in found)

    def entries(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the names of the folders and of the objects just below the address, sorted.

        Raises
        ------
        ObjectError
            As :meth:`list`.
        """
        self._require_listing("")
        with naming(self.url):
            found = self._store.list_with_delimiter()
        objects = [each["path"] for each in found["objects"]]
        folders, names = (
            tuple(sorted(path.rstrip("/").rpartition("/")[2] for path in paths))
            for paths in (found["common_prefixes"], objects)
        )
        return folders, names

    def folders(self) -> tuple[str, ...]:
        """Return the names of the folders just below the address, as :meth:`entries`."""
        return self.entries()[0]

    def _require_listing(self, prefix: str) -> None:
        if self.url.startswith(("http:", "https:")):
            raise ObjectError(
                f"{self._address(prefix)}: a web server cannot list its files: needed a store that "
                "zarrfeed packed, which says itself what it has; repack it, or use the address of "
                f"the object store (s3://…){look_up('remote-store')}"
            )

    def _address(self, key: str) -> str:
        return f"{self.url}/{key}" if key else self.url


async def _parts(found: Any, nbytes: int) -> AsyncIterator[Any]:
    """Yield what an answer brings. A small one as a whole takes half the time (measured)."""
    start, stop = found.range
    if stop - start <= nbytes:
        yield await found.buffer_async()
    else:
        async for part in found.stream(min_chunk_size=nbytes):
            yield part


def _options(start: int, stop: int | None) -> dict[str, Any]:
    if stop is not None:
        return {"range": (start, stop)}
    return {"range": {"offset": start}} if start else {}


def open_store(url: str, storage_options: Mapping[str, Any] | None = None) -> ObjectStore:
    """Open an object store, as :func:`~zarrfeed.store.objects.options.connected`."""
    return ObjectStore(url.rstrip("/"), connected(url, storage_options))
