"""What is a dataset that can be packed?

A :class:`Source` lists its samples, measures one without decoding it, and reads one. It is
pickled once to every packing process, so it carries addresses (paths), never open files.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

from numpy.typing import NDArray

from zarrfeed.store.schema import IMAGE, MASK

JSON: TypeAlias = dict[str, Any]
Image: TypeAlias = NDArray[Any]
Mask: TypeAlias = NDArray[Any]
Sample: TypeAlias = Mapping[str, NDArray[Any]]  # by field, in the order of the fields
Role: TypeAlias = Literal["image", "mask", "target"]


@dataclass(frozen=True, slots=True)
class Field:
    """One array of every sample.

    Attributes
    ----------
    name
        Name of the array in the store.
    role
        ``image``: may be interpolated. ``mask``: class ids or multi-hot, never interpolated. Only
        the field with the name ``mask`` is checked against the classes. ``target``: any numbers,
        never interpolated.
    """

    name: str
    role: Role


PAIR = (Field(IMAGE, "image"), Field(MASK, "mask"))
IMAGES_ONLY = PAIR[:1]
SAMPLES = "samples"  # kind of the source that a Python iterable becomes; it cannot be opened again


def image_names(fields: Sequence[Field]) -> tuple[str, ...]:
    """Return the names of the fields that are images, whose channels have a mean and std."""
    return tuple(field.name for field in fields if field.role == "image")


def roles_recorded(fields: Sequence[Field]) -> JSON:
    """Return the entry that records the roles of a split's fields; empty for image and mask."""
    if tuple(fields) == PAIR:
        return {}
    return {"roles": {field.name: field.role for field in fields}}


def recorded_fields(packed: JSON) -> tuple[Field, ...]:
    """Return the fields of a split from its ``packed``; see :func:`roles_recorded`."""
    roles = packed.get("roles")
    return PAIR if roles is None else tuple(Field(name, role) for name, role in roles.items())


class ArrayHeader(NamedTuple):
    """Shape and dtype of an array, before it is decoded.

    The dtype of the field ``mask`` is None, since it follows from the classes.
    """

    shape: tuple[int, ...]
    dtype: str | None


@dataclass(frozen=True, slots=True, init=False)
class Header:
    """What is known about a sample before it is decoded.

    Attributes
    ----------
    arrays
        Field → (shape, dtype) of the array that :meth:`Source.read` will return, in the order of
        :attr:`Source.fields`. An image is (H, W, C) or (D, H, W, C); other arrays have the same
        spatial axes. The dtype of a mask may be None.
    mask_colors
        Colours of the indices of the mask's palette, ``0xRRGGBB``; inverted (``~0xRRGGBB``) for
        indices whose class a mask map gives. Empty if there is no palette, or the map gives the
        classes of all indices.
    turned
        Whether the image's file says that it must be rotated for display, and that of another field
        does not.
    nodata
        Values that files declare as no data: those of the image, of further images and of targets.

    Examples
    --------
    >>> header = Header({"image": ((48, 64, 3), "uint8"), "mask": ((48, 64), None)})
    >>> header.size, header.channels
    ((48, 64), 3)
    """

    arrays: Mapping[str, ArrayHeader]
    mask_colors: tuple[int, ...] = field(default=(), compare=False)
    turned: bool = field(default=False, compare=False)
    nodata: tuple[float, ...] = field(default=(), compare=False)

    def __init__(
        self,
        arrays: Mapping[str, tuple[Sequence[int], str | None]] | int | None = None,
        *sizes: Any,
        mask_colors: tuple[int, ...] = (),
        turned: bool = False,
        nodata: tuple[float, ...] = (),
        **old: Any,
    ) -> None:
        if isinstance(arrays, Mapping) and not (sizes or old):
            given = arrays
        else:
            numbers: list[Any] = [] if arrays is None else [arrays]
            given, colors = _of_sizes(*numbers, *sizes, **old)
            mask_colors = colors or mask_colors
        kinds = {name: ArrayHeader(tuple(shape), dtype) for name, (shape, dtype) in given.items()}
        object.__setattr__(self, "arrays", kinds)
        object.__setattr__(self, "mask_colors", mask_colors)
        object.__setattr__(self, "turned", turned)
        object.__setattr__(self, "nodata", nodata)

    @classmethod
    def of_pair(
        cls, image: Sequence[int], dtype: str, mask: Sequence[int] | None, **said: Any
    ) -> Header:
        """Return the header of an image with a shape and dtype, and of its mask, if it has one."""
        arrays: dict[str, tuple[Sequence[int], str | None]] = {IMAGE: (image, dtype)}
        return cls(arrays if mask is None else arrays | {MASK: (mask, None)}, **said)

    @property
    def image(self) -> ArrayHeader:
        """Shape and dtype of the image."""
        return self.arrays[IMAGE]

    @property
    def mask(self) -> ArrayHeader | None:
        """Shape and dtype of the mask; None if there is no mask."""
        return self.arrays.get(MASK)

    @property
    def size(self) -> tuple[int, ...]:
        """Size of the image, (H, W) or (D, H, W), in pixels."""
        return self.image.shape[:-1]

    @property
    def channels(self) -> int:
        """Number of channels of the image."""
        return self.image.shape[-1]

    @property
    def dtype(self) -> str:
        """Dtype of the image."""
        return str(self.image.dtype)

    def __getattr__(self, name: str) -> Any:
        """Return one of the numbers of headers before there were other fields; deprecated."""
        old = {"height": (IMAGE, 0), "width": (IMAGE, 1)}
        old |= {"mask_height": (MASK, 0), "mask_width": (MASK, 1)}
        if name not in old:
            raise AttributeError(f"a Header has no {name!r}")
        field, axis = old[name]
        new = f"Header.{field}.shape[{axis}]"
        warnings.warn(f"Header.{name}: write {new}", DeprecationWarning, stacklevel=2)
        return self.arrays[field].shape[axis] if field in self.arrays else None


def _of_sizes(
    height: int,
    width: int,
    channels: int,
    dtype: str,
    mask_height: int | None = None,
    mask_width: int | None = None,
    mask_colors: tuple[int, ...] = (),
) -> tuple[Mapping[str, tuple[Sequence[int], str | None]], tuple[int, ...]]:
    """Return the arrays and colours of a header by numbers, as before there were other fields."""
    said = f"'image': (({height}, {width}, {channels}), {dtype!r})"
    arrays: dict[str, tuple[Sequence[int], str | None]] = {
        IMAGE: ((height, width, channels), dtype)
    }
    if mask_height is not None and mask_width is not None:
        said += f", 'mask': (({mask_height}, {mask_width}), None)"
        arrays[MASK] = (mask_height, mask_width), None
    warnings.warn(f"write Header({{{said}}})", DeprecationWarning, stacklevel=3)
    return arrays, mask_colors


class Source(ABC):
    """Images and masks to pack.

    Subclass it to pack datasets of other formats. :attr:`keys`, :meth:`describe`, :meth:`probe` and
    :meth:`read` must be implemented; all else has defaults. A source must be picklable.

    Attributes
    ----------
    fields
        Names and roles of the arrays that :meth:`read` returns, the image first.
    classes
        Names of the classes by id, if the format names them.
    ignore
        Id of pixels that belong to no class; used only with `classes`.
    left_out
        Inputs that make no sample, as (name, reason). They end a conversion unless failures are
        skipped.
    remarks
        Further remarks for the report, as (subject, value, reason).
    takes_urls, takes_labels, takes_names
        Whether places of a format may be URLs; whether ``masks`` may be the name of a label; and
        whether places of further fields are names inside the files of images, such as columns.
    opened, arguments
        Folder in which a format was opened, with the arguments; and all its options, as
        :meth:`describe` records them.

    Examples
    --------
    >>> import numpy as np
    >>> class Discs(Source):
    ...     @property
    ...     def keys(self):
    ...         return ["small", "large"]
    ...     def describe(self):
    ...         return {"kind": "discs"}
    ...     def probe(self, sample):
    ...         return Header({"image": ((64, 64, 3), "uint8"), "mask": ((64, 64), None)})
    ...     def read(self, sample):
    ...         y, x = np.ogrid[-32:32, -32:32]
    ...         mask = (np.hypot(y, x) < 10 * (sample + 1)).astype(np.uint8)
    ...         return np.repeat(mask[..., None] * np.uint8(200), 3, axis=2), mask
    >>> Discs().names(1)
    ('large', 'large')
    """

    fields: tuple[Field, ...] = PAIR
    classes: tuple[str, ...] | None = None
    ignore: int | None = None
    left_out: Sequence[tuple[str, str]] = ()
    remarks: Sequence[tuple[str, str, str]] = ()
    takes_urls: ClassVar[bool] = False
    takes_labels: ClassVar[bool] = False
    takes_names: ClassVar[bool] = False
    opened: tuple[str, tuple[Any, ...], dict[str, Any]] | None = None
    arguments: JSON = {}  # noqa: RUF012 (each format has its own, set when it is opened)

    @property
    @abstractmethod
    def keys(self) -> Sequence[str]:
        """Unique names of all samples."""

    @abstractmethod
    def describe(self) -> JSON:
        """Return the description of the source that the store records, as JSON.

        ``kind`` is the format, ``facts`` are further facts. The other entries are the arguments
        with which :func:`zarrfeed_convert.formats.source_of` opens the source again.
        """

    @abstractmethod
    def probe(self, sample: int) -> Header:
        """Return the header of a sample, without decoding it.

        Parameters
        ----------
        sample
            Index of the sample in :attr:`keys`.
        """

    @abstractmethod
    def read(self, sample: int) -> tuple[NDArray[Any], ...]:
        """Decode a sample.

        Parameters
        ----------
        sample
            Index of the sample in :attr:`keys`.

        Returns
        -------
        tuple of ndarray
            An array for each field. With the default `fields`, these are an image (H, W, C) or
            (D, H, W, C) with the dtype of its header, and a mask (H, W) or (D, H, W) of class ids.
            If the header gives masks a further axis, they are multi-hot: the axis has one channel
            of 0 and 1 per class, so that a pixel may have several classes.
        """

    def read_mask(self, sample: int) -> Mask:
        """Decode the mask of a sample alone."""
        return self.read(sample)[1]

    def names(self, sample: int) -> tuple[str, ...]:
        """Return a name of each of a sample's fields, such as its path; by default the key."""
        return (self.keys[sample],) * len(self.fields)

    def shown_colors(self, sample: int) -> Mapping[int, int]:  # noqa: ARG002 (of no palette)
        """Return the palette indices that a mask uses, with their colours as in its header."""
        return {}

    @property
    def memory_nbytes(self) -> int:
        """Maximum number of bytes that the source keeps in memory, per process."""
        return 0
