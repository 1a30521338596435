"""How do GeoTIFFs of images and of masks become samples?"""

from __future__ import annotations

import math
import os
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError, look_up
from zarrfeed.spelling import plural
from zarrfeed_convert.decoding.raster import (
    CACHE_NBYTES,
    apart_by,
    measure_raster,
    read_raster,
    require_whole_raster,
)
from zarrfeed_convert.decoding.tiff_directories import may_have_gaps
from zarrfeed_convert.labels import MAX_ID
from zarrfeed_convert.source import IMAGES_ONLY, PAIR
from zarrfeed_convert.sources.cache import Cache, file_version
from zarrfeed_convert.sources.image_files.field_files import FilePairs, in_image
from zarrfeed_convert.sources.image_files.fill import fill_of_text, filled, require_fill
from zarrfeed_convert.sources.image_files.folder_files import join_folders
from zarrfeed_convert.sources.name_differences import remarks_on_names
from zarrfeed_convert.sources.option_checks import masks_given
from zarrfeed_convert.sources.read_errors import source_errors
from zarrfeed_convert.sources.value_options import ValueOptions
from zarrfeed_convert.sources.volume_options import WARN, require_volume_options

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.decoding.pixels import Color, Measure, Pixels
    from zarrfeed_convert.decoding.raster import Raster
    from zarrfeed_convert.header import Header
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON, Mask, Window
    from zarrfeed_convert.sources.volume_options import Agreement

_IDS = range(MAX_ID + 1)
_KNOWN = 4096  # headers that are kept in memory


@dataclass(frozen=True, slots=True)
class RasterFile:
    """A GeoTIFF of one field."""

    name: str
    limits: Limits

    def measure(self) -> Measure:
        """Read the header of the file."""
        return measure_raster(self.name, self.limits).measure

    def require_whole(self) -> None:
        """Refuse a file that is too large to be decoded as a whole."""
        require_whole_raster(self.name, self.limits)

    def pixels(self) -> Pixels:
        """Decode the file."""
        return read_raster(self.name, self.limits)[0]


@source_errors
class GeoTiffs(FilePairs):
    """GeoTIFFs of images and of masks, paired by the path below their folder, without extension.

    Images have any number of bands, which are stored as the numbers that they are. Where the file
    of an image or of its mask has no data (all bands have the value of no data, or a mask inside
    the file says so; alpha is a band like others), the mask gets the id `nodata`. Files beside a
    GeoTIFF, such as ``.ovr``, ``.msk``, ``.tfw`` and ``.aux.xml``, are not read.

    If no header says that there may be no data, masks are as those of other image files.

    Parameters
    ----------
    images, masks
        A folder, which is searched with all folders below it, or a glob. If `masks` is left out or
        ``none``, images are packed alone.
    image_suffix, mask_suffix
        End of a stem after the shared name, such as ``_mask``.
    nodata
        Id in masks where there are no data. It is the ignored id, if any file has none somewhere.
    fill
        Number that pixels of images get where there are no data, and for every NaN of files that
        declare NaN as no data. By default they keep their values.
    geometry
        ``strict``: a mask must have the coordinate reference system of its image, and its corners
        within a tenth of a pixel of the image's. ``warn``: others are paired by index, and counted
        in a remark. Files that do not say where they are pair by index.
    color
        ``auto`` keeps all bands; ``grey``, ``rgb``, ``rgba`` convert those of up to four.
    mask_map
        Meaning of mask values: a :class:`MaskMap`, or text as in :func:`parse_mask_map`.
    limits
        Limits on what files may claim, and name besides themselves; see
        :class:`zarrfeed_convert.Limits`.

    Raises
    ------
    SourceError
        A folder is missing or empty, a glob matches nothing, most files are unpaired, or two have
        the same name.
    """

    takes_fill = True

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str] = "",
        *,
        image_suffix: str = "",
        mask_suffix: str = "",
        nodata: int = 255,
        fill: float | str = "",
        geometry: Agreement = "strict",
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        require_volume_options(geometry=geometry)
        if not 0 <= nodata <= MAX_ID:
            raise SourceError(f"option nodata: needed an id, 0 to {MAX_ID}, found {nodata}")
        self._fill = fill_of_text(fill)
        paired = masks_given(os.fspath(masks), mask_suffix=mask_suffix, mask_map=mask_map)
        joined = join_folders(
            os.fspath(images),
            os.fspath(masks) if paired else "",
            image_suffix=image_suffix,
            mask_suffix=mask_suffix,
        )
        self._left_aside = joined.left_aside
        self.remarks = remarks_on_names(
            joined.partners.get("mask", {}), os.fspath(images), os.fspath(masks)
        )
        options = ValueOptions.of(color, mask_map)
        super().__init__(joined.files, options, joined.left_out, limits)
        self.fields = PAIR if paired else IMAGES_ONLY
        self._strict = geometry != WARN
        self._headers: Cache[Raster] = Cache(_KNOWN)
        self._nodata = nodata
        # Multi-hot masks have no id for it.
        if paired and not options.mask_map.multi_hot and self._look_for_gaps():
            self.filled = nodata
        self._description: JSON = {"kind": "geotiff", **self.arguments, **options.describe()}
        if paired and not self._strict:
            self.remarks = (*self.remarks, *self._remarks_on_places())

    @property
    def memory_nbytes(self) -> int:
        """Maximum number of bytes that the source keeps in memory, per process."""
        return CACHE_NBYTES

    def describe(self) -> JSON:
        """Return the location and the options of the samples, as JSON."""
        images, masks = self._left_aside
        return {**self._description, "facts": {"left_aside": {"images": images, "masks": masks}}}

    def probe(self, sample: int) -> Header:
        """Measure a sample, and check that its mask is where its image is."""
        header = super().probe(sample)
        image = self._raster(self._files[sample][0])
        if self._strict and len(self.fields) > 1 and (elsewhere := self._elsewhere(sample)):
            raise SourceError(
                f"{self._files[sample][0]}: needed the mask at the location of the image, found "
                f"{elsewhere}; resample the mask to the image's pixels or, if they match as they "
                "are, use --geometry warn"
                f"{look_up('geometry')}"
            )
        nodata = header.nodata
        if self._fill is not None:
            require_fill(self._fill, header.dtype, name=self._files[sample][0])
            nodata = ()
        return replace(header, affine=image.affine, crs=image.crs, nodata=nodata)

    def _has_windows(self, field: int, name: str) -> bool:  # noqa: ARG002 (alike for all)
        return self._raster(name).measure.windows

    def reads_windows(self, sample: int) -> bool:
        """Return whether the files of all fields consist of blocks of modest size."""
        return all(self._raster(name).measure.windows for name in self._files[sample])

    def decoded_together(self, sample: int) -> tuple[int, ...]:
        """Return the largest tile or strip of the files."""
        blocks = [self._raster(name).block for name in self._files[sample]]
        return tuple(map(max, zip(*blocks, strict=True)))

    def read(self, sample: int) -> tuple[NDArray[Any], ...]:
        """Decode a sample: an array for each field."""
        return self._sample(sample, None)

    def read_window(self, sample: int, window: Window) -> tuple[NDArray[Any], ...]:
        """Decode a window of a sample: only the blocks that it meets."""
        return self._sample(sample, in_image(window))

    def read_mask(self, sample: int) -> Mask:
        """Decode the mask of a sample, and its image only if that says where there are no data."""
        return self._mask(sample, None, self._gaps_of_image(sample, None))

    def read_mask_window(self, sample: int, window: Window) -> Mask:
        """Decode a window of the mask of a sample."""
        part = in_image(window)
        return self._mask(sample, part, self._gaps_of_image(sample, part))

    def shown_colors(self, sample: int) -> dict[int, int]:
        """Return the colours of the palette indices that the mask of a sample uses."""
        return self._options.shown_colors(RasterFile(self._files[sample][1], self._limits).pixels())

    def _values(self, sample: int, fields: Sequence[int]) -> Iterator[RasterFile]:
        return (RasterFile(self._files[sample][field], self._limits) for field in fields)

    def _raster(self, name: str) -> Raster:
        return self._headers.get(file_version(name), partial(measure_raster, name, self._limits))

    def _sample(self, sample: int, window: tuple[slice, slice] | None) -> tuple[NDArray[Any], ...]:
        name = self._files[sample][0]
        pixels, gaps = read_raster(name, self._limits, window)
        image = self._options.image(pixels, name=name)
        if self._fill is not None:
            nan = any(map(math.isnan, self._raster(name).measure.nodata))
            image = filled(image, gaps, self._fill, nan=nan)
        if len(self.fields) == 1:
            return (image,)
        return image, self._mask(sample, window, gaps)

    def _gaps_of_image(
        self, sample: int, window: tuple[slice, slice] | None
    ) -> NDArray[np.bool_] | None:
        name = self._files[sample][0]
        if self.filled is None or not self._raster(name).has_gaps:
            return None
        return read_raster(name, self._limits, window)[1]

    def _mask(
        self,
        sample: int,
        window: tuple[slice, slice] | None,
        gaps_of_image: NDArray[np.bool_] | None,
    ) -> Mask:
        """Decode a mask, and give pixels without data their id."""
        name = self._files[sample][1]
        pixels, gaps = read_raster(name, self._limits, window)
        nodata = self._raster(name).measure.nodata
        if self.filled is None:
            return self._options.mask(replace(pixels, nodata=nodata), name=name)
        if gaps is not None and self._are_classes(nodata):
            gaps = None
        values = pixels.values
        if gaps is not None and gaps.any():
            if gaps.all():
                return np.full(gaps.shape, self.filled, np.min_scalar_type(self.filled))
            values = values.copy()
            values[gaps] = values[~gaps][0]  # any value that means something stands in
        ids = self._options.mask(replace(pixels, values=values), name=name)
        if gaps_of_image is not None and gaps_of_image.shape == ids.shape:
            gaps = gaps_of_image if gaps is None else gaps | gaps_of_image
        self._require_free(ids, gaps, name)
        if gaps is None or not gaps.any():
            return ids
        ids = ids.astype(np.promote_types(ids.dtype, np.min_scalar_type(self.filled)))
        ids[gaps] = self.filled
        return ids

    def _require_free(self, ids: Mask, gaps: NDArray[np.bool_] | None, name: str) -> None:
        """Refuse a class with the id of no data.

        Raises
        ------
        SourceError
            A pixel with data has this id, and the user has not said that it has none.
        """
        assert self.filled is not None
        if self._options.mask_map.names(self.filled):
            return
        taken = ids == self.filled
        if gaps is not None:
            taken &= ~gaps
        count = int(np.count_nonzero(taken))
        if count:
            raise SourceError(
                f"{name}: needed {self.filled} for pixels without data, found it in {count:,} "
                f"others; if it is a class, use --mask-map {self.filled}=1, if that is its id, or "
                f"-o nodata={_other_than(self.filled)}; if these have no class either, "
                f"--mask-map {self.filled}={self.filled}"
            )

    def _look_for_gaps(self) -> bool:
        """Return whether any header says that there may be no data; note classes lost by it."""
        found, lost = False, Counter[float]()
        for image, mask in self._files:
            found = found or self._gaps_of(image) is not None
            nodata = self._gaps_of(mask)
            if nodata is None or self._are_classes(nodata):
                continue
            found = True
            lost.update(
                value for value in nodata if value != self._nodata and _whole(value) in _IDS
            )
        for value, count in lost.items():
            shown = f"{int(value)}"
            why = (
                f"masks declare {shown} as no data, which becomes the ignored id {self._nodata}; "
                f"--mask-map {shown}={shown} keeps it as a class"
            )
            remark = ("no data in masks", f"{shown} in {count} file{'s' * (count > 1)}", why)
            self.remarks = (*self.remarks, remark)
        return found

    def _gaps_of(self, name: str) -> tuple[float, ...] | None:
        """Return the values of no data of a file; None if all its pixels have data."""
        try:
            with Path(name).open("rb") as file:
                if not may_have_gaps(file, name):  # opening it by GDAL takes 50 times as long
                    return None
            raster = self._raster(name)
        except (OSError, SourceError):  # measuring the sample says why
            return None
        return raster.measure.nodata if raster.has_gaps else None

    def _are_classes(self, nodata: tuple[float, ...]) -> bool:
        """Return whether the user says which classes the values of no data of a mask are."""
        meaning = self._options.mask_map
        return bool(nodata) and all(
            meaning.names(value) and meaning.values.get(_whole(value)) != self._nodata
            for value in nodata
        )

    def _elsewhere(self, sample: int) -> str:
        image, mask = (self._raster(name) for name in self._files[sample])
        return apart_by(image, mask)

    def _remarks_on_places(self) -> tuple[tuple[str, str, str], ...]:
        """Tell of the masks that are not where their images are."""
        found = []
        for sample, names in enumerate(self._files):
            try:
                elsewhere = self._elsewhere(sample)
            except SourceError:  # measuring the sample says why
                continue
            if elsewhere:
                found.append(f"{names[1]}: {elsewhere}")
        if not found:
            return ()
        why = f"pixels are paired by index, as --geometry warn says; the first: {found[0]}"
        return (("geometry", f"{plural(len(found), 'file')} elsewhere", why),)


def _whole(value: float) -> int:
    """Return a value as a key of a mask map; -1, which is none, if it is no whole number."""
    return int(value) if float(value).is_integer() else -1


def _other_than(filled: int) -> int:
    """Return an id that hardly any class has."""
    return MAX_ID if filled != MAX_ID else MAX_ID - 1
