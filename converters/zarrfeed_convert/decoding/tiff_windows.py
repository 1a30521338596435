"""Which pixels does a window of a TIFF hold?

Only the tiles or strips that a window meets are read and decoded, by tifffile's own function for
one of them. Its Zarr store does the same, but takes 1.1 to 2.8 times as long for bands of tiles of
256², and fills up what is missing or truncated.
"""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from zarrfeed_convert.decoding.decode import TIFF, naming_file
from zarrfeed_convert.decoding.jpeg import decode_whole_jpeg
from zarrfeed_convert.decoding.limits import require_regular
from zarrfeed_convert.decoding.pixels import stored_window
from zarrfeed_convert.decoding.tiff import (
    arrange_page,
    has_windows,
    is_mappable,
    measure_page,
    opened_level,
    orientation_of,
    require_allowed,
    require_whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.decoding.pixels import Pixels
    from zarrfeed_convert.decoding.tiff_levels import Level

# Approximate bytes of a page with its tags, and of each tile's offset and size (Python ints).
_PAGE_NBYTES, _OFFSET_NBYTES = 64 << 10, 100


class TiffWindows:
    """A TIFF, or one of its levels, whose windows are decoded. Holds no open file; thread-safe.

    Parameters
    ----------
    path, limits
        The file, and limits of what it may claim.
    found
        The level, in the opened file.

    Attributes
    ----------
    size
        (height, width), turned as viewers show it.
    nbytes
        Approximate number of bytes that the object takes.

    Raises
    ------
    SourceError
        The file is damaged or truncated.
    """

    def __init__(self, path: str, limits: Limits, found: Level) -> None:
        self._path, self._limits = path, limits
        page, self._full = found.page, found.full
        self._page = page
        require_allowed(page, path, limits, windows=True)
        require_whole(page, page.parent.filehandle.size, path)
        # All of this is read from the open file.
        measured = measure_page(page, found.full)
        self.size = measured.height, measured.width
        self._mapped, self._tables = is_mappable(page), page.jpegtables
        self._decode = page.decode
        self._separate = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
        self._bands = page.samplesperpixel
        self._part = page.chunks[:2]
        self._grid = tuple(
            -(-size // part)
            for size, part in zip((page.imagelength, page.imagewidth), self._part, strict=True)
        )
        self.nbytes = _PAGE_NBYTES + _OFFSET_NBYTES * len(page.dataoffsets)

    @property
    def chunk(self) -> tuple[int, ...]:
        """Rows and columns that are decoded as a whole, (1, 1) if pixels are mapped."""
        if self._mapped:
            return 1, 1
        height, width = self._part
        turned = orientation_of(self._page, self._full) > 4  # rows and columns are exchanged
        return (width, height) if turned else (height, width)

    @property
    def _has_planes(self) -> bool:
        return bool(self._separate and self._bands > 1)

    def read(self, window: tuple[slice, slice]) -> Pixels:
        """Decode a window of the image, turned as viewers show it.

        Parameters
        ----------
        window
            Rows and columns, within the size that the header says.

        Raises
        ------
        SourceError
            A tile or strip is damaged or truncated.
        """
        page = self._page
        rows, columns = stored_window(window, orientation_of(page, self._full), self.size)
        with naming_file(self._path):
            values = self._mapped_values if self._mapped else self._decoded
            stored = values(rows, columns)
            if self._bands == 1:
                stored = stored[:, :, 0]
            return arrange_page(stored, page, self._full)

    def _mapped_values(self, rows: slice, columns: slice) -> NDArray[Any]:
        page = self._page
        dtype = np.dtype(page.dtype).newbyteorder(page.parent.byteorder)
        planes = self._bands if self._separate else 1
        inner = self._bands if not self._separate else 1
        shape = planes, page.imagelength, page.imagewidth, inner
        require_regular(Path(self._path))
        mapped = np.memmap(self._path, dtype, "r", page.dataoffsets[0], shape)
        part = mapped[:, rows, columns]
        return np.array(np.moveaxis(part[..., 0], 0, 2) if self._has_planes else part[0])

    def _decoded(self, rows: slice, columns: slice) -> NDArray[Any]:
        size = rows.stop - rows.start, columns.stop - columns.start
        found = np.empty((*size, self._bands), np.dtype(self._page.dtype))
        with Path(self._path).open("rb") as file:
            for number, row, column, band in self._parts(rows, columns):
                part = self._decoded_part(file.fileno(), number)
                below, right = row + part.shape[0], column + part.shape[1]
                into = (
                    slice(max(row, rows.start) - rows.start, min(below, rows.stop) - rows.start),
                    slice(
                        max(column, columns.start) - columns.start,
                        min(right, columns.stop) - columns.start,
                    ),
                )
                top, left = max(rows.start - row, 0), max(columns.start - column, 0)
                height, width = (each.stop - each.start for each in into)
                found[(*into, band)] = part[top : top + height, left : left + width]
        return found

    def _parts(self, rows: slice, columns: slice) -> Iterator[tuple[int, int, int, slice]]:
        """Find the tiles or strips of a window: number, first row, first column, bands."""
        (high, wide), (down, across) = self._part, self._grid
        along = (range(rows.start // high, -(-rows.stop // high)),
                 range(columns.start // wide, -(-columns.stop // wide)))  # fmt: skip
        for plane in range(self._bands if self._has_planes else 1):
            bands = slice(plane, plane + 1) if self._has_planes else slice(None)
            for row, column in product(*along):
                yield (plane * down + row) * across + column, row * high, column * wide, bands

    def _decoded_part(self, file: int, number: int) -> NDArray[Any]:
        """Decode a tile or strip, (h, w, bands)."""
        page = self._page
        count, offset = page.databytecounts[number], page.dataoffsets[number]
        if not count:
            shape = self._decode(None, number)[2][1:]
            return np.full(shape, page.nodata, page.dtype)
        self._limits.require_nbytes(count, self._path, "a tile or strip")
        data = os.pread(file, count, offset)
        if len(data) < count:
            raise ValueError("truncated")
        part: NDArray[Any]
        if page.compression == tifffile.COMPRESSION.JPEG:
            part = decode_whole_jpeg(
                data, self._path, self._limits,
                lambda data: self._decode(data, number, jpegtables=self._tables)[0][0],
            )  # fmt: skip
        else:
            part = self._decode(data, number, jpegtables=self._tables)[0][0]
        return part


def open_windows(path: str, limits: Limits, level: int = 0) -> TiffWindows | None:
    """Open a TIFF to decode windows of it.

    Returns
    -------
    TiffWindows or None
        None if the file is no TIFF, or has to be decoded as a whole.

    Raises
    ------
    SourceError
        The file is damaged or truncated, or has no such level.
    """
    with naming_file(path):
        require_regular(Path(path))
        with Path(path).open("rb") as file:
            if file.read(4) not in TIFF:
                return None
            with opened_level(file, path, level) as found:
                return TiffWindows(path, limits, found) if has_windows(found.page) else None
