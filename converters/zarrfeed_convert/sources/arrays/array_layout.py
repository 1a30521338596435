"""Which axes of arrays are samples, rows, columns and channels, and which array holds which sample?

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
from typing import TYPE_CHECKING, TypeAlias

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few
from zarrfeed_convert.sources.arrays.array_files import FoundArray, Shape, Stack
from zarrfeed_convert.sources.axes import Axes
from zarrfeed_convert.sources.item_index import ItemIndex
from zarrfeed_convert.sources.name_pairs import pair_all, unpaired
from zarrfeed_convert.sources.read_errors import naming_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.sources.arrays.array_files import ArrayFiles

# An error stands for an array that cannot be read.
Measured: TypeAlias = tuple[FoundArray, Stack | SourceError]
_CHANNELS = 4  # an axis that may be either, and is no longer, counts channels


def layouts_of(
    images: Sequence[Shape], masks: Sequence[Shape], *, channels_first: bool, one_hot: bool
) -> tuple[str, str]:
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
    ('NHW', 'NHW')
    >>> layouts_of([(64, 64, 9)], [(64, 64)], channels_first=False, one_hot=False)
    ('HWC', 'HW')
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
            sum(Axes.named(layout, shape).count for shape in shapes)
            for layout, shapes in zip(chosen, (images, masks), strict=True)
        )
        raise SourceError(
            f"images and masks: needed as many masks as images, found {there} images in "
            f"{_said(images)} (axes {chosen[0]}) and {wanted} masks in {_said(masks)} "
            f"(axes {chosen[1]}); give the arrays of one set"
        )
    return chosen


def _best(
    images: Sequence[Shape], masks: Sequence[Shape], *, channels_first: bool, one_hot: bool
) -> tuple[str, str]:
    """Take the layouts by which most agrees; of equal ones, the first."""
    channels = "CHW" if channels_first else "HWC"
    pairs = product(
        _candidates(images, "images", channels, one_hot=False),
        _candidates(masks, "masks", channels, one_hot=one_hot),
    )
    return max(pairs, key=lambda pair: _agree(images, masks, *pair))


def _candidates(shapes: Sequence[Shape], what: str, channels: str, *, one_hot: bool) -> list[str]:
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
    layouts = list(found[ranks[0]])
    if len(layouts) > 1 and all(
        Axes.named(layouts[1], shape).channel_count <= _CHANNELS for shape in shapes
    ):
        layouts.reverse()
    return layouts


def _agree(
    images: Sequence[Shape], masks: Sequence[Shape], image: str, mask: str
) -> tuple[bool, bool]:
    """Return whether numbers of samples agree, and whether their sizes do."""
    counts = [
        [Axes.named(layout, shape).count for shape in shapes]
        for layout, shapes in ((image, images), (mask, masks))
    ]
    if len(images) != len(masks):
        counts = [[sum(counts[0])], [sum(counts[1])]]
    return counts[0] == counts[1], _runs(images, image) == _runs(masks, mask)


def _runs(shapes: Sequence[Shape], layout: str) -> list[tuple[tuple[int, int], int]]:
    """List the sizes of consecutive samples, and how many have each."""
    axes = (Axes.named(layout, shape) for shape in shapes)
    sized = ((one.size, one.count) for one in axes)
    return [
        (size, sum(count for _, count in run)) for size, run in groupby(sized, lambda run: run[0])
    ]


def _said(shapes: Sequence[Shape]) -> str:
    different = list(dict.fromkeys(shapes))
    shown = few(map(str, different), shown=3)
    return shown if len(shapes) == 1 else f"{len(shapes)} arrays of {shown}"


@dataclass(frozen=True, slots=True)
class Side:
    """The arrays of images, or those of masks, in the order of their samples."""

    stacks: tuple[Stack, ...]
    layout: str
    axes: tuple[Axes, ...]
    index: ItemIndex

    @classmethod
    def of(cls, stacks: tuple[Stack, ...], layout: str) -> Side:
        """Count the samples of each array."""
        axes = tuple(Axes.named(layout, stack.shape) for stack in stacks)
        return cls(stacks, layout, axes, ItemIndex.of(one.count for one in axes))

    @property
    def stacked(self) -> bool:
        """Return whether axis 0 counts samples; else each array is one sample."""
        return "N" in self.layout

    def locate(self, sample: int) -> tuple[Stack, Axes, int | None]:
        """Say in which array a sample is, and where on its axis 0; None for all of it."""
        place, row = self.index.locate(sample)
        return self.stacks[place], self.axes[place], row if self.stacked else None

    def name(self, sample: int) -> str:
        """Name a sample, like ``cells.h5:/images[12]``."""
        stack, _, row = self.locate(sample)
        return stack.found.name if row is None else f"{stack.found.name}[{row}]"


def measure_all(files: ArrayFiles, address: str, what: str) -> list[Measured]:
    """Read the headers of all arrays; an error stands for one that cannot be read."""
    measured: list[Measured] = []
    for found in files.find(address, what):
        try:
            with naming_errors(found.name):
                measured.append((found, files.measure(found)))
        except SourceError as error:
            measured.append((found, error))
    errors = [stack for _, stack in measured if isinstance(stack, SourceError)]
    if len(errors) == len(measured):
        raise errors[0]
    return measured


def pair_arrays(
    images: list[Measured], masks: list[Measured]
) -> tuple[tuple[Stack, ...], tuple[Stack, ...], tuple[tuple[str, str], ...]]:
    """Bring images and masks into one order, and leave out the pairs that cannot be read."""
    stems = [[found.stem for found, _ in side] for side in (images, masks)]
    if len(images) != len(masks):
        for _, stack in (*images, *masks):
            if isinstance(stack, SourceError):
                raise stack
        return _stacks(images), _stacks(masks), ()
    pairs = [(images[i], masks[j]) for i, j in enumerate(pair_all(*stems))]
    failed = [
        next((found.name, stack) for found, stack in pair if isinstance(stack, SourceError))
        for pair in pairs
        if not all(isinstance(stack, Stack) for _, stack in pair)
    ]
    if len(failed) == len(pairs):
        raise failed[0][1]
    whole = [pair for pair in pairs if all(isinstance(stack, Stack) for _, stack in pair)]
    left_out = tuple((name, str(error).removeprefix(f"{name}: ")) for name, error in failed)
    return _stacks([image for image, _ in whole]), _stacks([mask for _, mask in whole]), left_out


def _stacks(side: Sequence[Measured]) -> tuple[Stack, ...]:
    return tuple(stack for _, stack in side if isinstance(stack, Stack))


def sides_of(
    images: tuple[Stack, ...],
    masks: tuple[Stack, ...],
    *,
    channels_first: bool,
    one_hot: bool,
) -> tuple[Side, Side]:
    """Find the samples of all arrays.

    Raises
    ------
    SourceError
        There are not as many images as masks, or the arrays have no samples.
    """
    shapes = [[stack.shape for stack in side] for side in (images, masks)]
    try:
        axes = layouts_of(*shapes, channels_first=channels_first, one_hot=one_hot)
    except SourceError:
        stems = [[stack.found.stem for stack in side] for side in (images, masks)]
        if len(images) != len(masks) and (lone := unpaired(*stems)):
            raise SourceError(lone) from None
        raise
    return Side.of(images, axes[0]), Side.of(masks, axes[1])
