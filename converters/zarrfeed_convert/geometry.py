"""How is a sample converted to the size of stored samples?

Pure functions of arrays. All fields of a sample are converted together. Images may be interpolated,
other fields never are. Sizes are those of the spatial axes, (H, W) or (D, H, W), in pixels.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from zarrfeed.errors import SourceError, look_up
from zarrfeed.store.names import origin_text
from zarrfeed_convert.resizing import resize_image, resize_nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.source import Field, Role, Sample, Window

Fit: TypeAlias = Literal["resize", "crop", "pad"]
FITS: tuple[Fit, ...] = ("resize", "crop", "pad")
GRID: Literal["grid"] = "grid"  # cases, which have no size in common
Size: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Geometry:
    """How samples are converted to the size of stored samples.

    Attributes
    ----------
    size
        (H, W) or (D, H, W) of every stored sample.
    fit
        How samples of other sizes are converted; None if all samples have `size`. ``grid`` cuts
        cases into tiles that do not overlap; the last ones along each axis are padded.
    pad_value
        Value of padded pixels of images.
    """

    size: Size
    fit: Fit | Literal["grid"] | None
    pad_value: float = 0

    def origins(self, size: Size) -> list[Size]:
        """Return where the parts begin that a sample of a size is cut into.

        There is one, unless samples are cut into tiles.

        Examples
        --------
        >>> Geometry((2, 2), "grid").origins((3, 4))
        [(0, 0), (0, 2), (2, 0), (2, 2)]
        """
        return [*itertools.product(*self._starts(size))]

    def is_cut_into(self, size: Size, origins: set[Size]) -> bool:
        """Return whether `origins` are those of a sample of a size, which may be damaged."""
        count = math.prod(map(len, self._starts(size)))
        return count == len(origins) and origins == set(self.origins(size))

    def pads(self, size: Size) -> bool:
        """Return whether a sample of a size must be padded."""
        if self.fit == GRID:
            return any(old % new for old, new in zip(size, self.size, strict=True))
        return self.fit == "pad" and self._is_smaller(size)

    def check(self, size: Size, *, name: str, others: Sequence[Size] = ()) -> None:
        """Check that a sample of a size can be converted.

        Parameters
        ----------
        size
            (H, W) or (D, H, W) of the sample.
        name
            Name of the sample, for errors.
        others
            Sizes of the other samples, so that what the error advises suits all of them.

        Raises
        ------
        SourceError
            The sample is too small to crop, too large to pad, or has another number of axes.
        """
        needed = size_text(self.size)
        if len(size) != len(self.size):
            option = "--tile" if self.fit == GRID else "--size"
            raise SourceError(
                f"{name}: needed as many axes as {needed} has, found {size_text(size)}; use "
                f"{option} HxW for images, DxHxW for volumes"
                f"{look_up('axes')}"
            )
        if self.fit == "crop" and self._is_smaller(size):
            said = f"too small to crop {needed} from"
        elif self.fit == "pad" and any(map(int.__gt__, size, self.size)):
            said = f"too large to pad to {needed}"
        else:
            return
        sizes = [self.size, size, *others]
        least, most = (tuple(map(end, zip(*sizes, strict=True))) for end in (min, max))
        extent = least if self.fit == "crop" else most
        fits = ["resize", *(["crop"] if least == self.size else [])]
        fits += ["pad"] if most == self.size else []
        raise SourceError(
            f"{name}: is {size_text(size)}, {said}; use --fit {' or '.join(fits)}, or --size "
            f"{size_text(extent)} --fit {self.fit}, or --tile {needed} without --size and --fit"
            f"{look_up('sizes-differ')}"
        )

    def check_origin(self, size: Size, origin: Size, *, name: str) -> None:
        """Check that a decoded sample has the part that was planned from its header.

        Parameters
        ----------
        size
            (H, W) or (D, H, W) of the decoded sample.
        origin
            Where the part begins.
        name
            Name of the sample, for errors.

        Raises
        ------
        SourceError
            A sample of this size does not have this part, or cannot be converted.
        """
        if self.fit is None and size != self.size:
            raise SourceError(
                f"{name}: needed {size_text(self.size)}, as its header says, found "
                f"{size_text(size)}; restore it, or take it out"
            )
        self.check(size, name=name)
        if any(at not in along for at, along in zip(origin, self._starts(size), strict=True)):
            raise SourceError(
                f"{name}: needed a tile at {origin_text(origin)}, as its header says, found "
                f"{size_text(size)} without it; restore it, or take it out"
            )

    def apply(
        self,
        sample: Sample,
        fields: Sequence[Field],
        *,
        origin: Size,
        ignore: int | None,
        part_origin: Size = (),
    ) -> dict[str, NDArray[Any]]:
        """Convert a sample to the size of stored samples.

        Parameters
        ----------
        sample
            Field → array (H, W, …) or (D, H, W, …).
        fields
            Names and roles of the fields.
        origin
            One of :meth:`origins`.
        ignore
            Id of padded mask pixels; None for 0.
        part_origin
            Where `sample` begins, if it is a part of a case; empty if it is whole.

        Returns
        -------
        dict
            Field → array of the stored size, C-contiguous.
        """
        fill = 0 if ignore is None else ignore
        if part_origin:
            origin = tuple(map(int.__sub__, origin, part_origin))
        return {
            field.name: _alone(
                self._fitted(sample[field.name], field.role, origin, fill), sample[field.name]
            )
            for field in fields
        }

    def _fitted(self, values: NDArray[Any], role: Role, origin: Size, ignore: int) -> NDArray[Any]:
        axes = len(self.size)
        if values.shape[:axes] == self.size:
            return values
        if self.fit == "resize":
            resize = resize_image if role == "image" else resize_nearest
            return resize(values, self.size)
        if self.fit == "crop":
            origin = tuple(
                (old - new) // 2 for old, new in zip(values.shape, self.size, strict=False)
            )
        values = values[tuple(map(slice, origin, map(sum, zip(origin, self.size, strict=True))))]
        if values.shape[:axes] != self.size:
            fill: float = self.pad_value if role == "image" else 0
            dtype = values.dtype
            if role == "mask" and values.ndim == axes and ignore:
                fill = ignore
                if ignore > np.iinfo(dtype).max:
                    dtype = np.promote_types(dtype, np.min_scalar_type(ignore))
            values = _padded(values, self.size, fill, dtype)
        return values

    def own_part(self, origin: Size, size: Size) -> Window:
        """Return the part of a tile that is not padded, for a case of a size."""
        ends = zip(self.size, size, origin, strict=True)
        return tuple(slice(0, min(new, old - at)) for new, old, at in ends)

    def coverage(self, size: Size) -> Coverage:
        """Return how many pixels of a sample of a size are lost and padded."""
        if self.fit not in ("crop", "pad", GRID):
            return Coverage(0, 0)
        starts = self._starts(size)
        # Sum the pixels of all tiles along each axis; the product is the number of pixels covered.
        taken = math.prod(
            sum(min(new, old - at) for at in along)
            for new, old, along in zip(self.size, size, starts, strict=True)
        )
        stored = math.prod(map(len, starts)) * math.prod(self.size)
        return Coverage(math.prod(size) - taken, stored - taken)

    def _is_smaller(self, size: Size) -> bool:
        return any(map(int.__lt__, size, self.size))

    def _starts(self, size: Size) -> list[Sequence[int]]:
        """Return where tiles begin along each axis."""
        if self.fit != GRID:
            return [range(1) for _ in self.size]
        return [range(0, old, new) for old, new in zip(size, self.size, strict=True)]


@dataclass(frozen=True, slots=True)
class Coverage:
    """Numbers of pixels that a conversion loses or adds.

    Attributes
    ----------
    lost
        Pixels of the source that are in no stored sample.
    padded
        Stored pixels that are not in the source.
    """

    lost: int
    padded: int


def size_text(size: Size) -> str:
    """Return a size as text, in the form of ``--size``.

    Examples
    --------
    >>> size_text((48, 64))
    '48x64'
    """
    return "x".join(map(str, size))


def _alone(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[Any]:
    """Return a C-contiguous array that keeps nothing more than itself in memory."""
    if part.size < whole.size and np.may_share_memory(part, whole):
        return part.copy(order="C")
    return np.ascontiguousarray(part)


def _padded(values: NDArray[Any], size: Size, fill: float, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Add pixels at the far end of each axis."""
    out = np.full((*size, *values.shape[len(size) :]), fill, dtype)
    out[tuple(map(slice, values.shape[: len(size)]))] = values
    return out
