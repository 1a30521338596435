"""What is a dataset that can be packed?

A :class:`Source` lists its samples, measures one without decoding it, and reads one. It is
pickled once to every packing process, so it carries addresses (paths), never open files.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from numpy.typing import NDArray

from zarrfeed.store.schema import IMAGE, MASK

if TYPE_CHECKING:
    from zarrfeed_convert.header import Header

JSON: TypeAlias = dict[str, Any]
Image: TypeAlias = NDArray[Any]
Mask: TypeAlias = NDArray[Any]
Sample: TypeAlias = Mapping[str, NDArray[Any]]  # by field, in the order of the fields
Role: TypeAlias = Literal["image", "mask", "target"]
Window: TypeAlias = tuple[slice, ...]  # along each spatial axis; start and stop, step 1


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


def whole_window(size: Sequence[int]) -> Window:
    """Return the window of all of a sample of a size."""
    return tuple(slice(0, extent) for extent in size)


def window_size(window: Window) -> tuple[int, ...]:
    """Return the size of a window along each axis."""
    return tuple(along.stop - along.start for along in window)


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
    classes_from
        File that names the classes, for errors; empty if none does.
    ignore
        Id of pixels that belong to no class; used only with `classes` or `instances`.
    instances
        Whether masks are numbers of instances instead of class ids, so that there are no classes.
    filled
        Id that masks have where the files say that there are no data, which is the ignored id;
        None if the format has no such pixels.
    left_out
        Inputs that make no sample, as (name, reason). They end a conversion unless failures are
        skipped.
    remarks
        Further remarks for the report, as (subject, value, reason).
    takes_urls, takes_labels, takes_names, takes_fill
        Whether places of a format may be URLs; whether ``masks`` may be the name of a label;
        whether places of further fields are names inside the files of images, such as columns; and
        whether the format has the option ``fill`` for pixels of images without data.
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
    classes_from: str = ""
    ignore: int | None = None
    instances: bool = False
    filled: int | None = None
    left_out: Sequence[tuple[str, str]] = ()
    remarks: Sequence[tuple[str, str, str]] = ()
    takes_urls: ClassVar[bool] = False
    takes_labels: ClassVar[bool] = False
    takes_names: ClassVar[bool] = False
    takes_fill: ClassVar[bool] = False
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
        with which ``zarrfeed_convert.formats.source_of`` opens the source again.
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

    def reads_windows(self, sample: int) -> bool:  # noqa: ARG002 (of no sample)
        """Return whether :meth:`read_window` takes little more memory and time than its window.

        If not, a sample is decoded as a whole, once for each shard that holds a part of it. This
        is asked often, so the answer must not take a file to be opened each time.
        """
        return False

    def require_whole(self, sample: int, header: Header) -> None:  # noqa: B027 (most are not)
        """Refuse a sample that is too large to be decoded as a whole.

        This is asked before anything is packed, of samples that are not read in windows.

        Parameters
        ----------
        sample
            Index of the sample in :attr:`keys`.
        header
            Its header.

        Raises
        ------
        SourceError
            It is too large. By default none is.
        """

    def decoded_together(self, sample: int) -> tuple[int, ...]:  # noqa: ARG002 (of no sample)
        """Return what :meth:`read_window` decodes as a whole: its extent along each spatial axis.

        (1, H, W) if slices are, (rows, W) of strips, the shape of a chunk or tile. Empty if windows
        cost no more than their own pixels.
        """
        return ()

    def read_window(self, sample: int, window: Window) -> tuple[NDArray[Any], ...]:
        """Decode a part of a sample.

        Parameters
        ----------
        sample
            Index of the sample in :attr:`keys`.
        window
            A slice of each spatial axis, within the size in the sample's header.

        Returns
        -------
        tuple of ndarray
            The arrays of :meth:`read` in this window.
        """
        return tuple(values[window] for values in self.read(sample))

    def read_mask(self, sample: int) -> Mask:
        """Decode the mask of a sample alone."""
        return self.read(sample)[1]

    def read_mask_window(self, sample: int, window: Window) -> Mask:
        """Decode a part of the mask of a sample alone; see :meth:`read_window`."""
        return self.read_window(sample, window)[1]

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
