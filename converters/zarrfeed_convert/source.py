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
        Of the array in the store.
    role
        ``image``: may be interpolated. ``mask``: class ids, or multi-hot, never interpolated;
        checked and counted of the field that is called ``mask``. ``target``: any numbers, never
        interpolated either.
    """

    name: str
    role: Role


PAIR = (Field(IMAGE, "image"), Field(MASK, "mask"))
IMAGES_ONLY = PAIR[:1]


def image_names(fields: Sequence[Field]) -> tuple[str, ...]:
    """Name the fields whose channels have a mean and a deviation: those of images."""
    return tuple(field.name for field in fields if field.role == "image")


def roles_recorded(fields: Sequence[Field]) -> JSON:
    """Give the entry by which a split records its fields; none where they are image and mask."""
    if tuple(fields) == PAIR:
        return {}
    return {"roles": {field.name: field.role for field in fields}}


def recorded_fields(packed: JSON) -> tuple[Field, ...]:
    """Read what :func:`roles_recorded` has written to a split's ``packed``."""
    roles = packed.get("roles")
    return PAIR if roles is None else tuple(Field(name, role) for name, role in roles.items())


class ArrayHeader(NamedTuple):
    """What is known of one array before it is decoded: its shape and its dtype.

    The dtype of a mask is None: it follows from the classes.
    """

    shape: tuple[int, ...]
    dtype: str | None


@dataclass(frozen=True, slots=True, init=False)
class Header:
    """What is known of a sample before it is decoded.

    Attributes
    ----------
    arrays
        The shape and the dtype of each field as :meth:`Source.read` will return it, in the order of
        :attr:`Source.fields`: an image (H, W, C) or (D, H, W, C), and other arrays with the same
        spatial axes. The dtype of a mask may be None.
    mask_colors
        What the indices of the mask's palette show, ``0xRRGGBB``; inverted (``~0xRRGGBB``) where a
        mask map knows the class. Empty where there is no palette, or it knows all of them.
    turned
        Whether the image's file says that it is to be shown turned, and another field's does not.
    nodata
        Values that files declare to be none: the image's, and those of further images and targets.

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
        arrays: Mapping[str, tuple[Sequence[int], str | None]] | int,
        *sizes: Any,
        mask_colors: tuple[int, ...] = (),
        turned: bool = False,
        nodata: tuple[float, ...] = (),
    ) -> None:
        given = _of_sizes(arrays, *sizes) if isinstance(arrays, int) else arrays
        kinds = {name: ArrayHeader(tuple(shape), dtype) for name, (shape, dtype) in given.items()}
        object.__setattr__(self, "arrays", kinds)
        object.__setattr__(self, "mask_colors", mask_colors)
        object.__setattr__(self, "turned", turned)
        object.__setattr__(self, "nodata", nodata)

    @classmethod
    def of_pair(
        cls, image: Sequence[int], dtype: str, mask: Sequence[int] | None, **said: Any
    ) -> Header:
        """Make the header of an image of this shape and dtype, and of its mask, if it has one."""
        arrays: dict[str, tuple[Sequence[int], str | None]] = {IMAGE: (image, dtype)}
        return cls(arrays if mask is None else arrays | {MASK: (mask, None)}, **said)

    @property
    def image(self) -> ArrayHeader:
        """Of the image."""
        return self.arrays[IMAGE]

    @property
    def mask(self) -> ArrayHeader | None:
        """Of the mask; None where there is none."""
        return self.arrays.get(MASK)

    @property
    def size(self) -> tuple[int, ...]:
        """The image's extents along its spatial axes, in pixels: (H, W) or (D, H, W)."""
        return self.image.shape[:-1]

    @property
    def channels(self) -> int:
        """Channels of the image."""
        return self.image.shape[-1]

    @property
    def dtype(self) -> str:
        """The image's."""
        return str(self.image.dtype)

    def __getattr__(self, name: str) -> Any:
        """Give the numbers that headers had before there were other fields."""
        old = {"height": (IMAGE, 0), "width": (IMAGE, 1)}
        old |= {"mask_height": (MASK, 0), "mask_width": (MASK, 1)}
        if name not in old:
            raise AttributeError(f"a Header has no {name!r}")
        field, axis = old[name]
        new = f"Header.{field}.shape[{axis}]"
        warnings.warn(f"Header.{name}: write {new}", DeprecationWarning, stacklevel=2)
        return self.arrays[field].shape[axis] if field in self.arrays else None


def _of_sizes(
    height: int, width: int, channels: int, dtype: str, *mask: int
) -> Mapping[str, tuple[Sequence[int], str | None]]:
    """Read a header of one image and its mask as it was written before there were other fields."""
    said = f"'image': (({height}, {width}, {channels}), {dtype!r})"
    said += f", 'mask': ({mask}, None)" if mask else ""
    warnings.warn(f"write Header({{{said}}})", DeprecationWarning, stacklevel=3)
    image = (height, width, channels), dtype
    return {IMAGE: image} | ({MASK: (mask, None)} if mask else {})


class Source(ABC):
    """Images and masks to pack.

    Subclass it to pack what zarrfeed has no format for: :attr:`keys`, :meth:`describe`,
    :meth:`probe` and :meth:`read` are needed, the rest has defaults. A source is pickled.

    Attributes
    ----------
    fields
        What :meth:`read` gives, the image first.
    classes
        The class names by id, where the format itself names them.
    ignore
        The id of pixels of no class; read only where there are `classes`.
    left_out
        Inputs that make no sample, as (name, why). They end a conversion unless it is told to skip
        what it can't pack.
    remarks
        What else whoever packs it should be told, as (what, how many, why).
    takes_urls, takes_labels, takes_names
        Of a format: whether its places may be URLs, ``masks`` the name of a label, and places of
        further fields names within the files of images (of columns, say), not paths.
    opened, arguments
        Of a format: the folder in which it was opened, and with which arguments; all its options
        as :meth:`describe` records them.

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
        """Name every sample; the names are unique."""

    @abstractmethod
    def describe(self) -> JSON:
        """Say where the samples come from, as JSON; the store records it.

        ``kind`` is the format, ``facts`` what else is worth knowing; the rest are the arguments
        by which :func:`zarrfeed_convert.formats.source_of` opens it again.
        """

    @abstractmethod
    def probe(self, sample: int) -> Header:
        """Measure a sample without decoding it."""

    @abstractmethod
    def read(self, sample: int) -> tuple[NDArray[Any], ...]:
        """Decode a sample: an array for each field.

        By default an image (H, W, C) or (D, H, W, C) in its header's dtype, and a mask (H, W) or
        (D, H, W) of class ids. Where the header says that masks have an axis more, they are
        multi-hot: that axis has a channel of 0 and 1 for each class, and a pixel may have several.
        """

    def read_mask(self, sample: int) -> Mask:
        """Decode only a sample's mask."""
        return self.read(sample)[1]

    def names(self, sample: int) -> tuple[str, ...]:
        """Name each field of a sample as a person would look for it; by default, by its key."""
        return (self.keys[sample],) * len(self.fields)

    def shown_colors(self, sample: int) -> Mapping[int, int]:  # noqa: ARG002 (of no palette)
        """Say which indices a mask uses, and the colours that they show, as in its header."""
        return {}

    @property
    def memory_nbytes(self) -> int:
        """Bytes that the source keeps in memory in each process, at most."""
        return 0
