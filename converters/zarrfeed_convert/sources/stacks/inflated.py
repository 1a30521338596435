"""How is a gzip file decompressed to memory, while its parts are read from the beginning on?

Packing reads a volume once, plane by plane: bytes in memory then cost less than a copy on disk,
whose writing alone takes longer than decompressing. Only as much is decompressed as is asked for,
since several processes may each need a part of the volume.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed_convert.sources.cache import Cache, file_version
from zarrfeed_convert.sources.stacks.gzip_files import open_gzip

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PIECE = 256 << 10  # bytes decompressed at a time, so that they stay in the processor's cache


class InflatedFile:
    """The decompressed bytes of a gzip file, of which the first ones are known.

    Parameters
    ----------
    path
        The file.
    nbytes
        Its decompressed size, as its header declares it; what follows is left out. Memory is taken
        only as it is filled.
    """

    def __init__(self, path: str, nbytes: int) -> None:
        self._path, self.nbytes = path, nbytes
        self._bytes = np.empty(nbytes, np.uint8)
        self._known = 0
        self._lock = threading.Lock()
        self._stream: Any = None

    def until(self, end: int) -> NDArray[np.uint8]:
        """Decompress up to `end` and return the whole buffer; bytes beyond it may be undefined.

        Raises
        ------
        OSError, EOFError, zlib.error
            The file is missing, damaged or truncated. The checksum is verified when all are known.
        """
        with self._lock:
            if self._known < end:
                try:
                    self._continue(end)
                except BaseException:
                    self._close()
                    self._known = 0
                    raise
        return self._bytes

    def _continue(self, end: int) -> None:
        if self._stream is None:
            self._stream = open_gzip(self._path)
            weakref.finalize(self, self._stream.close)
        free = self._bytes.data
        while self._known < end:
            count = self._stream.readinto(free[self._known : self._known + _PIECE])
            if not count:
                raise EOFError(f"it ends after {self._known} of {self.nbytes} bytes")
            self._known += count
        if self._known == self.nbytes:
            self._stream.read(1)  # at the end, the checksum is verified
            self._close()

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


class InflatedFiles:
    """The decompressed bytes of the files that were read last. Pickled without them.

    Parameters
    ----------
    bound
        Maximum number of bytes to keep.
    """

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self._files: Cache[InflatedFile] = Cache(bound, _nbytes, at_least=1)

    def read(self, path: str, nbytes: int, end: int) -> NDArray[np.uint8]:
        """Return the `nbytes` bytes of a file; see :meth:`InflatedFile.until`."""
        file = self._files.get(file_version(path), lambda: InflatedFile(path, nbytes))
        return file.until(end)


def _nbytes(file: InflatedFile) -> int:
    return file.nbytes
