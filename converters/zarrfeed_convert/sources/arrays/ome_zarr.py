"""What samples do OME-Zarr images hold, with labels or alone?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError, look_up
from zarrfeed.spelling import plural
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.decoding.pixels import Pixels
from zarrfeed_convert.header import Header
from zarrfeed_convert.source import IMAGES_ONLY, JSON, Mask, Source
from zarrfeed_convert.sources.arrays.ome_classes import classes_of_names
from zarrfeed_convert.sources.arrays.ome_levels import read_level
from zarrfeed_convert.sources.arrays.ome_volumes import OmeVolume, find_pairs, open_volume
from zarrfeed_convert.sources.arrays.zarr_reading import BLOCKS_NBYTES, ZarrReading
from zarrfeed_convert.sources.item_index import ItemIndex
from zarrfeed_convert.sources.option_checks import masks_given
from zarrfeed_convert.sources.read_errors import naming_errors, source_errors
from zarrfeed_convert.sources.value_options import ValueOptions
from zarrfeed_convert.sources.values import in_rows, packed_dtype
from zarrfeed_convert.sources.volume_options import VOLUMES, require_volume_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import Window
    from zarrfeed_convert.sources.arrays.ome_levels import Level
    from zarrfeed_convert.sources.volume_options import Agreement, Arrangement

_MOST_CLASSES = 256  # more values than that, which nobody named, are instances


@source_errors
class OmeZarr(Source):
    """OME-Zarr images (OME-NGFF 0.4 and 0.5), with labels or alone: a sample per plane or volume.

    Planes over t and z are samples, or volumes over t; channels are channels. Labels whose metadata
    names a class for every value bring the class names. Images keep their dtype; integers of 64
    bits become 32, if these hold them.

    Parameters
    ----------
    images
        An image like ``image.zarr``, or a glob like ``plate.zarr/*/*/*`` for the fields of a plate.
        May be a zip file, or a URL that fsspec opens.
    masks
        The name of the label, ``labels/NAME`` in every image; not needed if there is only one. Or
        a path or glob with ``.zarr`` in it, of OME-Zarr images that hold the labels and pair by
        name. If no image has a label, or `masks` is ``none``, images are packed alone.
    level
        The resolution of images and labels; 0 is the finest.
    channel
        Numbers or names of the channels, in order, like ``0`` or ``DAPI,GFP``. By default all.
    as_
        What a sample is: ``slices`` for each plane, ``volumes`` for the whole image (Z, Y, X) at
        each point in time, or (Y, X) where it has no z. Volumes (Z, Y, X) have an affine, in
        millimetres, if the metadata says scales and units; images (Y, X) have none. Axes are not
        turned.
    geometry
        What to do with labels whose pixels lie more than a tenth of a pixel from the image's, by
        the coordinate transformations of both: ``strict`` refuses them, ``warn`` pairs pixels by
        their index, with a remark.
    binary
        Pack every label above 0 as 1, for labels that number instances such as cells.
    ignore_transformations
        Accept labels whose coordinate transformations differ from the image's, without a remark.
    color
        ``auto`` keeps the channels that the image has; ``grey``, ``rgb``, ``rgba`` convert.
    mask_map
        What label values mean: a :class:`MaskMap`, or text as in :func:`parse_mask_map`.
    limits
        What files may claim, and name besides themselves; see :class:`zarrfeed_convert.Limits`.

    Raises
    ------
    SourceError
        There is no image, none has the label (the message lists those that there are), labels lie
        elsewhere than their image, or do not agree on class names.

    Notes
    -----
    Images are read window by window, by the chunks that hold some of it, unless one chunk is all of
    a plane or volume, or has more than 128 MiB.

    Examples
    --------
    >>> OmeZarr("cells/*.ome.zarr", "nuclei", channel="DAPI", binary=True)  # doctest: +SKIP
    """

    takes_urls = takes_labels = True

    ignore: int | None = None

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str] = "",
        *,
        level: int = 0,
        channel: str = "",
        as_: Arrangement = "slices",
        geometry: Agreement = "strict",
        binary: bool = False,
        ignore_transformations: bool = False,
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        require_volume_options(as_=as_, geometry=geometry)
        self._binary = binary
        self._options = ValueOptions.of(color, mask_map)
        self._options.require_ids("the labels of an image, which are ids")
        self._reading = ZarrReading()
        self._limits = limits = limits or Limits()
        found: dict[str, OmeVolume] = {}
        first: SourceError | None = None
        left_out: list[tuple[str, str]] = []
        for stem, image, mask in find_pairs(os.fspath(images), os.fspath(masks)):
            try:
                with naming_errors(image):
                    found[image] = open_volume(
                        stem,
                        image,
                        mask,
                        level=level,
                        channel=channel,
                        whole=as_ == VOLUMES,
                        geometry=None if ignore_transformations else geometry,
                        limits=limits,
                    )
            except SourceError as error:
                left_out.append((image, str(error).removeprefix(f"{image}: ")))
                first = first or error
        if first and not found:
            raise first
        labels = [volume.mask for volume in found.values() if volume.mask]
        if labels and not any(label.stored for label in labels):
            raise SourceError(
                f"{labels[0].path}: needed labels, found an array of which no chunk is there; "
                "check that its chunks were copied with it"
            )
        if labels:
            lone = [image for image, volume in found.items() if volume.mask is None]
            left_out += [(image, "needed one label, found none in it") for image in lone]
            found = {image: volume for image, volume in found.items() if volume.mask}
        else:
            masks_given(os.fspath(masks), mask_map=mask_map, binary=binary)
            self.fields = IMAGES_ONLY
        self.left_out = tuple(left_out)
        self._volumes = volumes = tuple(found.values())
        self._index = ItemIndex.of(volume.image.axes.count for volume in volumes)
        self._keys = [key for volume in volumes for key in volume.sample_keys()]
        self.remarks = _remarks_on(volumes)
        self._named = not (binary or str(self._options.mask_map))
        named = [(volume.levels[-1].path, volume.names) for volume in volumes]
        self.classes = classes_of_names(named) if self._named else None

    @property
    def keys(self) -> Sequence[str]:
        """The image's path below what all have in common, and the plane, like ``a/t000/z012``."""
        return self._keys

    @property
    def memory_nbytes(self) -> int:
        """The most bytes that each process keeps in memory."""
        return BLOCKS_NBYTES if any(volume.keeps_chunks for volume in self._volumes) else 0

    def describe(self) -> JSON:
        """Return the location and the options of the images, as JSON."""
        first = self._volumes[0]
        return {
            "kind": "ome-zarr",
            **self.arguments,
            **self._options.describe(),
            "facts": {
                "images": len(self._volumes),
                "axes": [level.axes.letters for level in first.levels],
                "dtypes": [level.dtype.name for level in first.levels],
            },
        }

    def names(self, sample: int) -> tuple[str, ...]:
        """Name the arrays of a sample, each with the plane."""
        volume, number = self._locate(sample)
        axes = volume.image.axes
        parts = [
            f"{axis}={place}"
            for axis, place, size in zip(axes.counted, axes.place(number), axes.counts, strict=True)
            if size > 1
        ]
        place = f"[{','.join(parts)}]" if parts else ""
        return tuple(f"{level.path}{place}" for level in volume.levels)

    def probe(self, sample: int) -> Header:
        """Return the header of a sample, by the metadata."""
        volume, _ = self._locate(sample)
        name = self.names(sample)[0]
        channels = self._options.channels(len(volume.channels), name=name)
        dtype = packed_dtype(volume.image.dtype, name)
        mask = volume.mask.size if volume.mask else None
        return Header.of_pair((*volume.image.size, channels), dtype, mask, affine=volume.affine)

    def read(self, sample: int) -> tuple[NDArray[Any], ...]:
        """Read a sample, and its labels."""
        return self._read(sample, None)

    def require_whole(self, sample: int, header: Header) -> None:  # noqa: ARG002 (as it is stored)
        """Refuse a sample that is too large to be read as a whole."""
        volume, _ = self._locate(sample)
        channels = (len(volume.channels), 1)
        for level, count, name in zip(volume.levels, channels, self.names(sample), strict=False):
            self._require_allowed(level, count, name)

    def _require_allowed(self, level: Level, channels: int, name: str) -> None:
        what = f"{level.what} without --tile"
        self._limits.require((*level.size, channels), level.dtype, name, what)

    def reads_windows(self, sample: int) -> bool:
        """Return whether the sample is stored in several chunks."""
        volume, _ = self._locate(sample)
        return all(level.reads_windows for level in volume.levels)

    def decoded_together(self, sample: int) -> tuple[int, ...]:
        """Return the largest chunk of image and labels, along the axes of samples."""
        volume, _ = self._locate(sample)
        chunks = [level.chunk for level in volume.levels]
        return tuple(map(max, zip(*chunks, strict=True)))

    def read_window(self, sample: int, window: Window) -> tuple[NDArray[Any], ...]:
        """Read a part of a sample, and of its labels, by the chunks that hold some of it."""
        return self._read(sample, window)

    def read_mask(self, sample: int) -> Mask:
        """Read a sample's labels."""
        return self._ids(sample, None)

    def read_mask_window(self, sample: int, window: Window) -> Mask:
        """Read a part of a sample's labels."""
        return self._ids(sample, window)

    def _read(self, sample: int, window: Window | None) -> tuple[NDArray[Any], ...]:
        volume, number = self._locate(sample)
        name = self.names(sample)[0]
        values = self._values(volume.image, number, volume.channels, window, name)
        image = self._options.image(in_rows(values, values.ndim - 1), name=name)
        image = image.reshape(*values.shape[:-1], image.shape[-1])
        return (image, self._ids(sample, window)) if volume.mask else (image,)

    def _ids(self, sample: int, window: Window | None) -> Mask:
        volume, number = self._locate(sample)
        assert volume.mask
        name = self.names(sample)[1]
        values = self._values(volume.mask, number, (0,), window, name)[..., 0]
        if self._binary:
            values = (values > 0).astype(np.uint8)
        elif self._named and not volume.names and values.max(initial=0) >= _MOST_CLASSES:
            raise SourceError(
                f"{name}: needed class ids, found values up to {values.max()}: they number "
                "instances; use --option binary=yes, which makes them 1, or give them ids with "
                "--mask-map"
                f"{look_up('class-ids')}"
            )
        ids = self._options.mask(Pixels(in_rows(values, values.ndim)), name=name)
        return ids.reshape(values.shape)

    def _values(
        self,
        level: Level,
        number: int,
        channels: tuple[int, ...],
        window: Window | None,
        name: str,
    ) -> NDArray[Any]:
        """Read (…, C) of an array."""
        if window is None:
            self._require_allowed(level, len(channels), name)
        with naming_errors(name):
            return read_level(self._reading, level, number, channels, window)

    def _locate(self, sample: int) -> tuple[OmeVolume, int]:
        place, number = self._index.locate(sample)
        return self._volumes[place], number


def _remarks_on(volumes: Sequence[OmeVolume]) -> tuple[tuple[str, str, str], ...]:
    """Say which labels were paired with pixels that lie elsewhere."""
    apart = [volume for volume in volumes if volume.mask and volume.elsewhere]
    if not apart:
        return ()
    first = apart[0]
    assert first.mask
    why = f"such as {first.mask.path}: {first.elsewhere}; pixels were paired by index"
    return (("geometry", f"{plural(len(apart), 'label')} elsewhere", why),)
