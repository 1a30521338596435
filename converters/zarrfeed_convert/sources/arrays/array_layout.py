"""Which axes of an array are samples, rows, columns and channels?

Pure: shapes in, axes out. An array of images has one of these shapes, and so has its array of
masks; what an axis of three-dimensional arrays means follows from the one of the other:

    (H, W)          one image
    (H, W, C)       one image, with a mask (H, W) or (H, W, 1)
    (N, H, W)       N images, with masks (N, H, W): a volume's slices, too
    (N, H, W, C)    N images, with masks (N, H, W) or (N, H, W, 1)
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby, product
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Shape = tuple[int, ...]
_CHANNELS = 4  # an axis that may be either, and is no longer, counts channels


@dataclass(frozen=True, slots=True)
class Layout:
    """What an array's axes are.

    Attributes
    ----------
    axes
        A letter per axis: N samples, H rows, W columns, C channels, like ``NHWC``.
    """

    axes: str

    @property
    def stacked(self) -> bool:
        """Tell whether axis 0 counts samples; else the array is one sample."""
        return "N" in self.axes

    def count(self, shape: Shape) -> int:
        """Count an array's samples."""
        return shape[0] if self.stacked else 1

    def size(self, shape: Shape) -> tuple[int, int]:
        """Give the height and width of an array's samples."""
        return shape[self.axes.index("H")], shape[self.axes.index("W")]

    def channels(self, shape: Shape) -> int:
        """Count the channels of an array's samples."""
        return shape[self.axes.index("C")] if "C" in self.axes else 1

    def arrange(self, sample: NDArray[Any]) -> NDArray[Any]:
        """View a sample of an array, which has no more axis N, as (H, W) or (H, W, C).

        Examples
        --------
        >>> Layout("NCHW").arrange(np.zeros((3, 4, 5))).shape
        (4, 5, 3)
        """
        return np.moveaxis(sample, 0, -1) if self.axes.endswith("CHW") else sample


def layouts_of(
    images: Sequence[Shape], masks: Sequence[Shape], *, channels_first: bool, one_hot: bool
) -> tuple[Layout, Layout]:
    """Find what the axes of images and of masks are, so that they have the same samples.

    Parameters
    ----------
    images, masks
        The shapes of all arrays; where there are as many of the one as of the other, they are
        pairs, else their samples are.
    channels_first
        Channels, if there are any, come before rows and columns.
    one_hot
        Masks have an axis of classes.

    Raises
    ------
    SourceError
        The arrays of a side differ in their number of axes, there is no such layout, or the
        number of samples differs.

    Examples
    --------
    >>> layouts_of([(9, 64, 64)], [(9, 64, 64)], channels_first=False, one_hot=False)
    (Layout(axes='NHW'), Layout(axes='NHW'))
    >>> layouts_of([(64, 64, 9)], [(64, 64)], channels_first=False, one_hot=False)
    (Layout(axes='HWC'), Layout(axes='HW'))
    """
    chosen = _best(images, masks, channels_first=channels_first, one_hot=one_hot)
    counts, sizes = _agree(images, masks, *chosen)
    if counts and sizes:
        return chosen
    try:
        other = _best(images, masks, channels_first=not channels_first, one_hot=one_hot)
    except SourceError:
        other = chosen
    if all(_agree(images, masks, *other)):
        raise SourceError(
            f"images and masks: needed samples of one size, found {_said(images)} and "
            f"{_said(masks)}, which fit with channels "
            f"{'last' if channels_first else 'first'}; use --option "
            f"channels_first={'no' if channels_first else 'yes'}"
        )
    if not counts:
        there, wanted = (
            sum(map(layout.count, shapes))
            for layout, shapes in zip(chosen, (images, masks), strict=True)
        )
        raise SourceError(
            f"images and masks: needed as many masks as images, found {there} images in "
            f"{_said(images)} (axes {chosen[0].axes}) and {wanted} masks in {_said(masks)} "
            f"(axes {chosen[1].axes}); give the arrays of one set"
        )
    return chosen


def _best(
    images: Sequence[Shape], masks: Sequence[Shape], *, channels_first: bool, one_hot: bool
) -> tuple[Layout, Layout]:
    """Take the layouts by which most agrees; of equal ones, the first."""
    channels = "CHW" if channels_first else "HWC"
    pairs = product(
        _candidates(images, "images", channels, one_hot=False),
        _candidates(masks, "masks", channels, one_hot=one_hot),
    )
    return max(pairs, key=lambda pair: _agree(images, masks, *pair))


def _candidates(
    shapes: Sequence[Shape], what: str, channels: str, *, one_hot: bool
) -> list[Layout]:
    """List what the axes may be, the likeliest first."""
    ranks = sorted({len(shape) for shape in shapes})
    if len(ranks) > 1:
        raise SourceError(
            f"{what}: needed arrays of one number of axes, found {' and '.join(map(str, ranks))}: "
            f"{_said(shapes)}"
        )
    plain = {2: ["HW"], 3: ["NHW", channels], 4: [f"N{channels}"]}
    found = {3: [channels], 4: [f"N{channels}"]} if one_hot else plain
    if ranks[0] not in found or not all(map(min, shapes)):
        needed = (
            f"(N, {', '.join(channels)})" if one_hot else f"(N, H, W) or (N, {', '.join(channels)})"
        )
        raise SourceError(f"{what}: needed arrays of shape {needed}, found {_said(shapes)}")
    layouts = [Layout(axes) for axes in found[ranks[0]]]
    if len(layouts) > 1 and all(layouts[1].channels(shape) <= _CHANNELS for shape in shapes):
        layouts.reverse()
    return layouts


def _agree(
    images: Sequence[Shape], masks: Sequence[Shape], image: Layout, mask: Layout
) -> tuple[bool, bool]:
    """Tell whether numbers of samples agree, and whether their sizes do."""
    counts = [[image.count(shape) for shape in images], [mask.count(shape) for shape in masks]]
    if len(images) != len(masks):
        counts = [[sum(counts[0])], [sum(counts[1])]]
    return counts[0] == counts[1], _runs(images, image) == _runs(masks, mask)


def _runs(shapes: Sequence[Shape], layout: Layout) -> list[tuple[tuple[int, int], int]]:
    """List the sizes of consecutive samples, and how many have each."""
    sized = ((layout.size(shape), layout.count(shape)) for shape in shapes)
    return [
        (size, sum(count for _, count in run)) for size, run in groupby(sized, lambda run: run[0])
    ]


def _said(shapes: Sequence[Shape]) -> str:
    different = list(dict.fromkeys(shapes))
    shown = few(map(str, different), shown=3)
    return shown if len(shapes) == 1 else f"{len(shapes)} arrays of {shown}"
