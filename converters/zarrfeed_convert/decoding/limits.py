"""How much memory may an input file claim, and which other files may it refer to?

Sizes in headers are claims. They are checked here before memory is allocated, so that a small file
cannot exhaust the machine's memory, and a dataset cannot refer to files outside of it.
"""

from __future__ import annotations

import math
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError, look_up
from zarrfeed.machine_memory import total_memory
from zarrfeed.store.address import entry_kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

_GIB = 1 << 30
_SHARE = 8  # an eighth of the machine's memory: decoding a sample takes up to four times its size
_LEAST, _MOST = _GIB // 4, 3 * _GIB
_KEY_NBYTES = 128  # memory that one listed sample takes


def _default_nbytes() -> int:
    return min(max(total_memory() // _SHARE, _LEAST), _MOST)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of what input files may claim.

    Parameters
    ----------
    sample_nbytes
        Largest array, in decoded bytes, that may be decoded at once: an image, a mask, or a chunk
        of them. The default is an eighth of the memory of the machine or container, but at least
        256 MiB and at most 3 GiB.
    external
        Whether input files may refer to files outside their folder, which are then read.

    Examples
    --------
    >>> Limits(sample_nbytes=1 << 20).require((1000, 1000), "uint8", "a.png")
    >>> Limits(sample_nbytes=1 << 20).require((60000, 60000), "uint8", "a.png")
    Traceback (most recent call last):
    zarrfeed.errors.SourceError: a.png: needed an image of at most 1 MiB, found one that claims \
60000×60000 uint8, 3433 MiB; if that is right, allow it by --max-sample-size 4GiB (look up: \
sample-too-large)
    """

    sample_nbytes: int = field(default_factory=_default_nbytes)
    external: bool = False

    def require(
        self,
        shape: Sequence[int],
        dtype: npt.DTypeLike,
        name: str,
        what: str = "an image",
        *,
        advice: str = "",
    ) -> None:
        """Check that an array is not empty and does not exceed the limit.

        Parameters
        ----------
        shape, dtype
            Shape and dtype that the header claims.
        name
            Name of the file, for errors.
        what
            Name of the kind of array, for errors.
        advice
            A further way out of a claim that is right, for errors.

        Raises
        ------
        SourceError
            The array is empty, or larger than `sample_nbytes`.
        """
        kind: np.dtype[Any] = np.dtype(dtype)
        claim = f"{'×'.join(map(str, shape))} {kind}"
        if min(shape, default=1) < 1:
            raise SourceError(f"{name}: needed pixels, found {what} of {claim}; take the file out")
        self.require_nbytes(
            math.prod(map(int, shape)) * kind.itemsize, name, what, claim, advice=advice
        )

    def require_nbytes(
        self, nbytes: int, name: str, what: str, claim: str = "", *, advice: str = ""
    ) -> None:
        """Check that an array of `nbytes` bytes may be decoded at once.

        Raises
        ------
        SourceError
            `nbytes` exceeds `sample_nbytes`.
        """
        if nbytes > self.sample_nbytes:
            said = f"{claim}, {_mib(nbytes)}" if claim else _mib(nbytes)
            raise SourceError(
                f"{name}: needed {what} of at most {_mib(self.sample_nbytes)}, found one that "
                f"claims {said}; if that is right, allow it by "
                f"--max-sample-size {-(-nbytes // _GIB)}GiB{advice}"
                f"{look_up('sample-too-large')}"
            )

    def require_count(self, count: int, name: str, what: str = "samples") -> None:
        """Check that the names of `count` samples do not take more memory than a sample may.

        Raises
        ------
        SourceError
            `count` exceeds ``sample_nbytes // 128``.
        """
        most = self.sample_nbytes // _KEY_NBYTES
        if count > most:
            raise SourceError(
                f"{name}: needed at most {most} {what}, found a claim of {count}; if that is "
                f"right, allow it by --max-sample-size {-(-count * _KEY_NBYTES // _GIB)}GiB"
                f"{look_up('sample-too-large')}"
            )

    def require_readable(self, path: Path) -> None:
        """Check that a path is a regular file that does not exceed the limit.

        Raises
        ------
        SourceError
            The path is a pipe, a socket, a device, or a file larger than `sample_nbytes`.
        OSError
            The path does not exist.
        """
        require_regular(path)
        self.require_nbytes(path.stat().st_size, str(path), "a file")

    def require_own(self, path: str, folder: str, name: str) -> None:
        """Check that a file which another file refers to is inside a folder.

        Symbolic links are not resolved: whoever owns the folder has created them.

        Parameters
        ----------
        path
            Path as written in the referring file, relative to `folder`.
        folder
            Folder of the referring file.
        name
            Place of the reference, for errors.

        Raises
        ------
        SourceError
            The file is outside `folder`, and `external` is False.
        """
        inside = os.path.abspath(folder)  # noqa: PTH100 (Path keeps "..", or follows links)
        found = os.path.abspath(os.path.join(folder, path))  # noqa: PTH100, PTH118
        chained = "::" in path or "://" in path  # fsspec takes it for an address
        if chained or Path(path).is_absolute() or not Path(found).is_relative_to(inside):
            self.require_external(name, f"the file {path}, outside {folder or '.'}")

    def require_external(self, name: str, what: str) -> None:
        """Refuse data outside the dataset, unless they are allowed.

        Parameters
        ----------
        name
            Place of the reference, for errors.
        what
            What it refers to, for errors.

        Raises
        ------
        SourceError
            `external` is False.
        """
        if not self.external:
            raise SourceError(
                f"{name}: needed all data inside the dataset, found a reference to {what}; if you "
                "trust it, add --allow-external"
                f"{look_up('external-files')}"
            )


def require_regular(path: Path) -> None:
    """Check that a path is a regular file or a folder.

    Raises
    ------
    SourceError
        The path is a pipe, a socket or a device. Reading it might never end.
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
    """Read a UTF-8 text file, with or without a byte order mark.

    Raises
    ------
    SourceError
        The file cannot be read, is not text, or is larger than 64 MiB.
    """
    try:
        require_regular(path)
        with path.open("rb") as file:
            data = file.read(_LONGEST + 1)
    except OSError as error:
        raise SourceError(
            f"{path}: cannot be read: {error.strerror}; make it readable, or take it out"
            f"{look_up('damaged-file')}"
        ) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path}: needed text in UTF-8, found the byte {data[error.start]:#04x} at byte "
            f"{error.start}; save it as UTF-8"
            f"{look_up('damaged-file')}"
        ) from error
    if len(data) > _LONGEST or "\0" in text:
        found = "zero bytes" if "\0" in text else f"more than {_LONGEST >> 20} MiB"
        raise SourceError(
            f"{path}: needed a text file, found {found}; restore the file{look_up('damaged-file')}"
        )
    return text
