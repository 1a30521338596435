"""What may reading a foreign file take: how much memory, and which files besides itself?

What a header says is a claim. It is checked here before memory of its size is taken, so that a
small file cannot fill a machine, and a dataset cannot name files that are not its own.
"""

from __future__ import annotations

import math
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed.machine_memory import total_memory
from zarrfeed.store.address import entry_kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

_GIB = 1 << 30
_SHARE = 8  # of the machine's memory: a sample that is decoded is there four times
_LEAST, _MOST = _GIB // 4, 3 * _GIB
_KEY_NBYTES = 128  # of memory for a sample that is only listed


def _default_nbytes() -> int:
    return min(max(total_memory() // _SHARE, _LEAST), _MOST)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a source may take from the machine for what files claim.

    Parameters
    ----------
    sample_nbytes
        Most bytes of an array that must be decoded at once: an image, a mask, a chunk of them. By
        default an eighth of the machine's memory, between 256 MiB and 3 GiB.
    external
        Whether the contents of a file may name other files outside its folder, which are read.

    Examples
    --------
    >>> Limits(sample_nbytes=1 << 20).require((1000, 1000), "uint8", "a.png")
    >>> Limits(sample_nbytes=1 << 20).require((60000, 60000), "uint8", "a.png")
    Traceback (most recent call last):
    zarrfeed.errors.SourceError: a.png: needed an image of at most 1 MiB, found one that claims \
60000×60000 uint8, 3433 MiB; if that is right, allow it by --max-sample-size 4GiB
    """

    sample_nbytes: int = field(default_factory=_default_nbytes)
    external: bool = False

    def require(
        self, shape: Sequence[int], dtype: npt.DTypeLike, name: str, what: str = "an image"
    ) -> None:
        """Refuse an array that is empty, or that claims too much.

        Parameters
        ----------
        shape, dtype
            As a header claims them.
        name
            The file, for errors.
        what
            What the array is, for errors.

        Raises
        ------
        SourceError
            The array has no entries, or more than may be decoded at once.
        """
        kind: np.dtype[Any] = np.dtype(dtype)
        claim = f"{'×'.join(map(str, shape))} {kind}"
        if min(shape, default=1) < 1:
            raise SourceError(f"{name}: needed pixels, found {what} of {claim}; take the file out")
        self.require_nbytes(math.prod(map(int, shape)) * kind.itemsize, name, what, claim)

    def require_nbytes(self, nbytes: int, name: str, what: str, claim: str = "") -> None:
        """Refuse to decode more bytes at once than are allowed.

        Raises
        ------
        SourceError
            `nbytes` exceeds the limit.
        """
        if nbytes > self.sample_nbytes:
            said = f"{claim}, {_mib(nbytes)}" if claim else _mib(nbytes)
            raise SourceError(
                f"{name}: needed {what} of at most {_mib(self.sample_nbytes)}, found one that "
                f"claims {said}; if that is right, allow it by "
                f"--max-sample-size {-(-nbytes // _GIB)}GiB"
            )

    def require_count(self, count: int, name: str, what: str = "samples") -> None:
        """Refuse more samples than can be listed.

        Raises
        ------
        SourceError
            Their names alone would take more memory than a sample may.
        """
        most = self.sample_nbytes // _KEY_NBYTES
        if count > most:
            raise SourceError(
                f"{name}: needed at most {most} {what}, found a claim of {count}; if that is "
                f"right, allow it by --max-sample-size {-(-count * _KEY_NBYTES // _GIB)}GiB"
            )

    def require_readable(self, path: Path) -> None:
        """Refuse what would be read without end: a pipe or a device, or a file that is too large.

        Raises
        ------
        SourceError
            The path is a pipe, a device or too large a file.
        OSError
            The path does not exist.
        """
        require_regular(path)
        self.require_nbytes(path.stat().st_size, str(path), "a file")

    def require_own(self, path: str, folder: str, name: str) -> None:
        """Refuse a file that another file's contents name, if it is outside a folder.

        Links in the file system count by their own path: the folder's owner put them there.

        Parameters
        ----------
        path
            As the contents say; it counts from the folder.
        folder
            Of the file that says it.
        name
            Of the place that says it, for errors.

        Raises
        ------
        SourceError
            The file is outside, and external files are not allowed.
        """
        inside = os.path.abspath(folder)  # noqa: PTH100 (Path keeps "..", or follows links)
        found = os.path.abspath(os.path.join(folder, path))  # noqa: PTH100, PTH118
        chained = "::" in path or "://" in path  # an address, to fsspec
        if chained or Path(path).is_absolute() or not Path(found).is_relative_to(inside):
            self.require_external(name, f"the file {path}, outside {folder or '.'}")

    def require_external(self, name: str, what: str) -> None:
        """Refuse what leads out of a dataset.

        Raises
        ------
        SourceError
            External data are not allowed.
        """
        if not self.external:
            raise SourceError(
                f"{name}: needed all data in the dataset itself, found that it names {what}; if "
                "you trust it, add --allow-external"
            )


def require_regular(path: Path) -> None:
    """Refuse a pipe, a socket or a device in place of a file: reading it may never end.

    Raises
    ------
    SourceError
        The path is a pipe, a socket or a device.
    OSError
        The path does not exist.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise SourceError(f"{path}: needed a file, found {entry_kind(mode)}; take it out")


def _mib(nbytes: int) -> str:
    return f"{nbytes / (1 << 20):.0f} MiB" if nbytes >= 1 << 20 else f"{nbytes} bytes"


_LONGEST = 64 << 20  # bytes: the names of a million files


def read_text(path: Path) -> str:
    """Read a file of text, UTF-8 with or without a mark in front.

    Raises
    ------
    SourceError
        The file cannot be read, is no text, or too long for a list of names.
    """
    try:
        require_regular(path)
        with path.open("rb") as file:
            data = file.read(_LONGEST + 1)
    except OSError as error:
        raise SourceError(
            f"{path}: cannot be read: {error.strerror}; make it readable, or take it out"
        ) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path}: needed text in UTF-8, found the byte {data[error.start]:#04x} at byte "
            f"{error.start}; save it as UTF-8"
        ) from error
    if len(data) > _LONGEST or "\0" in text:
        found = "zero bytes" if "\0" in text else f"more than {_LONGEST >> 20} MiB"
        raise SourceError(f"{path}: needed a text of names, found {found}; restore the file")
    return text
