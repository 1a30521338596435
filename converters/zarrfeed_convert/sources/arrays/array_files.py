"""Which arrays does an address like ``cells.h5:/images`` name, and how are they read?"""

from __future__ import annotations

import glob
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few
from zarrfeed_convert.sources.arrays.array_attributes import ValueEncoding
from zarrfeed_convert.sources.file_discovery import list_files

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.sources.axes import Axes


BLOCK_NBYTES = 128 * 2**20  # the most decoded bytes of a chunk, or of one read, that are kept


def split_address(text: str) -> tuple[str, str]:
    """Read ``FILE:ARRAY``, or ``FILE`` alone, which may be a glob and means its only array.

    The last colon divides; one in front of a wildcard belongs to the file's name.

    Examples
    --------
    >>> split_address("data/*.h5:/train/images")
    ('data/*.h5', '/train/images')
    >>> split_address("cells.npy")
    ('cells.npy', '')
    """
    file, colon, array = text.rpartition(":")
    if not (colon and file) or glob.has_magic(array):
        return text, ""
    return file, array


def choose_array(file: str, array: str, found: Mapping[str, str], *, joint: str = ":") -> str:
    """Choose the array that an address names.

    Parameters
    ----------
    file, array
        The address: of one file; empty for its only array.
    found
        The arrays of that file: name → what it is, like ``(10, 64, 64) uint8``.
    joint
        What stands between file and array, for errors.

    Raises
    ------
    SourceError
        There is none of that name, or no name is given and there are several. The message lists
        those that there are.

    Examples
    --------
    >>> choose_array("a.h5", "images", {"/images": "", "/masks": ""})
    '/images'
    """
    wanted = array.strip("/")
    for name in found:
        if name.strip("/") == wanted:
            return name
    if not found:
        raise SourceError(f"{file}: needed an array, found none in it; give another file")
    if not wanted and len(found) == 1:
        return next(iter(found))
    shown = few(f"{name} {what}".strip() for name, what in found.items())
    if not wanted:
        raise SourceError(
            f"{file}: needed the name of one array, found {len(found)}: {shown}; "
            f"add it, like {file}{joint}{next(iter(found))}"
        )
    raise SourceError(f"{file}{joint}{array}: no such array; there are {shown}")


@dataclass(frozen=True, slots=True)
class FoundArray:
    """An array that an address names, not yet opened.

    Attributes
    ----------
    file
        Its file.
    array
        Its name there, as in the address.
    stem
        How the keys of its samples begin; unique among the arrays of an address.
    """

    file: str
    array: str
    stem: str

    @property
    def name(self) -> str:
        """Its name in messages, like ``cells.h5:/images``."""
        return f"{self.file}:{self.array}" if self.array else self.file


@dataclass(frozen=True, slots=True)
class UnwrittenParts:
    """Parts of an array that were never written.

    Attributes
    ----------
    run
        Number of entries along axis 0 that are written together.
    count
        Number of such runs.
    partly
        Runs of which a part was never written.
    wholly
        Runs of which nothing was ever written.
    fill_is_mask
        Whether a mask may consist of the fill value.
    """

    run: int
    count: int
    partly: frozenset[int]
    wholly: frozenset[int]
    fill_is_mask: bool

    @property
    def everywhere(self) -> bool:
        """Tell whether nothing was ever written."""
        return len(self.wholly) == self.count

    def affects(self, row: int | None, *, mask: bool) -> bool:
        """Tell whether an entry, or the whole array, lacks values that it needs."""
        if mask:
            lacks = self.everywhere if row is None else row // self.run in self.wholly
            return lacks and not self.fill_is_mask
        return bool(self.partly) if row is None else row // self.run in self.partly


@dataclass(frozen=True, slots=True)
class Stack:
    """An array, as its header describes it.

    Attributes
    ----------
    found
        Where it is, with the array's full name in the file.
    shape, dtype
        Of the whole array.
    together
        Samples along axis 0 that must be decoded together.
    kept
        Upper bound on its decoded bytes that a process keeps while it reads sample by sample.
    unwritten
        Parts that read as a fill value because they were never written.
    encoding
        How its values are encoded.
    chunks
        Lengths of the parts that are decoded at once; None if any value can be read alone.
    """

    found: FoundArray
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    together: int
    kept: int
    unwritten: UnwrittenParts | None = field(default=None, kw_only=True)
    encoding: ValueEncoding = field(default=ValueEncoding(), kw_only=True)
    chunks: tuple[int, ...] | None = field(default=None, kw_only=True)

    @property
    def shown_dtype(self) -> np.dtype[Any]:
        """Return the dtype of the decoded values."""
        return self.encoding.dtype(self.dtype)


class ArrayFiles(Protocol):
    """Reads the arrays of one kind of file. Picklable and thread-safe.

    Attributes
    ----------
    bound
        Upper bound on the decoded bytes that a process keeps; the two largest arrays may exceed it.
    """

    bound: int

    def find(self, address: str, what: str) -> list[FoundArray]:
        """List the arrays of an address, sorted by file; at least one."""
        ...

    def measure(self, found: FoundArray) -> Stack:
        """Read an array's header."""
        ...

    def read(self, stack: Stack, row: int | None, name: str) -> NDArray[Any]:
        """Read one entry along axis 0, or the whole array, into new memory.

        The name is the sample's, for errors. May raise other exceptions than SourceError.
        """
        ...

    def read_part(self, stack: Stack, part: Sequence[slice], name: str) -> NDArray[Any]:
        """Read a slice, with start and stop, of each axis of an array, into new memory.

        The name is the sample's, for errors. May raise other exceptions than SourceError.
        """
        ...

    def texts(self, file: str, array: str) -> list[str]:
        """Read an array of texts from the file."""
        ...


def find_arrays(address: str, what: str, extensions: Collection[str]) -> list[FoundArray]:
    """List the arrays that ``FILE:ARRAY`` names, one per file, sorted by file.

    Parameters
    ----------
    address
        FILE is a file, a glob, or a folder, which is searched with everything below it.
    what
        ``images`` or ``masks``, for errors.
    extensions
        Extensions of the files that a folder is searched for.

    Raises
    ------
    SourceError
        There is no such file.
    """
    colon_of_name = Path(address).exists()
    where, array = (address, "") if colon_of_name else split_address(address)
    files = list_files(where, what=what, extensions=extensions)
    return [FoundArray(file, array, stem) for file, stem in files.items()]


def chunks_cut(chunks: Sequence[int] | None, axes: Axes, dtype: np.dtype[Any]) -> bool:
    """Return whether a part of a sample can be read without all of it, by an array's chunks.

    Not if a chunk is too large to stay decoded: every part would decode it anew.

    Examples
    --------
    >>> from zarrfeed_convert.sources.axes import Axes
    >>> axes = Axes.named("DHW", (64, 512, 512))
    >>> [chunks_cut(chunks, axes, np.dtype("i2")) for chunks in ((1, 512, 512), (64, 512, 512))]
    [True, False]
    """
    if chunks is None:
        return True
    cut = any(chunks[axis] < axes.sizes[axis] for axis in axes.spatial)
    return cut and prod(chunks) * dtype.itemsize <= BLOCK_NBYTES


def chunks_of_sample(chunks: Sequence[int], axes: Axes) -> int:
    """Return how many chunks hold a part of a sample.

    Examples
    --------
    >>> from zarrfeed_convert.sources.axes import Axes
    >>> chunks_of_sample((1, 8, 8), Axes.named("NHW", (100, 16, 17)))
    6
    """
    lengths = enumerate(zip(axes.sizes, chunks, strict=True))
    return prod(-(-size // chunk) for axis, (size, chunk) in lengths if axis not in axes.samples)


def texts_of(values: NDArray[Any]) -> list[str]:
    """Return the texts of an array, which may be stored as bytes.

    Examples
    --------
    >>> texts_of(np.array([b"a", b"b"]))
    ['a', 'b']
    """
    return [
        text.decode("utf-8") if isinstance(text, bytes) else str(text)
        for text in np.ravel(values).tolist()
    ]
