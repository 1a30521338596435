"""Which sample lies in which array, and which array of masks belongs to which of images?"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, TypeAlias

from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.arrays.array_files import Found, Stack
from zarrfeed_convert.sources.arrays.array_layout import Layout, layouts_of
from zarrfeed_convert.sources.name_pairs import pair_all, unpaired
from zarrfeed_convert.sources.read_errors import reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.sources.arrays.array_files import ArrayFiles

# An error stands for an array that cannot be read.
Measured: TypeAlias = tuple[Found, Stack | SourceError]


@dataclass(frozen=True, slots=True)
class Side:
    """The arrays of images, or those of masks, in the order of their samples."""

    stacks: tuple[Stack, ...]
    layout: Layout
    ends: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        counts = (self.layout.count(stack.shape) for stack in self.stacks)
        object.__setattr__(self, "ends", tuple(accumulate(counts)))

    def locate(self, sample: int) -> tuple[Stack, int | None]:
        """Say in which array a sample is, and where on its axis 0; None for all of it."""
        place = bisect_right(self.ends, sample)
        before = self.ends[place - 1] if place else 0
        return self.stacks[place], sample - before if self.layout.stacked else None

    def name(self, sample: int) -> str:
        """Name a sample, like ``cells.h5:/images[12]``."""
        stack, row = self.locate(sample)
        return stack.found.name if row is None else f"{stack.found.name}[{row}]"


def measure_all(files: ArrayFiles, address: str, what: str) -> list[Measured]:
    """Read the headers of all arrays; an error stands for one that cannot be read."""
    measured: list[Measured] = []
    for found in files.find(address, what):
        try:
            with reading(found.name):
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
    return Side(images, axes[0]), Side(masks, axes[1])
