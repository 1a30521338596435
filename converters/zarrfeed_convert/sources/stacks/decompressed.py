"""Where are the decompressed copies of files while their slices are read in any order?

A gzip file can only be read from its beginning, so a shuffled read would decompress a volume for
each of its slices. Instead, each volume is decompressed once, to the folder for temporary files
(``TMPDIR``), and all processes map it. Seek points (indexed_gzip) need no room there, but then a
slice inflates the megabytes since the last point: 90 to 330 ms instead of 40 for one of 512×512 in
a 40 MB file, and whole seconds along the other two axes.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import shutil
import tempfile
import weakref
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from zarrfeed.errors import SourceError, look_up
from zarrfeed_convert.locks import hold, own_prefix, remove_abandoned
from zarrfeed_convert.sources.stacks.gzip_files import open_gzip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_DEFLATED = 1032  # bytes from one
_PIECE = 1 << 20  # bytes in memory at a time
_FULL = (errno.ENOSPC, errno.EDQUOT)


class DecompressedCopies:
    """A folder of decompressed copies, pickled as its path.

    The process that created it deletes it; if that was killed, the next one does.
    """

    def __init__(self, folder: str = "") -> None:
        if folder:
            self._folder = Path(folder)
            return
        prefix = own_prefix("zarrfeed-copies")
        remove_abandoned(Path(tempfile.gettempdir()), prefix)
        self._folder = Path(tempfile.mkdtemp(prefix=prefix))
        self._remove_later()

    def plain(
        self,
        path: str,
        *,
        extension: str,
        nbytes: int,
        write: Callable[[BinaryIO], object] | None = None,
    ) -> str:
        """Return the path of a file's decompressed copy, and create the copy if there is none.

        Parameters
        ----------
        path
            A gzip file, or any other with `write`.
        extension
            The extension of the copy.
        nbytes
            The size of the copy, as the header declares it; what follows is left out.
        write
            Function that writes the decompressed bytes to a file; None to decompress a gzip file.

        Raises
        ------
        OSError, EOFError, zlib.error
            The file is missing, damaged or truncated.
        SourceError
            The disk has no room for the copy.
        """
        about = os.stat(path)  # noqa: PTH116
        told = f"{Path(path).absolute()}\n{about.st_mtime_ns}\n{about.st_size}"
        copy = self._folder / (blake2b(told.encode(), digest_size=16).hexdigest() + extension)
        if not copy.exists():
            with self._alone(copy):
                if not copy.exists():
                    self._write(path, copy, nbytes, write)
        return str(copy)

    def _write(
        self, path: str, copy: Path, nbytes: int, write: Callable[[BinaryIO], object] | None
    ) -> None:
        partial = copy.with_suffix(".partial")
        try:
            if shutil.disk_usage(self._folder).free < nbytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            with partial.open("wb") as file:
                if write is None:
                    _decompress(path, file, nbytes)
                else:
                    write(file)
            partial.replace(copy)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise SourceError(
                f"{path}: needed {nbytes} bytes for its decompressed copy, found no room in "
                f"{self._folder.parent}; set TMPDIR to a folder with room for all volumes"
                f"{look_up('disk-space')}"
            ) from error
        finally:
            partial.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _alone(self, copy: Path) -> Iterator[None]:
        """Hold off other processes and threads that need the same copy."""
        try:
            self._folder.mkdir(parents=True, mode=0o700)
        except FileExistsError:
            pass
        else:  # on another machine, or after the process that created it has gone
            self._remove_later()
        lock = copy.with_suffix(".lock")
        lock.touch()
        held = hold(lock, wait_s=math.inf)  # without locks in the file system it's made twice
        try:
            yield
        finally:
            os.close(held)

    def _remove_later(self) -> None:
        weakref.finalize(self, _remove, str(self._folder), hold(self._folder), os.getpid())

    def __reduce__(self) -> tuple[type[DecompressedCopies], tuple[str]]:
        return DecompressedCopies, (str(self._folder),)


def _decompress(path: str, file: BinaryIO, nbytes: int) -> None:
    left = nbytes
    with open_gzip(path) as packed:
        while left and (piece := packed.read(min(left, _PIECE))):
            file.write(piece)
            left -= len(piece)
        packed.read(1)  # at the end, the checksum is verified
    if left:
        raise EOFError(f"it ends after {nbytes - left} of {nbytes} bytes")


def _remove(folder: str, held: int, owner: int) -> None:
    if os.getpid() == owner:  # not in its forks
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)
