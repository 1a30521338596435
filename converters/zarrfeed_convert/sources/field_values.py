"""How does a file become a field of a given role?

Pure functions of headers and decoded pixels, and the base class of sources that decode each field
of a sample by itself.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from zarrfeed.errors import SourceError, look_up
from zarrfeed_convert.decoding.georeference import require_same_place
from zarrfeed_convert.header import ArrayHeader
from zarrfeed_convert.labels import JPEG_HINT, is_jpeg, smeared_by_jpeg
from zarrfeed_convert.source import PAIR, Source
from zarrfeed_convert.sources.values import packable, packed_dtype

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.pixels import Measure, Pixels
    from zarrfeed_convert.header import Header
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import Field, Mask
    from zarrfeed_convert.sources.value_options import ValueOptions

_MOST_UINT8 = 255
_JPEG_COLORS = "the colours of a JPEG, which its compression changes"


class FieldValue(Protocol):
    """A field of a sample before decoding: an image file, an array file or numbers."""

    @property
    def name(self) -> str:
        """Its name in errors."""
        ...

    def measure(self) -> Measure:
        """Return the size and the dtype without decoding."""
        ...

    def pixels(self) -> Pixels:
        """Decode it."""
        ...


class DecodedFields(Source):
    """Base class of sources that decode each field of a sample by itself.

    ``_options`` say how values become images and masks, and ``_of_extras`` how they become further
    fields, if that differs.
    """

    _options: ValueOptions
    _of_extras: ValueOptions | None = None

    @abstractmethod
    def _values(self, sample: int, fields: Sequence[int]) -> Iterator[FieldValue]:
        """Find the values of some fields of a sample, given by the numbers of the fields."""

    def _measured_file(self, sample: int, field: int) -> Measure | None:  # noqa: ARG002
        """Measure a field by the beginning of its file; None if that needs the whole value."""
        return None

    def probe(self, sample: int) -> Header:
        """Measure a sample; of files, only the headers are decoded."""
        files = [self._measured_file(sample, field) for field in range(len(self.fields))]
        values = self._values(sample, [field for field, found in enumerate(files) if not found])
        measures = [found or next(values).measure() for found in files]
        image, mask = measures[0], measures[1] if self.fields[1:2] == PAIR[1:] else None
        names = self.names(sample)
        if mask and image.size != mask.size and not image.planes:
            _require_channels_last(image, mask, names[0])
        header = self._options.header(image, mask, name=names[0])
        extras = {
            field: (name, measure)
            for field, name, measure in zip(self.fields, names, measures, strict=True)
            if field not in PAIR
        }
        return with_fields(header, image, extras, self._of_extras or self._options)

    def read(self, sample: int) -> tuple[NDArray[Any], ...]:
        """Decode a sample: an array for each field."""
        return self._converted(self._values(sample, range(len(self.fields))))

    def _converted(self, values: Iterable[FieldValue]) -> tuple[NDArray[Any], ...]:
        """Decode the values of all fields, and convert them to arrays of their roles."""
        return tuple(
            self._decoded(field, value) for field, value in zip(self.fields, values, strict=True)
        )

    def _decoded(self, field: Field, value: FieldValue) -> NDArray[Any]:
        """Decode a value, and convert it to an array of the field's role."""
        if field == PAIR[1]:
            return self._options.mask(value.pixels(), name=value.name)
        options = self._of_extras or self._options
        return field_values(field, value.pixels(), options, name=value.name)

    def read_mask(self, sample: int) -> Mask:
        """Decode the mask of a sample without its image."""
        return self._decoded(PAIR[1], next(self._values(sample, [1])))

    def shown_colors(self, sample: int) -> dict[int, int]:
        """Return the colours of the palette indices that the mask of a sample uses."""
        return self._options.shown_colors(next(self._values(sample, [1])).pixels())


def with_fields(
    header: Header,
    image: Measure,
    extras: Mapping[Field, tuple[str, Measure]],
    options: ValueOptions,
) -> Header:
    """Add further fields to the header of an image and its mask.

    Parameters
    ----------
    header, image
        The header, and the measure of the image's file.
    extras
        Field → the name and the measure of its file.
    options
        Conversion of values to images and ids.

    Raises
    ------
    SourceError
        A file is georeferenced elsewhere than the image, or cannot be a field of its role.
    """
    if not extras:
        return header
    arrays, turned = dict(header.arrays), header.turned
    nodata = dict.fromkeys(header.nodata)
    for field, (name, said) in extras.items():
        require_same_place(
            image.place, said.place, (image.height, image.width), name=name, what=field.name
        )
        arrays[field.name] = field_header(field, said, options, name=name)
        turned |= image.turned and not said.turned
        if field.role != "mask":  # masks with such pixels are refused
            nodata |= dict.fromkeys(said.nodata)
    return replace(header, arrays=arrays, turned=turned, nodata=tuple(nodata))


def field_header(field: Field, said: Measure, options: ValueOptions, *, name: str) -> ArrayHeader:
    """Return the shape and dtype that :func:`field_values` will return for a file.

    Parameters
    ----------
    field
        Name and role.
    said
        Measure of the file.
    options
        Conversion of values to images and ids.
    name
        File name, for errors.

    Raises
    ------
    SourceError
        The file cannot be a field of this role.
    """
    size, dtype = said.size, np.dtype(said.dtype)
    if field.role == "image":
        channels = options.channels(said.channels, name=name)
        return ArrayHeader((*size, channels), packed_dtype(dtype, name))
    if field.role == "mask":
        many = len(said.palette) > 3 * (_MOST_UINT8 + 1)  # colours of three bytes
        dtype = np.dtype("uint16") if many else dtype
        shape = options.mask_shape(size, said.channels)
        return ArrayHeader(shape, ids_dtype(dtype, options.mask_map))
    if said.palette:
        raise _no_numbers(field, name, "the indices of a palette")
    if said.channels > 1 and is_jpeg(name):
        raise _no_numbers(field, name, _JPEG_COLORS)
    shape = size if said.channels == 1 else (*size, said.channels)
    return ArrayHeader(shape, packed_dtype(dtype, name))


def field_values(field: Field, pixels: Pixels, options: ValueOptions, *, name: str) -> NDArray[Any]:
    """Convert a file's pixels to a field.

    Parameters
    ----------
    field
        Name and role. Role ``image`` gives an image (H, W, C); ``mask``, ids (H, W), or (H, W, K)
        if they are multi-hot; ``target``, the numbers of the file, (H, W) or (H, W, C).
    pixels
        Decoded file.
    options
        Conversion of values to images and ids.
    name
        File name, for errors.

    Raises
    ------
    SourceError
        The pixels cannot be a field of this role.
    """
    if field.role == "image":
        return options.image(pixels, name=name)
    if field.role == "mask":
        ids = options.mask(pixels, name=name)
        held = set(np.unique(ids).tolist()) if pixels.jpeg else set()
        if smeared_by_jpeg(held, held):
            raise SourceError(
                f"{name}: needed ids as the mask {field.name}, found a JPEG of {len(held)} values; "
                f"{JPEG_HINT}"
                f"{look_up('jpeg-masks')}"
            )
        dtype = ids_dtype(pixels.values.dtype, options.mask_map)
        return ids.astype(np.promote_types(ids.dtype, dtype), copy=False)
    if pixels.palette is not None:
        raise _no_numbers(field, name, "the indices of a palette")
    if pixels.values.ndim == 3 and pixels.values.shape[2] == 2 and not pixels.bands:
        raise _no_numbers(field, name, "grey and alpha")
    values = pixels.stored
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if pixels.jpeg and values.ndim == 3:
        raise _no_numbers(field, name, _JPEG_COLORS)
    return packable(values, name)


def ids_dtype(dtype: np.dtype[Any], mask_map: MaskMap) -> str:
    """Return the dtype of the ids of a mask that is not checked against the classes.

    Parameters
    ----------
    dtype
        Dtype of the mask's values.
    mask_map
        Meaning of the values.

    Returns
    -------
    str
        ``uint8`` if neither the values nor the map can give larger ids, else ``uint16``.

    Examples
    --------
    >>> from zarrfeed_convert.mask_map import parse_mask_map
    >>> [ids_dtype(np.dtype(dtype), parse_mask_map("")) for dtype in ("uint8", "uint16", "int32")]
    ['uint8', 'uint16', 'uint16']
    >>> ids_dtype(np.dtype("uint8"), parse_mask_map("255=300"))
    'uint16'
    """
    ranges = (number for *_, number in mask_map.ranges)
    given = (*mask_map.values.values(), *mask_map.colors.values(), *ranges, mask_map.rest or 0)
    if mask_map.multi_hot:
        return "uint8"
    small = dtype.itemsize == 1 and max(given) <= _MOST_UINT8 and mask_map.one_hot is None
    return "uint8" if small else "uint16"


def _no_numbers(field: Field, name: str, found: str) -> SourceError:
    return SourceError(
        f"{name}: needed numbers as the target {field.name}, found {found}; use the role image for "
        "a picture or mask for ids, or save the numbers as a grey PNG or a TIFF"
    )


def _require_channels_last(image: Measure, mask: Measure, name: str) -> None:
    if (image.width, image.channels) == (mask.height, mask.width):
        raise SourceError(
            f"{name}: needed an image (H, W, C) of {mask.height}×{mask.width} pixels as its mask "
            f"has, found {image.height}×{image.width}×{image.channels}, whose channels seem to "
            "come first; save it with channels last: np.moveaxis(array, 0, -1)"
        )
