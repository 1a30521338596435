"""How are large objects sent to an object store, and read from it, without holding them in memory?

An object that is sent appears only when all of its pieces have arrived: if the caller's iterator
raises, or the process dies, there is none. The server's tag of an object (ETag) shows what has
arrived where it is the MD5 of the bytes, as that of S3 is without encryption by keys of one's own.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

from zarrfeed.errors import look_up
from zarrfeed.store.object_store import ObjectError, ObjectStore, StoredObject, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Generator, Iterable, Iterator, Mapping

    from typing_extensions import Buffer

T = TypeVar("T")
_LEAST_PART = 8 << 20
_MOST_PARTS = 9000  # S3 takes 10,000
_PIECE_NBYTES = 1 << 20
_FRUITLESS = 5  # cuts in a row after which nothing has arrived
_LOOK_EVERY_S = 0.1
_PAUSE_S = 0.2  # after the first of them; twice as long after each further one


def part_nbytes(nbytes: int) -> int:
    """Return the size of the parts in which an object of `nbytes` bytes is sent.

    Examples
    --------
    >>> part_nbytes(100) >> 20, part_nbytes(1 << 40) >> 20
    (8, 117)
    """
    return max(_LEAST_PART, -(-nbytes // _MOST_PARTS) + (1 << 20) - 1 >> 20 << 20)


@dataclass(slots=True)
class PartDigest:
    """Computes the tag that S3 gives an object: the MD5 of its bytes, or of the MD5 of its parts.

    Attributes
    ----------
    nbytes
        Size of the object.

    Examples
    --------
    >>> digest = PartDigest(3)
    >>> digest.update(b"abc")
    >>> digest.tag()
    '900150983cd24fb0d6963f7d28e17f72'
    """

    nbytes: int
    _parts: list[bytes] = field(default_factory=list, init=False, repr=False)
    _left: int = field(default=0, init=False, repr=False)
    _digest: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self._next()

    def update(self, piece: Buffer) -> None:
        """Add the next bytes."""
        view = memoryview(piece).cast("B")
        while len(view):
            if not self._left:
                self._parts.append(self._digest.digest())
                self._next()
            taken = view[: self._left]
            self._digest.update(taken)
            self._left -= len(taken)
            view = view[len(taken) :]

    def tag(self) -> str:
        """Return the tag of all bytes so far, without quotes."""
        if not self._parts:
            return str(self._digest.hexdigest())
        parts = [*self._parts, self._digest.digest()]
        return f"{_md5(b''.join(parts)).hexdigest()}-{len(parts)}"

    def _next(self) -> None:
        self._digest, self._left = _md5(), part_nbytes(self.nbytes)


def _md5(content: bytes = b"") -> Any:
    return hashlib.md5(content, usedforsecurity=False)  # what S3 computes, against accidents


def plain_tag(etag: str | None) -> str:
    """Return a tag without what HTTP puts around it.

    Examples
    --------
    >>> plain_tag('W/"0a"')
    '0a'
    """
    return (etag or "").removeprefix("W/").strip('"')


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
            while not (await asyncio.wait({task}, timeout=_LOOK_EVERY_S))[0]:
                if self.stop.is_set():
                    raise Stopped
            return task.result()
        finally:
            task.cancel()

    def pieces(self, key: str, *, start: int = 0, etag: str | None = None) -> Iterator[Buffer]:
        """Read an object from a byte on. A connection that breaks goes on at the byte reached.

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
        fruitless = 0
        while True:
            before = start
            try:
                with self._errors(key), asyncio.Runner() as runner:
                    found, etag = runner.run(self._asked(key, start, etag))
                    stream = found.stream(min_chunk_size=_PIECE_NBYTES)
                    while piece := runner.run(self._next(stream)):
                        start += len(piece)
                        yield piece
                return
            except ObjectError as error:
                fruitless = fruitless + 1 if start == before else 0
                if error.kind not in ("cut", "stalled") or fruitless == _FRUITLESS:
                    raise
            if self.stop.wait(_PAUSE_S * (1 << fruitless)):
                raise Stopped

    async def _next(self, stream: AsyncIterator[T]) -> T | None:
        try:
            return await self._unless_stopped(anext(stream))
        except StopAsyncIteration:
            return None

    async def _asked(self, key: str, start: int, etag: str | None) -> tuple[Any, str | None]:
        from obstore.exceptions import PreconditionError

        options: dict[str, Any] = {}
        if start:
            options["range"] = {"offset": start}
        if etag is not None:
            options["if_match"] = etag
        try:
            found = await self._unless_stopped(self._store.get_async(key, options=options))
        except PreconditionError:
            raise ObjectError(
                f"{self._name(key)}: the object was replaced while it was read; repeat the command"
                f"{look_up('replaced-split')}"
            ) from None
        return found, etag or found.meta["e_tag"]

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
        with raised.instead(), self._errors(key), ThreadPoolExecutor(1) as reader:
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

    def create(self, key: str, content: bytes) -> bool:
        """Write a small object unless there is one; return whether it was written.

        Servers that do not know such conditions write it in any case.
        """
        from obstore.exceptions import AlreadyExistsError, GenericError, NotSupportedError

        with self._errors(key):
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

    def entries(self) -> tuple[list[str], list[str]]:
        """Return the names of the folders and of the objects just below the address, sorted."""
        with self._errors(""):
            found = self._store.list_with_delimiter()
        files = [each["path"] for each in found["objects"]]
        names = [
            sorted(path.rstrip("/").rpartition("/")[2] for path in paths)
            for paths in (found["common_prefixes"], files)
        ]
        return names[0], names[1]

    def remove(self, keys: Iterable[str]) -> None:
        """Remove objects, if they exist."""
        for key in keys:
            with self._errors(key), suppress(FileNotFoundError):
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
    """Open an object store for transfers; as :func:`~zarrfeed.store.object_store.open_store`.

    Parameters
    ----------
    url, storage_options
        See :func:`~zarrfeed.store.object_store.open_store`.
    stop
        Ends all transfers once it is set.
    """
    store = open_store(url, storage_options)
    return ObjectTransfers(store.url, store._store, threading.Event() if stop is None else stop)
