"""How are large objects sent to an object store, and read from it, without holding them in memory?

An object that is sent appears only when all of its pieces have arrived: if the caller's iterator
raises, or the process dies, there is none.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

from zarrfeed.store.objects.errors import naming
from zarrfeed.store.objects.object_store import ObjectStore
from zarrfeed.store.objects.options import connected
from zarrfeed.store.objects.part_digest import part_nbytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Generator, Iterable, Iterator, Mapping

    from typing_extensions import Buffer

    from zarrfeed.store.objects.stored_object import StoredObject

T = TypeVar("T")
_LOOK_EVERY_S = 0.1


class Stopped(Exception):  # noqa: N818 - it is no error of its own
    """A transfer was given up because another one has failed."""


class ObjectTransfers(ObjectStore):
    """An object store to which large objects are sent, and from which they are read as streams.

    Attributes
    ----------
    stop
        Once it is set, transfers raise :class:`Stopped` within a moment, whatever they wait for.
    """

    def __init__(self, url: str, store: Any, stop: threading.Event) -> None:
        super().__init__(url, store)
        self.stop = stop

    async def _unless_stopped(self, asked: Awaitable[T]) -> T:
        """Wait for an answer of the store, and give it up once `stop` is set.

        Whatever is awaited must be made in the event loop: obstore crashes otherwise.
        """
        task = asyncio.ensure_future(asked)
        try:
            while not self.stop.is_set():
                if (await asyncio.wait({task}, timeout=_LOOK_EVERY_S))[0]:
                    return task.result()
            raise Stopped
        finally:
            task.cancel()

    def pieces(self, key: str, *, start: int = 0, etag: str | None = None) -> Iterator[Buffer]:
        """Read an object from a byte on, as :meth:`parts` does, in a thread.

        Parameters
        ----------
        key
            Path of the object below the address.
        start
            The first byte; less than the size of the object.
        etag
            Tag that the object must have; None accepts any, but the same to the end.

        Raises
        ------
        ObjectError
            It cannot be read, or was replaced.
        """
        with asyncio.Runner() as runner:
            parts = self.parts(key, start, None, etag=etag)
            while (found := runner.run(self._next(parts))) is not None:
                yield found[1]

    async def _next(self, parts: AsyncIterator[T]) -> T | None:
        return await self._unless_stopped(anext(parts, None))

    def send(
        self, key: str, pieces: Iterable[Buffer], nbytes: int, *, parts_at_once: int = 2
    ) -> str | None:
        """Write an object. It appears when all pieces have arrived, or not at all.

        Parameters
        ----------
        key
            Path of the object below the address.
        pieces
            Its bytes, of any sizes. What the iterator raises ends the upload, and is raised.
        nbytes
            Number of all bytes.
        parts_at_once
            Parts of a large object that are on their way; each takes :func:`part_nbytes` of memory.

        Returns
        -------
        str or None
            The tag of the object, if the server says one.
        """
        raised = _Raised()
        with raised.instead(), naming(self._address(key)), ThreadPoolExecutor(1) as reader:
            sent = asyncio.run(self._sent(key, raised.of(pieces), nbytes, reader, parts_at_once))
        return cast("str | None", sent["e_tag"])

    async def _sent(
        self,
        key: str,
        pieces: Generator[Buffer],
        nbytes: int,
        reader: ThreadPoolExecutor,
        parts_at_once: int,
    ) -> Any:
        """Send pieces that are made by another thread, since they may come from another store."""
        loop, part = asyncio.get_running_loop(), part_nbytes(nbytes)

        async def made() -> AsyncIterator[Buffer]:
            while (piece := await loop.run_in_executor(reader, next, pieces, None)) is not None:
                yield piece

        try:
            if nbytes <= part:
                content = b"".join([piece async for piece in made()])
                asked = self._store.put_async(key, content, use_multipart=False)
            else:
                asked = self._store.put_async(
                    key, made(), chunk_size=part, max_concurrency=parts_at_once
                )
            return await self._unless_stopped(asked)
        finally:
            await loop.run_in_executor(reader, pieces.close)

    def put(self, key: str, content: bytes) -> None:
        """Write a small object."""
        with naming(self._address(key)):
            self._store.put(key, content)

    def create(self, key: str, content: bytes) -> bool:
        """Write a small object unless there is one; return whether it was written.

        Servers that do not know such conditions write it in any case.
        """
        from obstore.exceptions import AlreadyExistsError, GenericError, NotSupportedError

        with naming(self._address(key)):
            try:
                self._store.put(key, content, mode="create")
            except AlreadyExistsError:
                return False
            except (NotSupportedError, NotImplementedError):
                self._store.put(key, content)
            except GenericError as error:
                if "NotImplemented" not in str(error):
                    raise
                self._store.put(key, content)
        return True

    def remove(self, keys: Iterable[str]) -> None:
        """Remove objects, if they exist."""
        for key in keys:
            with naming(self._address(key)), suppress(FileNotFoundError):
                self._store.delete(key)

    def tagged(self, key: str) -> StoredObject | None:
        """Ask for the size and the tag of an object; None if there is none."""
        try:
            return self.look(key)
        except FileNotFoundError:
            return None


class _Raised:
    """Keeps what an iterator raises, since obstore may raise something else because of it."""

    def __init__(self) -> None:
        self._error: Exception | None = None

    def of(self, pieces: Iterable[Buffer]) -> Generator[Buffer]:
        """Yield the pieces."""
        try:
            yield from pieces
        except Exception as error:
            self._error = error
            raise

    @contextmanager
    def instead(self) -> Iterator[None]:
        """Raise the iterator's error instead of what came of it."""
        try:
            yield
        except BaseException as error:
            own, self._error = self._error, None
            try:
                if own is None or own is error:
                    raise
                raise own from None
            finally:
                del own  # its traceback has this frame: in a circle, files would be closed late


def open_transfers(
    url: str, storage_options: Mapping[str, Any] | None = None, stop: threading.Event | None = None
) -> ObjectTransfers:
    """Open an object store for transfers.

    Parameters
    ----------
    url, storage_options
        See :func:`~zarrfeed.store.objects.options.connected`.
    stop
        Ends all transfers once it is set.
    """
    store = connected(url, storage_options)
    return ObjectTransfers(url.rstrip("/"), store, threading.Event() if stop is None else stop)
