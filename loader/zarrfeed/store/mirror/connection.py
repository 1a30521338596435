"""What may be asked of the fetcher, the process that downloads what mirrors lack?"""

from __future__ import annotations

import os
import pickle
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zarrfeed.errors import ReadError, look_up
from zarrfeed.store.mirror.fetcher_process import connect, last_words, peer_pid
from zarrfeed.store.mirror.messages import Hangup, Message, encoded, raise_if_error, receive
from zarrfeed.user_warning import warn_user

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

# Where obstore looks for credentials, regions, endpoints and proxies.
_VARIABLES = ("AWS_", "GOOGLE_", "AZURE_", "HTTP_", "HTTPS_", "NO_PROXY", "http_", "https_", "no_")


class _Opened(NamedTuple):
    url: str
    storage_options: Mapping[str, Any]
    limit: int | None
    folder: Path | None


class Connection:
    """A client's connection to the fetcher of a cache. It is made when it is first needed.

    Any thread may use it; each request waits for those before. A forked child, and a client whose
    fetcher has died, connect anew and repeat what is asked; twice in a row is an error.

    Parameters
    ----------
    cache
        Folder of the cache, which is created if it is missing.
    timeout
        Seconds to wait for one answer.
    """

    def __init__(self, cache: Path, *, timeout: float) -> None:
        self._cache = cache
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self._pid = os.getpid()
        self._fetcher: int | None = None  # process id of the last one
        self._lock = threading.Lock()
        # What a new fetcher must be told before anything else.
        self._opened: dict[str, _Opened] = {}
        self._planned: tuple[Message, bytes] | None = None

    def open(
        self,
        url: str,
        storage_options: Mapping[str, Any],
        limit: int | None,
        folder: Path | None = None,
    ) -> Path:
        """Open the mirror of a split.

        Parameters
        ----------
        url
            Address of the split.
        storage_options
            As for :func:`zarrfeed.store.objects.options.connected`.
        limit
            Largest size of all mirrors of the cache in bytes; None for no limit.
        folder
            What :meth:`open` returned to somebody before, if it is known. While the fetcher still
            has this mirror, it reads no metadata again.

        Returns
        -------
        Path
            The folder of the split in its mirror, with all metadata.

        Raises
        ------
        StoreError
            There is no such split, the fetcher cannot be started, or has another limit.
        ReadError
            The store cannot be read.
        """
        opened = _Opened(url, storage_options, limit, folder)
        message = self._ask(*_open_request(opened), what=url)
        folder = Path(message["folder"])
        self._opened[url] = opened._replace(folder=folder)
        return folder

    def require(self, folder: Path, blocks: NDArray[np.int64]) -> None:
        """Wait until blocks of a mirror are there, all at the same time.

        Parameters
        ----------
        folder
            What :meth:`open` returned.
        blocks
            Numbers of the blocks.

        Raises
        ------
        ReadError
            They cannot be had, or not in time.
        """
        content = np.ascontiguousarray(blocks, "<i8").tobytes()
        what = f"{blocks.size:,} blocks of {folder}"
        self._ask({"do": "require", "folder": str(folder)}, content, what=what)

    def doubt(self, folder: Path, blocks: NDArray[np.int64]) -> bool:
        """Say that blocks cannot be decoded.

        Returns
        -------
        bool
            Whether to require them again: they were not known to be right, and have gone.
        """
        content = np.ascontiguousarray(blocks, "<i8").tobytes()
        request = {"do": "doubt", "folder": str(folder)}
        return bool(self._ask(request, content, what=f"damaged blocks of {folder}")["again"])

    def indexes(self, folder: Path, files: NDArray[np.int64]) -> None:
        """Wait until the tables of chunks of files of a mirror are there.

        Raises
        ------
        ReadError
            They cannot be had, or not in time.
        """
        content = np.ascontiguousarray(files, "<i8").tobytes()
        what = f"the indexes of {files.size:,} files of {folder}"
        self._ask({"do": "indexes", "folder": str(folder)}, content, what=what)

    def whole(self, folder: Path, array: str) -> None:
        """Wait until all files of an array of a mirror are there.

        Raises
        ------
        ReadError
            They cannot be had, or not in time.
        """
        request = {"do": "whole", "folder": str(folder), "array": array}
        self._ask(request, what=str(folder / array))

    def plan(self, plan: bytes, epoch: int, batch: int) -> None:
        """Say what will be needed, in which order.

        Parameters
        ----------
        plan
            A pickled :class:`zarrfeed.feed.fetching.upcoming.Plan`.
        epoch, batch
            What comes next.

        Raises
        ------
        StoreError
            The cache's limit cannot hold the batches that are under way together.
        """
        request = {"do": "plan", "epoch": epoch, "batch": batch}
        self._planned = None
        self._ask(request, plan, what="the plan of an epoch")
        self._planned = request, plan

    def at(self, epoch: int, batch: int) -> None:
        """Say which batch comes next, without waiting and ignoring errors."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._planned is None or self._socket is None or self._pid != os.getpid():
                return
            position = {"epoch": epoch, "batch": batch}
            self._planned = {"do": "plan", **position}, self._planned[1]
            message = encoded({"do": "at", **position})
            if self._socket.send(message, socket.MSG_DONTWAIT) < len(message):
                self._hang_up()  # half a message makes no sense
        except BlockingIOError:
            pass  # it has not read those before
        except OSError:
            self._hang_up()
        finally:
            self._lock.release()

    def counters(self) -> dict[str, int]:
        """Return what the fetcher has counted: requests, bytes fetched, blocks evicted, …"""
        found: dict[str, int] = self._ask({"do": "counters"}, what="counters")["counters"]
        return found

    def close(self) -> None:
        """Close the connection. It is made again if it is needed."""
        with self._lock:
            self._hang_up()

    def __del__(self) -> None:
        self._hang_up()

    def _ask(self, request: Message, content: bytes = b"", *, what: str) -> Message:
        sent = encoded(request, content)
        with self._lock:
            try:
                answer = self._exchanged(sent)
            except Hangup as error:
                self._hang_up()
                raise ReadError(
                    f"{what}: the process that fetches died twice: {last_words(self._cache)}"
                    f"{look_up('remote-store')}"
                ) from error
            except TimeoutError as error:
                self._hang_up()
                raise ReadError(
                    f"{what}: did not come within {self._timeout:g} s: if the network is that "
                    f"slow, increase timeout{look_up('remote-store')}"
                ) from error
            except BaseException:  # Ctrl-C: the answer would be taken for that of another
                self._hang_up()
                raise
        for warning in answer.get("warnings", ()):
            warn_user(str(warning))
        raise_if_error(answer)
        return answer

    def _exchanged(self, sent: bytes) -> Message:
        try:
            return self._exchange(sent)
        except Hangup:  # it ended, or died
            self._hang_up()
            return self._exchange(sent, dead=self._fetcher)

    def _exchange(self, sent: bytes, *, dead: int | None = None) -> Message:
        try:
            connection = self._connected(dead)
            connection.settimeout(self._timeout)
            connection.sendall(sent)
        except ConnectionError as error:
            raise Hangup from error
        return receive(connection)[0]

    def _connected(self, dead: int | None) -> socket.socket:
        if self._pid != os.getpid():  # the socket is the parent's
            self._hang_up()
            self._pid = os.getpid()
        if self._socket is None:
            self._socket = connect(self._cache, dead=dead)
            self._fetcher = peer_pid(self._socket)
            self._socket.settimeout(self._timeout)
            known = [_open_request(each) for each in self._opened.values()]
            if self._planned is not None:
                known.append(self._planned)
            for message, content in known:
                self._socket.sendall(encoded(message, content))
                raise_if_error(receive(self._socket)[0])
        return self._socket

    def _hang_up(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()


def _open_request(opened: _Opened) -> tuple[Message, bytes]:
    """Return a request with secrets, which go from process to process alone."""
    environment = {n: value for n, value in os.environ.items() if n.startswith(_VARIABLES)}
    secrets = pickle.dumps((dict(opened.storage_options), environment))
    folder = None if opened.folder is None else str(opened.folder)
    return {"do": "open", "url": opened.url, "limit": opened.limit, "folder": folder}, secrets
