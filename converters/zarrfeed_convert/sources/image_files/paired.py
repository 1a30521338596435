"""How do files of images, masks and further fields become samples?"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.decode import decode, measure
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.extra_fields import parse_fields
from zarrfeed_convert.labels import is_jpeg
from zarrfeed_convert.source import IMAGES_ONLY, PAIR
from zarrfeed_convert.sources.cache import Cache
from zarrfeed_convert.sources.class_files import find_classes
from zarrfeed_convert.sources.field_values import DecodedFields
from zarrfeed_convert.sources.file_discovery import fixed_part
from zarrfeed_convert.sources.image_files.array_file import (
    ArrayFile,
    is_array_file,
    require_volume_axes,
)
from zarrfeed_convert.sources.image_files.folder_files import join_folders
from zarrfeed_convert.sources.option_checks import masks_given, require_level
from zarrfeed_convert.sources.read_errors import source_errors
from zarrfeed_convert.sources.value_options import ValueOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.pixels import Color, Measure, Pixels
    from zarrfeed_convert.decoding.tiff_windows import TiffWindows
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON, Field, Mask, Window
    from zarrfeed_convert.sources.field_values import FieldValue
    from zarrfeed_convert.sources.file_pairs import Joined

_OPENED_NBYTES = 32 << 20  # of offsets of tiles, which a file is not asked for again


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

    def _values(self, sample: int, fields: Sequence[int]) -> Iterator[FieldValue]:
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

    def _level_of(self, field: int, name: str) -> int:
        """Return the level at which to read a file; masks may have only that of the images."""
        if self._level and field and measure(Path(name), self._limits).levels == 1:
            return 0
        return self._level

    def reads_windows(self, sample: int) -> bool:
        """Return whether all files are ``.npy``, or TIFFs of tiles or of short strips."""
        return None not in self._windows(sample)

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

    def _parts(self, sample: int, fields: Sequence[int], window: Window) -> Iterator[FieldValue]:
        """Find what a window holds of some fields, whose files can all be read in windows."""
        files = self._files[sample]
        for field, file in enumerate(self._windows(sample)):
            if field not in fields or file is None:
                continue
            if isinstance(file, ArrayFile):
                yield replace(file, window=window)
            else:
                part = Part(file, (window[0], window[1]))
                yield ImageFile(files[field], self._limits, self._level, part)

    def _windows(self, sample: int) -> list[ArrayFile | TiffWindows | None]:
        return [self._window_of(field, name) for field, name in enumerate(self._files[sample])]

    def _window_of(self, field: int, name: str) -> ArrayFile | TiffWindows | None:
        """Return what reads windows of a file; None if nothing does."""
        if self._axes or is_array_file(name):
            file = self._file(field, name)
            return file if isinstance(file, ArrayFile) else None
        return self._opened.get((name, field, *_version(name)), partial(self._open, name, field))

    def _open(self, name: str, field: int) -> TiffWindows | None:
        from zarrfeed_convert.decoding.tiff_windows import (
            windows_of,
        )  # tifffile's import takes 16 ms

        return windows_of(name, self._limits, self._level_of(field, name))


class Part(NamedTuple):
    """A window of an opened file: its rows and columns."""

    file: TiffWindows
    window: tuple[slice, slice]


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file of one field, at one of its levels, or a part of it."""

    name: str
    limits: Limits
    level: int = 0
    part: Part | None = None

    def measure(self) -> Measure:
        """Read the header of the file."""
        return measure(Path(self.name), self.limits, level=self.level)

    def pixels(self) -> Pixels:
        """Decode the file, or the part of it."""
        if self.part is not None:
            return self.part.file.read(self.part.window)
        return decode(Path(self.name), self.limits, level=self.level)


def _version(name: str) -> tuple[int, int]:
    """Return what changes if a file is written anew."""
    found = Path(name).stat()
    return found.st_mtime_ns, found.st_size


def _nbytes_of(file: TiffWindows | None) -> int:
    return 0 if file is None else file.nbytes


@source_errors
class PairedFolders(FilePairs):
    """Image files and mask files, paired by the path below their folder, without extension.

    Files are images of any number of channels, or arrays in ``.npy`` files: images (H, W) or
    (H, W, C), masks (H, W); or volumes, (D, H, W) or (D, H, W, C), with masks (D, H, W). The
    ``.npy`` files of a folder are read if it has no image files, or if a glob names them; otherwise
    a remark counts them.

    Parameters
    ----------
    images, masks
        A folder, which is searched with all folders below it, or a glob. Names are relative to the
        folder, or to the part of the glob before its first wildcard. If `masks` is left out or
        ``none``, images are packed alone.
    image_suffix, mask_suffix
        End of a stem after the shared name, such as ``_mask``. Files without the suffix are left
        aside and counted in :meth:`describe`. Images and masks may share a folder; there, files
        with the mask suffix are masks.
    fields
        Further fields, name → ``ROLE:PLACE``, such as ``{"depth": "target:data/depth"}``. PLACE is
        a folder or a glob of files, which pair with the images as masks do and are not images,
        even in a shared folder. Role ``image``: a picture, converted by `color`; ``mask``: ids,
        converted by `mask_map`; ``target``: the numbers of the files, unchanged. A grey JPEG may
        be a target; a remark says that its numbers are not the original ones.
    level
        Resolution at which to read images that have several (OME-TIFF, SVS and other pyramids of
        TIFF); 0 is the full one. Masks and fields are read at it, too, if they have several.
    axes
        ``DHW`` or ``DHWC`` if the files are ``.npy`` files of volumes: D planes, H rows, W columns,
        C channels. By default they are images.
    color
        ``auto`` keeps the channels of the files; ``grey``, ``rgb``, ``rgba`` convert.
    mask_map
        Meaning of mask values: a :class:`MaskMap`, or text as in :func:`parse_mask_map`. By
        default that of a ``labelmap.txt`` (CVAT), ``class_dict.csv``, ``label_colors.txt`` or
        ``_classes.csv`` (Roboflow) among the masks or beside their folder, if there is one.
    limits
        Limits on what files may claim, and name besides themselves; see
        :class:`zarrfeed_convert.Limits`.

    Attributes
    ----------
    left_out
        Files without a partner, as (name, reason).
    classes, ignore
        Those of such a file; None without one.

    Raises
    ------
    SourceError
        A folder is missing or empty, a glob matches nothing, most files are unpaired, or two have
        the same name.
    """

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str] = "",
        *,
        image_suffix: str = "",
        mask_suffix: str = "",
        fields: Mapping[str, str] | None = None,
        level: int = 0,
        axes: str = "",
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        require_level(level)
        require_volume_axes(axes)
        extras = parse_fields(fields)
        has_ids = any(extra.field.role == "mask" for extra in extras)
        paired = masks_given(
            os.fspath(masks), mask_suffix=mask_suffix, mask_map="" if has_ids else mask_map
        )
        self.fields = (*(PAIR if paired else IMAGES_ONLY), *(extra.field for extra in extras))
        joined = join_folders(
            os.fspath(images),
            os.fspath(masks) if paired else "",
            image_suffix=image_suffix,
            mask_suffix=mask_suffix,
            extras=extras,
        )
        self._left_aside = joined.left_aside
        self.remarks = self._remarks_on(joined)
        options = of_fields = ValueOptions.of(color, mask_map)
        self._description: JSON = {**self.arguments, **options.describe()}
        for name, value in (("level", level), ("axes", axes)):
            if not value:  # splits and runs of before have none
                self._description.pop(name, None)
        self._facts: JSON = {}
        self.classes: tuple[str, ...] | None = None
        self.ignore: int | None = None
        named = None
        if paired and not str(options.mask_map):
            named = find_classes(_folders(os.fspath(masks)))
        if named is not None:
            self.classes, self.ignore = named.labels.classes, named.labels.ignore
            self._facts["classes_from"] = named.file
            options = ValueOptions(color, named.mask_map, known=True)
        super().__init__(
            joined.files,
            options,
            joined.left_out,
            limits,
            of_fields=of_fields,
            level=level,
            axes=axes.upper(),
        )

    def _remarks_on(self, joined: Joined) -> tuple[tuple[str, str, str], ...]:
        remarks = []
        if joined.passed_over:
            first = Path(joined.passed_over[0])
            why = f"such as {first}, beside image files; to pack arrays, name them by a glob like "
            count = f"{len(joined.passed_over)} passed over"
            remarks.append((".npy files", count, f"{why}'{first.parent / '*.npy'}'"))
        targets = [number for number, field in enumerate(self.fields) if field.role == "target"]
        jpegs = [
            files[number]
            for files in joined.files.values()
            for number in targets
            if is_jpeg(files[number])
        ]
        if jpegs:
            why = f"such as {min(jpegs)}: JPEG has changed their numbers; pack the originals if"
            remarks.append(("JPEG targets", f"{len(jpegs)} files", f"{why} there are any"))
        return tuple(remarks)

    def describe(self) -> JSON:
        """Return the location and the options of the samples, as JSON."""
        images, masks = self._left_aside
        return {
            "kind": "paired",
            **self._description,
            "facts": {"left_aside": {"images": images, "masks": masks}, **self._facts},
        }


def _folders(masks: str) -> list[Path]:
    """List the folders in which a file may name the classes."""
    folder = Path(masks) if Path(masks).is_dir() else Path(fixed_part(masks))
    return [folder, folder.parent]
