"""What samples do OME-Zarr images hold, with labels or alone?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.decoding.pixels import Pixels
from zarrfeed_convert.header import Header
from zarrfeed_convert.source import IMAGES_ONLY, JSON, Mask, Source
from zarrfeed_convert.sources.arrays.ome_volumes import (
    Level,
    OmeVolume,
    find_pairs,
    open_volume,
)
from zarrfeed_convert.sources.arrays.zarr_reading import BLOCKS_NBYTES, ZarrReading
from zarrfeed_convert.sources.item_index import ItemIndex
from zarrfeed_convert.sources.option_checks import masks_given
from zarrfeed_convert.sources.read_errors import naming_errors, source_errors
from zarrfeed_convert.sources.value_options import ValueOptions
from zarrfeed_convert.sources.values import packed_dtype

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap

_MOST_CLASSES = 256  # more values than that, which nobody named, are instances


@source_errors
class OmeZarr(Source):
    """OME-Zarr images (OME-NGFF 0.4 and 0.5), with labels or alone: a sample per plane.

    Planes over t and z are samples, channels are channels. Labels whose metadata names a class for
    every value bring the class names. Images keep their dtype; integers of 64 bits become 32, if
    these hold them.

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
    binary
        Pack every label above 0 as 1, for labels that number instances such as cells.
    ignore_transformations
        Accept labels whose coordinate transformations differ from the image's.
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
        binary: bool = False,
        ignore_transformations: bool = False,
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        self._binary = binary
        self._options = ValueOptions.of(color, mask_map)
        self._options.require_ids("the labels of an image, which are ids")
        self._reading = ZarrReading()
        limits = limits or Limits()
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
                        anywhere=ignore_transformations,
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
        self._keys = [key for volume in volumes for key in volume.plane_keys()]
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
        return BLOCKS_NBYTES if any(volume.shares_chunks for volume in self._volumes) else 0

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
        volume, plane = self._locate(sample)
        parts = [
            f"{axis}={place}"
            for axis, place, size in zip(
                "tz", divmod(plane, volume.planes[1]), volume.planes, strict=True
            )
            if size > 1
        ]
        place = f"[{','.join(parts)}]" if parts else ""
        return tuple(f"{level.path}{place}" for level in volume.levels)

    def probe(self, sample: int) -> Header:
        """Return the header of a plane, by the metadata."""
        volume, _ = self._locate(sample)
        name = self.names(sample)[0]
        channels = self._options.channels(len(volume.channels), name=name)
        dtype = packed_dtype(volume.image.dtype, name)
        mask = volume.mask.axes.size if volume.mask else None
        return Header.of_pair((*volume.image.axes.size, channels), dtype, mask)

    def read(self, sample: int) -> tuple[NDArray[Any], ...]:
        """Read a plane, and its labels."""
        volume, plane = self._locate(sample)
        name = self.names(sample)[0]
        with naming_errors(name):
            values = self._plane(volume.image, plane, volume.channels)
        image = self._options.image(values, name=name)
        return (image, self.read_mask(sample)) if volume.mask else (image,)

    def read_mask(self, sample: int) -> Mask:
        """Read a plane's labels."""
        volume, plane = self._locate(sample)
        assert volume.mask
        name = self.names(sample)[1]
        with naming_errors(name):
            values = self._plane(volume.mask, plane, (0,))[:, :, 0]
        if self._binary:
            values = (values > 0).astype(np.uint8)
        elif self._named and not volume.names and values.max(initial=0) >= _MOST_CLASSES:
            raise SourceError(
                f"{name}: needed class ids, found values up to {values.max()}: they number "
                "instances; use --option binary=yes, which makes them 1, or give them ids with "
                "--mask-map"
            )
        return self._options.mask(Pixels(values), name=name)

    def _locate(self, sample: int) -> tuple[OmeVolume, int]:
        place, plane = self._index.locate(sample)
        return self._volumes[place], plane

    def _plane(self, array: Level, plane: int, channels: tuple[int, ...]) -> NDArray[Any]:
        """Read a plane, (y, x, channels), without the other channels."""
        planes = []
        for channel in channels:
            index = enumerate(array.axes.index(plane, channel))
            picks = {axis: at for axis, at in index if isinstance(at, int)}
            values = self._reading.read(array.path, picks)
            planes.append(array.axes.arrange(values, channel))
        return np.stack(planes, axis=-1)


def classes_of_names(named: Iterable[tuple[str, Mapping[int, str]]]) -> tuple[str, ...] | None:
    """Make one tuple of class names of what labels say; None where they say nothing.

    Parameters
    ----------
    named
        (label, its names by value) of all labels.

    Raises
    ------
    SourceError
        Two labels do not agree.

    Examples
    --------
    >>> classes_of_names([("a", {1: "cell"}), ("b", {3: "nucleus"})])
    ('background', 'cell', '2', 'nucleus')
    """
    value_of: dict[str, int] = {}
    name_of: dict[int, str] = {}
    for label, names in named:
        for value, name in names.items():
            if name_of.setdefault(value, name) != name or value_of.setdefault(name, value) != value:
                raise SourceError(
                    f"{label}: needed the same class names in all labels, found {value} for "
                    f"{name!r}; in others {value} is {name_of[value]!r}"
                    + (f", {name!r} is {value_of[name]}" if name in value_of else "")
                    + "; convert them by themselves, with --mask-map"
                )
    if not name_of:
        return None
    if 0 not in name_of and "background" not in value_of:
        name_of[0] = "background"
    return tuple(name_of.get(value, str(value)) for value in range(max(name_of) + 1))
