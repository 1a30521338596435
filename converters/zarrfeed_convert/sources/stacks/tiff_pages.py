"""How is one page of a TIFF stack read without the others?

tifffile allocates every page that the description of OME, ImageJ or tifffile itself claims, and
opens the files that OME's XML names. So descriptions are checked first.
"""

from __future__ import annotations

import re
import struct
import threading
from collections import Counter
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from xml.etree import ElementTree

import numpy as np
import tifffile

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.limits import require_regular
from zarrfeed_convert.decoding.tiff import (
    PALETTE,
    measure_page,
    needs_conversion,
    palette_of,
    require_allowed,
    require_whole,
    require_whole_parts,
)
from zarrfeed_convert.decoding.tiff_directories import require_end
from zarrfeed_convert.sources.stacks.tiff_spacing import spacing_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.limits import Limits

Index: TypeAlias = "tuple[int | slice, ...]"
_MOST_PAGES = 1 << 20
_LONGEST = 64 << 20  # characters: as much as is parsed of a text
_COUNTS = re.compile(r"(?:images|slices|frames|channels)=(\d+)")


def require_own_pages(tiff: tifffile.TiffFile, path: str) -> None:
    """Refuse a TIFF whose descriptions claim too many pages, or pages of other files.

    Raises
    ------
    SourceError
        They do. A stack that continues in other files must be saved as one, whatever is allowed.
    """
    ome = tiff.ome_metadata
    if ome is not None:
        _require_own_ome(ome, path)
    text = tiff.pages.first.description if len(tiff.pages) else ""
    for found in _COUNTS.findall(text[:_LONGEST]):
        _require_few(int(found), path)
    for shaped in tiff.shaped_metadata or ():
        shape = shaped.get("shape", ())
        page = tiff.pages.first.size or 1
        _require_few(prod(map(int, shape)) // page, path)


def _require_own_ome(text: str, path: str) -> None:
    if len(text) > _LONGEST:
        raise SourceError(
            f"{path}: needed an OME description of at most {_LONGEST} characters, found "
            f"{len(text)}; split the file"
        )
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return  # tifffile then reads it as a plain TIFF
    own = {root.attrib.get("UUID")}
    for element in root.iter():
        kind = element.tag.rpartition("}")[2]
        if kind == "Pixels":
            sizes = [int(element.attrib.get(f"Size{axis}", 1)) for axis in "CZT"]
            _require_few(prod(sizes), path)
        elif kind == "TiffData":
            named = [element.attrib.get(name, 0) for name in ("PlaneCount", "NumPlanes")]
            _require_few(sum(map(int, named)), path)
        elif kind == "UUID" and element.text not in own and _is_other(element, path, own):
            raise SourceError(
                f"{path}: needed a stack in one file, found one that continues in others "
                f"({element.attrib.get('FileName')}); save it as one file"
            )


def _is_other(uuid: ElementTree.Element, path: str, own: set[str | None]) -> bool:
    """Return whether a plane is in another file; a file of this name is this one."""
    same = uuid.attrib.get("FileName", "").lower() == re.split(r"[/\\]", path)[-1].lower()
    if same and own == {None}:
        own.add(uuid.text)
    return not (same and uuid.text in own)


def _require_few(pages: int, path: str) -> None:
    if pages > _MOST_PAGES or pages < 0:
        raise SourceError(
            f"{path}: needed at most {_MOST_PAGES} pages, found a claim of {pages}; split the file"
        )


class TiffPages:
    """The pages of a stack, not yet read. Holds no open file, and is thread-safe.

    Parameters
    ----------
    path
        The file.
    limits
        Limits on what it may claim.

    Attributes
    ----------
    letters, sizes
        The axes of the stack, as tifffile names them.
    page, measured
        The first page, whose tags hold for all, and its header.
    spacing
        Distances of planes, rows and columns in mm, as viewers show them; None if unknown.

    Raises
    ------
    SourceError
        The file is no stack of pages of one size, or is truncated.
    """

    def __init__(self, path: str, limits: Limits) -> None:
        self._path, self._limits = path, limits
        self._lock = threading.Lock()
        require_regular(Path(path))
        self._bytes = Path(path).stat().st_size
        with Path(path).open("rb") as file:
            require_end(file, path)
        with tifffile.TiffFile(path) as tiff:
            require_allowed(tiff.pages.first, path, limits)
            require_own_pages(tiff, path)
            series = _only_series(tiff, path)
            self._file = tiff.filehandle
            self.letters: str = series.get_axes(False)
            self.sizes: tuple[int, ...] = tuple(series.get_shape(False))
            self.page: Any = series.keyframe
            _require_readable(series, path)
            self.measured = measure_page(self.page)  # some tags are read from the open file
            self.spacing = spacing_of(tiff, self.page)
            self._mapped, self._pages = self._map(tiff, series), []
            if self._mapped is None:
                self._pages = list(series)
            if self.page.photometric == PALETTE:
                _require_one_palette(series, path)
        long = [
            axis for axis, size in enumerate(self.sizes) if size > 1 or self.letters[axis] in "YX"
        ]
        self._shape = tuple(self.sizes[axis] for axis in long)
        self._outer = self._count_outer()

    def read(self, index: Index) -> NDArray[Any]:
        """Read a part of the stack; see :meth:`reading`."""
        with self.reading() as read:
            return read(index)

    @contextmanager
    def reading(self) -> Iterator[Callable[[Index], NDArray[Any]]]:
        """Open the stack, and yield a function that reads parts of it, page by page.

        The function takes an index along each axis that is longer than 1, and along Y and X. It
        keeps the page that was decoded last, of which the next part may be.
        """
        if self._mapped is not None:
            mapped = self._mapped.reshape(self._shape)
            yield lambda index: np.array(mapped[index])
            return
        decoded: dict[int, NDArray[Any]] = {}

        def page(number: int) -> NDArray[Any]:
            if number not in decoded:
                decoded.clear()
                decoded[number] = self._read_page(number)
            return decoded[number]

        def read(index: Index) -> NDArray[Any]:
            outer, inner = index[: self._outer], index[self._outer :]
            numbers = np.arange(len(self._pages)).reshape(self._shape[: self._outer])[outer]
            parts = [page(number)[inner] for number in np.ravel(numbers).tolist()]
            return np.stack(parts).reshape(*np.shape(numbers), *parts[0].shape)

        # Pages share one file handle and its position.
        with self._lock:
            self._file.open()
            try:
                yield read
            finally:
                self._file.close()

    def is_read_in_parts(self, nbytes: int) -> bool:
        """Return whether no more than `nbytes` are decoded to read any page of so many bytes."""
        return self._mapped is not None or bool(self.page.nbytes <= nbytes)

    def _map(self, tiff: tifffile.TiffFile, series: Any) -> NDArray[Any] | None:
        """Map pixels that are stored contiguously; ImageJ does not even list such pages."""
        if series.dataoffset is None:
            return None
        dtype = np.dtype(tiff.byteorder + series.dtype.char)
        end = series.dataoffset + prod(self.sizes) * dtype.itemsize
        if end > self._bytes:
            raise SourceError(_ends_early(self._path, f"byte {end} of {self._bytes}"))
        return np.memmap(self._path, dtype, "r", series.dataoffset, self.sizes)

    def _count_outer(self) -> int:
        """Return the number of axes that count pages; the others are within a page."""
        return next(
            axes
            for axes in range(len(self._shape))
            if self._mapped is not None or prod(self._shape[:axes]) == len(self._pages)
        )

    def _read_page(self, number: int) -> NDArray[Any]:
        page = self._pages[number]
        if page is None:
            raise SourceError(
                f"{self._path}: needed a page that the file's description claims, found none; "
                "restore the file, or take it out"
            )
        require_whole(page, self._bytes, self._path)
        require_whole_parts(page, self._path, self._limits)
        values: NDArray[Any] = page.asarray(maxworkers=1)
        return values.reshape(self._shape[self._outer :])


def _only_series(tiff: tifffile.TiffFile, path: str) -> Any:
    try:
        found = tiff.series
    except RuntimeError:  # a page is unlike the first
        pages: Any = tiff.pages
        pages.useframes = False
        sizes = Counter(f"{page.imagelength}x{page.imagewidth}" for page in pages)
        raise SourceError(_unlike(path, [f"{n} of {size}" for size, n in sizes.items()])) from None
    full = [series for series in found if not series.keyframe.is_reduced]
    _require_all_pages(tiff, full, path)
    if len(full) != 1:
        raise SourceError(_unlike(path, [f"{'x'.join(map(str, s.shape))} {s.dtype}" for s in full]))
    return full[0]


def _require_all_pages(tiff: tifffile.TiffFile, found: list[Any], path: str) -> None:
    """Refuse a truncated file: tifffile reads what is left as the whole stack."""
    form, file = tiff.tiff, tiff.filehandle
    file.seek(tiff.pages[-1].offset)
    (tags,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
    file.seek(tags * form.tagsize, 1)
    (following,) = struct.unpack(form.offsetformat, file.read(form.offsetsize))
    short_of = tiff.is_imagej and not any(series.kind == "imagej" for series in found)
    if following or short_of:
        raise SourceError(_ends_early(path, f"{len(tiff.pages)} pages"))


def _require_readable(series: Any, path: str) -> None:
    if series.is_multifile:
        raise SourceError(
            f"{path}: needed a stack in one file, found one that continues in others; save it as "
            "one file"
        )
    if needs_conversion(series.keyframe) or series.transform is not None:
        raise SourceError(
            f"{path}: needed grey, RGB or palette pages, found {series.keyframe.photometric.name} "
            f"({series.kind}); convert the stack first"
        )


def _require_one_palette(series: Any, path: str) -> None:
    """Refuse pages with different palettes: an index would mean something else in each."""
    first = palette_of(series.keyframe)
    for number, page in enumerate(series):
        whole = page.aspage() if isinstance(page, tifffile.TiffFrame) else page
        if page is not None and not np.array_equal(palette_of(whole), first):
            raise SourceError(
                f"{path}: needed one palette for all pages, found another one at page {number}; "
                "save the pages as RGB"
            )


def _ends_early(path: str, where: str) -> str:
    return (
        f"{path}: needed pages after {where}, found that the file ends there; restore it, or take "
        "it out"
    )


def _unlike(path: str, found: list[str]) -> str:
    return (
        f"{path}: needed pages of one size and number type, found {', '.join(found)}; "
        "split the file into stacks of like pages"
    )
