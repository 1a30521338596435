"""How are the files of a sample's fields decoded, as a whole or window by window?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from zarrfeed.errors import SourceError, look_up
from zarrfeed_convert.decoding.decode import decode, measure
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.geometry import size_text
from zarrfeed_convert.source import PAIR
from zarrfeed_convert.sources.cache import Cache, file_version
from zarrfeed_convert.sources.field_values import DecodedFields, FieldValue
from zarrfeed_convert.sources.image_files.array_file import ArrayFile, is_array_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.pixels import Measure, Pixels
    from zarrfeed_convert.decoding.tiff_windows import TiffWindows
    from zarrfeed_convert.header import Header
    from zarrfeed_convert.source import Field, Mask, Window
    from zarrfeed_convert.sources.value_options import ValueOptions

_OPENED_NBYTES = 32 << 20  # of headers with the offsets of tiles, which are not read again
_CLOSED_NBYTES = 400  # of knowing that a file is decoded as a whole
_GIB = 1 << 30
_COLORS, _ITEMSIZE = 4, 8  # of channels of which fewer may be packed; bytes of the largest number
_INDICES = 16 << 20  # of a palette, that are decoded together


class File(FieldValue, Protocol):
    """A file of a field."""

    def require_whole(self) -> None:
        """Refuse a file that is too large to be decoded as a whole."""
        ...


class FilePairs(DecodedFields):
    """Samples with one file per field: the base class of sources of image files.

    Parameters
    ----------
    files
        Key → a file for each of the `fields`.
    options
        Conversion of values to images and masks.
    left_out
        Inputs that make no sample, as (name, reason).
    limits
        Limits on what the files may claim.
    of_fields
        Conversion of values to further fields; `options` if None.
    level
        Number of the resolution at which to read files that have several.
    axes
        Those of images that are volumes, ``DHW`` or ``DHWC``; empty for images (H, W).
    """

    def __init__(
        self,
        files: Mapping[str, tuple[str, ...]],
        options: ValueOptions,
        left_out: Sequence[tuple[str, str]],
        limits: Limits | None = None,
        *,
        of_fields: ValueOptions | None = None,
        level: int = 0,
        axes: str = "",
    ) -> None:
        self._keys = sorted(files)
        self._files = [files[key] for key in self._keys]
        self._options, self._of_extras = options, of_fields
        self.left_out = list(left_out)
        self._limits, self._level, self._axes = limits or Limits(), level, axes
        self._opened: Cache[TiffWindows | None] = Cache(_OPENED_NBYTES, _nbytes_of)

    @property
    def keys(self) -> Sequence[str]:
        """Names that the files of a sample share, without folder, suffix and extension; sorted."""
        return self._keys

    def names(self, sample: int) -> tuple[str, ...]:
        """Return the files of a sample."""
        return self._files[sample]

    def _values(self, sample: int, fields: Sequence[int]) -> Iterator[File]:
        files = self._files[sample]
        return (self._file(field, files[field]) for field in fields)

    def _file(self, field: int, name: str) -> ArrayFile | ImageFile:
        if is_array_file(name) and not (self._level and field == 0):
            rank = len(self._axes) if field == 0 else 0
            return ArrayFile(name, self._limits, 3 if self._axes else 2, rank)
        if self._axes:
            raise SourceError(
                f"{name}: needed a .npy file of a volume, as -o axes={self._axes} says, found "
                "another; name files by a glob like 'scans/*.npy', or leave -o axes out"
            )
        return ImageFile(name, self._limits, self._level_of(field, name))

    def _decoded(self, field: Field, value: FieldValue) -> NDArray[Any]:
        values = super()._decoded(field, value)
        if isinstance(value, ArrayFile) and value.axes == 3:
            return values.reshape(*value.size, *values.shape[2:])
        return values

    def probe(self, sample: int) -> Header:
        """Measure a sample, and check that its files agree at the level."""
        header = super().probe(sample)
        if self._level:
            self._require_level_of_all(sample, header)
        return header

    def _require_level_of_all(self, sample: int, header: Header) -> None:
        """Refuse files that have neither the level of the image nor its size.

        Raises
        ------
        SourceError
            The message says which levels of which size the files have.
        """
        axes, names = len(header.size), self._files[sample]
        for field, name in zip(self.fields[1:], names[1:], strict=True):
            if header.arrays[field.name].shape[:axes] == header.size:
                continue
            raise SourceError(
                f"{names[0]}: needed a {field.name} of {size_text(header.size)} pixels, as level "
                f"{self._level} of the image ({self._levels_of(names[0])}), found {name} "
                f"({self._levels_of(name)}); save the {field.name} with the same levels or in the "
                "size of this one, or use -o level=0"
                f"{look_up('mask-size')}"
            )

    def _levels_of(self, name: str) -> str:
        """List the levels of a file with their sizes."""
        if is_array_file(name):
            sizes = [ArrayFile(name, self._limits).size]
        else:
            first = measure(Path(name), self._limits)
            more = range(1, first.levels)
            sizes = [first.size]
            sizes += [measure(Path(name), self._limits, level=level).size for level in more]
        return ", ".join(f"level {level} is {size_text(size)}" for level, size in enumerate(sizes))

    def _level_of(self, field: int, name: str) -> int:
        """Return the level at which to read a file; masks may have only that of the images."""
        if self._level and field and measure(Path(name), self._limits).levels == 1:
            return 0
        return self._level

    def require_whole(self, sample: int, header: Header) -> None:
        """Refuse files that are too large to be decoded as a whole.

        Raises
        ------
        SourceError
            One is. If it could be read in windows, but another file of the sample cannot, the
            message names the other one.
        """
        axes, names = len(header.size), self._files[sample]
        values = max(_COLORS, *(prod(shape[axes:]) for shape, _ in header.arrays.values()))
        most = max(prod(header.size) * values * _ITEMSIZE, *(Path(n).stat().st_size for n in names))
        if most <= self._limits.sample_nbytes:
            return  # without opening the files once more
        for field, file in enumerate(self._values(sample, range(len(names)))):
            try:
                file.require_whole()
            except SourceError as error:
                windowed = [self._has_windows(field, name) for field, name in enumerate(names)]
                if not windowed[field] or all(windowed):
                    raise
                other = names[windowed.index(False)]
                raise SourceError(
                    f"{other}: needed a file that is read in windows, as {file.name} is, found "
                    "one that has to be decoded as a whole, for which the other is too large; save "
                    f"it as a tiled TIFF, for --tile {_form(axes)}, or allow more by "
                    f"--max-sample-size {-(-_nbytes(file.measure()) // _GIB)}GiB"
                ) from error

    def _has_windows(self, field: int, name: str) -> bool:
        """Return whether a file of a field is read in windows."""
        return self._window_of(field, name) is not None

    def reads_windows(self, sample: int) -> bool:
        """Return whether all files are ``.npy``, or TIFFs of tiles or of short strips."""
        return None not in self._windows(sample)

    def decoded_together(self, sample: int) -> tuple[int, ...]:
        """Return the largest tile or strip of the files; that of maps is a pixel."""
        files = self._windows(sample)
        chunks = [file.chunk for file in files if file and not isinstance(file, ArrayFile)]
        return tuple(map(max, zip(*chunks, strict=True)))

    def read_window(self, sample: int, window: Window) -> tuple[NDArray[Any], ...]:
        """Decode a window of a sample; of TIFFs, only the tiles or strips that it meets."""
        if not self.reads_windows(sample):
            return super().read_window(sample, window)
        return self._converted(self._parts(sample, range(len(self.fields)), window))

    def read_mask_window(self, sample: int, window: Window) -> Mask:
        """Decode a window of a mask without its image."""
        if not self.reads_windows(sample):
            return super().read_mask_window(sample, window)
        return self._decoded(PAIR[1], next(self._parts(sample, [1], window)))

    def shown_colors(self, sample: int) -> dict[int, int]:
        """Return the colours of the palette indices that the mask of a sample uses."""
        file = self._window_of(1, self._files[sample][1])
        if file is None or isinstance(file, ArrayFile):
            return super().shown_colors(sample)
        height, width = file.size
        step = max(1, _INDICES // width)
        shown: dict[int, int] = {}
        for top in range(0, height, step):
            window = slice(top, min(top + step, height)), slice(0, width)
            shown |= self._options.shown_colors(file.read(window))
        return shown

    def _parts(self, sample: int, fields: Sequence[int], window: Window) -> Iterator[FieldValue]:
        """Find what a window holds of some fields, whose files can all be read in windows."""
        files = self._files[sample]
        for field, file in enumerate(self._windows(sample)):
            if field not in fields:
                continue
            if isinstance(file, ArrayFile):
                yield replace(file, window=window)
            elif file is not None:
                part = PartOfFile(file, in_image(window))
                yield ImageFile(files[field], self._limits, self._level, part)

    def _windows(self, sample: int) -> list[ArrayFile | TiffWindows | None]:
        return [self._window_of(field, name) for field, name in enumerate(self._files[sample])]

    def _window_of(self, field: int, name: str) -> ArrayFile | TiffWindows | None:
        """Return what reads windows of a file; None if nothing does."""
        if self._axes or is_array_file(name):
            file = self._file(field, name)
            return file if isinstance(file, ArrayFile) else None
        return self._opened.get((field, *file_version(name)), partial(self._open, name, field))

    def _open(self, name: str, field: int) -> TiffWindows | None:
        # The import of tifffile takes 16 ms.
        from zarrfeed_convert.decoding.tiff_windows import open_windows

        return open_windows(name, self._limits, self._level_of(field, name))


def in_image(window: Window) -> tuple[slice, slice]:
    """Return the rows and columns of a window of an image."""
    rows, columns = window
    return rows, columns


class PartOfFile(NamedTuple):
    """A window of an opened file: its rows and columns."""

    file: TiffWindows
    window: tuple[slice, slice]


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file of one field, at one of its levels, or a part of it."""

    name: str
    limits: Limits
    level: int = 0
    part: PartOfFile | None = None

    def measure(self) -> Measure:
        """Read the header of the file."""
        return measure(Path(self.name), self.limits, level=self.level)

    def require_whole(self) -> None:
        """Refuse a file that is too large to be decoded as a whole."""
        measure(Path(self.name), self.limits, level=self.level, windows=False)

    def pixels(self) -> Pixels:
        """Decode the file, or the part of it."""
        if self.part is not None:
            return self.part.file.read(self.part.window)
        return decode(Path(self.name), self.limits, level=self.level)


def _form(axes: int) -> str:
    return "x".join("DHW"[-axes:])


def _nbytes(measure: Measure) -> int:
    return prod(measure.size) * measure.channels * np.dtype(measure.dtype).itemsize


def _nbytes_of(file: TiffWindows | None) -> int:
    return _CLOSED_NBYTES if file is None else file.nbytes
